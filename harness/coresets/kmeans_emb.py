"""Real images nearest to class-wise k-means centres in feature space: the paper's "K-centers" (methods F.8 b).

DC-Bench (Cui et al., arXiv 2207.09639) calls it Kmeans-emb: k = IPC clusters a class in an embedding, the nearest real image not
taken yet to each centre. The embedding is not named there; here it is the penultimate layer of the scoring model.
"""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from harness.coresets.by_class import class_rows, generator
from harness.coresets.kmeans_nearest import take_nearest
from harness.coresets.similarity import gridded_distances
from harness.errors import UsageError


def select_kmeans_emb(features: np.ndarray, labels: np.ndarray, ipc: int, draw: int, starts: int) -> np.ndarray:
    """int64 rows [classes * ipc], the image of the largest cluster of each class first. `draw` seeds k-means.

    Both images of a cluster of two are equally near to its centre: the lowest row is taken.

    Args:
        features: float16 [N, F], labels: int64 [N].
        starts: k-means++ starts a class, at least 1 (else UsageError); the fit of smallest inertia is kept.
    """
    if starts < 1:
        raise UsageError(f"k-means cannot start {starts} times", where="--param starts=", fix="choose 1 or more")
    picked = []
    for label, rows in enumerate(class_rows(labels, ipc)):
        points = rotated(features[rows].astype(np.float64))
        seed = int(generator("kmeans-emb", draw, label).integers(2**31))
        centres = ordered_centres(points, clusters_of(points, ipc, starts, seed))
        in_turn = centres[np.arange(ipc) % len(centres)]  # rows that are equal may leave fewer clusters than IPC
        norms = np.einsum("ij,ij->i", points, points)
        picked.append(rows[take_nearest(gridded_distances(in_turn, points, norms, norms.max()))])
    return np.concatenate(picked)


def rotated(points: np.ndarray) -> np.ndarray:
    """The points (float64 [n, F]) in coordinates of the space they span: at most n of them, all distances as they were."""
    if len(points) >= points.shape[1]:
        return points
    return np.ascontiguousarray(np.linalg.qr(points.T, mode="r").T)


def clusters_of(points: np.ndarray, count: int, starts: int, seed: int) -> np.ndarray:
    """int [n]: the cluster of each point. Fewer distinct points than clusters leave some empty, which is no fault here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return KMeans(n_clusters=count, n_init=starts, random_state=seed).fit(points).labels_


def ordered_centres(points: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """float64 [clusters, F]: mean points, the largest cluster first, of equal ones the one that has the lowest row."""
    found, lowest, sizes = np.unique(clusters, return_index=True, return_counts=True)
    return np.stack([points[clusters == cluster].mean(axis=0) for cluster in found[np.lexsort((lowest, -sizes))]])
