"""Which units a command is about, and which of them are done."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from harness.claim import is_claimed
from harness.errors import ProtocolError, RecordError, UsageError
from harness.freeze import LockEntry, read_lock
from harness.ood_records import ood_path, ood_record_of
from harness.protocols import Protocol, find_protocol
from harness.records import Record, read_record, record_path, unit_id
from harness.submissions import SetSource, Submission, read_submission
from harness.teachers import check_teacher_exists

REGIMES = ("hl", "sl", "sl-kd")
DEFAULT_STUDENT = "resnet18"

State = Literal["done", "missing", "claimed", "unusable"]


@dataclass(frozen=True)
class Unit:
    """The smallest piece of work: one student, of one protocol and seed, trained on one draw of one submission.

    `ood`: whether it is to be measured on corrupted test images too, which changes neither the unit nor its record.
    """

    submission: Submission
    draw: int
    protocol: Protocol
    seed: int
    id: str
    record: Path
    ood: bool = False

    @property
    def source(self) -> SetSource | None:
        """None for the full dataset, whose images are the training split's."""
        return self.submission.sets[self.draw] if self.submission.sets else None

    @property
    def name(self) -> str:
        """`random/digits-ipc1 draw0 resnet18-hl-v1 seed2`, for messages."""
        subject = f"{self.submission.slug}/{self.submission.dataset}-ipc{self.submission.ipc}"
        return f"{subject} draw{self.draw} {self.protocol.record_folder} seed{self.seed}"


def plan_units(
    root: Path,
    submission_paths: Iterable[Path],
    protocol_id: str | None,
    regime: str,
    seeds: tuple[int, ...] | None,
    results: Path,
    draws: tuple[int, ...] | None = None,
    student: str = DEFAULT_STUDENT,
) -> list[Unit]:
    """Every unit of the submissions, ordered by submission, draw, protocol, seed; done or not.

    `protocol_id` wins over `regime` (hl, sl, sl-kd, or all: every regime that has a locked protocol) and `student` (as protocols
    name it: resnet18, convnet-d4). `seeds` None means all of the protocol's, `draws` None all of the submission's.
    Raises SubmissionError, ProtocolError (not frozen, or altered since), EnvironmentProblem (its teacher has no weights yet),
    UsageError (no such protocol, seed or draw).
    """
    units: dict[str, Unit] = {}
    for path in submission_files(submission_paths):
        submission = read_submission(path)
        protocols = choose_protocols(root, submission, protocol_id, regime, student)
        for draw in choose_draws(submission, draws):
            for protocol in protocols:
                for seed in choose_seeds(protocol, seeds):
                    identity = unit_id(submission.digest, draw, protocol.sha256, seed)
                    record = record_path(results, submission, protocol, draw, seed)
                    units[identity] = Unit(submission, draw, protocol, seed, identity, record)
    return list(units.values())


def submission_files(paths: Iterable[Path]) -> list[Path]:
    """The files named, and those of the folders named. Raises UsageError for a path that leads to none."""
    found: list[Path] = []
    for path in paths:
        files = [path] if path.is_file() else sorted(path.rglob("*-ipc*.yaml"))
        if not files:
            raise UsageError(
                "no submission file found",
                where=str(path),
                fix="name a file such as submissions/random/digits-ipc1.yaml, or its folder",
            )
        found += files
    return found


def choose_protocols(
    root: Path, submission: Submission, protocol_id: str | None, regime: str, student: str = DEFAULT_STUDENT
) -> list[Protocol]:
    """The locked, unaltered protocols a submission is run under. Raises UsageError and ProtocolError."""
    locked = read_lock(root)
    if protocol_id is not None:
        chosen = [protocol_id]
    elif regime in (*REGIMES, "all"):
        wanted = REGIMES if regime == "all" else (regime,)
        chosen = [found for one in wanted if (found := _newest_locked(locked, f"{submission.dataset}/{student}-{one}/v"))]
    else:
        raise UsageError(f"no regime {regime!r}", where="--regime", fix=f"choose one of: {', '.join((*REGIMES, 'all'))}")
    if not chosen:
        known = [name for name in locked if name.startswith(f"{submission.dataset}/")]
        raise UsageError(
            f"no frozen {student} protocol for {submission.dataset} under regime {regime}",
            where=submission.relative_path,
            fix=f"use --protocol with one of: {', '.join(known)}; or --student" if known else "see `hlbench protocols list`",
        )
    return [_runnable_protocol(root, locked, name, submission) for name in chosen]


