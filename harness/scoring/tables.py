"""Rows to tables: one table per (protocol, IPC), rows ranked and compared with the table's Random row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from harness.protocols import Protocol
from harness.scoring import stats
from harness.scoring.rows import Row
from harness.scoring.stats import ALPHA, Estimate

BASELINE = "random"


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
    """Rows measured under one protocol (one hash) at one IPC: highest mean first, then slug; rows without a result last."""

    protocol: Protocol
    ipc: int
    rows: tuple[RankedRow, ...]
    baseline: RankedRow | None

    @property
    def name(self) -> str:
        """`convnet-d4-hl-v1 IPC 10`, unique on a dataset's page."""
        return f"{self.protocol.record_folder} IPC {self.ipc}"


def build_tables(rows: Iterable[Row]) -> list[Table]:
    """Tables sorted by dataset, protocol and IPC."""

    def key(row: Row) -> tuple[str, str, int]:
        return row.submission.dataset, row.protocol.id, row.submission.ipc

    return [_table(list(group)) for _, group in groupby(sorted(rows, key=key), key)]


def _table(rows: list[Row]) -> Table:
    measured = sorted(
        (row for row in rows if row.top1), key=lambda row: (-stats.mean_t95(_sample(row)).mean, row.submission.slug)
    )
    without = sorted((row for row in rows if not row.top1), key=lambda row: row.submission.slug)
    baseline = _baseline(measured)
    ranks = stats.rank_intervals([_sample(row) for row in measured])
    gaps = _gaps(measured, baseline)
    ranked = [_ranked(row, rank, gap) for row, rank, gap in zip(measured, ranks, gaps, strict=True)]
    ranked += [_ranked(row, None, None) for row in without]
    shown_baseline = next((one for one in ranked if one.row is baseline), None)
    return Table(rows[0].protocol, rows[0].submission.ipc, tuple(ranked), shown_baseline)


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
