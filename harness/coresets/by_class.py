"""What all class-balanced selectors share: the rows of each class, and the error when a class is too small."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from harness.datasets.base import Split
from harness.errors import UsageError


def rows_of_classes(split: Split, ipc: int) -> Iterator[tuple[int, np.ndarray]]:
    """(class, its rows in ascending order, int64) for every class. Raises UsageError when a class has fewer than `ipc` rows."""
    counts = np.bincount(split.labels)
    smallest = int(counts.argmin())
    if counts[smallest] < ipc:
        raise UsageError(
            f"class {smallest} of {split.dataset} has {counts[smallest]} training images, fewer than IPC {ipc}",
            fix=f"choose --ipc {counts[smallest]} or less",
        )
    for label in range(len(counts)):
        yield label, np.flatnonzero(split.labels == label)