def choose_draws(submission: Submission, draws: tuple[int, ...] | None) -> tuple[int, ...]:
    """`draws` in ascending order, or all of the submission's. Raises UsageError for a draw it does not have."""
    known = range(submission.draws)
    if foreign := sorted(set(draws or ()) - set(known)):
        raise UsageError(f"no draw {foreign[0]}", where=submission.relative_path, fix=f"its draws are 0 to {known[-1]} (--draws)")
    return tuple(known) if draws is None else tuple(sorted(set(draws)))


def choose_seeds(protocol: Protocol, seeds: tuple[int, ...] | None) -> tuple[int, ...]:
    """`seeds` in the protocol's order, or all of the protocol's. Raises UsageError for a seed the protocol does not list."""
    if seeds is None:
        return protocol.seeds
    if foreign := sorted(set(seeds) - set(protocol.seeds)):
        raise UsageError(
            f"seed {foreign[0]} is not one of the protocol's",
            where="--seeds",
            why=f"{protocol.id} lists {_listed(protocol.seeds)}; a seed picked by hand could be a lucky one",
            fix="choose among them",
        )
    return tuple(seed for seed in protocol.seeds if seed in seeds)


def take_shard(units: list[Unit], index: int, count: int) -> list[Unit]:
    """Shard `index` of `count` (1-based): every count-th unit in the order of ids, returned in plan order.

    The shards of one plan partition it and differ by at most one unit in size, wherever they are computed. Raises UsageError.
    """
    if not 1 <= index <= count:
        raise UsageError(
            f"shard {index}/{count} does not exist", where="--shard", fix="write i/N with 1 <= i <= N, for example 1/4"
        )
    ours = set(sorted(unit.id for unit in units)[index - 1 :: count])
    return [unit for unit in units if unit.id in ours]


def existing_record(unit: Unit) -> Record | None:
    """The valid record of this very unit, or None when it has none yet.

    Raises RecordError when the record is malformed or altered, or was made from another content of the submission or protocol.
    """
    if not unit.record.exists():
        return None
    record = read_record(unit.record)
    if record.unit.id != unit.id:
        changed = "submission" if record.unit.submission_sha256 != unit.submission.digest else "protocol"
        raise RecordError(
            f"this unit's record was made from another version of its {changed}",
            where=str(unit.record),
            why="records are never rewritten, and these would be other numbers under the same name",
            fix=f"restore the {changed}, or submit under another slug, or delete the old record",
        )
    return record


def with_ood(units: Iterable[Unit]) -> list[Unit]:
    """The same units, to be measured on corrupted test images too (`run --ood`)."""
    return [replace(unit, ood=True) for unit in units]


def is_done(unit: Unit) -> bool:
    """Whether all that was asked of the unit has been recorded. A student that diverged has nothing to measure on other images.

    Raises RecordError as `existing_record`, and for a file of `ood/` that is malformed or belongs to another record or to none.
    """
    record = existing_record(unit)
    if not unit.ood:
        return record is not None
    if record is None and ood_path(unit.record).exists():
        raise RecordError(
            "corrupted-image errors lie beside no record",
            where=str(ood_path(unit.record)),
            why=f"{unit.record.name} is gone",
            fix="restore it from version control, or delete this file too",
        )
    return record is not None and (record.result is None or ood_record_of(unit.record, record) is not None)


def unit_state(unit: Unit) -> State:
    """`unusable`: a record is there that `is_done` refuses."""
    try:
        if is_done(unit):
            return "done"
    except RecordError:
        return "unusable"
    return "claimed" if is_claimed(unit.record) else "missing"


def _newest_locked(locked: Iterable[str], prefix: str) -> str | None:
    versions = [name for name in locked if name.startswith(prefix)]
    return max(versions, key=lambda name: int(name.removeprefix(prefix)), default=None)


def _runnable_protocol(root: Path, locked: dict[str, LockEntry], protocol_id: str, submission: Submission) -> Protocol:
    protocol = find_protocol(root, protocol_id)
    check_teacher_exists(protocol)
    if protocol_id not in locked or locked[protocol_id].sha256 != protocol.sha256:
        raise ProtocolError(
            f"protocol {protocol_id} cannot be run",
            where=str(root / "protocols" / f"{protocol_id}.yaml"),
            why="it was edited after it was frozen"
            if protocol_id in locked
            else "it is not frozen, so its numbers could not be compared",
            fix="restore it from version control" if protocol_id in locked else f"hlbench protocols freeze {protocol_id}",
        )
    if protocol.dataset.name != submission.dataset:
        raise UsageError(
            f"protocol {protocol_id} does not fit the submission",
            where=submission.relative_path,
            why=f"the protocol is for {protocol.dataset.name}, the submission for {submission.dataset}",
            fix=f"choose a protocol whose id starts with {submission.dataset}/",
        )
    return protocol


def _listed(seeds: tuple[int, ...]) -> str:
    return ", ".join(map(str, seeds))
