"""How well does each label regime tell the same rows apart? The paper's claim in numbers (arXiv 2604.18811, section 3).

Every number of a contrast is over the same rows: submissions with a result under each of its regimes, same student, same IPC.
When SL and SL+KD were measured on different rows, HL is contrasted with each of them on its own rows. The full-dataset row is a
yardstick and never one of the rows. A row without a result under one of the regimes is left out and named.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass

from harness.scoring import stats
from harness.scoring.agreement import Agreement, agreement
from harness.scoring.side_by_side import Board
from harness.scoring.tables import RankedRow, Table


@dataclass(frozen=True)
class RegimeContrast:
    """One regime over the rows of a contrast; what is not defined for them is None.

    `spread`: highest minus lowest row mean, in points (two rows or more). `seed_sd`: deviation between students of the same set,
    pooled over the rows, on `freedom` degrees of freedom. `sigmas`: spread over seed sd. `by_chance`: the `sigmas` to be expected
    of equal rows. `better` of `compared` rows beat Random significantly, `untested` of them cannot be tested; None without
    Random. `agreement`: of the order with HL's; None for HL. `gap_to_full`, in points, and `share_of_full` are means over the
    rows; None without a full-dataset result.
    """

    regime: str
    spread: float | None
    seed_sd: float | None
    freedom: int
    sigmas: float | None
    by_chance: float | None
    better: int | None
    compared: int | None
    untested: int | None
    agreement: Agreement | None
    gap_to_full: float | None
    share_of_full: float | None


@dataclass(frozen=True)
class Contrast:
    """`slugs`: the rows, in HL order. `left_out`: slugs with a result under some of these regimes only."""

    slugs: tuple[str, ...]
    left_out: tuple[str, ...]
    regimes: tuple[RegimeContrast, ...]


def contrasts(board: Board) -> list[Contrast]:
    """HL against the regimes beside it: one contrast when they were measured on the same rows, else one for each set of rows.

    Empty when HL, or every other regime, has no result.
    """
    results = {table.regime: _results(table) for table in board.tables}
    hard = results.get("hl")
    if not hard:
        return []
    same_rows: dict[tuple[str, ...], list[Table]] = defaultdict(list)
    for table in board.tables:
        if table.regime != "hl" and results[table.regime]:
            same_rows[tuple(slug for slug in hard if slug in results[table.regime])].append(table)
    return [_contrast(slugs, [board.main, *others], results) for slugs, others in same_rows.items()]


def _results(table: Table) -> dict[str, RankedRow]:
    return {ranked.row.submission.slug: ranked for ranked in table.rows if ranked.top1}


def _contrast(slugs: tuple[str, ...], tables: list[Table], results: dict[str, dict[str, RankedRow]]) -> Contrast:
    measured = sorted(set().union(*(results[table.regime] for table in tables)))
    hard = _means([results["hl"][slug] for slug in slugs])
    regimes = [_regime(table, [results[table.regime][slug] for slug in slugs], hard) for table in tables]
    return Contrast(slugs, tuple(slug for slug in measured if slug not in slugs), tuple(regimes))


def _regime(table: Table, rows: list[RankedRow], hard: list[float]) -> RegimeContrast:
    means = _means(rows)
    draws = [seeds for ranked in rows for seeds in ranked.row.top1]
    spread = max(means) - min(means) if len(means) > 1 else None
    seed_sd = stats.seed_sd(draws)
    gaps = [ranked.gap for ranked in rows if ranked.gap is not None] if table.baseline else None
    shares = [share for ranked in rows if (share := table.share_of_full(ranked)) is not None]
    return RegimeContrast(
        regime=table.regime,
        spread=spread,
        seed_sd=seed_sd,
        freedom=stats.seed_freedom(draws),
        sigmas=spread / seed_sd if spread is not None and seed_sd else None,
        by_chance=stats.range_by_chance([ranked.row.top1 for ranked in rows]),
        better=None if gaps is None else sum(gap.significant and gap.points > 0 for gap in gaps),
        compared=None if gaps is None else len(gaps),
        untested=None if gaps is None else sum(gap.p is None for gap in gaps),
        agreement=None if table.regime == "hl" else agreement(hard, means),
        gap_to_full=statistics.fmean(table.full.mean - mean for mean in means) if table.full and means else None,
        share_of_full=statistics.fmean(shares) if shares else None,
    )


def _means(rows: list[RankedRow]) -> list[float]:
    return [ranked.top1.mean for ranked in rows if ranked.top1]
