"""Forgetting events: how often a row that was classified correctly was wrong when it was presented next (methods F.4).

Toneva et al., "An Empirical Study of Example Forgetting during Deep Neural Network Learning" (arXiv 1812.05159). What a row
that was never correct counts as is a convention that decides much: the authors' code gives it the number of passes, above all
others; DeepCore leaves it at 0, among the easiest.
"""

from __future__ import annotations

import numpy as np

from harness.coresets.by_class import first_of_classes
from harness.coresets.el2n import mean_over_snapshots
from harness.errors import UsageError

CORRECT, WRONG = 1, 0  # any other value: not presented in that pass
NEVER_LEARNED = ("max", "zero")


def forgetting_events(presented: np.ndarray, never_learned: str) -> np.ndarray:
    """int64 [N]: transitions from correct to wrong between consecutive presentations.

    Args:
        presented: uint8 [passes, N], in training order: 1 correct, 0 wrong, 255 not presented in that pass.
        never_learned: what a row that never was correct counts as, one never presented included: `max` is the number of
            passes, which no learned row reaches; `zero` leaves it at 0, as DeepCore does.

    Raises UsageError for another word.
    """
    if never_learned not in NEVER_LEARNED:
        raise UsageError(f"never_learned cannot be {never_learned!r}", fix=f"choose from: {', '.join(NEVER_LEARNED)}")
    passes, rows = presented.shape
    events = np.zeros(rows, np.int64)
    was_correct, learned = np.zeros(rows, bool), np.zeros(rows, bool)
    for shown in presented:
        correct, wrong = shown == CORRECT, shown == WRONG
        events += was_correct & wrong
        was_correct = correct | (was_correct & ~wrong)
        learned |= correct
    if never_learned == "max":
        events[~learned] = passes
    return events


def select_hard(presented: np.ndarray, el2n: np.ndarray, labels: np.ndarray, ipc: int, never_learned: str) -> np.ndarray:
    """int64 rows [classes * ipc]: most events first; where they tie, as few passes make them do, the highest mean EL2N."""
    return first_of_classes(labels, ipc, -forgetting_events(presented, never_learned), -mean_over_snapshots(el2n))


def select_easy(presented: np.ndarray, el2n: np.ndarray, labels: np.ndarray, ipc: int, never_learned: str) -> np.ndarray:
    """int64 rows [classes * ipc]: fewest events first; where they tie the lowest mean EL2N (float32 [snapshots, N])."""
    return first_of_classes(labels, ipc, forgetting_events(presented, never_learned), mean_over_snapshots(el2n))
