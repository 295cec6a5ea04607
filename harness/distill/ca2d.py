"""CA2D (arXiv 2604.18811, section 5; methods G.2): RDED on the images that CAD-Prune keeps, in place of random ones.

The paper does not state the pool; ours is the highest CAD scores of each class, and every one of them is looked at: RDED's 300,
or 60 % of the smallest class where that is less (300 is that share on CIFAR-100 and TinyImageNet), and at least 1.5 * IPC * f².
The paper's scores come from a run matched to the student's budget at that IPC (methods F.11).
"""

from __future__ import annotations

import math

import numpy as np

from harness.coresets.by_class import ROUNDING
from harness.datasets.base import Split
from harness.distill.method import DistilledSet, Source
from harness.distill.patches import Layout
from harness.distill.rded import IMAGES_PER_CLASS, check_pools, class_rows, layout_for, stitched_set
from harness.errors import UsageError

LARGEST_SHARE = 0.6  # of the smallest class, in a default pool: one of everything would be RDED's


def distill_ca2d(source: Source, ipc: int, draw: int, factor: int | None, pool: int | None, crops: int) -> DistilledSet:
    """`pool` None means `default_pool` images a class; `factor` as RDED's.

    Raises UsageError for scores that do not fit the split, a pool with too few images, a default pool that chooses none, and what
    cannot be stitched.
    """
    layout = layout_for(source, ipc, factor)
    return stitched_set(source, cad_pools(source.split, source.cad, layout, pool), layout, draw, crops)


def cad_pools(split: Split, cad: np.ndarray, layout: Layout, pool: int | None = None) -> list[np.ndarray]:
    """For every class the rows of its `pool` highest scores (all, if it has fewer), int64, ascending. Ties: the lowest row."""
    if cad.shape != (len(split),) or not np.isfinite(cad).all():
        raise UsageError(
            "the CAD scores do not fit the training split",
            why=f"{split.dataset} has {len(split)} images; the scores have shape {cad.shape}, "
            f"{int((~np.isfinite(cad)).sum())} of them not finite",
            fix="score the split anew",
        )
    by_class = class_rows(split.labels)
    sizes = [len(rows) for rows in by_class]
    size = default_pool(min(sizes), layout) if pool is None else max(pool, 0)
    pools = [np.sort(rows[np.argsort(-cad[rows], kind="stable")[:size]]) for rows in by_class]
    check_pools(split, pools, layout, "pool")
    if pool is None and size >= max(sizes):
        raise UsageError(
            f"CA2D would choose nothing at IPC {layout.ipc}", where="pool",
            why=f"its pool of 1.5 x IPC x factor² = {size} holds every class of {split.dataset} whole, as RDED's may",
            fix="choose a smaller --ipc, or name the pool: --param pool=",
        )  # fmt: skip
    return pools


def default_pool(smallest: int, layout: Layout) -> int:
    """Images a class, where `smallest` is the number of images in the smallest class."""
    share = math.ceil(LARGEST_SHARE * smallest - ROUNDING)
    return max(min(IMAGES_PER_CLASS, share), math.ceil(1.5 * layout.needed))
