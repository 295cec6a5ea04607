"""The file of a look-up table: its columns, its rows, what is refused. Torch-free; `harness/dcs/lookup.py` says what it holds."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from harness.errors import CheckFailed

STATUSES = ("ok", "diverged")
CODE = re.compile(r"([0-9a-f]{12}\+?)?")
UNIT_DIGITS = 12  # of a unit's id, as elsewhere where it is shown
MOST_BYTES = 4 << 20
SEVERITIES = range(1, 6)
CLEAN_COLUMNS = ("subset", "seed", "status", "top1_error", "test_loss", "unit", "code")
CORRUPTIONS = 1  # `VERSION` of harness/datasets/corruptions, whose import is slow; errors of another version are other columns
OOD_COLUMNS = (f"ood_v{CORRUPTIONS}_error", *(f"ood_v{CORRUPTIONS}_severity{severity}" for severity in SEVERITIES))
COLUMNS = (*CLEAN_COLUMNS, *OOD_COLUMNS)
ROUNDING = 1e-3  # cells have four decimals, so the mean of five may be off by 1e-4


@dataclass(frozen=True)
class Row:
    """One student. `top1_error` in percent and `test_loss` in nats at the last epoch, None when it diverged.

    `unit`: the first 12 hex digits of its unit's id. `code`: the commit that trained it, with `+` when files were changed since.
    `ood`: top-1 errors of the same student in percent on the test split under the 15 corruptions, (mean over all 75, mean at
    severity 1, ..., 5), methods E.4; () when not measured.
    """

    subset: str
    seed: int
    status: str
    top1_error: float | None
    test_loss: float | None
    unit: str
    code: str
    ood: tuple[float, ...] = ()


def read_rows(path: Path, expected: Mapping[tuple[str, int], str]) -> list[Row]:
    """The rows of the file at `path`. `expected`: (subset, seed) -> the first digits of the unit that must have trained it.

    Raises CheckFailed naming the line: not a row, a key or unit that is not expected, twice there, or an impossible number.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise _refused(path, 1, f"it has more than {MOST_BYTES:,} characters")
        lines = list(csv.reader(io.StringIO(text), strict=True))
    except (UnicodeDecodeError, csv.Error) as reason:
        raise _refused(path, 1, str(reason)) from None
    if not lines or tuple(lines[0]) not in (CLEAN_COLUMNS, COLUMNS):
        raise _refused(path, 1, f"the columns are {', '.join(COLUMNS)}, or only the first {len(CLEAN_COLUMNS)} of them")
    rows: dict[tuple[str, int], Row] = {}
    for number, cells in enumerate(lines[1:], start=2):
        try:
            row = _parsed(cells, len(lines[0]))
        except ValueError as reason:
            raise _refused(path, number, str(reason)) from None
        key = (row.subset, row.seed)
        if key not in expected:
            raise _refused(path, number, f"the pool has no subset {row.subset!r} with seed {row.seed}")
        if row.unit != expected[key]:
            raise _refused(path, number, f"unit {row.unit} was trained on another pool or protocol; here it is {expected[key]}")
        if key in rows:
            raise _refused(path, number, f"{row.subset} with seed {row.seed} is there twice")
        rows[key] = row
    return list(rows.values())


def table_text(rows: Sequence[Row]) -> str:
    """The file that holds `rows`, in their order: the same rows give the same bytes."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        clean = (getattr(row, name) for name in CLEAN_COLUMNS)
        writer.writerow(["" if value is None else value for value in (*clean, *(row.ood or [None] * len(OOD_COLUMNS)))])
    return written.getvalue()


def _parsed(cells: list[str], width: int) -> Row:
    """`width`: number of columns. Raises ValueError saying what is wrong."""
    if len(cells) != width:
        raise ValueError(f"{len(cells)} cells instead of {width}")
    subset, seed, status, error, loss, unit, code = cells[: len(CLEAN_COLUMNS)]
    if status not in STATUSES or (status == "ok") != bool(error and loss):
        raise ValueError(f"status {status!r} with error {error!r} and loss {loss!r}; a student is ok and has both, or diverged")
    if not CODE.fullmatch(code):
        raise ValueError(f"code {code[:40]!r} is no commit")
    ood = _parsed_ood(cells[len(CLEAN_COLUMNS) :], status)
    row = Row(subset, int(seed), status, float(error) if error else None, float(loss) if loss else None, unit, code, ood)
    if row.top1_error is not None and not (0 <= row.top1_error <= 100 and 0 <= row.test_loss < float("inf")):
        raise ValueError(f"an error of {error} % with a loss of {loss}")
    return row


def _parsed_ood(cells: list[str], status: str) -> tuple[float, ...]:
    if not any(cells):
        return ()
    if status != "ok" or not all(cells):
        raise ValueError("errors on corrupted images are given in all six cells, of a student that is ok, or in none")
    mean, *by_severity = values = tuple(map(float, cells))
    if not all(0 <= value <= 100 for value in values) or abs(mean - fmean(by_severity)) > ROUNDING:
        raise ValueError(f"errors on corrupted images: a mean of {mean} % over {', '.join(map(str, by_severity))} %")
    return values


def _refused(path: Path, line: int, why: str) -> CheckFailed:
    fix = "restore the table from version control, or delete the line: hlbench pool table adds what is measured"
    return CheckFailed("the look-up table is not the pool's", where=f"{path}:{line}", why=why, fix=fix)
