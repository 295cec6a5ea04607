"""Run a list of units, in this process or in several: what is done is skipped, so the same command again resumes.

Everything random follows from the unit's seed, and every unit is trained by one thread, so neither the number of workers nor the
order of work changes a number.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing import connection
from multiprocessing.context import SpawnProcess

from harness.claim import is_claimed
from harness.environment import available_cores, visible_gpus
from harness.errors import EnvironmentProblem, HlbenchError, RecordError
from harness.plan import Unit, is_done
from harness.work import Event, Machine, Report, failure, work_through

MOST_WORKERS = 8  # by default; each holds a torch and a set of its own in memory
STOP_SECONDS = 30.0  # for a worker to release its claim after it was told to stop


@dataclass
class Summary:
    """How a run went, in unit names. `claimed`: units that another run is working on."""

    total: int
    done_before: int = 0
    finished: list[str] = field(default_factory=list)
    failures: list[Event] = field(default_factory=list)
    claimed: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 when nothing failed; 1 when a submission or a unit did; 3 when only the machine lacks something."""
        return min((failed.exit_code for failed in self.failures), default=0)


def run_units(units: list[Unit], machine: Machine, report: Report, workers: int = 1) -> Summary:
    """Do every unit that is not done yet, in this process or in `workers` spawned ones.

    Raises EnvironmentProblem when the device does not exist, and KeyboardInterrupt on Ctrl-C and on SIGTERM; then every finished
    record is kept and no partial one is left.
    """
    summary = Summary(total=len(units))

    def note(event: Event) -> None:
        if event.kind == "failed":
            if any((event.unit, event.text) == (known.unit, known.text) for known in summary.failures):
                return  # two workers met the same error
            summary.failures.append(event)
        elif event.kind == "finished":
            summary.finished.append(event.unit)
        report(event)

    todo = []
    for unit in units:
        try:
            todo += [] if is_done(unit) else [unit]
        except RecordError as error:
            note(failure(unit.name, error))
    summary.done_before = len(units) - len(todo) - len(summary.failures)
    workers = min(workers, len(todo))
    with sigterm_as_interrupt():
        if workers > 1:
            work_in_parallel(todo, machine, note, workers)
        elif todo:
            work_through(todo, machine, note)
    summary.claimed = [unit.name for unit in todo if unit.name not in summary.finished and is_claimed(unit.record)]
    return summary


def default_workers(device: str) -> int:
    """One per GPU, or one per core on a processor (at most 8)."""
    gpus = visible_gpus()
    on_gpu = device != "cpu" and gpus > 0
    return (gpus if device in ("auto", "cuda") else 1) if on_gpu else min(available_cores(), MOST_WORKERS)


def work_in_parallel(units: list[Unit], machine: Machine, report: Report, workers: int) -> None:
    """`workers` spawned processes go through the same list; claims keep them apart."""
    context = multiprocessing.get_context("spawn")  # fork would copy torch's thread pools and CUDA state
    processes: dict[connection.Connection, SpawnProcess] = {}
    try:
        with _interrupts_ignored():  # inherited: Ctrl-C reaches the workers as our SIGTERM, and only once
            for worker in range(workers):
                reader, writer = context.Pipe(duplex=False)
                share = replace(machine, worker=worker)
                process = context.Process(target=_worker, args=(units, share, writer))
                process.start()
                writer.close()  # the worker's end of file is then the worker's end
                processes[reader] = process
        _relay(dict(processes), report)
    finally:
        _stop(list(processes.values()))


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Within the block SIGTERM (schedulers, `kill`) ends the work as Ctrl-C does. Only the main thread may set handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _worker(units: list[Unit], machine: Machine, writer: connection.Connection) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with sigterm_as_interrupt():
            work_through(units, machine, writer.send)
    except HlbenchError as error:
        writer.send(failure("device", error, machine.worker))
    except (KeyboardInterrupt, BrokenPipeError):
        pass  # told to stop, or the command that started us is gone


def _end_with_parent() -> None:
    """A command killed outright cannot stop its workers: they would hold their claims until the next epoch."""
    connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _relay(running: dict[connection.Connection, SpawnProcess], report: Report) -> None:
    """Pass on what the workers report until the last one has ended."""
    while running:
        for reader in connection.wait(list(running)):
            try:
                report(reader.recv())
            except EOFError:
                process = running.pop(reader)
                process.join()
                if process.exitcode:
                    report(failure(f"worker {process.pid}", _died(process.exitcode)))


def _died(exit_code: int) -> EnvironmentProblem:
    return EnvironmentProblem(
        "a worker process died",
        why=f"exit status {exit_code}; -9 usually means that memory ran out",
        fix="run the same command again, with fewer --workers",
    )


def _stop(processes: list[SpawnProcess]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(STOP_SECONDS)
        process.kill()


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
