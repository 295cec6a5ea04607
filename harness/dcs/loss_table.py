"""Losses of a pool's subsets, one line each, as a committed CSV: what was computed once is not computed again.

A line counts while the objective (name, version, settings, and the hashes of the split and networks it used) and the subset are
what they were; other lines are dropped when the file is next written. A file may come from a stranger's branch: names and hashes
have a fixed form, an objective has one identity, and a subset one line.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from filelock import FileLock

from harness.dcs.pool import Pool
from harness.errors import CheckFailed
from harness.whole_files import write_in_one_step

SHORT = 12  # hex digits shown of a hash
MOST_BYTES = 4 << 20
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")  # of an objective: it stands in file names and on pages
FORMS = {"objective": NAME, "identity": re.compile(r"[0-9a-f]{12}"), "subset": re.compile(r"[a-z0-9-]{1,64}"),
         "subset_sha256": re.compile(r"[0-9a-f]{12}")}  # fmt: skip


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


def losses_path(root: Path, pool: Pool) -> Path:
    return root / "leaderboards" / "dcs" / f"{pool.stem}-losses.csv"


def folded(name: str) -> str:
    """Names that differ by case, `-` and `_` alone are one: their figures would be one file on some disks."""
    return name.lower().replace("-", "_")


def subset_hashes(pool: Pool) -> dict[str, str]:
    """{subset id: the first 12 hex digits of its index's sha256}, as lines name it."""
    return {subset.id: subset.sha256[:SHORT] for subset in pool.subsets}


def lines_of(table: Sequence[LossRow], objective: str, pool: Pool) -> dict[str, LossRow]:
    """{subset id: line} of one objective, of the pool's subsets as they are."""
    hashes = subset_hashes(pool)
    return {row.subset: row for row in table if row.objective == objective and hashes.get(row.subset) == row.subset_sha256}


def read_losses(path: Path) -> tuple[LossRow, ...]:
    """Every line; () where there is no file. Raises CheckFailed naming the line that is not as it was written."""
    if not path.is_file():
        return ()
    rows: list[LossRow] = []
    together = _Together()
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES:,} bytes")
        lines = csv.reader(io.StringIO(text.decode(), newline=""))
        if tuple(next(lines, ())) != COLUMNS:
            raise ValueError(f"its columns are not {', '.join(COLUMNS)}")
        for cells in lines:
            rows.append(_parsed(cells))
            together.add(rows[-1])
    except (ValueError, csv.Error) as reason:
        raise CheckFailed(
            "a table of losses is not as it was written", where=f"{path}, near line {len(rows) + 1}", why=str(reason),
            fix="restore it from version control: own losses in it cannot be computed again",
        ) from reason  # fmt: skip
    return tuple(rows)


def write_losses(path: Path, rows: Iterable[LossRow]) -> None:
    """Replace the file in one step, sorted by objective and subset; the same rows give the same bytes."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in sorted(rows, key=lambda one: (one.objective, one.identity, one.subset)):
        writer.writerow(["" if value is None else repr(value) if isinstance(value, float) else value for value in astuple(row)])
    write_in_one_step(path, text.getvalue().encode())


def put_losses(path: Path, rows: Sequence[LossRow], stays: Callable[[LossRow], bool]) -> None:
    """Add `rows` to the lines for which `stays` is true, as they are now: two commands at once lose nothing of each other's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = {(row.objective, row.subset) for row in rows}
    with FileLock(path.with_name(f".{path.name}.lock")):
        kept = [row for row in read_losses(path) if stays(row) and (row.objective, row.subset) not in new]
        try:
            together = _Together()
            for row in (*kept, *rows):
                together.add(row)
        except ValueError as reason:
            raise CheckFailed(
                "losses do not fit into the table", where=str(path), why=str(reason), fix="delete the lines of one of the two"
            ) from reason
        write_losses(path, [*kept, *rows])


def _parsed(cells: list[str]) -> LossRow:
    name, identity, subset, subset_sha256, loss, error, draws = cells
    row = LossRow(name, identity, subset, subset_sha256, float(loss), float(error) if error else None, int(draws))
    if wrong := [field for field, form in FORMS.items() if not form.fullmatch(getattr(row, field))]:
        raise ValueError(f"{wrong[0]}: {getattr(row, wrong[0])[:40]!r} has not the form {FORMS[wrong[0]].pattern}")
    if not math.isfinite(row.loss) or not 0 <= (row.standard_error or 0) < math.inf:
        raise ValueError(f"the loss is {loss}, its standard error {error}")
    if row.draws < 1:
        raise ValueError(f"a loss is the mean of {draws} draws")
    return row


class _Together:
    """What a table of losses may hold beside what: `add` raises ValueError for a line that does not go with those before it."""

    def __init__(self) -> None:
        self.identities: dict[str, str] = {}
        self.names: dict[str, str] = {}
        self.seen: set[tuple[str, str]] = set()

    def add(self, row: LossRow) -> None:
        if self.identities.setdefault(row.objective, row.identity) != row.identity:
            raise ValueError(f"{row.objective} stands there under two identities, which cannot be compared")
        if self.names.setdefault(folded(row.objective), row.objective) != row.objective:
            raise ValueError(f"{row.objective} and {self.names[folded(row.objective)]} are too alike to be two objectives")
        if (row.objective, row.subset) in self.seen:
            raise ValueError(f"{row.objective} has two losses of {row.subset}")
        self.seen.add((row.objective, row.subset))
