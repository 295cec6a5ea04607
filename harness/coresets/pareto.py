"""The Pareto family (section 3.1 and Fig. 1b of the paper, methods H.2): the easiest or hardest of a random pool.

f = 1 is Random; the smaller f, the larger the pool of IPC / f rows and the stronger the choice within it.
"""

from __future__ import annotations

import math

import numpy as np

from harness.coresets.by_class import ROUNDING
from harness.coresets.el2n import mean_over_snapshots
from harness.coresets.random import random_pools
from harness.errors import UsageError


def pool_size(ipc: int, f: float) -> int:
    """ceil(ipc / f). Raises UsageError unless 0 < f <= 1."""
    if not 0 < f <= 1:
        raise UsageError(f"f is {f:g}", why="the set is the share f of its pool", fix="choose 0 < f <= 1")
    return math.ceil(ipc / f - ROUNDING)


def select_pareto(scores: np.ndarray, labels: np.ndarray, ipc: int, draw: int, f: float, hardest: bool) -> np.ndarray:
    """int64 rows [classes * ipc]: of a random pool of ceil(ipc / f) rows of each class those of lowest, or highest, mean EL2N.

    The pool is what `random` draws at that IPC, so that pools of one draw are nested and f = 1 holds the rows of `random`.
    Ties go to the lowest row. Raises UsageError with the numbers when a class has fewer rows than the pool.
    """
    size = pool_size(ipc, f)
    smallest = int(np.bincount(labels).min())
    if size > smallest:
        raise UsageError(
            f"a pool of {size} images a class is not to be had",
            why=f"IPC / f = {ipc} / {f:g}, and the smallest class has {smallest} images",
            fix=f"choose f of at least {math.ceil(ipc / smallest * 1000) / 1000:g}, or a smaller --ipc",
        )
    key = mean_over_snapshots(scores) * (-1 if hardest else 1)
    pools = [np.sort(pool) for pool in random_pools(labels, size, draw)]
    return np.concatenate([pool[np.argsort(key[pool], kind="stable")[:ipc]] for pool in pools])
