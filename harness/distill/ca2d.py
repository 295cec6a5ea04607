"""CA2D (arXiv 2604.18811, section 5; methods G.2): RDED on the images that CAD-Prune keeps, in place of random ones.

The paper does not state the pool; ours is the max(300, 1.5 * IPC * f²) highest CAD scores of each class, and every one of them is
looked at. The scores come from a run matched to the student's budget at that IPC (methods F.11).
"""

from __future__ import annotations

import math

import numpy as np

from harness.datasets.base import Split
from harness.distill.method import DistilledSet, Source
from harness.distill.patches import Layout
from harness.distill.rded import IMAGES_PER_CLASS, check_pools, class_rows, layout_for, stitched_set
from harness.errors import UsageError


def distill_ca2d(source: Source, ipc: int, draw: int, factor: int | None, pool: int | None, crops: int) -> DistilledSet:
    """`pool` None means max(300, 1.5 * IPC * f²) images a class; `factor` as RDED's.

    Raises UsageError for scores that do not fit the split, a pool with too few images, and what cannot be stitched.
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
    size = max(IMAGES_PER_CLASS, math.ceil(1.5 * layout.needed)) if pool is None else max(pool, 0)
    pools = [np.sort(rows[np.argsort(-cad[rows], kind="stable")[:size]]) for rows in class_rows(split.labels)]
    check_pools(split, pools, layout, "pool")
    return pools
