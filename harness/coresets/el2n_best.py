"""EL2N-Best: the window of EL2N ranks whose student does best, found on rows of the training split that no window may use.

The paper (section 5, after SelMatch) chooses the window by the student's accuracy and does not say on which images; SelMatch's
code uses the test set. Here it is a part of the training split, held out before any window is formed (methods F.2).
Training is injected (harness/search_window.py trains the students), so that this file stays pure and the search can be tested
against brute force.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.coresets.by_class import ROUNDING, class_rows, first_of_classes, generator
from harness.coresets.el2n import mean_over_snapshots
from harness.errors import UsageError

STEP = 0.1  # SelMatch's grid
STEPS = (STEP, 0.2, 0.3)  # every window of a coarser grid is one of SelMatch's


@dataclass(frozen=True)
class Window:
    """The chosen window: `rows` (int64 [classes * ipc]) begin at `beta`; `accuracies` holds what was measured for every beta."""

    beta: float
    rows: np.ndarray
    accuracies: dict[float, float]


def hold_out(labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(candidates, held out): int64 rows, each ascending, together every row once.

    Of each class of N_c rows floor(fraction * N_c) are held out, at least 1, and N_c - 1 at most, drawn without replacement.

    Raises UsageError for a fraction outside 0 .. 1, and for a class of one row.
    """
    if not 0 < fraction < 1:
        raise UsageError(f"the part held out is {fraction:g} of each class", fix="choose a fraction above 0 and below 1")
    held = []
    for label, rows in enumerate(class_rows(labels, 2)):
        count = min(max(math.floor(fraction * len(rows) + ROUNDING), 1), len(rows) - 1)
        held.append(rows[generator("el2n-best held out", seed, label).permutation(len(rows))[:count]])
    held_out = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(labels)), held_out), held_out


def window_grid(labels: np.ndarray, ipc: int, step: float = STEP) -> list[float]:
    """0, step, 2 step, ... up to 1 - ipc / (rows of the smallest class), rounded to 9 decimals."""
    smallest = min(len(rows) for rows in class_rows(labels, ipc))
    return [round(index * step, 9) for index in range(math.floor((1 - ipc / smallest) / step + ROUNDING) + 1)]


def window_of_candidates(scores: np.ndarray, labels: np.ndarray, ipc: int, beta: float, candidates: np.ndarray) -> np.ndarray:
    """As `el2n.select_window`, among `candidates` (ascending int64 rows) only: N_c counts candidates, and ranks are theirs."""
    among = first_of_classes(labels[candidates], ipc, -mean_over_snapshots(scores)[candidates], skip=beta)
    return candidates[among]


def choose_window(
    scores: np.ndarray,
    labels: np.ndarray,
    ipc: int,
    evaluate: Callable[[np.ndarray], float],
    candidates: np.ndarray,
    grid: Sequence[float] | None = None,
) -> Window:
    """The window whose `evaluate` is highest; the first of the grid where several are.

    Args:
        scores: float32 [snapshots, N], labels int64 [N].
        evaluate: int64 rows [classes * ipc] -> accuracy on the held-out rows, a finite number; called once a beta, in order.
        candidates: the rows of `hold_out` that windows are made of.
        grid: betas; None means `window_grid` of the candidates.

    Raises UsageError for an empty grid, a beta that leaves too few rows, and an accuracy that is not finite.
    """
    betas = list(window_grid(labels[candidates], ipc) if grid is None else grid)
    if not betas:
        raise UsageError("there is no window to choose from", why="the grid is empty", fix="name at least one beginning")
    windows = {beta: window_of_candidates(scores, labels, ipc, beta, candidates) for beta in betas}
    accuracies = {beta: float(evaluate(rows)) for beta, rows in windows.items()}
    if wrong := [beta for beta, accuracy in accuracies.items() if not math.isfinite(accuracy)]:
        why = f"{accuracies[wrong[0]]} was measured"
        raise UsageError(f"the window at {wrong[0]:g} has no accuracy", why=why, fix="see why training failed")
    best = max(accuracies, key=accuracies.__getitem__)
    return Window(best, windows[best], accuracies)


def select_chosen(scores: np.ndarray, labels: np.ndarray, ipc: int, beta: float | None, fraction: float, seed: int) -> np.ndarray:
    """The rows of a search that found `beta`, again: those `choose_window` measured, without one that was held out.

    The held-out rows are not given back to the final window: the set that is submitted is the very one whose students were
    compared, and no image that had a say in the choice is trained on.

    Raises UsageError while beta is None, and for a beta that is not on the grid.
    """
    if beta is None:
        raise UsageError(
            "the best window is not known before students were trained on all of them",
            fix="search it: hlbench select el2n-best without --param beta=; or name the beta that a search found",
        )
    candidates, _ = hold_out(labels, fraction, seed)
    if beta not in (grid := window_grid(labels[candidates], ipc)):
        listed = ", ".join(f"{step:g}" for step in grid)
        raise UsageError(f"no search of el2n-best finds beta {beta:g} at IPC {ipc}", fix=f"choose one of its grid: {listed}")
    return window_of_candidates(scores, labels, ipc, beta, candidates)
