"""Every statistic a leaderboard prints, in one place.

The unit of replication. A row has draws (distilled or selected anew) and, within each draw, seeds (students). Students of one
draw share that draw's luck, so draws x seeds are not independent. A row with two or more draws is therefore a sample of its draw
means; a row with one draw is a sample of its seeds, and says nothing about what another draw would have given. Mean, interval,
tests and ranks all work on that sample (`replicates`), whatever the other row of a comparison has.

Sources: Student-t intervals and Welch's test for few seeds: Colas et al., arXiv 1806.08295. Correction: Holm, Scandinavian
Journal of Statistics 6 (1979). Ranks as intervals, from tests of all pairs: Neuhof & Benjamini, arXiv 2606.08679. No bootstrap:
with three seeds its 95% intervals cover the mean three times out of four.

Means and standard deviations come from Python's `statistics`, which is exact: a constant sample has a deviation of 0 and not of
1e-15, and a printed digit does not depend on the order of summation.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from scipy.integrate import quad
from scipy.special import nctdtrinc, ndtr, stdtrit
from scipy.stats import ttest_ind_from_stats

ALPHA = 0.05
POWER = 0.80

Sample = Sequence[float]


@dataclass(frozen=True)
class Estimate:
    """Mean of `n` replicates and half-width of its 95% Student-t interval, None when n = 1 (no spread to judge it by)."""

    mean: float
    half_width: float | None
    n: int


def replicates(draws: Sequence[Sample]) -> tuple[float, ...]:
    """The independent numbers of a row: its draw means when it has two or more draws, else the seeds of its one draw."""
    return tuple(map(statistics.fmean, draws)) if len(draws) > 1 else tuple(draws[0])


def mean_t95(values: Sample) -> Estimate:
    """Mean and 95% interval of independent `values`, in their unit. Raises ValueError when there are none."""
    if not values:
        raise ValueError("no values, no mean")
    n = len(values)
    half_width = float(stdtrit(n - 1, 1 - ALPHA / 2)) * statistics.stdev(values) / math.sqrt(n) if n > 1 else None
    return Estimate(statistics.fmean(values), half_width, n)


def draw_sd(draws: Sequence[Sample]) -> float | None:
    """Standard deviation of the draw means (it includes their share of the seeds' noise); None for one draw."""
    return statistics.stdev(replicates(draws)) if len(draws) > 1 else None


def seed_sd(draws: Sequence[Sample]) -> float | None:
    """Standard deviation between seeds of the same draw, pooled over draws; None when no draw has two seeds."""
    freedom = seed_freedom(draws)
    if not freedom:
        return None
    squares = sum((len(seeds) - 1) * statistics.variance(seeds) for seeds in draws if len(seeds) > 1)
    return math.sqrt(squares / freedom)


def seed_freedom(draws: Sequence[Sample]) -> int:
    """Degrees of freedom of `seed_sd`: the students beyond the first of each draw."""
    return sum(len(seeds) - 1 for seeds in draws)


def range_by_chance(rows: Sequence[Sequence[Sample]]) -> float | None:
    """Range of row means, in seed deviations, to be expected of so many equal rows by the luck of their students alone.

    The mean range of k standard normal values times the deviation of a row's mean, averaged over the rows (their numbers of
    seeds may differ). It leaves out the luck of draws, so for rows of several draws it is a lower bound. None for fewer than two.
    """
    if len(rows) < 2:
        return None
    variance = statistics.fmean(sum(1 / len(seeds) for seeds in draws) / len(draws) ** 2 for draws in rows)
    beyond = quad(lambda x: 1 - ndtr(x) ** len(rows) - ndtr(-x) ** len(rows), -math.inf, math.inf)[0]
    return beyond * math.sqrt(variance)


def welch_p(a: Sample, b: Sample) -> float | None:
    """Two-sided p-value of Welch's test that two independent samples have the same mean; None when that cannot be tested.

    It cannot be tested when a sample has one value. Nor can it when both are constant and differ: the statistic is then infinite
    and would give p = 0, a certainty that a few equal numbers do not support. Two equal constant samples give 1.
    """
    if min(len(a), len(b)) < 2:
        return None
    mean_a, mean_b = statistics.fmean(a), statistics.fmean(b)
    sd_a, sd_b = statistics.stdev(a), statistics.stdev(b)
    if sd_a == sd_b == 0:
        return 1.0 if a[0] == b[0] else None
    return float(ttest_ind_from_stats(mean_a, sd_a, len(a), mean_b, sd_b, len(b), equal_var=False).pvalue)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm-adjusted p-values of one family, in the order given. None (not testable) stays None and is no part of the family."""
    tested = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for position, (p, index) in enumerate(tested):
        largest = max(largest, min(1.0, p * (len(tested) - position)))
        adjusted[index] = largest
    return adjusted


def rank_intervals(samples: Sequence[Sample]) -> list[tuple[int, int]]:
    """(best, worst) rank of each row: 1 + rows significantly better, and the number of rows - rows significantly worse.

    "Significantly" means Welch's test over all pairs of the table, Holm-adjusted, below 0.05. Neighbours (by mean) that are not
    told apart always overlap, so they share a rank; a row of one value is told apart from nothing and may have any rank.
    """
    pairs = list(combinations(range(len(samples)), 2))
    adjusted = holm([welch_p(samples[a], samples[b]) for a, b in pairs])
    means = [statistics.fmean(sample) for sample in samples]
    better, worse = [0] * len(samples), [0] * len(samples)
    for (a, b), p in zip(pairs, adjusted, strict=True):
        if p is not None and p < ALPHA:
            winner, loser = (a, b) if means[a] > means[b] else (b, a)
            better[loser] += 1
            worse[winner] += 1
    return [(1 + above, len(samples) - below) for above, below in zip(better, worse, strict=True)]


def minimum_detectable_difference(values: Sample) -> float | None:
    """Difference of means, in the unit of `values`, that a t-test at 0.05 finds with 80% power between two samples like this one.

    Solved from the noncentral t distribution (its far tail is neglected). The deviation is itself estimated from few values, so
    this is a guide. None when there is no spread to judge by.
    """
    n = len(values)
    if n < 2 or statistics.stdev(values) == 0:
        return None
    freedom = 2 * n - 2
    noncentrality = float(nctdtrinc(freedom, 1 - POWER, stdtrit(freedom, 1 - ALPHA / 2)))
    return noncentrality * statistics.stdev(values) * math.sqrt(2 / n)
