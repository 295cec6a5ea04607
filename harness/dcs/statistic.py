"""The Distillation Correlation Score: do subsets of lower loss give students of lower error? Methods E.1 and E.3.

Positive = aligned: a lower loss goes with a lower error (arXiv 2604.18811, section 4). The paper does not say how it accounts for
the size of a subset, which moves error and loss alike. The score here compares subsets of the same IPC only: mid-ranks of error
and of loss inside each IPC, scaled to (r - (n+1)/2) / n, pooled, Pearson's correlation. An IPC says something, and is a stratum,
when it has two or more points, and neither their losses (to a relative 1e-6) nor their mean errors are all equal; other IPCs are
left out and named.

Student noise pulls every correlation towards zero. The interval is for the score as it would come out, on average, for pools
drawn anew with as many students a subset, and not for the score of students without noise; `noise_share` says how much noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, variance

import numpy as np
from scipy.stats import rankdata

from harness.dcs.exchange import exchange_test
from harness.dcs.points import CONSTANT_ERROR, CONSTANT_LOSS, ONE_POINT, Point, Stratum, check, silence, strata_of
from harness.dcs.resample import (
    bootstrap,
    bootstrap_methods,
    percentile_interval,
    permutation_test,
    recentred_interval,
    stratified,
)

MIN_POINTS, MIN_STRATA = 30, 3
PARTIAL_GAP = 0.15
TOO_FEW = "too few"


@dataclass(frozen=True)
class PerIpc:
    """Spearman's correlation of the `n` points of one IPC; `value` is None for `reason` when it is undefined."""

    ipc: int
    n: int
    value: float | None
    reason: str


@dataclass(frozen=True)
class LeaveOneOut:
    """Lowest and highest primary value when one method's points are left out, and which method that is."""

    low: float
    low_without: str
    high: float
    high_without: str


@dataclass(frozen=True)
class WithoutTwins:
    """The primary value of base subsets alone, its interval over selectors and the test over selectors, as `Score` has them; None
    where these are too few.

    `m`, `strata`: the points and IPCs it rests on.
    """

    value: float | None
    interval_selectors: tuple[float, float] | None
    p_selectors: float | None
    chance: float | None
    m: int
    strata: int


@dataclass(frozen=True)
class Score:
    """Everything a page says of one objective on one pool. Correlations lie in [-1, 1], positive = aligned.

    Attributes:
        primary: within-IPC stratified Spearman; None when refused or undefined.
        reason: "" or why `primary` is None: "too few", "undefined: constant loss", "undefined: constant error".
        m, strata: points and IPCs that `primary` rests on; at least 30 and 3.
        points: all points given.
        interval_subsets: 95%, cluster bootstrap with student noise, percentiles recentred on `primary`
            (`resample.recentred_interval`).
        interval_selectors: 95%, the same of whole methods, each with its subsets of every size (`resample.bootstrap_methods`):
            for pools by other selectors. None with fewer than two methods.
        percentile_interval: the plain percentiles of the same resamples, which lean towards zero.
        p_subsets: two-sided permutation p-value, of clusters at each IPC apart (`resample.permutation_test`): too small where
            selectors last over sizes.
        p_selectors, exchanged: two-sided permutation p-value of whole selectors' losses, and the sizes of the groups in which
            these were exchanged (`exchange.exchange_test`); None and () where too few can exchange.
        chance, chance_range: what a loss scores that knows nothing of these selectors: the mean over the permutations of
            `p_selectors` and the middle 95% of them; where there are none the mean over those of `p_subsets`, and None.
        without_twins: of the base subsets alone.
        partial: Spearman given size, as a correlation of ranks given the rank of IPC (methods E.3.2), as the paper may mean it.
        raw: Spearman over all points, size and all.
        per_ipc: by rising IPC, given even where `primary` is not.
        leave_one_out: None when fewer than two methods can be left out.
        noise_share: estimated share of students' luck in the variance of mean errors within an IPC, 0 to 1, mean over points;
            None with one student everywhere.
        noisiest: the IPC with the largest such share, and that share.
        flags: sentences that belong beside the value.
        resamples, permutations, seed: how it was computed.
    """

    primary: float | None
    reason: str
    m: int
    strata: int
    points: int
    interval_subsets: tuple[float, float] | None
    interval_selectors: tuple[float, float] | None
    percentile_interval: tuple[float, float] | None
    p_subsets: float | None
    p_selectors: float | None
    exchanged: tuple[int, ...]
    chance: float | None
    chance_range: tuple[float, float] | None
    without_twins: WithoutTwins | None
    partial: float | None
    raw: float | None
    per_ipc: tuple[PerIpc, ...]
    leave_one_out: LeaveOneOut | None
    noise_share: float | None
    noisiest: tuple[int, float] | None
    flags: tuple[str, ...]
    resamples: int
    permutations: int
    seed: int

    def to_json(self) -> dict[str, object]:
        """Plain dicts, tuples, numbers, strings and None, without NaN."""
        return asdict(self)


