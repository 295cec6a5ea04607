"""Rows against the two named baselines of their table: Random, and the best coreset.

Gap to Random: every row against the Random row; these tests are one Holm family.

Gap to the best coreset: every distilled row against the coreset with the highest mean, Random among them: is the set better than
simply choosing images? That coreset is picked by the same numbers it is then compared in, so its mean is an optimistic estimate
and testing against it alone would find differences among equals too often. The family is therefore every pair of a distilled row
and a coreset of the table, whichever coreset comes out best (`benchmarks/statistics_simulation.py` measures both).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.scoring import stats
from harness.scoring.rows import Row
from harness.scoring.stats import ALPHA

BASELINE = "random"


@dataclass(frozen=True)
class Gap:
    """Top-1 difference to a baseline in percentage points; `p` is Holm-adjusted over its family, None when not testable."""

    points: float
    p: float | None

    @property
    def significant(self) -> bool:
        return self.p is not None and self.p < ALPHA


def random_row(measured: Sequence[Row]) -> Row | None:
    """The Random row: a coreset of method `random`. Of several, the one whose slug is `random`, else the first slug."""
    random = filter(_is_random, measured)
    return min(random, key=lambda row: (row.submission.slug != BASELINE, row.submission.slug), default=None)


def best_coreset(measured: Sequence[Row]) -> Row | None:
    """The coreset with the highest mean; of equal ones the first slug.

    None unless there is a distilled row to compare with it and a coreset other than Random, which has a gap of its own.
    """
    distilled = any(row.submission.kind == "distilled" for row in measured)
    coresets = _coresets(measured)
    if not distilled or all(map(_is_random, coresets)):
        return None
    return min(coresets, key=lambda row: (-row.mean, row.submission.slug))


def gaps_to_random(measured: Sequence[Row], baseline: Row | None) -> list[Gap | None]:
    """One per row; None for the Random row itself, and for all without one."""
    if baseline is None:
        return [None] * len(measured)
    adjusted = stats.holm([None if row is baseline else _p(row, baseline) for row in measured])
    return [None if row is baseline else _gap(row, baseline, p) for row, p in zip(measured, adjusted, strict=True)]


def gaps_to_best_coreset(measured: Sequence[Row], best: Row | None) -> list[Gap | None]:
    """One per row; None for rows that are not distilled, and for all without a best coreset."""
    if best is None:
        return [None] * len(measured)
    coresets = _coresets(measured)
    pairs = [(row, coreset) for row in measured if row.submission.kind == "distilled" for coreset in coresets]
    adjusted = stats.holm([_p(row, coreset) for row, coreset in pairs])
    gaps = {row.submission.slug: _gap(row, best, p) for (row, coreset), p in zip(pairs, adjusted, strict=True) if coreset is best}
    return [gaps.get(row.submission.slug) for row in measured]


def _gap(row: Row, reference: Row, p: float | None) -> Gap:
    return Gap(row.mean - reference.mean, p)


def _p(row: Row, reference: Row) -> float | None:
    """One draw of Random is one random set, not Random: nothing is tested against it."""
    if _is_random(reference) and len(reference.top1) < 2:
        return None
    return stats.welch_p(row.sample, reference.sample)


def _coresets(measured: Sequence[Row]) -> list[Row]:
    return [row for row in measured if row.submission.kind == "coreset"]


def _is_random(row: Row) -> bool:
    return row.submission.method == BASELINE and row.submission.kind == "coreset"
