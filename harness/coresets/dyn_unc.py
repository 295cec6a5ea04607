"""Dyn-Unc: rows whose probability of the true class moves most (methods F.9).

He et al., "Large-scale Dataset Pruning with Dynamic Uncertainty" (arXiv 2306.05175). Its get_coreset.py averages over all
windows but the one that ends with the last epoch, and multiplies by 10, which changes no rank and is left out.
"""

from __future__ import annotations

import numpy as np

from harness.coresets.by_class import first_of_classes
from harness.coresets.windows import check_windows, deviation, mean_over_windows


def dyn_unc_scores(true_probability: np.ndarray, J: int = 10) -> np.ndarray:
    """float64 [N]: mean over all windows of J snapshots but the last of the unbiased deviation of p(y|x).

    Args:
        true_probability: float32 [snapshots, N], 0..1.

    Raises UsageError with fewer than J + 1 snapshots: J is then named by the user, never shortened silently.
    """
    snapshots = len(true_probability)
    check_windows("Dyn-Unc", snapshots, J, J + 1, f"windows of J = {J} snapshots, the last of which is not used")
    return mean_over_windows(true_probability, J, range(snapshots - J), deviation)


def select_dyn_unc(true_probability: np.ndarray, labels: np.ndarray, ipc: int, J: int = 10) -> np.ndarray:
    """int64 rows [classes * ipc]: the highest score of each class first (the official code does not balance classes)."""
    return first_of_classes(labels, ipc, -dyn_unc_scores(true_probability, J))
