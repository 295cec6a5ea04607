"""K-center greedy (Sener and Savarese, arXiv 1708.00489; DeepCore kcentergreedy.py), class by class (methods F.8 a).

It picks outliers, and is below Random at small IPC; the paper's "K-centers" rows are those of `kmeans-emb`. DeepCore measures
distances in an ImageNet network at 224 px; here in the penultimate features of the scoring model.
"""

from __future__ import annotations

import numpy as np

from harness.coresets.by_class import class_rows, generator
from harness.coresets.similarity import gridded_distances


def select_kcenter_greedy(features: np.ndarray, labels: np.ndarray, ipc: int, draw: int) -> np.ndarray:
    """int64 rows [classes * ipc] in the order picked: a random first row, then always the one farthest from all picked.

    Args:
        features: float16 [N, F]; Euclidean distances. `draw` seeds the first row of each class.

    Ties go to the lowest row; a smaller `ipc` gives a prefix of each class.
    """
    picked = []
    for label, rows in enumerate(class_rows(labels, ipc)):
        first = int(generator("kcenter-greedy", draw, label).integers(len(rows)))
        picked.append(rows[farthest_first(features[rows].astype(np.float64), first, ipc)])
    return np.concatenate(picked)


def farthest_first(points: np.ndarray, first: int, count: int) -> np.ndarray:
    """int64 [count] of points (float64 [n, F]), beginning with `first`."""
    norms = np.einsum("ij,ij->i", points, points)
    nearest = np.full(len(points), np.inf)
    picked = np.empty(count, np.int64)
    choice = first
    for position in range(count):
        picked[position] = choice
        np.minimum(nearest, gridded_distances(points[choice : choice + 1], points, norms, norms.max())[0], out=nearest)
        nearest[choice] = -np.inf
        choice = int(nearest.argmax())
    return picked