def score(
    points: Sequence[Point], resamples: int = 10_000, permutations: int = 10_000, seed: int = 0, uncounted: Sequence[Point] = ()
) -> Score:
    """The score of one objective over a pool's `points`, whatever their order; the same for the same `seed` (>= 0).

    `uncounted`: the pool's other subsets with a loss, which the test over selectors exchanges too; nothing else reads them.
    Raises UsageError for a subset id that occurs twice, a point without errors, a loss or error that is no finite number, and a
    cluster of two IPCs. A refusal is a Score without `primary`. 160 points take a few seconds.
    """
    check(points)
    every = strata_of(points)
    used = [stratum for stratum in every if not silence(stratum)]
    m = sum(len(stratum.loss) for stratum in used)
    facts = {"m": m, "strata": len(used), "points": len(points), "per_ipc": tuple(map(per_ipc, every))}
    shares = noise_shares(used)
    facts |= {"resamples": resamples, "permutations": permutations, "seed": seed, "noise_share": noise_share(used, shares)}
    facts |= {"noisiest": max(shares.items(), key=lambda one: one[1]) if shares else None}
    reason = refusal(every, used, m)
    if reason:
        nothing = dict.fromkeys(
            (
                "primary", "interval_subsets", "interval_selectors", "percentile_interval", "p_subsets", "p_selectors", "chance",
                "chance_range", "partial", "raw", "leave_one_out", "without_twins",
            )
        )  # fmt: skip
        return Score(**nothing, **facts, exchanged=(), reason=reason, flags=tuple(left_out(every)))
    primary, raw, partial = stratified(used), *raw_and_partial(every)
    replicates = bootstrap(used, resamples, seed)
    p, chance = permutation_test(used, permutations, seed)
    exchange = exchange_test(used, points, uncounted, permutations, seed)
    return Score(
        primary=primary,
        reason="",
        interval_subsets=recentred_interval(primary, replicates),
        interval_selectors=interval_selectors(primary, used, resamples, seed),
        percentile_interval=percentile_interval(replicates),
        p_subsets=p,
        p_selectors=exchange.p if exchange else None,
        exchanged=exchange.groups if exchange else (),
        chance=exchange.chance if exchange else chance,
        chance_range=exchange.chance_range if exchange else None,
        without_twins=without_twins(points, uncounted, resamples, permutations, seed),
        partial=partial,
        raw=raw,
        leave_one_out=leave_one_out(points),
        flags=(*left_out(every), *disagreement(primary, partial), *unpropagated(used)),
        **facts,
    )


def interval_selectors(primary: float, strata: Sequence[Stratum], resamples: int, seed: int) -> tuple[float, float] | None:
    if len({method for stratum in strata for method in stratum.method.tolist()}) < 2:
        return None
    return recentred_interval(primary, bootstrap_methods(strata, resamples, seed))


def without_twins(
    points: Sequence[Point], uncounted: Sequence[Point], resamples: int, permutations: int, seed: int
) -> WithoutTwins:
    bases, others = ([point for point in some if point.subset == point.cluster] for some in (points, uncounted))
    used = [one for one in strata_of(bases) if not silence(one)]
    m = sum(len(stratum.loss) for stratum in used)
    if m < MIN_POINTS or len(used) < MIN_STRATA:
        return WithoutTwins(None, None, None, None, m, len(used))
    value, exchange = stratified(used), exchange_test(used, bases, others, permutations, seed)
    p, chance = (exchange.p, exchange.chance) if exchange else (None, None)
    return WithoutTwins(value, interval_selectors(value, used, resamples, seed), p, chance, m, len(used))


