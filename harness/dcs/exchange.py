"""The permutation test over selectors: whole loss profiles, a selector's losses at every size, change hands.

A selector's losses rank alike at every size, and so do its students' errors. A test that permutes at each IPC apart takes sizes
for independent and finds relations that are not there (benchmarks/dcs_statistic.py). Here a selector's profile moves as one.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from harness.dcs.points import Point, Stratum
from harness.dcs.resample import CELLS, METHODS, PERMUTATION, scaled_ranks

FEWEST_DEALS = 20  # of which one is as it is: with fewer no p can be .05
ROUNDING = 1e-12  # must not part equal deals


class Place(NamedTuple):
    """Where a loss stands in its selector's profile: `draw` counts base subsets of one IPC; `role` 0 is these, 1 a twin."""

    ipc: int
    draw: int
    role: int


class Exchange(NamedTuple):
    """`p`: two-sided, in (0, 1]. `chance`, `chance_range`: the mean correlation over deals, and the middle 95% of them. `groups`:
    selectors in each that exchange, rising."""

    p: float
    chance: float
    chance_range: tuple[float, float]
    groups: tuple[int, ...]


def exchange_test(
    strata: Sequence[Stratum], points: Sequence[Point], uncounted: Sequence[Point], permutations: int, seed: int
) -> Exchange | None:
    """Of the hypothesis that selectors' losses have nothing to do with their students' errors. None with fewer than 20 ways to
    deal them.

    Under it the profile of one selector could as well be that of another one with losses at the same places: sizes, draws, twins.
    Selectors that are alone with their places keep theirs. Losses are ranked anew after every deal, among the subsets that count:
    which these are follows from errors alone, so `uncounted` ones (their errors are not read) lend their losses too. p is the
    share of deals, the actual one among them, whose correlation is as far from the mean of all as the actual one's. That mean is
    not 0 where there are twins, because a twin errs more than its subset and mostly has a greater loss, from whichever selector
    it is; nor where selectors keep their losses, or exchange them in several groups: what sets these apart stays.
    """
    profiles = profiles_of([*points, *uncounted])
    groups = [group for group in alike(profiles) if len(group) > 1]
    if math.prod(math.factorial(len(group)) for group in groups) < FEWEST_DEALS:
        return None
    methods = sorted(profiles)
    givers = dealt(methods, groups, permutations, seed)
    places = places_of([*points, *uncounted])
    summed = np.zeros((3, len(givers)))
    for stratum in strata:
        counted = sorted((point for point in points if point.ipc == stratum.ipc), key=lambda point: point.subset)
        summed += _moments(stratum, counted, profiles, methods, givers, places)
    values = summed[0] / np.sqrt(np.maximum(summed[1] * summed[2], np.finfo(float).tiny))
    far = np.abs(values - values.mean())
    groups_of = tuple(sorted(map(len, groups)))
    low, high = np.percentile(values, [2.5, 97.5]).tolist()
    return Exchange(float((far >= far[0] - ROUNDING).mean()), float(values.mean()), (low, high), groups_of)


def places_of(points: Sequence[Point]) -> dict[str, Place]:
    """Subset id -> its place in the profile of its selector."""
    clusters: dict[tuple[str, int], set[str]] = defaultdict(set)
    twins: dict[str, set[str]] = defaultdict(set)
    for point in points:
        clusters[point.method, point.ipc].add(point.cluster)
        if point.subset != point.cluster:
            twins[point.cluster].add(point.subset)
    found = {}
    for point in points:
        draw = sorted(clusters[point.method, point.ipc]).index(point.cluster)
        role = 0 if point.subset == point.cluster else 1 + sorted(twins[point.cluster]).index(point.subset)
        found[point.subset] = Place(point.ipc, draw, role)
    return found


def profiles_of(points: Sequence[Point]) -> dict[str, dict[Place, float]]:
    """Selector -> its losses by place."""
    places, found = places_of(points), defaultdict(dict)
    for point in points:
        found[point.method][places[point.subset]] = point.loss
    return dict(found)


def alike(profiles: Mapping[str, Mapping[Place, float]]) -> list[list[str]]:
    """Selectors grouped by the places they have losses at."""
    groups: dict[tuple[Place, ...], list[str]] = defaultdict(list)
    for method in sorted(profiles):
        groups[tuple(sorted(profiles[method]))].append(method)
    return list(groups.values())


def dealt(methods: Sequence[str], groups: Sequence[Sequence[str]], permutations: int, seed: int) -> np.ndarray:
    """int64 [1 + permutations, methods]: whose profile each selector gets; in the first row its own."""
    generator = np.random.default_rng([seed, PERMUTATION, METHODS])
    givers = np.tile(np.arange(len(methods)), (1 + permutations, 1))
    for group in groups:
        members = [methods.index(method) for method in group]
        givers[1:, members] = generator.permuted(givers[1:, members], axis=1)
    return givers


def _moments(
    stratum: Stratum, counted: Sequence[Point], profiles: Mapping[str, Mapping[Place, float]], methods: Sequence[str],
    givers: np.ndarray, places: Mapping[str, Place],
) -> np.ndarray:  # fmt: skip
    """Sums of x y, x x and y y over the counted points of one stratum under every deal, [3, deals]."""
    of_point = np.array([[profiles[method].get(places[point.subset], np.nan) for method in methods] for point in counted])
    receivers = np.array([methods.index(point.method) for point in counted])
    x = scaled_ranks(stratum.error, np.ones((1, len(counted))))[0]
    found = np.empty((3, len(givers)))
    step = max(1, CELLS // len(counted) ** 2)
    for start in range(0, len(givers), step):
        part = givers[start : start + step, receivers]  # whose loss each point gets
        losses = of_point[np.arange(len(counted)), part]
        y = scaled_ranks(losses, np.ones(losses.shape))
        found[:, start : start + step] = [y @ x, np.full(len(y), x @ x), np.square(y).sum(axis=1)]
    return found
