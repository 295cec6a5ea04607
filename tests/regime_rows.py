"""Boards by regime with chosen accuracies: in memory, and as records of a small checkout."""

from __future__ import annotations

import functools
from pathlib import Path
from types import SimpleNamespace

import yaml
from small_checkout import HUB, SHA, measure, protocol_id, submit

from harness.protocols import find_protocol
from harness.scoring.rows import Row
from harness.scoring.side_by_side import Board, boards_of
from harness.scoring.tables import build_tables
from harness.submissions import FULL_DATASET, Submission

ROOT = Path(__file__).resolve().parent.parent
real_protocol = functools.cache(functools.partial(find_protocol, ROOT))
Draws = tuple[tuple[float | None, ...], ...]


def board(hl: dict[str, Draws] | None = None, sl: dict[str, Draws] | None = None, kd: dict[str, Draws] | None = None) -> Board:
    """The only board of rows given as {slug: draws of seeds}; a seed of None has diverged."""
    rows = [
        row(slug, draws, regime)
        for regime, measured in (("hl", hl), ("sl", sl), ("sl-kd", kd))
        for slug, draws in (measured or {}).items()
    ]
    (only,) = boards_of(build_tables(rows))
    return only


def row(slug: str, draws: Draws, regime: str, kind: str | None = None, method: str | None = None, ipc: int = 1) -> Row:
    """A row whose method is its slug, unless told otherwise; its kind is `kind_of` its slug."""
    described = {
        "title": slug.title(), "authors": ("A",), "licence": "cc0-1.0", "contact": "nobody", "dataset": "digits", "ipc": ipc,
        "slug": slug, "kind": kind or kind_of(slug), "method": method or slug, "split_fingerprint": SHA,
    }  # fmt: skip
    if described["kind"] != "full":
        described["sets"] = tuple(
            {**HUB, "files": ("a.parquet",), "content_sha256": f"{draw:064x}"} for draw in range(len(draws))
        )
    if described["kind"] == "distilled":
        described |= {"images": {"pixel_space": "uint8", "resolution": 8}, "split_fingerprint": None}
    records = tuple(_record(draw, seed, top1) for draw, seeds in enumerate(draws) for seed, top1 in enumerate(seeds))
    return Row(Submission.model_validate(described), real_protocol(protocol_id(regime)), records)


def kind_of(slug: str) -> str:
    """`full-dataset` is the yardstick, a slug that starts with `dd-` distilled, any other a coreset."""
    return "full" if slug == FULL_DATASET else "distilled" if slug.startswith("dd-") else "coreset"


def single(*seeds: float | None) -> Draws:
    """One draw."""
    return (seeds,)


def three_draws(mean: float) -> Draws:
    """Three draws of three seeds with that mean; deviation 1 between draw means, and 1 between seeds."""
    return tuple((of_draw - 1, of_draw, of_draw + 1) for of_draw in (mean - 1, mean, mean + 1))


def fill_regimes(root: Path, ipc: int = 1, **means: tuple[float | None, ...]) -> None:
    """Records of one submission per keyword, its means under HL, SL, SL+KD given; None: not measured.

    `random` has three draws, every other submission one, of three seeds with a deviation of 1. `full_dataset` is the yardstick,
    keywords that start with `dd_` are distilled.
    """
    for keyword, of_regimes in means.items():
        slug = keyword.replace("_", "-")
        path = submit(root, slug, slug, ipc=ipc, draws=3 if slug == "random" else 1)
        _as_kind(path, kind_of(slug))
        for regime, mean in zip(("hl", "sl", "sl-kd"), of_regimes, strict=False):
            if mean is not None:
                draws = three_draws(mean) if slug == "random" else single(mean - 1, mean, mean + 1)
                measure(root, path, *draws, protocol=protocol_id(regime))


def _as_kind(path: Path, kind: str) -> None:
    described = yaml.safe_load(path.read_text())
    if kind == "full":
        del described["sets"]
    if kind == "distilled":
        del described["split_fingerprint"]
        described["images"] = {"pixel_space": "uint8", "resolution": 8}
    path.write_text(yaml.safe_dump({**described, "kind": kind}))


def _record(draw: int, seed: int, top1: float | None) -> SimpleNamespace:
    result = None if top1 is None else SimpleNamespace(top1=top1, top5=min(100.0, top1 + 50))
    return SimpleNamespace(
        unit=SimpleNamespace(draw=draw, seed=seed), status="diverged" if result is None else "ok", result=result,
        data=SimpleNamespace(test_fingerprint=SHA),
    )  # fmt: skip
