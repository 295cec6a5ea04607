"""A coreset from any per-sample score its author has: the highest or lowest of each class, or a window further down."""

from __future__ import annotations

import numpy as np

from harness.coresets.by_class import ascending, first_of_classes
from harness.errors import UsageError

ORDERS = ("highest", "lowest")


def select_from_scores(scores: np.ndarray, labels: np.ndarray, ipc: int, order: str, window: float = 0.0) -> np.ndarray:
    """int64 rows [classes * ipc], class by class, in the given order; ties to the lowest row.

    Args:
        scores: any float or integer type [N], finite, in the row order of the training split (`score_files.read_scores`).
        labels: int64 [N].
        order: `highest` or `lowest` first.
        window: floor(window * N_c) rows of each class are passed over first, in that order; 0 <= window < 1.

    A smaller `ipc` gives a prefix of each class. Raises UsageError for another order or length, and where too few rows remain.
    """
    if order not in ORDERS:
        raise UsageError(f"no order {order!r}", where="--order", fix=f"choose one of: {', '.join(ORDERS)}")
    if scores.shape != labels.shape:
        raise UsageError(f"{list(scores.shape)} scores for {len(labels):,} training rows", fix="give one score a row")
    return first_of_classes(labels, ipc, ascending(scores, order == "highest"), skip=window)
