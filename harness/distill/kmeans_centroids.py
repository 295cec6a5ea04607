"""Class-wise k-means centres in pixel space: the simplest truly synthetic set, a mean image for each cluster of a class."""

from __future__ import annotations

import numpy as np

from harness.coresets.by_class import rows_of_classes
from harness.coresets.class_kmeans import class_centres, class_pixels
from harness.datasets.base import Split


def distill_kmeans_centroids(split: Split, ipc: int, draw: int) -> tuple[np.ndarray, np.ndarray]:
    """(uint8 images [classes * ipc, 3, H, W], int64 labels). `draw` seeds k-means.

    Raises UsageError when a class has fewer than `ipc` images.
    """
    images, labels = [], []
    for label, rows in rows_of_classes(split, ipc):
        pixels = class_pixels(split, rows)
        centres = class_centres(pixels.reshape(len(rows), -1), ipc, draw, label)
        images.append(centres.reshape(ipc, *pixels.shape[1:]).round().clip(0, 255).astype(np.uint8))
        labels += [label] * ipc
    return np.concatenate(images), np.array(labels, dtype=np.int64)
