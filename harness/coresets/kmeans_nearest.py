"""Real images nearest to class-wise k-means centres in pixel space.

The construction is DC-Bench's `Kmeans-emb` (methods F.8 b: k = IPC centres a class, the nearest unused real image to
each), with raw pixels in the place of an embedding, so that it needs no trained network.
"""

from __future__ import annotations

import numpy as np

from harness.coresets.by_class import rows_of_classes
from harness.coresets.class_kmeans import class_centres, class_pixels
from harness.datasets.base import Split


def select_kmeans_nearest(split: Split, ipc: int, draw: int) -> np.ndarray:
    """int64 rows [classes * ipc], class by class. `draw` seeds k-means.

    Raises UsageError when a class has fewer than `ipc` images.
    """
    picked = []
    for label, rows in rows_of_classes(split, ipc):
        pixels = class_pixels(split, rows).reshape(len(rows), -1)
        centres = class_centres(pixels, ipc, draw, label)
        picked.append(rows[nearest_unused(pixels, centres)])
    return np.concatenate(picked)


def nearest_unused(points: np.ndarray, centres: np.ndarray) -> list[int]:
    """For each centre in turn the index of the nearest point not taken yet; ties go to the lowest index."""
    return take_nearest(((points[None] - centres[:, None]) ** 2).sum(axis=2))


def take_nearest(distances: np.ndarray) -> list[int]:
    """As `nearest_unused`, from float64 distances [centres, points], which are overwritten."""
    taken: list[int] = []
    for row in distances:
        row[taken] = np.inf
        taken.append(int(row.argmin()))
    return taken
