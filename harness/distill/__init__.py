"""Distillation methods, one file each: the training split to small synthetic images, exactly IPC per class."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from harness.datasets.base import Split
from harness.distill.kmeans_centroids import distill_kmeans_centroids

# name -> (split, ipc, draw) -> (uint8 images [classes * ipc, 3, H, W], int64 labels)
DISTILLERS: dict[str, Callable[[Split, int, int], tuple[np.ndarray, np.ndarray]]] = {
    "kmeans-centroids": distill_kmeans_centroids,
}
