"""EL2N: how far the softmax lies from the one-hot label, averaged over a training run (methods F.2, F.3).

Paul et al., "Deep Learning on a Data Diet" (arXiv 2107.07075). The paper averages over training ("moving average of the
scores"); Data Diet over models at one early epoch. The window is SelMatch's, of N_c * beta rows and not of IPC * beta as its
released eval.py has it (methods I.13): only the first fits its own limit 1 - IPC / N_c.
"""

from __future__ import annotations

import numpy as np

from harness.coresets.by_class import first_of_classes
from harness.errors import UsageError


def mean_over_snapshots(scores: np.ndarray) -> np.ndarray:
    """float64 [N]: the mean of float32 scores [snapshots, N] over all snapshots."""
    return scores.mean(axis=0, dtype=np.float64)


def select_hard(scores: np.ndarray, labels: np.ndarray, ipc: int) -> np.ndarray:
    """int64 rows [classes * ipc]: the highest mean score (float32 [snapshots, N]) of each class first."""
    return first_of_classes(labels, ipc, -mean_over_snapshots(scores))


def select_easy(scores: np.ndarray, labels: np.ndarray, ipc: int) -> np.ndarray:
    """int64 rows [classes * ipc]: the lowest mean score (float32 [snapshots, N]) of each class first."""
    return first_of_classes(labels, ipc, mean_over_snapshots(scores))


def select_window(scores: np.ndarray, labels: np.ndarray, ipc: int, beta: float) -> np.ndarray:
    """int64 rows [classes * ipc]: the hardest floor(beta * N_c) of each class are dropped, the next `ipc` taken, hardest first.

    Raises UsageError when fewer than `ipc` remain of a class.
    """
    return first_of_classes(labels, ipc, -mean_over_snapshots(scores), skip=beta)


def sl_scores(distances: np.ndarray, temperature: float) -> np.ndarray:
    """EL2N-SL, Definition 1 of the paper: float32 [snapshots, N] of (1 / T) ||p_T - q_T||_2 from the norms alone.

    1 / T changes no rank. At T = 20 over many classes p and q are both nearly uniform, so that scores shrink for that reason
    alone (methods F.3): compare ranks or normalised scores, never raw ones of different T.
    """
    if not temperature > 0:
        raise UsageError(f"a temperature of {temperature:g}", why="it divides the logits", fix="choose one above 0")
    return distances / np.float32(temperature)
