"""How far a run is: a live bar on a terminal, one line per finished unit elsewhere (logs, schedulers)."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from harness.plan import Unit, unit_state
from harness.reports import console, debugging, readable_seconds
from harness.runner import Summary, run_units
from harness.work import Event, Machine, Report

SECONDS_BETWEEN_LINES = 20.0


def run_with_progress(units: list[Unit], machine: Machine, workers: int, console: Console) -> Summary:
    """`run_units`, shown on `console`, with a closing line. On Ctrl-C says how to resume, and passes KeyboardInterrupt on."""
    done = sum(unit_state(unit) == "done" for unit in units)
    try:
        with show_progress(len(units), done, console) as report:
            summary = run_units(units, machine, report, workers)
    except KeyboardInterrupt:
        done = sum(unit_state(unit) == "done" for unit in units)
        again = shlex.join(["hlbench", *sys.argv[1:]])
        console.print(Text(f"Interrupted: {done} of {len(units)} units are done and kept. To resume, run it again:\n  {again}"))
        raise
    console.print(Text(closing_line(summary)))
    return summary


def closing_line(summary: Summary) -> str:
    """`9 units: 3 were done, 5 done now, 1 failed.`"""
    parts = [f"{summary.done_before} were done", f"{len(summary.finished)} done now"]
    if summary.claimed:
        parts.append(f"{len(summary.claimed)} being done by another run")
    if summary.failures:
        parts.append(f"{len(summary.failures)} errors; the same command tries again what has no record")
    return f"{summary.total} units: {', '.join(parts)}."


@contextmanager
def show_progress(total: int, done: int, console: Console) -> Iterator[Report]:
    """Within the block the yielded function shows events. `total` units, of which `done` need no work."""
    if not console.is_terminal:
        yield _plain_lines(total, done, console)
        return
    current = TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"))
    columns = [BarColumn(20), MofNCompleteColumn(), TextColumn("units, left"), TimeRemainingColumn(), current]
    with Progress(*columns, console=console, expand=True) as progress:
        yield _live_bar(progress, total, done)


def _plain_lines(total: int, done: int, console: Console) -> Report:
    started, done_before = time.monotonic(), done

    def report(event: Event) -> None:
        nonlocal done
        if event.kind == "finished":
            done += 1
            pace = (time.monotonic() - started) / (done - done_before)
            left = f", {readable_seconds(pace * (total - done))} left" if done < total else ""
            console.print(Text(f"[{done}/{total}] {event.unit}: {event.text}{left}"), soft_wrap=True)
            console.file.flush()
        elif event.kind == "failed":
            _print_failure(event, console)

    return report


def _live_bar(progress: Progress, total: int, done: int) -> Report:
    """The bar counts started units by the share of their epochs, so that the time left is known before the first one ends."""
    task = progress.add_task("starting", total=total, completed=done)
    share: dict[int, float] = {}  # of the unit each worker is at

    def report(event: Event) -> None:
        nonlocal done
        if event.kind == "epoch":
            share[event.worker] = event.epoch / event.epochs
            progress.update(task, description=f"{event.unit}, epoch {event.epoch}/{event.epochs}")
        else:
            share.pop(event.worker, None)
        if event.kind == "started":
            progress.update(task, description=event.unit)
        elif event.kind == "finished":
            done += 1
            progress.console.print(Text(f"{event.unit}: {event.text}"))
        elif event.kind == "failed":
            _print_failure(event, progress.console)
        progress.update(task, completed=done + sum(share.values()))

    return report


def _print_failure(event: Event, console: Console) -> None:
    console.print(Text(f"FAILED {event.unit}: {event.text}"), soft_wrap=True)
    if event.details and debugging():
        console.print(Text(event.details), soft_wrap=True)


@contextmanager
def count(what: str) -> Iterator[Callable[[int, int], None]]:
    """Within the block the yielded function shows (done, total) of `what` on stderr: as a bar, or as lines in a log."""
    shown = console(stderr=True)
    if shown.is_terminal:
        with Progress(BarColumn(20), MofNCompleteColumn(), TextColumn(what), TimeRemainingColumn(), console=shown) as progress:
            task = progress.add_task("", total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)
        return
    last = time.monotonic()

    def line(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > SECONDS_BETWEEN_LINES:
            shown.print(Text(f"{done} of {total} {what}"))
            last = time.monotonic()

    yield line
