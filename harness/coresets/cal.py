"""CAL: rows on which the model agrees, or disagrees, with their nearest neighbours (methods F.5).

Margatina et al., "Active Learning by Acquiring Contrastive Examples" (arXiv 2109.03764), as DeepCore's cal.py has it: neighbours
of the same class, and the LEAST contrastive first, the reverse of the CAL paper. Deviation: DeepCore finds neighbours in an
ImageNet network at 224 px; here in whatever features are given, by default the penultimate ones of the scoring model.
"""

from __future__ import annotations

import numpy as np

from harness.coresets.by_class import class_rows, first_of_classes
from harness.coresets.similarity import gridded_distances
from harness.errors import UsageError

CLIP = 1e-12
DISTANCE_ROWS, DIVERGENCE_ROWS = 1024, 128  # rows at a time


def select_cal(probabilities: np.ndarray, features: np.ndarray, labels: np.ndarray, ipc: int, k: int = 10) -> np.ndarray:
    """int64 rows [classes * ipc]: the lowest CAL score of each class first."""
    return first_of_classes(labels, ipc, cal_scores(probabilities, features, labels, k))


def cal_scores(probabilities: np.ndarray, features: np.ndarray, labels: np.ndarray, k: int = 10) -> np.ndarray:
    """float64 [N]: mean over the k nearest rows j of the class of KL(p_i || p_j) / 2 + KL(p_j || p_i) / 2; 0 in a class of one.

    Args:
        probabilities: float16 [N, C], clipped at 1e-12 from below.
        features: float16 [N, F]; Euclidean distances, equally near rows by lowest row.
        k: neighbours; all the others where a class has no more than k rows.

    Raises UsageError for k below 1.
    """
    if k < 1:
        raise UsageError(f"k is {k}", why="a row is compared with its neighbours", fix="choose k >= 1")
    scores = np.zeros(len(labels))
    for rows in class_rows(labels, 1):
        if len(rows) > 1:
            neighbours = nearest_rows(features[rows].astype(np.float64), min(k, len(rows) - 1))
            scores[rows] = mean_divergence(probabilities[rows].astype(np.float64), neighbours)
    return scores


def nearest_rows(points: np.ndarray, k: int) -> np.ndarray:
    """int64 [n, k], ascending: the k nearest other points (float64 [n, F]) of each, k < n; of equally near ones the lowest."""
    norms = np.einsum("ij,ij->i", points, points)
    found = []
    for begin in range(0, len(points), DISTANCE_ROWS):
        block = points[begin : begin + DISTANCE_ROWS]
        distances = gridded_distances(block, points, norms, norms.max())
        distances[np.arange(len(block)), np.arange(begin, begin + len(block))] = np.inf
        kth = np.partition(distances, k - 1, axis=1)[:, k - 1 : k]
        nearer, level = distances < kth, distances == kth
        chosen = nearer | (level & (level.cumsum(axis=1) <= k - nearer.sum(axis=1, keepdims=True)))
        found.append(np.nonzero(chosen)[1].reshape(len(block), k))
    return np.concatenate(found)


def mean_divergence(probabilities: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """float64 [n]: mean over neighbours j of sum (p_i - p_j)(log p_i - log p_j) / 2, the two halves of the KLs added up."""
    p = probabilities.clip(CLIP)
    log_p = np.log(p)
    scores = np.empty(len(p))
    for begin in range(0, len(p), DIVERGENCE_ROWS):
        block, others = slice(begin, begin + DIVERGENCE_ROWS), neighbours[begin : begin + DIVERGENCE_ROWS]
        divergences = np.einsum("ijc,ijc->ij", p[block, None] - p[others], log_p[block, None] - log_p[others])
        scores[block] = divergences.mean(axis=1) / 2
    return scores
