"""Figures printed in papers and on other leaderboards: read strictly, compared with our own, never mixed with them.

`leaderboards/reported/<source>.csv`, one row per printed number, copied digit for digit. A folder of records has the reported
figures beside it, so a demo's board shows none.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from harness.errors import HlbenchError
from harness.scoring.gaps import BASELINE
from harness.scoring.tables import RankedRow, Table

TOLERANCE = 1.0  # points within which a reproduction counts as calibrated (methods J, acceptance anchors)
MAX_BYTES = 1 << 20

SLUG = (r"[a-z0-9][a-z0-9-]{0,63}", "1 to 64 of a-z, 0-9 and '-'")
TEXT = (r"\S(.{0,198}\S)?", "1 to 200 characters without blanks around them")
NUMBER = r"(0|[1-9][0-9]{0,2})(\.[0-9]{1,4})?"
COLUMNS = {
    "source": TEXT,
    "table": TEXT,
    "page": (r"([1-9][0-9]{0,3})?", "a page number, or empty"),
    "dataset": SLUG,
    "student": SLUG,
    "regime": (r"hl|sl|sl-kd", "one of: hl, sl, sl-kd"),
    "method": TEXT,
    "kind": (r"distilled|coreset|full", "one of: distilled, coreset, full"),
    "ipc": (r"[1-9][0-9]{0,3}", "a whole number from 1"),
    "mean": (NUMBER, "a percentage as printed, such as 28.52"),
    "spread": (rf"({NUMBER})?", "the printed ± in points, or empty"),
    "note": (r"(\S(.{0,298}\S)?)?", "at most 300 characters without blanks around them, or empty"),
}
OUR_METHOD = {"random-real": BASELINE}


class ReportedError(HlbenchError):
    """A file of reported figures breaks its schema. Exit code 1."""


@dataclass(frozen=True)
class Reported:
    """One printed top-1 accuracy in percent. Decimals keep the printed digits; `spread` is the printed ±, whatever it means."""

    source: str
    table: str
    page: int | None
    dataset: str
    student: str
    regime: str
    method: str
    kind: str
    ipc: int
    mean: Decimal
    spread: Decimal | None
    note: str

    @property
    def our_method(self) -> str:
        """The name that a submission of this method bears: `random` for `Random Real`, `el2n-best` for `EL2N-Best`."""
        name = re.sub(r"[^a-z0-9]+", "-", self.method.lower()).strip("-")
        return OUR_METHOD.get(name, name)


@dataclass(frozen=True)
class Reproduction:
    """A reported figure and our row of the same dataset, student, regime, IPC, kind and method. `points`: ours minus reported."""

    reported: Reported
    table: Table
    ours: RankedRow
    points: float

    @property
    def inside_interval(self) -> bool | None:
        """Whether the reported mean lies in our 95% interval; None when we have no interval."""
        half_width = self.ours.top1.half_width if self.ours.top1 else None
        return None if half_width is None else abs(self.points) <= half_width

    @property
    def within_tolerance(self) -> bool:
        return abs(self.points) <= TOLERANCE


def reported_folder(results: Path) -> Path:
    """Where the reported figures lie: beside the folder of records."""
    return results.resolve().parent / "reported"


def read_reported(folder: Path) -> list[Reported]:
    """Every row of every `*.csv` in `folder`, by file name and in file order; [] without the folder.

    Raises ReportedError naming file, line and key of the first fault.
    """
    return [entry for path in sorted(folder.glob("*.csv")) for entry in _read_file(path)]


def reproductions(reported: Iterable[Reported], tables: Sequence[Table]) -> list[Reproduction]:
    """Every pair of a reported figure and a measured row of ours that claim to be the same thing, in the order of `reported`."""
    return [
        Reproduction(entry, table, ranked, ranked.top1.mean - float(entry.mean))
        for entry in reported
        for table in tables
        for ranked in table.all_rows
        if ranked.top1 and _same(entry, table, ranked)
    ]


def _same(entry: Reported, table: Table, ranked: RankedRow) -> bool:
    ours, protocol = ranked.row.submission, table.protocol
    where = (protocol.dataset.name, protocol.student_name, protocol.regime, table.ipc)
    reported = entry.dataset, entry.student, entry.regime, entry.ipc
    return where == reported and (ours.method, ours.kind) == (entry.our_method, entry.kind)


def _read_file(path: Path) -> list[Reported]:
    lines = _lines(path)
    if not lines or lines[0][1] != list(COLUMNS):
        raise ReportedError(
            "the columns of a file of reported figures are fixed", where=f"{path}:1", fix=f"write: {','.join(COLUMNS)}"
        )
    entries: list[Reported] = []
    seen: dict[tuple[object, ...], int] = {}
    for line, cells in lines[1:]:
        entry = _parse(path, line, cells)
        _refuse_mixed_source(path, line, entry, entries)
        key = (entry.table, entry.dataset, entry.student, entry.regime, entry.method, entry.ipc)
        if key in seen:
            raise ReportedError(
                "a figure is there twice", where=f"{path}:{line}: method", why=f"{key} is in line {seen[key]}", fix="remove one"
            )
        seen[key] = line
        entries.append(entry)
    return entries


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """(line number, cells) of every row. A row stays on one line, so that its number is where it is."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ReportedError("a file of reported figures is too large", where=str(path), why=f"limit {MAX_BYTES} bytes")
        text = path.read_bytes().decode()
    except UnicodeDecodeError as reason:
        raise ReportedError("file is not UTF-8 text", where=str(path), why=str(reason)) from reason
    numbered = []
    for line, row in enumerate(text.removesuffix("\n").split("\n"), start=1):
        try:
            numbered.append((line, next(csv.reader([row], strict=True), [])))
        except csv.Error as reason:
            raise ReportedError("not a line of CSV", where=f"{path}:{line}", why=str(reason)) from reason
    return numbered


def _parse(path: Path, line: int, cells: list[str]) -> Reported:
    if len(cells) != len(COLUMNS):
        raise ReportedError(
            "a row has another number of cells than the header", where=f"{path}:{line}", why=f"{len(cells)} for {len(COLUMNS)}"
        )
    row = dict(zip(COLUMNS, cells, strict=True))
    for key, (pattern, expected) in COLUMNS.items():
        too_large = key in ("mean", "spread") and re.fullmatch(NUMBER, row[key]) and Decimal(row[key]) > 100
        if not re.fullmatch(pattern, row[key]) or not row[key].isprintable() or too_large:
            found = "more than 100 percent" if too_large else f"found {row[key]!r}"
            raise ReportedError(
                "a cell does not fit its column", where=f"{path}:{line}: {key}", why=found, fix=f"write {expected}"
            )
    return Reported(
        **{key: row[key] for key in ("source", "table", "dataset", "student", "regime", "method", "kind", "note")},
        page=int(row["page"]) if row["page"] else None,
        ipc=int(row["ipc"]),
        mean=Decimal(row["mean"]),
        spread=Decimal(row["spread"]) if row["spread"] else None,
    )


def _refuse_mixed_source(path: Path, line: int, entry: Reported, earlier: Sequence[Reported]) -> None:
    if earlier and earlier[0].source != entry.source:
        raise ReportedError(
            "a file holds one source",
            where=f"{path}:{line}: source",
            why=f"{entry.source!r} after {earlier[0].source!r}",
            fix="put it into a file of its own",
        )
