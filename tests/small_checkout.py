"""A checkout in a temporary folder: the real digits protocol, submissions, and records with chosen accuracies."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from harness import canonical
from harness.protocols import find_protocol
from harness.records import DataInfo, Record, Result, UnitInfo, record_path, unit_id, write_record
from harness.scoring.board import build_boards, write_boards
from harness.scoring.check import check_boards
from harness.submissions import read_submission

PROTOCOL = "digits/resnet18-hl/v1"
REAL_PROTOCOLS = Path(__file__).resolve().parent.parent / "protocols"
SHA = "ab" * 32
HUB = {"repo": "some-lab/sets", "revision": "0123456789" * 4, "files": ["a.parquet"]}


def checkout(root: Path, regimes: tuple[str, ...] = ("hl",)) -> Path:
    """A checkout with the real digits protocols of `regimes`, their seeds set to 0, 1, 2."""
    for regime in regimes:
        add_protocol(root, regime)
    (root / "leaderboards/results").mkdir(parents=True)
    return root


def add_protocol(root: Path, regime: str, version: int = 1) -> None:
    described = yaml.safe_load((REAL_PROTOCOLS / f"{protocol_id(regime)}.yaml").read_text())
    described["seeds"]["value"] = [0, 1, 2]
    described["id"] = protocol_id(regime, version)
    path = root / "protocols" / f"{described['id']}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(described))


def protocol_id(regime: str, version: int = 1) -> str:
    return f"digits/resnet18-{regime}/v{version}"


def submit(root: Path, slug: str, method: str, ipc: int = 1, draws: int = 1, **fields) -> Path:
    """A coreset submission whose draws lie on the Hub."""
    path = root / "submissions" / slug / f"digits-ipc{ipc}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    described = {
        "title": slug.title(), "authors": ["A. Nonymous"], "licence": "cc0-1.0", "contact": "nobody", "kind": "coreset",
        "dataset": "digits", "ipc": ipc, "method": method, "split_fingerprint": SHA,
        "sets": [{**HUB, "content_sha256": f"{draw:064x}"} for draw in range(draws)],
    }  # fmt: skip
    path.write_text(json.dumps({**described, **fields}))
    return path


def image_hash(slug: str, draw: int) -> str:
    return canonical.digest([slug, draw])


def record(
    root: Path,
    path: Path,
    draw: int,
    seed: int,
    top1: float | None,
    results: Path | None = None,
    fingerprint: str = SHA,
    protocol: str = PROTOCOL,
) -> Path:
    """Write the record of one unit; `top1` None: the student diverged."""
    submission, protocol = read_submission(path), find_protocol(root, protocol)
    place = record_path(results or root / "leaderboards/results", submission, protocol, draw, seed)
    unit = UnitInfo(
        id=unit_id(submission.digest, draw, protocol.sha256, seed), slug=submission.slug, submission_sha256=submission.digest,
        kind=submission.kind, method=submission.method, dataset=submission.dataset, ipc=submission.ipc, draw=draw, seed=seed,
        protocol=protocol.id, protocol_sha256=protocol.sha256, student=protocol.student_name, regime=protocol.regime,
    )  # fmt: skip
    data = DataInfo(
        set_source="some-lab/sets", set_content_sha256=SHA, set_sha256=image_hash(submission.slug, draw), images=10,
        patch_shuffle=1, train_fingerprint=SHA, test_fingerprint=fingerprint,
    )  # fmt: skip
    result = None
    if top1 is not None:
        result = Result(
            top1=top1, top5=min(100.0, top1 + 50), test_loss=1.0, train_loss=0.1, images_seen=600, steps=60, epochs=60
        )
    written = Record(
        status="diverged" if result is None else "ok", unit=unit, data=data, result=result, wall_seconds=1.0,
        images_per_second=600.0, finished_at="2026-01-01T00:00:00Z", environment={}, engine={},
    )  # fmt: skip
    write_record(place, written)
    return place


def measure(
    root: Path, path: Path, *draws: tuple[float | None, ...], results: Path | None = None, protocol: str = PROTOCOL
) -> None:
    for draw, seeds in enumerate(draws):
        for seed, top1 in enumerate(seeds):
            record(root, path, draw, seed, top1, results, protocol=protocol)


def fill(root: Path) -> None:
    """Three draws of Random, a better and a two-draw coreset at IPC 1."""
    measure(root, submit(root, "random", "random", draws=3), (30.0,) * 3, (31.0,) * 3, (32.0,) * 3)
    measure(root, submit(root, "herding", "herding", paper="https://example.org/a"), (40.0, 41.0, 42.0))
    measure(root, submit(root, "k-center", "k-center", draws=2), (30.0, 31.0, 32.0), (34.0, 35.0, 36.0))


def rebuild(root: Path) -> dict[str, str]:
    return build_boards(root, root / "leaderboards/results")


def check(root: Path) -> list[str]:
    return check_boards(root, root / "leaderboards/results", root / "leaderboards")


def publish(root: Path) -> None:
    write_boards(root, root / "leaderboards/results", root / "leaderboards")


def table_rows(page: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")]


def alter(path: Path, top1: float, seal: bool) -> None:
    """Change a record's accuracy, with or without a new sha256 over it."""
    raw = json.loads(path.read_text())
    raw["result"]["top1"] = top1
    if seal:
        raw["sha256"] = canonical.digest({key: raw[key] for key in raw if key != "sha256"})
    path.write_text(json.dumps(raw))
