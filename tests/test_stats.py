"""The statistics of the leaderboards, against scipy, published tables and hand-worked examples."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from harness.scoring import stats

SEEDS = (31.0, 30.2, 32.1, 31.7, 30.9)

samples = st.lists(st.floats(0, 100, allow_subnormal=False).map(lambda value: round(value, 2)), min_size=1, max_size=6)


def test_interval_is_scipys_student_t_interval():
    estimate = stats.mean_t95(SEEDS)
    low, high = scipy_stats.t.interval(0.95, len(SEEDS) - 1, loc=np.mean(SEEDS), scale=scipy_stats.sem(SEEDS))
    assert estimate.mean == pytest.approx(np.mean(SEEDS))
    assert (estimate.mean - estimate.half_width, estimate.mean + estimate.half_width) == pytest.approx((low, high))


@pytest.mark.parametrize(("n", "factor"), [(2, 8.98), (3, 2.48), (5, 1.24), (10, 0.72)])
def test_half_width_is_the_tabled_multiple_of_the_deviation(n, factor):
    values = np.arange(n, dtype=float)
    assert stats.mean_t95(values.tolist()).half_width == pytest.approx(factor * values.std(ddof=1), rel=0.01)


def test_one_value_has_a_mean_and_no_interval():
    assert stats.mean_t95([31.2]) == stats.Estimate(31.2, None, 1)


def test_no_value_has_no_mean():
    with pytest.raises(ValueError, match="no values"):
        stats.mean_t95([])


def test_constant_values_have_an_interval_of_exactly_zero():
    assert stats.mean_t95([31.2, 31.2, 31.2]) == stats.Estimate(31.2, 0.0, 3)


def test_interval_of_several_draws_is_over_draw_means_not_over_all_students():
    draws = [(30.0, 31.0, 32.0), (34.0, 35.0, 36.0)]
    assert stats.replicates(draws) == (31.0, 35.0)
    estimate = stats.mean_t95(stats.replicates(draws))
    assert (estimate.mean, estimate.n) == (33.0, 2)
    assert estimate.half_width == pytest.approx(12.7062 * math.sqrt(8) / math.sqrt(2), rel=1e-4)


def test_a_draw_with_more_seeds_weighs_no_more():
    assert stats.mean_t95(stats.replicates([(10.0,), (20.0, 20.0, 20.0)])).mean == 15.0


def test_one_draw_is_a_sample_of_its_seeds():
    assert stats.replicates([SEEDS]) == SEEDS


def test_draw_and_seed_deviations_are_kept_apart():
    draws = [(30.0, 31.0, 32.0), (34.0, 35.0, 36.0)]
    assert stats.draw_sd(draws) == pytest.approx(math.sqrt(8))
    assert stats.seed_sd(draws) == pytest.approx(1.0)


def test_seed_deviation_is_pooled_by_degrees_of_freedom():
    assert stats.seed_sd([(1.0, 3.0), (0.0, 3.0, 6.0), (50.0,)]) == pytest.approx(math.sqrt((2 + 18) / (1 + 2)))


def test_deviations_that_cannot_be_known_are_none():
    assert stats.draw_sd([SEEDS]) is None
    assert stats.seed_sd([(1.0,), (2.0,)]) is None


def test_welch_is_scipys():
    other = (33.0, 34.5, 33.9)
    assert stats.welch_p(SEEDS, other) == pytest.approx(scipy_stats.ttest_ind(SEEDS, other, equal_var=False).pvalue)


def test_a_single_value_is_not_testable():
    assert stats.welch_p([10.0], SEEDS) is None


def test_two_constant_samples_are_equal_or_not_testable_but_never_certain():
    assert stats.welch_p([10.0, 10.0], [10.0, 10.0, 10.0]) == 1.0
    assert stats.welch_p([10.0, 10.0], [90.0, 90.0]) is None


def test_one_constant_sample_is_tested_with_the_spread_of_the_other():
    p = stats.welch_p([10.0, 10.0, 10.0], SEEDS)
    assert p == pytest.approx(scipy_stats.ttest_1samp(SEEDS, 10.0).pvalue)
    assert 0 < p < 0.001


def test_holm_of_a_hand_worked_example():
    # 0.01 x 4; 0.02 x 3; 0.03 x 2 and 0.04 x 1, which may not fall below the one before.
    assert stats.holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert stats.holm([0.005, 0.011, 0.02, 0.04, 0.13]) == pytest.approx([0.025, 0.044, 0.06, 0.08, 0.13])


def test_holm_leaves_out_what_is_not_testable_and_stays_below_one():
    assert stats.holm([None, 0.02, None, 0.9, 0.8]) == [None, pytest.approx(0.06), None, 1.0, 1.0]
    assert stats.holm([]) == []


def test_rows_told_apart_have_single_ranks_in_any_order():
    rows = {"low": [10.0, 10.1, 10.2], "high": [30.0, 30.1, 30.2], "middle": [20.0, 20.1, 20.2]}
    for order in itertools.permutations(rows):
        ranks = dict(zip(order, stats.rank_intervals([rows[name] for name in order]), strict=True))
        assert ranks == {"high": (1, 1), "middle": (2, 2), "low": (3, 3)}


def test_rows_not_told_apart_share_ranks():
    equal_pair_below_a_winner = [[50.0, 50.1, 50.2], [30.0, 31.0, 32.0], [30.5, 31.0, 31.7]]
    assert stats.rank_intervals(equal_pair_below_a_winner) == [(1, 1), (2, 3), (2, 3)]


def test_a_row_of_one_value_is_ranked_above_and_below_nobody():
    assert stats.rank_intervals([[99.0], [50.0, 50.1, 50.2], [10.0, 10.1, 10.2]]) == [(1, 3), (1, 2), (2, 3)]


def test_a_difference_lost_to_the_correction_shares_the_rank():
    close = [[30.0, 31.0, 32.0], [33.0, 34.0, 35.0]]
    assert stats.welch_p(*close) < 0.05
    assert stats.rank_intervals(close) == [(2, 2), (1, 1)]
    crowd = [*close, *([30.0 + shift, 31.0, 32.0] for shift in (0.1, 0.2, 0.3))]
    assert stats.rank_intervals(crowd) == [(1, 5)] * 5


@given(st.lists(samples, min_size=1, max_size=6))
def test_neighbours_by_mean_share_a_rank_unless_told_apart(table):
    table.sort(key=lambda sample: -stats.mean_t95(sample).mean)
    ranks = stats.rank_intervals(table)
    pairs = list(itertools.combinations(range(len(table)), 2))
    adjusted = dict(zip(pairs, stats.holm([stats.welch_p(table[a], table[b]) for a, b in pairs]), strict=True))
    assert all(1 <= best <= worst <= len(table) for best, worst in ranks)
    for above in range(len(table) - 1):
        p = adjusted[above, above + 1]
        if p is None or p >= 0.05:
            assert ranks[above + 1][0] <= ranks[above][1]
        else:
            assert ranks[above + 1][0] > 1


@pytest.mark.parametrize(("n", "sigmas"), [(3, 3.07), (5, 2.02), (10, 1.32)])
def test_detectable_difference_is_the_tabled_multiple_of_the_deviation(n, sigmas):
    values = np.arange(n, dtype=float)
    assert stats.minimum_detectable_difference(values.tolist()) == pytest.approx(sigmas * values.std(ddof=1), rel=0.01)


def test_detectable_difference_needs_a_spread():
    assert stats.minimum_detectable_difference([31.0]) is None
    assert stats.minimum_detectable_difference([31.0, 31.0]) is None
