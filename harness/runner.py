"""Run units: fetch, check and load each draw once, train its students, write one record per unit.

A unit is done when its record exists and is valid, so running the same command again resumes. Records are written for students
that finished and for those that diverged (a result about the set). Nothing is written when a submission breaks a rule, when an
error interrupts a unit, or on Ctrl-C: such a unit is simply not done, and the next run tries it again.
"""

from __future__ import annotations

import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.claim import claimed, is_claimed
from harness.errors import EnvironmentProblem, HlbenchError, RecordError
from harness.plan import Unit, existing_record
from harness.records import DataInfo, Record, UnitInfo, write_record

if TYPE_CHECKING:
    from harness.imageset import ImageSet
    from harness.training.evaluate_set import Outcome


@dataclass(frozen=True)
class Machine:
    """What the work runs on: `device` is auto, cpu, cuda or cuda:<i>; `threads` None leaves torch's own choice."""

    root: Path
    data: Path | None = None
    device: str = "auto"
    threads: int | None = None
    worker: int = 0


@dataclass(frozen=True)
class Event:
    """One step of the work, for progress displays. `text`: result or error, ready to print; `details`: traceback of an error."""

    kind: Literal["started", "epoch", "finished", "failed"]
    unit: str
    worker: int = 0
    epoch: int = 0
    epochs: int = 0
    text: str = ""
    details: str = ""
    exit_code: int = 0


Report = Callable[[Event], None]


@dataclass
class Summary:
    """How a run went. `claimed` units are being worked on by another run."""

    total: int
    done_before: int = 0
    finished: list[str] = field(default_factory=list)
    failures: list[Event] = field(default_factory=list)
    claimed: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0, or 1 when a submission is at fault, else 3 when only the machine is."""
        return min((failure.exit_code for failure in self.failures), default=0)


def run_units(units: list[Unit], machine: Machine, report: Report, workers: int = 1) -> Summary:
    """Do every unit that is not done yet, in this process or in `workers` spawned ones.

    Raises KeyboardInterrupt on Ctrl-C and on SIGTERM, with every finished record kept and no partial one left.
    """
    summary = Summary(total=len(units))

    def note(event: Event) -> None:
        if event.kind == "failed":
            if any((event.unit, event.text) == (known.unit, known.text) for known in summary.failures):
                return  # another worker met the same error
            summary.failures.append(event)
        if event.kind == "finished":
            summary.finished.append(event.unit)
        report(event)

    todo = []
    for unit in units:
        try:
            todo += [unit] if existing_record(unit) is None else []
        except RecordError as error:
            note(_failure(unit.name, error))
    summary.done_before = len(units) - len(todo) - len(summary.failures)
    with _sigterm_as_interrupt():
        if workers > 1 and len(todo) > 1:
            from harness.workers import work_in_parallel

            work_in_parallel(todo, machine, note, min(workers, len(todo)))
        elif todo:
            work_through(todo, machine, note)
    summary.claimed = [unit.name for unit in todo if unit.name not in summary.finished and is_claimed(unit.record)]
    return summary


def work_through(units: list[Unit], machine: Machine, report: Report) -> None:
    """Do the units that nobody has done or claimed, in order; errors are reported and the work goes on.

    A broken rule or a missing thing (HlbenchError) stops its submission, any other error only its unit.
    """
    device = prepare_torch(machine)
    stopped: set[str] = set()
    for (digest, _), group in groupby(units, key=lambda unit: (unit.submission.digest, unit.draw)):
        load = cache(load_set)  # one set at a time stays in memory
        for unit in group:
            if digest in stopped:
                break
            try:
                _do_unit(unit, lambda unit: load(unit.submission, unit.draw, machine), device, machine, report)
            except HlbenchError as error:
                stopped.add(digest)
                report(_failure(unit.name, error, machine.worker))
            except Exception as error:
                report(_failure(unit.name, error, machine.worker))


def prepare_torch(machine: Machine) -> str:
    """Set torch's thread count and return the device to train on (`cpu`, `cuda:<i>`). Raises EnvironmentProblem.

    `auto` and `cuda` spread the workers of one machine over its GPUs.
    """
    import torch

    if machine.threads is not None:
        torch.set_num_threads(machine.threads)
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if machine.device == "cpu" or (machine.device == "auto" and not gpus):
        return "cpu"
    asked = machine.device.removeprefix("cuda").removeprefix(":")
    index = int(asked) if asked.isdigit() else machine.worker % max(gpus, 1)
    if index >= gpus:
        raise EnvironmentProblem(
            f"no device {machine.device!r} on this machine",
            where="--device",
            why=f"torch {torch.__version__} sees {gpus} CUDA device(s)",
            fix="use --device cpu, or see `hlbench doctor`",
        )
    return f"cuda:{index}"


def load_set(submission, draw: int, machine: Machine) -> tuple[ImageSet, dict]:
    """(checked set, audit facts) of one draw. Raises SubmissionError and EnvironmentProblem."""
    from harness.datasets import dataset_spec, load_split
    from harness.hub import fetch_set
    from harness.intake import read_set

    fetched = fetch_set(submission.sets[draw], machine.root)
    spec = dataset_spec(submission.dataset)
    return read_set(fetched.root, fetched.files, submission, spec, lambda: load_split(submission.dataset, "train", machine.data))
