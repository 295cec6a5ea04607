"""Does the interval of the Distillation Correlation Score cover, and does its permutation test keep its size? Simulated.

    python benchmarks/dcs_statistic.py

A simulated pool has a latent quality (error without student noise) and a latent loss for every subset, jointly normal within an
IPC with correlation r; a twin shares 0.7 of the variance of both with its base and is worse by `shift` standard deviations of
quality; students add noise of `noise` such deviations. Error and loss also fall with IPC, which must not matter.

What is covered. "Score's own mean": the mean of the primary value over pools drawn anew from the same design, with as many
students; this is what the interval is for, and 0.93 to 0.98 are wanted. "Without noise": that mean if every subset's error were
known exactly. With two seeds noise pulls the score towards zero, so the interval is not for this one; the column says what
it is worth there. "Percentile": the plain percentile interval, for the score's own mean. In the last two designs the methods are
better or worse in every IPC alike (half and nine tenths of the variance), so that clusters are not independent: the interval over
subsets is then too narrow for a pool of other methods, which is what the one over selectors is for.

The tests' sizes are the shares of p <= 0.05 when loss and quality are independent, wanted: no more than 0.05. "Selectors":
whole selectors exchange their losses of all sizes; "without twins": so of the subsets alone; "at each IPC": subsets with their
twins exchange them at each IPC apart, which takes sizes for independent and holds only where they are; "twins as points"
permutes a twin apart from its base too, as if it were another subset. "Worst dropped": the subsets of the highest error are not
counted, as by a pool's rule. The last table is the power of the two tests over selectors, where there is a relation. "Interval
above 0": how often the interval over selectors lies above 0 though loss and quality are independent, by what twins bring;
"without twins: off 0": how often that of the subsets alone does not hold 0.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace

import numpy as np
from tabulate import tabulate

from harness.dcs.exchange import exchange_test
from harness.dcs.points import strata_of
from harness.dcs.resample import permutation_test, stratified
from harness.dcs.statistic import Point, score

POOLS = 400
TRUTHS = 3_000  # pools that the score's own mean is taken over
RESAMPLES = 400
PERMUTATIONS = 199
COVER = (0.93, 0.98)
SIZE = 0.05
TWIN_SHARED = 0.7
SIZE_EFFECT = 5.0


@dataclass(frozen=True)
class Design:
    """`ipcs` strata of `methods` subsets, with twins or without; `lasting`: share of variance that methods keep over IPC;
    `dropped`: share of points of each IPC, those of the highest mean error, that the tests do not count."""

    title: str
    relation: float = 0.5
    noise: float = 0.5
    seeds: int = 2
    ipcs: int = 6
    methods: int = 10
    twins: bool = True
    shift: float = 1.0
    lasting: float = 0.0
    dropped: float = 0.0


COVERED = (
    Design("no relation", relation=0.0),
    Design("r 0.5"),
    Design("r 0.8", relation=0.8),
    Design("r 0.95", relation=0.95),
    Design("r 0.5, noisy students", noise=1.0),
    Design("r 0.5, five seeds", seeds=5),
    Design("r 0.5, no twins", twins=False),
    Design("r 0.5, 4 IPC x 8, no twins", ipcs=4, methods=8, twins=False),
    Design("r 0.5, lasting methods", lasting=0.5),
    Design("r 0, lasting methods", relation=0.0, lasting=0.9),
)
NULLS = (
    Design("twins alike", relation=0.0, shift=0.0),
    Design("twins worse", relation=0.0),
    Design("no twins", relation=0.0, twins=False),
    Design("4 IPC x 8, no twins", relation=0.0, ipcs=4, methods=8, twins=False),
    Design("lasting methods", relation=0.0, lasting=0.9),
    Design("lasting methods, worst dropped", relation=0.0, lasting=0.9, dropped=0.2),
    Design("half lasting, 4 IPC x 6", relation=0.0, ipcs=4, methods=6, lasting=0.5),
)
RELATED = tuple(Design(f"r {relation}, lasting methods", relation, lasting=0.9) for relation in (0.5, 0.8, 0.95))


def main() -> int:
    covers = [covered(design, np.random.default_rng([0, place])) for place, design in enumerate(COVERED)]
    heads = ["design", "score's own mean", "cover", "holds", "selectors: cover", "without noise", "cover", "percentile: cover"]
    print(tabulate(covers, headers=[*heads, "width"], floatfmt=".3f"))
    print(f"{POOLS} pools a design: ± {half_width(0.95, POOLS):.3f} on a cover\n")
    tests = ["p <= 0.05 over selectors", "holds", "without twins", "holds", "at each IPC", "twins as points"]
    heads = [*tests, "interval above 0", "without twins: off 0"]
    sizes = [sized(design, np.random.default_rng([1, place])) for place, design in enumerate(NULLS)]
    print(tabulate(sizes, headers=["null", *heads], floatfmt=".3f"))
    print(f"{POOLS} pools a null: ± {half_width(SIZE, POOLS):.3f}\n")
    powers = [sized(design, np.random.default_rng([2, place])) for place, design in enumerate(RELATED)]
    print(tabulate([[row[0], row[1], row[3]] for row in powers], headers=["relation", heads[0], heads[2]], floatfmt=".3f"))
    held = [row[3] for row in covers[:-2]] + [cell for row in sizes for cell in (row[2], row[4])]
    return 0 if set(held) == {"yes"} else 1


def half_width(share: float, count: int) -> float:
    return 1.96 * math.sqrt(share * (1 - share) / count)


def covered(design: Design, random: np.random.Generator) -> list[str | float]:
    """One line of the table of covers. A cover holds when its own error allows a true value within COVER."""
    own, exact = own_means(design, random)
    held = {"own": 0, "methods": 0, "exact": 0, "percentile": 0}
    width = 0.0
    for number in range(POOLS):
        found = score(simulated(design, random), resamples=RESAMPLES, permutations=1, seed=number)
        held["own"] += found.interval_subsets[0] <= own <= found.interval_subsets[1]
        held["methods"] += found.interval_selectors[0] <= own <= found.interval_selectors[1]
        held["exact"] += found.interval_subsets[0] <= exact <= found.interval_subsets[1]
        held["percentile"] += found.percentile_interval[0] <= own <= found.percentile_interval[1]
        width += found.interval_subsets[1] - found.interval_subsets[0]
    cover, of_methods, without_noise, plain = (count / POOLS for count in held.values())
    slack = half_width(0.95, POOLS)
    holds = COVER[0] - slack <= cover <= COVER[1] + slack
    return [design.title, own, cover, "yes" if holds else "no", of_methods, exact, without_noise, plain, width / POOLS]


def own_means(design: Design, random: np.random.Generator) -> tuple[float, float]:
    """Mean primary value over fresh pools: as the design is, and with students that have no noise."""
    calm = replace(design, noise=0.0, seeds=1)
    own, exact = ([stratified(strata_of(simulated(d, random))) for _ in range(TRUTHS)] for d in (design, calm))
    return float(np.mean(own)), float(np.mean(exact))


def sized(design: Design, random: np.random.Generator) -> list[str | float]:
    """One line of the table of the tests' sizes."""
    selectors = bare = clusters = apart = above = off = 0
    for number in range(POOLS):
        points = simulated(design, random)
        counted, uncounted = parted(points, design.dropped)
        selectors += exchange_test(strata_of(counted), counted, uncounted, PERMUTATIONS, number).p <= SIZE
        bases, others = ([point for point in some if point.subset == point.cluster] for some in (counted, uncounted))
        bare += exchange_test(strata_of(bases), bases, others, PERMUTATIONS, number).p <= SIZE
        clusters += permutation_test(strata_of(counted), PERMUTATIONS, number)[0] <= SIZE
        as_points = strata_of([replace(point, cluster=point.subset) for point in counted])
        apart += permutation_test(as_points, PERMUTATIONS, number)[0] <= SIZE
        found = score(counted, resamples=RESAMPLES, permutations=1, seed=number)
        above += found.interval_selectors[0] > 0
        low, high = found.without_twins.interval_selectors or (0.0, 0.0)
        off += low > 0 or high < 0
    tests = [cell for count in (selectors, bare) for cell in (count / POOLS, "yes" if _holds(count / POOLS) else "no")]
    return [design.title, *tests, *(count / POOLS for count in (clusters, apart, above, off))]


