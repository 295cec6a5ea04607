"""Kendall's tau-b of two regimes, against pair counting by hand, all orders by hand, and scipy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from harness.scoring.agreement import RESAMPLES, Agreement, agreement

grid = st.integers(0, 4).map(float)  # few values: many ties


def counted_tau_b(a, b) -> float | None:
    """Literal definition: (concordant - discordant) / sqrt(pairs not tied in a x pairs not tied in b)."""
    score = untied_a = untied_b = 0
    for i, j in itertools.combinations(range(len(a)), 2):
        of_a, of_b = (a[i] > a[j]) - (a[i] < a[j]), (b[i] > b[j]) - (b[i] < b[j])
        score += of_a * of_b
        untied_a += of_a != 0
        untied_b += of_b != 0
    return score / math.sqrt(untied_a * untied_b) if untied_a * untied_b else None


@given(st.lists(st.tuples(grid, grid), min_size=2, max_size=6))
def test_tau_and_p_are_those_of_counting_pairs_in_every_order(pairs):
    a, b = zip(*pairs, strict=True)
    found, expected = agreement(a, b), counted_tau_b(a, b)
    if expected is None:
        assert found == Agreement(None, None, "exact", None)
        return
    others = [counted_tau_b(a, order) for order in itertools.permutations(b)]
    as_far = sum(abs(other) >= abs(expected) - 1e-9 for other in others) / len(others)
    assert (found.tau, found.p, found.method) == (pytest.approx(expected), pytest.approx(as_far), "exact")


@given(st.permutations(range(7)))
def test_without_ties_the_p_value_is_scipys_exact_one(order):
    known = scipy_stats.kendalltau(range(7), order, method="exact")
    found = agreement([float(value) for value in range(7)], [float(value) for value in order])
    assert (found.tau, found.p) == (pytest.approx(known.statistic), pytest.approx(known.pvalue))


def test_many_rows_use_scipys_recursion_without_ties_and_the_normal_approximation_with_them():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=12), rng.normal(size=12)
    assert agreement(a, b).method == "exact"
    assert agreement(a, b).p == pytest.approx(scipy_stats.kendalltau(a, b, method="exact").pvalue)
    b[0] = b[1]
    assert agreement(a, b).method == "normal approximation"
    assert agreement(a, b).p == pytest.approx(scipy_stats.kendalltau(a, b, method="asymptotic").pvalue)
    assert agreement(np.arange(40.0), rng.normal(size=40)).method == "normal approximation"


def test_two_rows_agree_or_disagree_fully_and_prove_nothing():
    assert agreement([1.0, 2.0], [5.0, 6.0]) == Agreement(1.0, 1.0, "exact", None)
    assert agreement([1.0, 2.0], [6.0, 5.0]) == Agreement(-1.0, 1.0, "exact", None)


def test_four_rows_in_the_same_order_are_not_significant_and_five_are():
    assert agreement(range(4), range(4)).p == pytest.approx(2 / 24)
    assert agreement(range(5), range(5)).p == pytest.approx(2 / 120)


def test_one_row_or_none_has_no_order():
    assert agreement([1.0], [2.0]) is None
    assert agreement([], []) is None


def test_a_regime_whose_rows_are_all_equal_has_no_order_rather_than_tau_zero():
    assert agreement([1.0, 2.0, 3.0], [5.0, 5.0, 5.0]).tau is None
    assert agreement([5.0] * 9, range(9)) == Agreement(None, None, "normal approximation", None)


def test_means_that_differ_by_rounding_are_tied():
    assert agreement([0.1 + 0.2, 0.3, 1.0], [1.0, 2.0, 3.0]).tau == agreement([0.3, 0.3, 1.0], [1.0, 2.0, 3.0]).tau


def test_no_interval_below_eight_rows():
    assert agreement([*range(7)], [0, 2, 1, 3, 4, 6, 5]).interval is None


def test_rows_in_the_same_order_have_no_interval_of_width_zero():
    assert agreement(range(9), range(9)).interval is None


@settings(deadline=None, max_examples=3)
@given(st.permutations(range(10)).filter(lambda order: order != sorted(order)))
def test_interval_is_the_quantiles_of_tau_b_over_resampled_rows(order):
    a, b = np.arange(10.0), np.array(order, dtype=float)
    taus = []
    for rows in np.random.default_rng(0).integers(10, size=(RESAMPLES, 10)):
        tau = scipy_stats.kendalltau(a[rows], b[rows], method="asymptotic").statistic
        if not np.isnan(tau):
            taus.append(tau)
    found = agreement(a, b).interval
    assert found is None or found == pytest.approx(tuple(np.quantile(taus, [0.025, 0.975])))


def test_the_interval_is_the_same_every_time():
    order = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]
    assert agreement(range(10), order).interval == agreement(range(10), order).interval
    assert agreement(range(10), order).interval is not None
