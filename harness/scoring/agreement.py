"""Do two regimes order the same rows alike? Kendall's tau-b of their means, with what few rows allow one to say about it.

The p-value is that of a permutation test: how often would a random order agree or disagree as much? It is exact up to eight rows
(all orders are tried, ties included) and, without ties, up to 33 (Kendall's recursion in scipy); beyond that the tie-corrected
normal approximation. The interval comes from drawing rows anew with replacement, 2,000 times from a fixed seed, and is given from
eight rows on: with fewer, the same few rows repeat and it says nothing. Rows that a regime does not tell apart are ordered by the
luck of their students, which pulls tau towards 0: a low tau does not show that two regimes disagree.

Sources: Kendall, Biometrika 33 (1945); percentile interval over resampled pairs: Efron & Tibshirani (1993), chapter 13.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

import numpy as np
from scipy.stats import kendalltau

ALL_ORDERS = 8
RECURSION = 33
INTERVAL_FROM = 8
RESAMPLES = 2000
DECIMALS = 9  # means that differ by less differ by rounding


@dataclass(frozen=True)
class Agreement:
    """`tau` in [-1, 1]; two-sided `p` and how it was found; 95% `interval`, None below eight rows or when it has no width.

    `tau` and `p` are None when one regime gives every row the same mean: there is no order to compare.
    """

    tau: float | None
    p: float | None
    method: Literal["exact", "normal approximation"]
    interval: tuple[float, float] | None


def agreement(first: Sequence[float], second: Sequence[float]) -> Agreement | None:
    """Agreement of two lists of means of the same rows, in the same order; None for fewer than two rows."""
    a, b = np.round(first, DECIMALS), np.round(second, DECIMALS)
    if len(a) < 2:
        return None
    tied = len(set(a)) < len(a) or len(set(b)) < len(b)
    exact = len(a) <= ALL_ORDERS or (not tied and len(a) <= RECURSION)
    method = "exact" if exact else "normal approximation"
    if len(set(a)) == 1 or len(set(b)) == 1:
        return Agreement(None, None, method, None)
    tau, approximate = kendalltau(a, b, method="auto" if tied else "exact" if exact else "asymptotic")
    p = permutation_p(a, b) if len(a) <= ALL_ORDERS else float(approximate)
    return Agreement(float(tau), p, method, resampled_interval(a, b))


def permutation_p(a: np.ndarray, b: np.ndarray) -> float:
    """Share of all orders of `b` whose tau-b with `a` is at least as far from 0; ties do not move under permutation."""
    signs_a, signs_b = _signs(a), _signs(b)
    orders = np.array(list(permutations(range(len(a)))))
    scores = (signs_b[orders[:, :, None], orders[:, None, :]] * signs_a).sum(axis=(1, 2))
    return float(np.mean(np.abs(scores) >= abs((signs_a * signs_b).sum())))


def resampled_interval(a: np.ndarray, b: np.ndarray) -> tuple[float, float] | None:
    """2.5% and 97.5% quantiles of tau-b over resampled rows; None below eight rows, or when every resample gives the same."""
    if len(a) < INTERVAL_FROM:
        return None
    drawn = np.random.default_rng(0).integers(len(a), size=(RESAMPLES, len(a)))
    counts = np.stack([np.bincount(rows, minlength=len(a)) for rows in drawn]).astype(float)
    signs_a, signs_b = _signs(a), _signs(b)

    def pairs(signs: np.ndarray) -> np.ndarray:
        return np.einsum("ri,ij,rj->r", counts, signs.astype(float), counts, optimize=True)

    untied = pairs(signs_a**2) * pairs(signs_b**2)
    taus = pairs(signs_a * signs_b)[untied > 0] / np.sqrt(untied[untied > 0])
    low, high = (float(quantile) for quantile in np.quantile(taus, [0.025, 0.975]))
    return None if math.isclose(low, high, abs_tol=10**-DECIMALS) else (low, high)


def _signs(values: np.ndarray) -> np.ndarray:
    """[n, n]: the sign of values[i] - values[j]."""
    return np.sign(values[:, None] - values[None, :]).astype(int)