def _holds(share: float) -> bool:
    return share <= SIZE + half_width(SIZE, POOLS)  # a test that is too careful finds nothing that is not there


def parted(points: list[Point], dropped: float) -> tuple[list[Point], list[Point]]:
    """Points that count, and those of each IPC that do not: the share `dropped` of the highest mean errors."""
    counted, uncounted = [], []
    for ipc in sorted({point.ipc for point in points}):
        ordered = sorted((point for point in points if point.ipc == ipc), key=lambda point: sum(point.errors))
        kept = len(ordered) - round(dropped * len(ordered))
        counted += ordered[:kept]
        uncounted += ordered[kept:]
    return counted, uncounted


def simulated(design: Design, random: np.random.Generator) -> list[Point]:
    """One pool of the design."""
    copies = 2 if design.twins else 1
    shape = (design.ipcs, design.methods, copies, 2)
    lasting = random.normal(size=(1, design.methods, 1, 2))
    subset = math.sqrt(design.lasting) * lasting + math.sqrt(1 - design.lasting) * random.normal(size=(*shape[:2], 1, 2))
    shared = TWIN_SHARED if design.twins else 1.0
    latent = math.sqrt(shared) * subset + math.sqrt(1 - shared) * random.normal(size=shape)
    level = design.shift * np.arange(copies) - SIZE_EFFECT * np.arange(design.ipcs)[:, None, None]
    quality = latent[..., 0] + level
    loss = design.relation * latent[..., 0] + math.sqrt(1 - design.relation**2) * latent[..., 1] + level
    errors = 60 + quality[..., None] + design.noise * random.normal(size=(*quality.shape, design.seeds))
    return [
        Point(f"{ipc}-{method}" + "-twin" * copy, f"{ipc}-{method}", ipc + 1, str(method), tuple(runs), loss[ipc, method, copy])
        for (ipc, method, copy), runs in zip(np.ndindex(quality.shape), errors.reshape(-1, design.seeds).tolist(), strict=True)
    ]


if __name__ == "__main__":
    sys.exit(main())
