"""One process doing units: load each draw once, train its students, write one record per unit.

Records are written for students that finished and for those that diverged, which is a result about the set. Nothing is written
when a submission breaks a rule, when an error ends a unit, or on Ctrl-C: such a unit is simply not done, and the next run tries
it again.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.claim import claimed, release
from harness.environment import describe_environment
from harness.errors import EnvironmentProblem, HlbenchError, RecordError, SubmissionError, from_os_error
from harness.ood_records import require_same_student, write_ood_record
from harness.plan import Unit, existing_record, is_done
from harness.records import DataInfo, Record, UnitInfo, write_record
from harness.submissions import Submission

if TYPE_CHECKING:
    from harness.datasets import Split
    from harness.imageset import ImageSet
    from harness.training.evaluate_corrupted import OodOutcome
    from harness.training.evaluate_set import Outcome

# Several threads add in another order than one; training amplifies that rounding to points of accuracy (digits at IPC 1: 63.1
# against 57.5 % for one seed). With one thread a unit has the same numbers however many cores and workers there are.
THREADS_OF_A_UNIT = 1

CheckedSet = tuple["ImageSet", dict]


@dataclass(frozen=True)
class Machine:
    """What the work runs on.

    `data`: folder of real datasets (--data), or None. `device`: auto, cpu, cuda or cuda:<i>. `worker`: 0-based number of this
    process among those of one command.
    """

    root: Path
    data: Path | None = None
    device: str = "auto"
    worker: int = 0


@dataclass(frozen=True)
class Event:
    """One step of the work, for progress displays.

    `text`: the result or the error, ready to print; `details`: an unexpected error's traceback; `exit_code`: of a failure.
    """

    kind: Literal["started", "epoch", "finished", "failed"]
    unit: str
    worker: int = 0
    epoch: int = 0
    epochs: int = 0
    text: str = ""
    details: str = ""
    exit_code: int = 0


Report = Callable[[Event], None]


def work_through(units: list[Unit], machine: Machine, report: Report) -> None:
    """Do the units that nobody has done or claimed, in order; errors are reported and the work goes on.

    A broken rule or a missing thing (HlbenchError) stops its submission; a record that could not be written, and any error nobody
    foresaw, only its unit. Raises EnvironmentProblem when the device does not exist.
    """
    from harness.datasets import load_split

    machine = prepare_torch(machine)
    environment = describe_environment(machine.device)
    # Units come ordered by submission and draw, so each set is fetched and checked once, and one at a time stays in memory.
    read = lru_cache(maxsize=1)(lambda submission, draw: load_set(submission, draw, machine))
    load_test = lru_cache(maxsize=1)(lambda dataset: load_split(dataset, "test", machine.data))
    stopped: set[str] = set()

    def do(unit: Unit) -> None:
        with claimed(unit.record) as ours:
            if ours and not is_done(unit):
                report(Event("started", unit.name, machine.worker))
                image_set, audit = read(unit.submission, unit.draw)
                test = load_test(unit.submission.dataset)
                record, ood = train_unit(unit, image_set, audit, test, environment, machine, report)
                write_results(unit, record, ood)
                report(Event("finished", unit.name, machine.worker, text=_describe_result(record, ood)))

    for unit in units:
        if unit.submission.digest in stopped:
            continue
        try:
            do(unit)
        except KeyboardInterrupt:
            release(unit.record)  # the interrupt may have come just before or after the `with` above
            raise
        except BrokenPipeError:
            raise  # the process that reads our reports is gone
        except Exception as error:
            if isinstance(error, HlbenchError) and not isinstance(error, RecordError):
                stopped.add(unit.submission.digest)
            report(failure(unit.name, error, machine.worker))


def prepare_torch(machine: Machine) -> Machine:
    """Set torch's threads; `machine` with the device to train on: `cpu` or `cuda:<i>`. Raises EnvironmentProblem.

    `auto` and `cuda` spread the workers of one command over the machine's GPUs.
    """
    import torch

    torch.set_num_threads(THREADS_OF_A_UNIT)
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if machine.device == "cpu" or (machine.device == "auto" and not gpus):
        return replace(machine, device="cpu")
    number = machine.device.partition(":")[2]
    index = int(number) if number else machine.worker % max(gpus, 1)
    if index >= gpus:
        raise EnvironmentProblem(
            f"there is no device {machine.device!r} on this machine",
            where="--device",
            why=f"torch {torch.__version__} sees {gpus} CUDA devices",
            fix="use --device cpu, or see `hlbench doctor`",
        )
    return replace(machine, device=f"cuda:{index}")


def load_set(submission: Submission, draw: int, machine: Machine) -> CheckedSet:
    """(checked set, audit facts) of one draw. Raises SubmissionError and EnvironmentProblem."""
    from harness.datasets import dataset_spec, load_split
    from harness.hub import fetch_set
    from harness.intake import read_set
    from harness.remake import remake

    if submission.kind == "full":
        return whole_split(submission, load_split(submission.dataset, "train", machine.data))
    try:
        if submission.sets[draw].is_missing(machine.root):
            remake(submission, draw, machine.root, machine.data)
        fetched = fetch_set(submission.sets[draw], machine.root)
        spec = dataset_spec(submission.dataset)
        return read_set(
            fetched.root, fetched.files, submission, spec, lambda: load_split(submission.dataset, "train", machine.data)
        )
    except SubmissionError as error:
        whose = f"{submission.relative_path}, draw {draw}"
        where = f"{whose}: {error.where}" if error.where else whose
        raise SubmissionError(error.what, where=where, why=error.why, fix=error.fix) from error


def whole_split(submission: Submission, train: Split) -> CheckedSet:
    """The training split as the set of a `kind: full` submission. Raises SubmissionError when it is another than the file's."""
    import numpy as np

    from harness.imageset import ImageSet

    if train.fingerprint != submission.split_fingerprint:
        raise SubmissionError(
            "the training split is another than the submission names",
            where=f"{submission.relative_path}: split_fingerprint",
            why=f"{train.fingerprint[:12]} here, {submission.split_fingerprint[:12]} in the file",
            fix="use the dataset at the revision of its protocol; see `hlbench doctor`",
        )
    return ImageSet(train.images, train.labels, source_rows=np.arange(len(train))), {}


