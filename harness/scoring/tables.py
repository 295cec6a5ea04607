"""Rows to tables: one table per (protocol, IPC), rows ranked and compared with the table's Random row.

A student trained on the whole training set for the same number of images seen is a yardstick and no competitor: it has no rank,
is in no test, and the other rows show the share of its accuracy that they reach.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from harness.protocols import Protocol
from harness.scoring import stats
from harness.scoring.rows import Row
from harness.scoring.stats import ALPHA, Estimate

BASELINE = "random"
FULL_DATASET = "full-dataset"


@dataclass(frozen=True)
class Gap:
    """Top-1 difference to the Random row in percentage points; `p` is Holm-adjusted over the table, None when not testable."""

    points: float
    p: float | None

    @property
    def significant(self) -> bool:
        return self.p is not None and self.p < ALPHA


@dataclass(frozen=True)
class RankedRow:
    """A row with its statistics: None when no student has a result. `gap` is also None for Random and in tables without it."""

    row: Row
    top1: Estimate | None
    top5: Estimate | None
    draw_sd: float | None
    seed_sd: float | None
    rank: tuple[int, int] | None
    gap: Gap | None


@dataclass(frozen=True)
class Table:
    """Rows measured under one protocol (one hash) at one IPC: highest mean first, then slug; rows without a result last.

    `full_rows` are those of the method `full-dataset`, in no rank and no test; they are not in `rows`.
    """

    protocol: Protocol
    ipc: int
    rows: tuple[RankedRow, ...]
    baseline: RankedRow | None
    full_rows: tuple[RankedRow, ...] = ()

    @property
    def name(self) -> str:
        """`convnet-d4-hl-v1 IPC 10`, unique on a dataset's page."""
        return f"{self.protocol.record_folder} IPC {self.ipc}"

    @property
    def regime(self) -> str:
        return self.protocol.regime

    @property
    def full(self) -> Estimate | None:
        """What the whole training set reaches: of several such rows, the first with a result. None without one."""
        return next((full.top1 for full in self.full_rows if full.top1), None)

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
    full = sorted(filter(_is_full, rows), key=lambda row: (row.submission.slug != FULL_DATASET, row.submission.slug))
    compared = [row for row in rows if not _is_full(row)]
    measured = sorted(
        (row for row in compared if row.top1), key=lambda row: (-stats.mean_t95(_sample(row)).mean, row.submission.slug)
    )
    without = sorted((row for row in compared if not row.top1), key=lambda row: row.submission.slug)
    baseline = _baseline(measured)
    ranks = stats.rank_intervals([_sample(row) for row in measured])
    gaps = _gaps(measured, baseline)
    ranked = [_ranked(row, rank, gap) for row, rank, gap in zip(measured, ranks, gaps, strict=True)]
    ranked += [_ranked(row, None, None) for row in without]
    shown_baseline = next((one for one in ranked if one.row is baseline), None)
    yardsticks = tuple(_ranked(row, None, None) for row in full)
    return Table(rows[0].protocol, rows[0].submission.ipc, tuple(ranked), shown_baseline, yardsticks)


def _is_full(row: Row) -> bool:
    return row.submission.method == FULL_DATASET


def _baseline(measured: Sequence[Row]) -> Row | None:
    """The Random row: a coreset of method `random`. Of several, the one whose slug is `random`, else the first slug."""
    random = [row for row in measured if row.submission.method == BASELINE and row.submission.kind == "coreset"]
    return min(random, key=lambda row: (row.submission.slug != BASELINE, row.submission.slug), default=None)


def _gaps(measured: Sequence[Row], baseline: Row | None) -> list[Gap | None]:
    """One per row: the tests of all rows against Random are one Holm family.

    One draw of Random is one random set, not Random: nothing is tested against it.
    """
    if baseline is None:
        return [None] * len(measured)
    reference = _sample(baseline)
    testable = [len(baseline.top1) > 1 and row is not baseline for row in measured]
    p_values = [
        stats.welch_p(_sample(row), reference) if tested else None for row, tested in zip(measured, testable, strict=True)
    ]
    adjusted = stats.holm(p_values)
    level = stats.mean_t95(reference).mean
    return [
        None if row is baseline else Gap(stats.mean_t95(_sample(row)).mean - level, p)
        for row, p in zip(measured, adjusted, strict=True)
    ]


def _ranked(row: Row, rank: tuple[int, int] | None, gap: Gap | None) -> RankedRow:
    if not row.top1:
        return RankedRow(row, None, None, None, None, None, None)
    top1, top5 = stats.mean_t95(_sample(row)), stats.mean_t95(stats.replicates(row.top5))
    return RankedRow(row, top1, top5, stats.draw_sd(row.top1), stats.seed_sd(row.top1), rank, gap)


def _sample(row: Row) -> tuple[float, ...]:
    return stats.replicates(row.top1)
