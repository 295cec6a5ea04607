"""Losses of somebody's own objective: from a file of one loss a subset, or from a function on the author's machine.

A function gets the images and labels of one subset, and nothing else. What it compares them with, it loads itself, once:

    from functools import cache
    import numpy as np
    from harness.datasets import load_split

    @cache
    def train():
        return load_split("digits", "train")      # .images uint8 [N, 3, H, W], .labels int64 [N]

    def loss(images, labels):                     # uint8 [n, 3, H, W], int64 [n], class by class
        random = np.random.default_rng(0)         # made anew in every call: the same draws for every subset
        real = train().images[random.choice(len(train().labels), 256, replace=False)]
        return float(np.square(images.mean(axis=0) - real.mean(axis=0)).sum())
"""

from __future__ import annotations

import csv
import importlib
import io
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np

from harness.datasets.base import Split
from harness.errors import UsageError

MAX_BYTES = 1 << 20
COLUMNS = ("subset", "loss")
SHOWN = 5  # ids named in an error

Loss = Callable[[np.ndarray, np.ndarray], float]


def read_custom_losses(path: Path, subsets: Iterable[str], partial: bool = False) -> dict[str, float]:
    """{subset id: loss} of a CSV with the columns subset, loss. `subsets`: the pool's ids; `partial`: some may be missing.

    Raises UsageError naming the first lines that are wrong (no finite number, a subset given twice), or ids unknown or missing.
    """
    wanted = list(subsets)
    header, *lines = _lines(path)
    if not header:
        raise _unfit(path, "it is empty, or its first line is", f"begin with {','.join(COLUMNS)}")
    if header != COLUMNS:
        raise _unfit(path, f"its first line is {','.join(header)[:80]}", f"begin with {','.join(COLUMNS)}")
    losses, first_line, faults = {}, {}, []
    for number, cells in enumerate(lines, start=2):
        if not cells:
            continue
        if fault := _fault(number, cells, first_line):
            faults.append(fault)
        else:
            losses[cells[0]], first_line[cells[0]] = _number(cells[1]), number
    if faults:
        more = f"; and {len(faults) - SHOWN} more such lines" if len(faults) > SHOWN else ""
        raise _unfit(path, "; ".join(why for why, _ in faults[:SHOWN]) + more, faults[0][1])
    unknown = sorted(set(losses) - set(wanted))
    missing = [subset for subset in wanted if subset not in losses]
    if unknown:
        lacks = f", and {len(missing)} of the pool's have no loss" if missing else ""
        raise _unfit(path, f"the pool has no subset {_named(unknown)}{lacks}", "`hlbench pool show` lists the ids")
    if not losses:
        raise _unfit(path, "it holds no loss", "write a line subset,loss for each subset")
    if missing and not partial:
        raise _unfit(path, f"it has no loss for {_named(missing)}", "add them, or score what is there with --partial")
    return losses


def find_function(spec: str) -> Loss:
    """The function that `module:function` names; modules of the working folder are found. Raises UsageError."""
    module, sign, name = spec.partition(":")
    if not sign or not module or not name:
        raise UsageError(f"{spec!r} names no function", where="--objective", fix="write module:function")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), name)
    except (Exception, SystemExit) as reason:  # importing runs the author's code, which may raise anything
        raise UsageError(
            f"cannot import {spec}", where="--objective", why=f"{type(reason).__name__}: {reason}",
            fix="mend it, or run this where Python finds it",
        ) from reason  # fmt: skip
    finally:
        sys.path.pop(0)
    if not callable(found):
        raise UsageError(f"{spec} is no function", where="--objective", fix="name one that takes (images, labels)")
    return found


def losses_of_function(
    loss: Loss, spec: str, sets: Mapping[str, np.ndarray], train: Split, report: Callable[[int, int], None],
    known: Mapping[str, float], keep: Callable[[Mapping[str, float]], None],
) -> dict[str, float]:  # fmt: skip
    """`loss(images uint8 [n, 3, H, W], labels int64 [n])` of every set of `sets`, {subset id: rows}.

    `known`: losses that need no call; `keep` is told of all that are there after every call. Raises UsageError for a loss that is
    not finite, or when the function fails.
    """
    found = {name: known[name] for name in sets if name in known}
    for name, rows in sets.items():
        if name in found:
            continue
        try:
            with redirect_stdout(sys.stderr):  # what the author prints must not stand in `--json`
                value = float(loss(np.ascontiguousarray(train.images[rows]), train.labels[rows]))
        except (Exception, SystemExit) as reason:  # the author's code may raise anything, and return what is no number
            why = f"{type(reason).__name__}: {reason}"
            raise UsageError(f"{spec} fails", where=name, why=why, fix="it takes (images, labels) and gives a number") from reason
        if not math.isfinite(value):
            raise UsageError(f"{spec} gives {value}", where=name, fix="a loss is a finite number for every set")
        found[name] = value
        keep(found)
        report(len(found), len(sets))
    return {name: found[name] for name in sets}


def _lines(path: Path) -> list[tuple[str, ...]]:
    """Cells without the blanks around them; the first line is () where there is none."""
    try:
        found = [tuple(cell.strip() for cell in cells) for cells in csv.reader(io.StringIO(_text(path), newline=""), strict=True)]
    except csv.Error as reason:
        raise _unfit(path, str(reason), "close every quote; cells need none") from reason
    return found or [()]


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise _unfit(path, f"it is larger than {MAX_BYTES:,} bytes", "give one line a subset")
        return content.decode("utf-8-sig")
    except OSError as reason:
        why = reason.strerror or str(reason)
        raise UsageError("cannot read the file of losses", where=str(path), why=why, fix="name a CSV file") from reason
    except UnicodeDecodeError as reason:
        raise UsageError(
            "cannot read the file of losses", where=str(path), why="it is no UTF-8 text", fix="save it as CSV in UTF-8"
        ) from reason


def _fault(line: int, cells: tuple[str, ...], first_line: Mapping[str, int]) -> tuple[str, str] | None:
    """What is wrong with a line, and how to mend it."""
    if len(cells) != len(COLUMNS):
        return f"line {line} has {len(cells)} cells", "write subset,loss on every line, decimals with a point"
    subset, loss = cells
    if subset in first_line:
        why = f"line {line} gives {subset[:80]} a second time, after line {first_line[subset]}"
        return why, "give every subset one loss"
    if not math.isfinite(_number(loss)):
        fix = "give every subset a number; a subset without one may be left out with --partial"
        return f"line {line}: {loss[:40]!r} is no finite number", fix
    return None


def _number(text: str) -> float:
    try:
        return float(text.replace("_", "?"))  # Python reads 1_000 as a thousand, which no other reader of CSV does
    except ValueError:
        return math.nan


def _named(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    return ", ".join(ids[:SHOWN]) + more


def _unfit(path: Path, why: str, fix: str) -> UsageError:
    return UsageError("the file of losses does not fit the pool", where=str(path), why=why, fix=fix)