def train_unit(
    unit: Unit, image_set: ImageSet, audit: dict, test: Split, environment: dict, machine: Machine, report: Report
) -> tuple[Record, OodOutcome | None]:
    """Train and measure the student of one unit: its record, not yet written, and what it does on corrupted images if asked."""
    from harness.teachers import find_teacher
    from harness.training.evaluate_set import train_and_evaluate

    def on_epoch(done: int, total: int) -> None:
        report(Event("epoch", unit.name, machine.worker, done, total))

    teacher = find_teacher(machine.root, unit.protocol)
    arguments = (unit.protocol, unit.submission.ipc, image_set, test, unit.seed, machine.device, on_epoch, teacher)
    if unit.ood:
        from harness.training.evaluate_corrupted import train_and_evaluate_corrupted

        earlier = existing_record(unit)
        outcome, ood = train_and_evaluate_corrupted(earlier and earlier.result, *arguments)
    else:
        outcome, ood = train_and_evaluate(*arguments), None
    source = unit.source
    data = DataInfo(
        set_source=source.pinned if source else f"training split of {unit.submission.dataset}",
        set_content_sha256=source.content_sha256 if source else unit.submission.split_fingerprint,
        set_sha256=image_set.sha256,
        images=len(image_set),
        patch_shuffle=image_set.patch_shuffle,
        train_fingerprint=unit.submission.split_fingerprint,
        test_fingerprint=test.fingerprint,
        audit=audit,
    )
    return _record(unit, data, outcome, environment), ood


def write_results(unit: Unit, record: Record, ood: OodOutcome | None) -> None:
    """The unit's record; with --ood also, tied to it or to the one an earlier run has written, the errors on corrupted images.

    Raises EnvironmentProblem when the student is not that of the earlier record, RecordError when a file is already there.
    """
    if not unit.ood or existing_record(unit) is None:
        write_record(unit.record, record)
    if unit.ood:
        written = existing_record(unit)
        require_same_student(unit.record, written, record)
        if ood is not None:
            write_ood_record(unit.record, written, record, ood.result, ood.seconds)


def failure(name: str, error: Exception, worker: int = 0) -> Event:
    """The error as an event: a user's error speaks for itself, any other keeps its traceback."""
    if isinstance(error, HlbenchError):
        return Event("failed", name, worker, text=str(error), exit_code=error.exit_code)
    if isinstance(error, OSError):
        return Event("failed", name, worker, text=str(from_os_error(error)), exit_code=EnvironmentProblem.exit_code)
    text = f"unexpected {type(error).__name__}: {error}\n  fix: nothing was written; run it again, with --debug to see where"
    return Event("failed", name, worker, text=text, details="".join(traceback.format_exception(error)), exit_code=1)


def _record(unit: Unit, data: DataInfo, outcome: Outcome, environment: dict) -> Record:
    submission, protocol = unit.submission, unit.protocol
    about = UnitInfo(
        id=unit.id,
        slug=submission.slug,
        submission_sha256=submission.digest,
        kind=submission.kind,
        method=submission.method,
        dataset=submission.dataset,
        ipc=submission.ipc,
        draw=unit.draw,
        protocol=protocol.id,
        protocol_sha256=protocol.sha256,
        student=protocol.student_name,
        regime=protocol.regime,
        seed=unit.seed,
    )
    return Record(
        status=outcome.status,
        unit=about,
        data=data,
        result=outcome.result,
        curve=outcome.curve,
        wall_seconds=outcome.wall_seconds,
        images_per_second=outcome.images_per_second,
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        environment=environment,
        engine=outcome.engine,
    )


def _describe_result(record: Record, ood: OodOutcome | None) -> str:
    result = "diverged" if record.result is None else f"top-1 {record.result.top1:.2f} %"
    corrupted = "" if ood is None else f"; on corrupted images {100 - ood.result.mean:.2f} % in {ood.seconds:.1f} s"
    return f"{result} in {record.wall_seconds:.1f} s{corrupted}"
