"""Ranks within IPC, and what of their correlation is luck: the bootstrap of clusters and the permutation test (methods E.3).

Everything works on signs. The centred mid-rank of point i among N is r_i - (N+1)/2 = sum_j sign(x_i - x_j) / 2, and if point j
occurs w_j times, sum_j w_j sign(x_i - x_j) / 2. So a resample is a row of weights, thousands are one array, and ties take
mid-ranks by themselves. Within a stratum the ranks sum to zero, so Pearson's correlation of the pooled ranks needs no mean.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from harness.dcs.points import DECIMALS, Stratum

BOOTSTRAP, PERMUTATION, METHODS = 1, 2, 3  # one generator per purpose and stratum: default_rng([seed, purpose, ipc])
CELLS = 4_000_000  # signs held at once, 32 MB
PERFECT = 1 - 1e-9  # beyond, Fisher's transform is infinite
PERCENTILES = (2.5, 97.5)


def scaled_ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(r - (N+1)/2) / N, in (-1/2, 1/2), with mid-ranks r of `values` [n] or [B, n] that occur `weights` [B, n] times; [B, n]."""
    with np.errstate(over="ignore"):  # an infinite difference has its sign all the same
        signs = np.sign(values[..., :, None] - values[..., None, :])
    sums = weights @ signs.T if values.ndim == 1 else np.matmul(signs, weights[:, :, None])[..., 0]
    return sums / (2 * np.maximum(weights.sum(axis=1, keepdims=True), 1))  # where no point is drawn, every sum is 0


def moments(error: np.ndarray, loss: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted sums of x y, x x and y y over a stratum, [3, B]; x, y = scaled ranks of error and loss ([n] or [B, n] each)."""
    x, y = scaled_ranks(error, weights), scaled_ranks(loss, weights)
    return np.stack([(weights * product).sum(axis=1) for product in (x * y, x * x, y * y)])


def correlation(summed: np.ndarray) -> np.ndarray:
    """Pearson's correlation [B] from moments [3, B] summed over strata; NaN where the error or the loss does not vary."""
    with np.errstate(invalid="ignore"):
        return np.clip(summed[0] / np.sqrt(summed[1] * summed[2]), -1.0, 1.0)


def stratified(strata: Sequence[Stratum]) -> float:
    """The within-IPC stratified Spearman correlation (methods E.3.1); NaN when there is nothing to correlate."""
    if not strata:
        return float("nan")
    every = [moments(stratum.error, stratum.loss, np.ones((1, len(stratum.loss)))) for stratum in strata]
    return float(correlation(np.sum(every, axis=0))[0])


def bootstrap(strata: Sequence[Stratum], resamples: int, seed: int) -> np.ndarray:
    """The correlation in each of `resamples` pools drawn anew from this one, float64 [resamples], NaN where undefined.

    Within each IPC as many clusters as there are, drawn with replacement: a subset and its twin come together. Each subset's
    error is drawn again from its own students (`redrawn_errors`), once a resample, and ranks are taken anew.
    """

    def weights(stratum: Stratum, generator: np.random.Generator) -> np.ndarray:
        clusters = int(stratum.cluster.max()) + 1
        return generator.multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples)[:, stratum.cluster]

    return _resampled(strata, weights, resamples, seed, BOOTSTRAP)


def bootstrap_methods(strata: Sequence[Stratum], resamples: int, seed: int) -> np.ndarray:
    """As `bootstrap`, of pools by other selectors: as many methods as there are, drawn with replacement, with all their subsets.

    A method's losses rank alike at every IPC, and so do its errors: over sizes its subsets are no independent evidence.
    """
    methods = np.unique(np.concatenate([stratum.method for stratum in strata]))
    counts = np.random.default_rng([seed, METHODS]).multinomial(
        len(methods), np.full(len(methods), 1 / len(methods)), size=resamples
    )

    def weights(stratum: Stratum, generator: np.random.Generator) -> np.ndarray:
        return counts[:, np.searchsorted(methods, stratum.method)]

    return _resampled(strata, weights, resamples, seed, METHODS)


