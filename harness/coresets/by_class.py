"""What all class-balanced selectors share: the rows of each class, their order by score, one generator a purpose, and the
error when a class is too small."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from harness.datasets.base import Split
from harness.errors import UsageError

ROUNDING = 1e-9  # 0.29 * 100 is 28.999999999999996 in floating point, and means 29


def rows_of_classes(split: Split, ipc: int) -> Iterator[tuple[int, np.ndarray]]:
    """(class, its rows in ascending order, int64) for every class. Raises UsageError when a class has fewer than `ipc` rows."""
    yield from enumerate(class_rows(split.labels, ipc, split.dataset))


def class_rows(labels: np.ndarray, ipc: int, dataset: str = "the dataset") -> list[np.ndarray]:
    """For every class 0 .. max(labels) its rows in ascending order, int64.

    Raises UsageError when a class has fewer than `ipc` rows; `dataset` is named in the message.
    """
    counts = np.bincount(labels)
    smallest = int(counts.argmin())
    if counts[smallest] < ipc:
        raise UsageError(
            f"class {smallest} of {dataset} has {counts[smallest]} training images, fewer than IPC {ipc}",
            fix=f"choose --ipc {counts[smallest]} or less",
        )
    return np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])


def first_of_classes(labels: np.ndarray, ipc: int, *keys: np.ndarray, skip: float = 0.0) -> np.ndarray:
    """int64 rows [classes * ipc], class by class: the `ipc` lowest of each class in their order, after `skip` of it was dropped.

    Args:
        labels: int64 [N].
        keys: floats or integers [N]; the second decides where the first ties, and the lowest row where all do.
        skip: fraction of each class, 0 <= skip < 1, that is dropped first: floor(skip * N_c) rows of a class of N_c rows.

    A smaller `ipc` gives a prefix of each class. Raises UsageError when a class has too few rows, or `skip` lies outside.
    """
    if not 0 <= skip < 1:
        raise UsageError(f"a window begins at a fraction of each class, not at {skip:g}", fix="choose 0 <= fraction < 1")
    by_class = class_rows(labels, ipc)
    counts = np.array([len(rows) for rows in by_class])
    dropped = np.floor(skip * counts + ROUNDING).astype(np.int64)
    if (short := np.flatnonzero(dropped + ipc > counts)).size:
        label = int(short[0])
        raise UsageError(
            f"no window of {ipc} images begins at {skip:g} of class {label}",
            why=f"the class has {counts[label]} images; {dropped[label]} dropped leave {counts[label] - dropped[label]}",
            fix=f"begin at {largest_skip(counts, ipc):g} or less, or choose a smaller --ipc",
        )
    order = np.lexsort((*reversed(keys), labels))
    starts = np.cumsum(counts) - counts + dropped
    return order[(starts[:, None] + np.arange(ipc)).ravel()]


def largest_skip(counts: np.ndarray, ipc: int) -> float:
    """The largest fraction, rounded down to 3 decimals, that leaves `ipc` of every class of `counts` rows."""
    return math.floor((1 - ipc / counts.min()) * 1000 + ROUNDING) / 1000


def ascending(scores: np.ndarray, highest_first: bool) -> np.ndarray:
    """A key whose ascending order is that of `scores`, or the reverse; exact for every integer and float type up to 64 bits."""
    key = scores.astype(np.float64) if scores.dtype.kind == "f" else np.unique(scores, return_inverse=True)[1]
    return -key if highest_first else key


def generator(purpose: str, draw: int, label: int) -> np.random.Generator:
    """The generator of one purpose, draw and class; another purpose never sees the same numbers."""
    return np.random.default_rng([draw, label, *purpose.encode()])
