"""The points that the DCS correlates, checked and sorted into strata of one IPC each (methods E.1, E.3)."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from harness.errors import UsageError

DECIMALS = 9  # of a mean error in percent: (1.1 + 2.2 + 3.3) / 3 and 2.2 are a tie, and test errors tie often
CONSTANT = 1e-6  # relative range of losses that are equal but for rounding
ONE_POINT = "one point"
CONSTANT_LOSS = "constant loss"
CONSTANT_ERROR = "constant error"


@dataclass(frozen=True)
class Point:
    """One subset of a pool: what its students got wrong, and its loss under one objective.

    Attributes:
        subset: its id.
        cluster: id of the base subset; of a twin the subset it repeats, otherwise `subset` itself.
        ipc: nominal images per class; a twin has that of its cluster.
        method: label that leave-one-method-out goes by.
        errors: top-1 error of each of its students, percent; one or more, their number may differ between points.
        loss: the objective's loss, any unit; only its order counts.
    """

    subset: str
    cluster: str
    ipc: int
    method: str
    errors: tuple[float, ...]
    loss: float


@dataclass(frozen=True)
class Stratum:
    """The points of one IPC, sorted by subset id.

    Attributes:
        ipc: nominal images per class.
        runs: float64 [k_i] for each of n points, sorted: the error in percent of each of its students.
        error: float64 [n], their means, rounded to DECIMALS.
        loss: float64 [n].
        cluster: int64 [n], number of the base subset, which a twin shares.
        role: int64 [n], 0 = the base subset, 1, 2, ... = its twins.
        method: str [n], as of the points.
    """

    ipc: int
    runs: tuple[np.ndarray, ...]
    error: np.ndarray
    loss: np.ndarray
    cluster: np.ndarray
    role: np.ndarray
    method: np.ndarray


def check(points: Sequence[Point]) -> None:
    """Raises UsageError when `points` cannot be scored, naming the subsets."""
    counts = Counter(point.subset for point in points)
    ipcs: dict[str, set[int]] = defaultdict(set)
    for point in points:
        ipcs[point.cluster].add(point.ipc)
    _refuse("a subset is there more than once", "each is one point", [subset for subset, count in counts.items() if count > 1])
    _refuse("a subset has no test error", "there is nothing to rank", [p.subset for p in points if not len(p.errors)])
    _refuse(
        "a test error is no finite number", "it has no rank", [p.subset for p in points if not all(map(math.isfinite, p.errors))]
    )
    _refuse("a loss is no finite number", "it has no rank", [p.subset for p in points if not math.isfinite(p.loss)])
    _refuse("a subset and its twin differ in IPC", "they are drawn together", [c for c, sizes in ipcs.items() if len(sizes) > 1])


def _refuse(what: str, why: str, subsets: Sequence[str]) -> None:
    if subsets:
        fix = "mend the tables of losses and errors, or leave these subsets out of both"
        raise UsageError(what, where=", ".join(sorted(subsets)), why=why, fix=fix)


def strata_of(points: Sequence[Point]) -> list[Stratum]:
    """The points by rising IPC, each stratum sorted by subset id (so that no order of theirs matters)."""
    by_ipc: dict[int, list[Point]] = defaultdict(list)
    for point in sorted(points, key=lambda point: point.subset):
        by_ipc[point.ipc].append(point)
    return [_stratum(ipc, by_ipc[ipc]) for ipc in sorted(by_ipc)]


def _stratum(ipc: int, points: Sequence[Point]) -> Stratum:
    clusters = sorted({point.cluster for point in points})
    twins = {cluster: [p.subset for p in points if p.cluster == cluster != p.subset] for cluster in clusters}
    return Stratum(
        ipc=int(ipc),
        runs=tuple(np.sort(np.array(point.errors, dtype=np.float64)) for point in points),
        error=np.array([fmean(point.errors) for point in points]).round(DECIMALS),
        loss=np.array([point.loss for point in points], dtype=np.float64),
        cluster=np.array([clusters.index(point.cluster) for point in points]),
        role=np.array([1 + twins[p.cluster].index(p.subset) if p.subset != p.cluster else 0 for p in points]),
        method=np.array([point.method for point in points]),
    )


def silence(stratum: Stratum) -> str:
    """Why an IPC says nothing about loss and error; "" when it does."""
    if len(stratum.loss) < 2:
        return ONE_POINT
    with np.errstate(over="ignore"):  # of losses near the largest float the range is infinite, and they differ
        constant = np.ptp(stratum.loss) <= CONSTANT * np.abs(stratum.loss).max()
    if constant:
        return CONSTANT_LOSS
    return CONSTANT_ERROR if np.ptp(stratum.error) == 0 else ""
