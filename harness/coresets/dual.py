"""DUAL: uncertain and difficult early in training; with Beta sampling, which turns to easier rows the more is pruned (F.10).

Cho et al., "Lightweight Dataset Pruning without Full Training via Example Difficulty and Prediction Uncertainty" (arXiv
2502.06905). Their README passes the ranking in the place of the score, and their call of beta_sampling swaps the two as well
(methods I.13); here the weight is BetaPDF(mean p) * DUAL, as their formula says. Rows are drawn class by class.
"""

from __future__ import annotations

import numpy as np

from harness.coresets.by_class import class_rows, first_of_classes, generator
from harness.coresets.el2n import mean_over_snapshots
from harness.coresets.windows import check_windows, deviation, mean_over_windows
from harness.errors import UsageError

ANCHORS = 10  # rows of the highest DUAL whose mean probability places the Beta density
BETA_SUM = 16.0  # alpha + beta; beta_D = 15 (1 - mu)(1 - r^c)
# The density is 0 at p = 0, and infinite at p = 1 when beta_D < 1; a float32 softmax reaches both.
SMALLEST = 1e-6


def dual_scores(true_probability: np.ndarray, J: int = 10, T: int | None = None) -> np.ndarray:
    """float64 [N]: mean over the windows of J snapshots within the first T of std_J(p) * (1 - mean_J(p)), std unbiased.

    Args:
        true_probability: float32 [snapshots, N], 0..1.
        T: snapshots counted; None means all of them.

    Raises UsageError when T is larger than the run, or J larger than T.
    """
    early = _first(true_probability, T)
    check_windows("DUAL", len(early), J, J, f"one window has J = {J} snapshots")
    return mean_over_windows(early, J, range(len(early) - J + 1), lambda window: deviation(window) * (1 - window.mean(axis=0)))


def select_dual(true_probability: np.ndarray, labels: np.ndarray, ipc: int, J: int = 10, T: int | None = None) -> np.ndarray:
    """int64 rows [classes * ipc]: the highest DUAL score of each class first."""
    return first_of_classes(labels, ipc, -dual_scores(true_probability, J, T))


def select_dual_beta(
    true_probability: np.ndarray, labels: np.ndarray, ipc: int, draw: int, c: float, J: int = 10, T: int | None = None
) -> np.ndarray:
    """int64 rows [classes * ipc], in the order drawn: without replacement, by weight BetaPDF(mean p) * DUAL, in each class.

    Adding Gumbel noise to log weights and keeping the largest draws one row after the other by weight. Rows of weight 0 (their
    probability never moved) come last, the lowest row first. The weights depend on the share pruned, so that the rows of a
    smaller IPC are no prefix. Raises UsageError when a class has too few rows, c is not above 0, or snapshots are too few.
    """
    log_weights = beta_log_weights(true_probability, ipc * (labels.max() + 1) / len(labels), c, J, T)
    picked = []
    for label, rows in enumerate(class_rows(labels, ipc)):
        keys = log_weights[rows] + generator("dual-beta", draw, label).gumbel(size=len(rows))
        picked.append(rows[np.argsort(-keys, kind="stable")[:ipc]])
    return np.concatenate(picked)


def beta_log_weights(true_probability: np.ndarray, kept: float, c: float, J: int, T: int | None) -> np.ndarray:
    """float64 [N]: log(BetaPDF(mean_t p; alpha, beta) * DUAL) up to a constant, -inf where DUAL is 0.

    r = 1 - kept is the share pruned, mu the mean p of the ANCHORS rows of highest DUAL, beta = 15 (1 - mu)(1 - r^c).
    """
    if not c > 0:
        raise UsageError(f"c is {c:g}", why="it is the power of the share pruned", fix="choose c above 0")
    scores = dual_scores(true_probability, J, T)
    mean_probability = mean_over_snapshots(_first(true_probability, T))
    anchors = np.argsort(-scores, kind="stable")[:ANCHORS]
    beta = (BETA_SUM - 1) * (1 - mean_probability[anchors].mean()) * (1 - (1 - kept) ** c)
    p = mean_probability.clip(SMALLEST, 1 - SMALLEST)
    with np.errstate(divide="ignore"):
        return (BETA_SUM - beta - 1) * np.log(p) + (beta - 1) * np.log1p(-p) + np.log(scores)


def _first(true_probability: np.ndarray, T: int | None) -> np.ndarray:
    snapshots = len(true_probability)
    if T is not None and not 1 <= T <= snapshots:
        raise UsageError(f"T is {T}", why=f"the run has {snapshots} snapshots", fix=f"choose T from 2 to {snapshots}")
    return true_probability[:T]
