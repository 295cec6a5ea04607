"""What all class-balanced selectors share: the rows of each class, and the error when a class is too small."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from harness.datasets.base import Split
from harness.errors import UsageError


def rows_of_classes(split: Split, ipc: int) -> Iterator[tuple[int, np.ndarray]]:
    """(class, its rows in ascending order, int64) for every class. Raises UsageError when a class has fewer than `ipc` rows."""
    for label in range(int(split.labels.max()) + 1):
        rows = np.flatnonzero(split.labels == label)
        if len(rows) < ipc:
            raise UsageError(
                f"class {label} of {split.dataset} has {len(rows)} training images, fewer than IPC {ipc}",
                fix=f"choose --ipc {len(rows)} or less",
            )
        yield label, rows
