"""Students of the boards whom a pool asks for too: the same index file, protocol and seed make the same student. Torch-free."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

from harness.canonical import digest
from harness.dcs.lookup_rows import STATUSES
from harness.dcs.pool import Pool, Subset
from harness.protocols import find_protocol
from harness.records import Record, read_record


class TrainedStudent(NamedTuple):
    path: Path
    record: Record


def board_students(root: Path, pool: Pool) -> dict[tuple[str, int], TrainedStudent]:
    """{(subset id, seed): the committed record of that student}; of several the one that was finished first.

    Everything random follows from the seed (harness/training/seeding.py), so a student does not depend on what its set is called.
    Raises RecordError for a record of the pool's protocol that is malformed or altered.
    """
    folder = root / "leaderboards" / "results" / pool.recipe.dataset
    subset_of = cache(lambda name: {content_sha256(subset, name): subset.id for subset in pool.subsets})
    paths = sorted(folder.glob(f"*/ipc*/{find_protocol(root, pool.recipe.protocol).record_folder}/draw*-seed*.json"))
    students = [TrainedStudent(path, read_record(path)) for path in paths]
    found: dict[tuple[str, int], TrainedStudent] = {}
    for student in sorted(students, key=lambda one: one.record.finished_at):
        record = student.record
        if _could_be_of(pool, record):
            subset = subset_of(record.data.set_source.rpartition("/")[2]).get(record.data.set_content_sha256)
            if subset is not None:
                found.setdefault((subset, record.unit.seed), student)
    return found


def content_sha256(subset: Subset, name: str = "draw0.json") -> str:
    """Of a coreset whose index file is that of `subset` and is called `name`, as submissions and records state it."""
    return digest([{"path": name, "sha256": subset.sha256, "size": subset.bytes}])


def _could_be_of(pool: Pool, record: Record) -> bool:
    """All but the set. Records of failed units say nothing of a student."""
    unit, data = record.unit, record.data
    return (
        record.status in STATUSES
        and data is not None
        and unit.kind == "coreset"
        and unit.protocol_sha256 == pool.recipe.protocol_sha256
        and unit.seed in pool.recipe.seeds
        and data.train_fingerprint == pool.split_fingerprint
        and data.patch_shuffle == 1
    )
