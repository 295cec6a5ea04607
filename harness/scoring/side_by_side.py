"""The regimes side by side: tables of one dataset, student and IPC, at most one for each regime, read as one board.

A column holds one protocol, so one hash. Of several versions of a regime's protocol the newest stands beside the other regimes;
each older one is a board of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.scoring.tables import RankedRow, Table
from harness.submissions import Submission

REGIMES = ("hl", "sl", "sl-kd")


@dataclass(frozen=True)
class BoardRow:
    """A submission and what was measured of it, by regime; a regime without records of it is missing."""

    submission: Submission
    by_regime: dict[str, RankedRow]


@dataclass(frozen=True)
class Board:
    """`tables` in the order HL, SL, SL+KD. `superseded`: the only one is of an older version of its protocol."""

    tables: tuple[Table, ...]
    superseded: bool = False

    @property
    def main(self) -> Table:
        """The table that orders and ranks the rows: HL when there is one."""
        return self.tables[0]

    @property
    def dataset(self) -> str:
        return self.main.protocol.dataset.name

    @property
    def student(self) -> str:
        return self.main.protocol.student_name

    @property
    def ipc(self) -> int:
        return self.main.ipc

    @property
    def name(self) -> str:
        """`convnet-d4 IPC 10`, or `convnet-d4-hl-v1 IPC 10` for a single table: unique on a dataset's page."""
        return self.main.name if len(self.tables) == 1 else f"{self.student} IPC {self.ipc}"

    @property
    def regimes(self) -> tuple[str, ...]:
        return tuple(table.regime for table in self.tables)

    @property
    def ranked_rows(self) -> tuple[BoardRow, ...]:
        """`rows` without that of the full dataset."""
        return tuple(row for row in self.rows if row.submission.kind != "full")

    @property
    def rows(self) -> tuple[BoardRow, ...]:
        """In the order of the HL table, then those only in the SL table, then in the SL+KD table; the full dataset last."""
        found: dict[str, dict[str, RankedRow]] = defaultdict(dict)
        ranked_rows = [(table.regime, ranked) for table in self.tables for ranked in table.rows]
        yardsticks = [(table.regime, table.full_row) for table in self.tables if table.full_row]
        for regime, ranked in [*ranked_rows, *yardsticks]:
            found[ranked.row.submission.slug][regime] = ranked
        return tuple(BoardRow(next(iter(measured.values())).row.submission, measured) for measured in found.values())


def boards_of(tables: Iterable[Table]) -> list[Board]:
    """Boards sorted by dataset and student; within those, current ones by IPC, then superseded ones by protocol and IPC."""
    groups: dict[tuple[str, str, int], list[Table]] = defaultdict(list)
    for table in tables:
        groups[table.protocol.dataset.name, table.protocol.student_name, table.ipc].append(table)
    boards = [board for group in groups.values() for board in _boards(group)]
    return sorted(boards, key=_place)


def _boards(tables: Sequence[Table]) -> list[Board]:
    newest = [
        max(of_regime, key=_version) for regime in REGIMES if (of_regime := [one for one in tables if one.regime == regime])
    ]
    current = {table.protocol.id for table in newest}
    older = [table for table in tables if table.protocol.id not in current]
    return [Board(tuple(newest)), *(Board((table,), superseded=True) for table in older)]


def _version(table: Table) -> int:
    return int(table.protocol.id.rsplit("/v", 1)[1])


def _place(board: Board) -> tuple[str, str, bool, str, int]:
    return board.dataset, board.student, board.superseded, board.main.protocol.id if board.superseded else "", board.ipc
