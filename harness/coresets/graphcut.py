"""GraphCut on gradients of the last layer, class by class (methods F.6; DeepCore submodular.py, Iyer et al. 2021).

Gain(j | A) = lam * sum of s_ij over the class - 2 * sum of s_ij over A, s = 1/2 + 1/2 cos of the gradients. Only one class's
similarities exist at a time, and no gradient ever does. DeepCore sorts its picks by index; here the greedy order is kept.
"""

from __future__ import annotations

import numpy as np

from harness.coresets.by_class import class_rows
from harness.coresets.greedy import lazy_greedy
from harness.coresets.similarity import gradient_similarity
from harness.errors import UsageError


def select_graphcut(
    probabilities: np.ndarray, features: np.ndarray, labels: np.ndarray, ipc: int, lam: float = 1.0
) -> np.ndarray:
    """int64 rows [classes * ipc], class by class in greedy order; a smaller `ipc` gives a prefix of each class.

    Args:
        probabilities: float16 [N, C], features: float16 [N, F], labels: int64 [N].
        lam: weight of being like the class against being like what was picked already.

    Raises UsageError for a negative `lam`.
    """
    if lam < 0:
        raise UsageError(f"lam is {lam:g}", why="it weighs likeness to the class", fix="choose 0 or more")
    picked = []
    for label, rows in enumerate(class_rows(labels, ipc)):
        similarity = gradient_similarity(probabilities[rows], features[rows], label)
        picked.append(rows[maximise_graphcut(similarity, ipc, lam)])
    return np.concatenate(picked)


def maximise_graphcut(similarity: np.ndarray, count: int, lam: float) -> np.ndarray:
    """int64 [count] of the n rows of `similarity` (float32 [n, n], symmetric, 0 or more), in greedy order."""
    to_class = similarity.sum(axis=0, dtype=np.float64) * lam
    to_picked = np.zeros(len(similarity))

    def gains(rows: np.ndarray) -> np.ndarray:
        return to_class[rows] - 2 * to_picked[rows]

    def add(row: int) -> None:
        to_picked[:] += similarity[row]

    return lazy_greedy(gains, add, len(similarity), count)
