"""Random Real, the baseline of every table (methods F.1): uniform without replacement in each class."""

from __future__ import annotations

import numpy as np

from harness.coresets.by_class import class_rows
from harness.datasets.base import Split


def select_random(split: Split, ipc: int, draw: int) -> np.ndarray:
    """int64 rows [classes * ipc], class by class. The rows of a smaller IPC are a prefix of each class's rows of a larger one.

    Raises UsageError when a class has fewer than `ipc` images.
    """
    return np.concatenate(random_pools(split.labels, ipc, draw, split.dataset))


def random_pools(labels: np.ndarray, count: int, draw: int, dataset: str = "the dataset") -> list[np.ndarray]:
    """For each class of `labels` (int64 [N]) `count` rows in random order, seeded by `draw` and the class.

    Raises UsageError when a class has fewer than `count` rows.
    """
    by_class = class_rows(labels, count, dataset)
    return [rows[np.random.default_rng([draw, label]).permutation(len(rows))[:count]] for label, rows in enumerate(by_class)]