def _resampled(
    strata: Sequence[Stratum],
    weights_of: Callable[[Stratum, np.random.Generator], np.ndarray],
    resamples: int,
    seed: int,
    purpose: int,
) -> np.ndarray:
    """`weights_of` a stratum: int64 [resamples, n], how often each point is drawn."""
    leftover = pooled_deviations(strata)
    total = np.zeros((3, resamples))
    for stratum in strata:
        generator = np.random.default_rng([seed, purpose, stratum.ipc])
        weights = weights_of(stratum, generator).astype(np.float64)
        own = pooled_deviations([stratum])
        errors = redrawn_errors(stratum, own if len(own) else leftover, resamples, generator)
        step = max(1, CELLS // len(stratum.loss) ** 2)
        for start in range(0, resamples, step):
            part = slice(start, start + step)
            total[:, part] += moments(errors[part], stratum.loss, weights[part])
    return correlation(total)


def redrawn_errors(stratum: Stratum, borrowed: np.ndarray, resamples: int, generator: np.random.Generator) -> np.ndarray:
    """Mean errors as other students might have given them, float64 [resamples, n], percent, rounded to DECIMALS.

    A subset's k deviations from its mean are drawn k times with replacement and averaged. Drawn as they are, they would spread
    too little: their variance is (k-1)/k of the students', half of it for two seeds. So they are stretched by sqrt(k/(k-1)).
    A subset of one student has no deviation of its own and takes one from `borrowed` (stretched already; empty: no noise).
    """
    redrawn = np.repeat(stratum.error[None], resamples, axis=0)
    for point, runs in enumerate(stratum.runs):
        deviations = stretched(runs) if len(runs) > 1 else borrowed
        if len(deviations):
            picks = generator.integers(len(deviations), size=(resamples, len(runs)))
            redrawn[:, point] += deviations[picks].mean(axis=1)
    return redrawn.round(DECIMALS)


def stretched(runs: np.ndarray) -> np.ndarray:
    """Deviations of k >= 2 runs from their mean, whose mean square is the unbiased variance of a run."""
    return (runs - runs.mean()) * np.sqrt(len(runs) / (len(runs) - 1))


def pooled_deviations(strata: Sequence[Stratum]) -> np.ndarray:
    """The stretched deviations of every subset with two or more students; empty when there is none."""
    found = [stretched(runs) for stratum in strata for runs in stratum.runs if len(runs) > 1]
    return np.concatenate(found) if found else np.empty(0)


def percentile_interval(replicates: np.ndarray) -> tuple[float, float]:
    """2.5 and 97.5 percentiles of the replicates that are defined."""
    low, high = np.nanpercentile(replicates, PERCENTILES)
    return float(low), float(high)


def recentred_interval(value: float, replicates: np.ndarray) -> tuple[float, float]:
    """The percentile interval, moved along Fisher's atanh so that the replicates' median falls on `value`.

    The redraw adds student noise to errors that hold student noise already, so replicates lie nearer to zero than the value
    does, far nearer when the relation is strong: plain percentiles then miss the score's own mean (benchmarks/dcs_statistic.py).
    How the replicates spread is what they can tell; where they lie is not. For a perfect relation atanh is infinite: the plain
    interval, widened to `value`.
    """
    low, high = percentile_interval(replicates)
    if abs(value) > PERFECT:
        return min(low, value), max(high, value)
    transformed = np.arctanh(np.clip(replicates, -PERFECT, PERFECT))
    ends = np.nanpercentile(transformed, PERCENTILES) - np.nanmedian(transformed) + np.arctanh(value)
    low, high = np.tanh(ends)
    return float(low), float(high)


def permutation_test(strata: Sequence[Stratum], permutations: int, seed: int) -> tuple[float, float]:
    """Two-sided p-value in (0, 1] and the mean of the permuted correlations, for the hypothesis that losses say nothing.

    Under it the losses of a cluster could as well belong to another one of its IPC. A subset and its twin share their images and
    so their luck, therefore single points must not be permuted: a cluster's losses move together, subset to subset and twin to
    twin, among clusters of the same composition (with twin, without, twin alone). That a twin has a higher loss and a higher
    error than its base is no matter of chance and stays in every permutation, so these are not centred on zero: p is the share
    of permutations as far from their mean as the value is, (1 + count) / (1 + permutations). Without twins the mean is zero.
    """
    total, centre, spread = np.zeros(permutations), 0.0, np.zeros(2)
    for stratum in strata:
        generator = np.random.default_rng([seed, PERMUTATION, stratum.ipc])
        ones = np.ones((1, len(stratum.loss)))
        x, y = scaled_ranks(stratum.error, ones)[0], scaled_ranks(stratum.loss, ones)[0]
        spread += (x @ x, y @ y)
        for members in compositions(stratum):
            products = x[members] @ y[members].T  # [errors' cluster, losses' cluster]
            clusters = np.arange(len(members))
            dealt = generator.permuted(np.tile(clusters, (permutations, 1)), axis=1)
            total += products[clusters, dealt].sum(axis=1)
            centre += products.sum() / len(members)
    scale = np.sqrt(spread.prod())
    far = abs(stratified(strata) - centre / scale)
    count = int((np.abs(total - centre) / scale >= far - 1e-12).sum())  # rounding must not part equal arrangements
    return (1 + count) / (1 + permutations), round(float(centre / scale), 12) + 0.0  # no -1e-18 where it is zero


def compositions(stratum: Stratum) -> list[np.ndarray]:
    """Points by kind of cluster: one int64 [clusters, points a cluster] for each combination of roles that occurs."""
    clusters: dict[int, list[int]] = defaultdict(list)
    for point in np.lexsort((stratum.role, stratum.cluster)):
        clusters[int(stratum.cluster[point])].append(int(point))
    kinds: dict[tuple[int, ...], list[list[int]]] = defaultdict(list)
    for points in clusters.values():
        kinds[tuple(stratum.role[points].tolist())].append(points)
    return [np.array(kinds[roles]) for roles in sorted(kinds)]
