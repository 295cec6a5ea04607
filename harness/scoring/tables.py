"""Rows to tables: one table per (protocol, IPC), rows ranked and compared with the table's named baselines.

A student trained on the whole training set for the same number of images seen is a yardstick and no competitor: it has no rank,
is in no test, and the other rows show the share of its accuracy that they reach.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from harness.protocols import Protocol
from harness.scoring import stats
from harness.scoring.gaps import Gap, best_coreset, gaps_to_best_coreset, gaps_to_random, random_row
from harness.scoring.rows import Row
from harness.scoring.stats import Estimate


@dataclass(frozen=True)
class RankedRow:
    """A row with its statistics: None when no student has a result.

    `gap` (to Random) is also None for Random and in tables without it; `gap_to_coreset` (to the best coreset) for all but
    distilled rows and in tables without a best coreset.
    """

    row: Row
    top1: Estimate | None = None
    top5: Estimate | None = None
    draw_sd: float | None = None
    seed_sd: float | None = None
    rank: tuple[int, int] | None = None
    gap: Gap | None = None
    gap_to_coreset: Gap | None = None


@dataclass(frozen=True)
class Table:
    """Rows measured under one protocol (one hash) at one IPC: highest mean first, then slug; rows without a result last.

    `full_row` is the submission of `kind: full`, in no rank and no test; it is not in `rows`.
    """

    protocol: Protocol
    ipc: int
    rows: tuple[RankedRow, ...]
    baseline: RankedRow | None
    best_coreset: RankedRow | None = None
    full_row: RankedRow | None = None

    @property
    def name(self) -> str:
        """`convnet-d4-hl-v1 IPC 10`, unique on a dataset's page."""
        return f"{self.protocol.record_folder} IPC {self.ipc}"

    @property
    def regime(self) -> str:
        return self.protocol.regime

    @property
    def all_rows(self) -> tuple[RankedRow, ...]:
        """`rows`, then the full dataset's."""
        return (*self.rows, *([self.full_row] if self.full_row else []))

    @property
    def full(self) -> Estimate | None:
        """What the whole training set reaches; None when it was not measured or has no result."""
        return self.full_row.top1 if self.full_row else None

    def share_of_full(self, ranked: RankedRow) -> float | None:
        """Accuracy of a row as a fraction of the full dataset's; None when either has no result or the latter is 0."""
        if ranked.top1 is None or self.full is None or self.full.mean == 0:
            return None
        return ranked.top1.mean / self.full.mean


def build_tables(rows: Iterable[Row]) -> list[Table]:
    """Tables sorted by dataset, protocol and IPC."""

    def key(row: Row) -> tuple[str, str, int]:
        return row.submission.dataset, row.protocol.id, row.submission.ipc

    return [_table(list(group)) for _, group in groupby(sorted(rows, key=key), key)]


def _table(rows: list[Row]) -> Table:
    full = next((row for row in rows if _is_full(row)), None)
    compared = [row for row in rows if not _is_full(row)]
    measured = sorted((row for row in compared if row.top1), key=lambda row: (-row.mean, row.submission.slug))
    without = sorted((row for row in compared if not row.top1), key=lambda row: row.submission.slug)
    baseline, best = random_row(measured), best_coreset(measured)
    ranked = [
        _with_statistics(*one)
        for one in zip(
            measured,
            stats.rank_intervals([row.sample for row in measured]),
            gaps_to_random(measured, baseline),
            gaps_to_best_coreset(measured, best),
            strict=True,
        )
    ]

    def ranked_row(wanted: Row | None) -> RankedRow | None:
        return next((one for one in ranked if one.row is wanted), None)

    return Table(
        protocol=rows[0].protocol,
        ipc=rows[0].submission.ipc,
        rows=(*ranked, *map(RankedRow, without)),
        baseline=ranked_row(baseline),
        best_coreset=ranked_row(best),
        full_row=_with_statistics(full) if full else None,
    )


def _is_full(row: Row) -> bool:
    return row.submission.kind == "full"


def _with_statistics(
    row: Row, rank: tuple[int, int] | None = None, gap: Gap | None = None, gap_to_coreset: Gap | None = None
) -> RankedRow:
    if not row.top1:
        return RankedRow(row)
    top1, top5 = stats.mean_t95(row.sample), stats.mean_t95(stats.replicates(row.top5))
    return RankedRow(row, top1, top5, stats.draw_sd(row.top1), stats.seed_sd(row.top1), rank, gap, gap_to_coreset)
