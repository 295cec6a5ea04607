"""k-means inside one class, in a fixed order of clusters."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans

from harness.datasets.base import Split
from harness.errors import UsageError
from harness.imageset import EncodedImages


def class_pixels(split: Split, rows: np.ndarray) -> np.ndarray:
    """float64 [len(rows), 3, H, W] in 0..255. Raises UsageError for a dataset that stays encoded (ImageNet-1K)."""
    if isinstance(split.images, EncodedImages):
        raise UsageError(f"k-means in pixel space needs decoded images of one size; {split.dataset} has neither")
    return np.asarray(split.images[rows], dtype=np.float64)


def class_centres(points: np.ndarray, ipc: int, draw: int, label: int) -> np.ndarray:
    """float64 [ipc, D]: k-means++ start, best of 10 by inertia, largest cluster first (ties: smaller first coordinate sum)."""
    seed = int(np.random.default_rng([draw, label]).integers(2**31))
    fit = KMeans(n_clusters=ipc, n_init=10, random_state=seed).fit(points)
    sizes = np.bincount(fit.labels_, minlength=ipc)
    return fit.cluster_centers_[np.lexsort((fit.cluster_centers_.sum(axis=1), -sizes))]
