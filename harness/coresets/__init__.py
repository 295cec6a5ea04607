"""Coreset selectors, one file each: a pure function of the training split to an ordered list of rows, exactly IPC per class."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from harness.coresets.kmeans_nearest import select_kmeans_nearest
from harness.coresets.random import select_random
from harness.datasets.base import Split

# name -> (split, ipc, draw) -> int64 rows [classes * ipc]
SELECTORS: dict[str, Callable[[Split, int, int], np.ndarray]] = {
    "random": select_random,
    "kmeans-nearest": select_kmeans_nearest,
}
