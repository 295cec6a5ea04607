"""Statistics of a score over sliding windows of snapshots: what Dyn-Unc, DUAL and CAD-Prune have in common."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from harness.errors import UsageError

BLOCK = 1 << 15  # rows at a time: 90 snapshots of them take 24 MB in float64


def mean_over_windows(
    scores: np.ndarray, length: int, starts: range, statistic: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """float64 [N]: the mean of `statistic` over the windows scores[k : k + length], k in `starts`.

    Args:
        scores: float32 [snapshots, N]; read a block of rows at a time.
        statistic: float64 [length, n] -> float64 [n].
    """
    result = np.empty(scores.shape[1])
    first, end = starts[0], starts[-1] + length
    for begin in range(0, scores.shape[1], BLOCK):
        block = np.asarray(scores[first:end, begin : begin + BLOCK], np.float64)
        total = np.zeros(block.shape[1])
        for start in starts:
            total += statistic(block[start - first : start - first + length])
        result[begin : begin + BLOCK] = total / len(starts)
    return result


def deviation(window: np.ndarray) -> np.ndarray:
    """float64 [n]: the unbiased standard deviation over the window's snapshots (divisor length - 1)."""
    return window.std(axis=0, ddof=1)


def check_windows(method: str, snapshots: int, length: int, needed: int, why: str) -> None:
    """Raises UsageError unless windows have at least 2 snapshots, and `needed` of them are there."""
    if length < 2:
        raise UsageError(f"{method} has windows of {length} snapshots", why="one snapshot has no deviation", fix="choose J >= 2")
    if snapshots < needed:
        raise UsageError(
            f"{method} needs {needed} snapshots of training; there are {snapshots}",
            why=why,
            fix=f"record more with --snapshots, or name a smaller J (at most {length - needed + snapshots})"
            if length - needed + snapshots >= 2
            else "record more with --snapshots",
        )
