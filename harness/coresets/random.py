"""Random Real, the baseline of every table (methods F.1): uniform without replacement in each class."""

from __future__ import annotations

import numpy as np

from harness.coresets.by_class import rows_of_classes
from harness.datasets.base import Split


def select_random(split: Split, ipc: int, draw: int) -> np.ndarray:
    """int64 rows [classes * ipc], class by class. The rows of a smaller IPC are a prefix of each class's rows of a larger one.

    Raises UsageError when a class has fewer than `ipc` images.
    """
    picked = []
    for label, rows in rows_of_classes(split, ipc):
        order = np.random.default_rng([draw, label]).permutation(len(rows))
        picked.append(rows[order[:ipc]])
    return np.concatenate(picked)
