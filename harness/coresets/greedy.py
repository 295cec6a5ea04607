"""Lazy greedy maximisation (Minoux 1978): gains of a submodular function only fall, so that old gains bound new ones.

The rows with the highest bounds are evaluated a batch at a time, which numpy does at the cost of one; the picks are those of
the plain greedy algorithm, ties to the lowest index.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

BATCH = 32


def lazy_greedy(gains: Callable[[np.ndarray], np.ndarray], add: Callable[[int], None], size: int, count: int) -> np.ndarray:
    """int64 [count], in the order picked: each time the index of 0 .. size-1 whose gain is highest, then `add` of it.

    Args:
        gains: indices int64 [m] -> float64 [m], the gain of adding each to what was added so far; never higher than before.
        add: told of each pick, before the next gains are asked for.
    """
    picked = np.empty(count, np.int64)
    bounds = gains(np.arange(size))
    exact = np.ones(size, bool)  # whether a bound is the gain
    for position in range(count):
        best = np.max(bounds, where=exact, initial=-np.inf)
        while (could_win := np.flatnonzero(~exact & (bounds >= best) & (bounds > -np.inf))).size:
            batch = could_win[np.argsort(-bounds[could_win], kind="stable")[:BATCH]]
            bounds[batch], exact[batch] = gains(batch), True
            best = max(best, bounds[batch].max())
        choice = int(np.argmax(exact & (bounds == best)))
        picked[position] = choice
        add(choice)
        bounds[choice] = -np.inf
        exact[:] = False
    return picked
