"""Losses of a pool's subsets, one line each, as a committed CSV: what was computed once is not computed again.

A line counts while the objective (name, version, settings, and the hashes of the split and networks it used) and the subset are
what they were; other lines are dropped when the file is next written.
"""

from __future__ import annotations

import csv
import io
import math
import os
import tempfile
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from harness.errors import CheckFailed

SHORT = 12  # hex digits shown of a hash


@dataclass(frozen=True)
class LossRow:
    """`identity` and `subset_sha256`: the first 12 hex digits. `standard_error`: over `draws`; None for one draw."""

    objective: str
    identity: str
    subset: str
    subset_sha256: str
    loss: float
    standard_error: float | None
    draws: int


COLUMNS = tuple(field.name for field in fields(LossRow))


def losses_path(root: Path, pool_name: str) -> Path:
    """`pool_name`: `digits-v1`."""
    return root / "leaderboards" / "dcs" / f"{pool_name}-losses.csv"


def read_losses(path: Path) -> tuple[LossRow, ...]:
    """Every line; () where there is no file. Raises CheckFailed naming the line that is not as it was written."""
    if not path.is_file():
        return ()
    lines = csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline=""))
    if tuple(next(lines, ())) != COLUMNS:
        raise _damaged(path, 1, f"its columns are not {', '.join(COLUMNS)}")
    rows = []
    for number, cells in enumerate(lines, start=2):
        try:
            name, identity, subset, subset_sha256, loss, error, draws = cells
            row = LossRow(name, identity, subset, subset_sha256, float(loss), float(error) if error else None, int(draws))
        except ValueError as reason:
            raise _damaged(path, number, str(reason)) from reason
        if not math.isfinite(row.loss):
            raise _damaged(path, number, f"the loss is {loss}")
        rows.append(row)
    return tuple(rows)


def write_losses(path: Path, rows: Iterable[LossRow]) -> None:
    """Replace the file in one step, sorted by objective and subset; the same rows give the same bytes."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in sorted(rows, key=lambda one: (one.objective, one.identity, one.subset)):
        writer.writerow(["" if value is None else repr(value) if isinstance(value, float) else value for value in astuple(row)])
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text.getvalue())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _damaged(path: Path, line: int, why: str) -> CheckFailed:
    return CheckFailed(
        "a table of losses is not as it was written", where=f"{path}, line {line}", why=why, fix="restore it, or delete it"
    )
