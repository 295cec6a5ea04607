"""Boards in memory: real digits protocols, submissions, and chosen accuracies by regime, draw and seed."""

from __future__ import annotations

import functools
from pathlib import Path
from types import SimpleNamespace

from small_checkout import HUB, SHA, protocol_id

from harness.protocols import find_protocol
from harness.scoring.rows import Row
from harness.scoring.side_by_side import Board, boards_of
from harness.scoring.tables import build_tables
from harness.submissions import Submission

ROOT = Path(__file__).resolve().parent.parent
real_protocol = functools.cache(functools.partial(find_protocol, ROOT))
Draws = tuple[tuple[float | None, ...], ...]


def board(hl: dict[str, Draws] | None = None, sl: dict[str, Draws] | None = None, kd: dict[str, Draws] | None = None) -> Board:
    """The only board of rows given as {slug: draws of seeds}; a seed of None has diverged. The slug is the method."""
    rows = [
        row(slug, draws, regime)
        for regime, measured in (("hl", hl), ("sl", sl), ("sl-kd", kd))
        for slug, draws in (measured or {}).items()
    ]
    (only,) = boards_of(build_tables(rows))
    return only


def row(slug: str, draws: Draws, regime: str, kind: str = "coreset", method: str | None = None, ipc: int = 1) -> Row:
    described = {
        "title": slug.title(), "authors": ("A",), "licence": "cc0-1.0", "contact": "nobody", "dataset": "digits", "ipc": ipc,
        "slug": slug, "kind": kind, "method": method or ("full-dataset" if slug == "full" else slug), "split_fingerprint": SHA,
        "sets": tuple({**HUB, "files": ("a.parquet",), "content_sha256": SHA} for _ in draws),
    }  # fmt: skip
    if kind == "distilled":
        described |= {"images": {"pixel_space": "uint8", "resolution": 8}, "split_fingerprint": None}
    records = tuple(
        _record(draw, seed, top1) for draw, seeds in enumerate(draws) for seed, top1 in enumerate(seeds)
    )  # fmt: skip
    return Row(Submission.model_validate(described), real_protocol(protocol_id(regime)), records)


def single(*seeds: float | None) -> Draws:
    return (seeds,)


def _record(draw: int, seed: int, top1: float | None) -> SimpleNamespace:
    result = None if top1 is None else SimpleNamespace(top1=top1, top5=min(100.0, top1 + 50))
    return SimpleNamespace(
        unit=SimpleNamespace(draw=draw, seed=seed), status="diverged" if result is None else "ok", result=result,
        data=SimpleNamespace(test_fingerprint=SHA),
    )  # fmt: skip