def refusal(every: Sequence[Stratum], used: Sequence[Stratum], m: int) -> str:
    """Why there is no score; "" when there is. Losses that are constant in every IPC of two or more points come first."""
    silences = {silence(stratum) for stratum in every} - {ONE_POINT}
    for constant in (CONSTANT_LOSS, CONSTANT_ERROR):
        if silences == {constant}:
            return f"undefined: {constant}"
    return TOO_FEW if m < MIN_POINTS or len(used) < MIN_STRATA else ""


def per_ipc(stratum: Stratum) -> PerIpc:
    reason = silence(stratum)
    return PerIpc(stratum.ipc, len(stratum.loss), None if reason else stratified([stratum]), reason)


def raw_and_partial(strata: Sequence[Stratum]) -> tuple[float, float]:
    """Spearman of error and loss over all points, and the same given the rank of IPC (methods E.3.2).

    Defined whenever there is a score: then errors and losses differ within an IPC, so size alone settles neither order.
    """
    error = rankdata(np.concatenate([stratum.error for stratum in strata]))
    loss = rankdata(np.concatenate([stratum.loss for stratum in strata]))
    size = rankdata(np.concatenate([np.full(len(stratum.loss), stratum.ipc) for stratum in strata]))
    (_, el, ez), (_, _, lz), _ = np.corrcoef([error, loss, size])
    partial = (el - ez * lz) / math.sqrt((1 - ez**2) * (1 - lz**2))
    return float(el), float(np.clip(partial, -1, 1))


def primary_of(points: Sequence[Point]) -> float | None:
    """The within-IPC stratified Spearman alone, of any points; None where nothing varies. Raises UsageError as `score`."""
    check(points)
    value = stratified([stratum for stratum in strata_of(points) if not silence(stratum)])
    return None if math.isnan(value) else value


def leave_one_out(points: Sequence[Point]) -> LeaveOneOut | None:
    """The range of the primary value over pools that lack one method each; without the limits on points and strata."""
    values = {method: _without(points, method) for method in sorted({point.method for point in points})}
    defined = [(value, method) for method, value in values.items() if not math.isnan(value)]
    if len(defined) < 2:
        return None
    (low, low_without), (high, high_without) = min(defined), max(defined)
    return LeaveOneOut(low, low_without, high, high_without)


def _without(points: Sequence[Point], method: str) -> float:
    strata = strata_of([point for point in points if point.method != method])
    return stratified([stratum for stratum in strata if not silence(stratum)])


def noise_shares(strata: Sequence[Stratum]) -> dict[int, float]:
    """{IPC: students' variance of a mean error over the variance of mean errors, at most 1}, where subsets have more than one."""
    found = {}
    for stratum in strata:
        noise = [variance(runs.tolist()) / len(runs) for runs in stratum.runs if len(runs) > 1]
        if noise:
            found[stratum.ipc] = min(1.0, fmean(noise) / float(stratum.error.var(ddof=1)))
    return found


def noise_share(strata: Sequence[Stratum], shares: Mapping[int, float]) -> float | None:
    """The mean of `noise_shares` over points: the score ranks within an IPC, so that each counts alike, however far apart."""
    weighted = [share for stratum in strata if (share := shares.get(stratum.ipc)) is not None for _ in stratum.loss]
    return fmean(weighted) if weighted else None


def left_out(strata: Sequence[Stratum]) -> list[str]:
    return [f"IPC {stratum.ipc} left out: {silence(stratum)}" for stratum in strata if silence(stratum)]


def disagreement(primary: float, partial: float) -> list[str]:
    """Whether the two ways to account for size part: then the effect of size is no straight line in ranks, and `partial` errs."""
    if primary * partial < 0:
        return [f"primary and partial differ in sign ({primary:+.2f}, {partial:+.2f})"]
    gap = abs(primary - partial)
    return [f"primary and partial differ by {gap:.2f}"] if gap > PARTIAL_GAP else []


def unpropagated(strata: Sequence[Stratum]) -> list[str]:
    """Says so where students' noise is not known from a subset's own runs."""
    single = sum(len(runs) == 1 for stratum in strata for runs in stratum.runs)
    if not single:
        return []
    if single == sum(len(stratum.runs) for stratum in strata):
        return ["one student a subset: the interval has no student noise beyond what the errors hold"]
    return [f"{single} subsets have one student: their noise is taken from the other subsets"]
