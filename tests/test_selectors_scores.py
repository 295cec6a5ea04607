"""Selectors by what training recorded of each row: against the literal formulas, and worked by hand."""

from __future__ import annotations

from dataclasses import replace

import literal_selectors as literal
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selector_cases import made_source, sources

from harness.coresets import SELECTORS, cad, dual, dyn_unc, el2n, forgetting
from harness.coresets.by_class import first_of_classes
from harness.coresets.pareto import pool_size, select_pareto
from harness.coresets.random import random_pools
from harness.errors import UsageError

EXAMPLES = settings(max_examples=40, deadline=None)


@st.composite
def tied_scores(draw):
    """(labels, scores float32 [4, N], ipc): few different values, in eighths, so that sums and ties are exact."""
    labels = np.array(draw(st.permutations([0] * 6 + [1] * 8)))
    eighths = draw(st.lists(st.integers(0, 4), min_size=4 * len(labels), max_size=4 * len(labels)))
    return labels, (np.array(eighths, np.float32) / 8).reshape(4, len(labels)), draw(st.integers(1, 6))


@EXAMPLES
@given(tied_scores())
def test_el2n_is_the_mean_over_snapshots_and_ties_go_to_the_lowest_row(case):
    labels, scores, ipc = case
    assert el2n.select_hard(scores, labels, ipc).tolist() == literal.el2n_hard(scores, labels, ipc)
    assert el2n.select_easy(scores, labels, ipc).tolist() == literal.el2n_easy(scores, labels, ipc)


@EXAMPLES
@given(tied_scores(), st.integers(0, 83))
def test_the_window_drops_beta_of_the_class_hardest_first(case, percent):
    labels, scores, _ = case
    assert el2n.select_window(scores, labels, 1, percent / 100).tolist() == literal.el2n_window(scores, labels, 1, percent)


def test_the_window_begins_at_beta_of_the_class_and_not_of_the_ipc():
    labels, scores = np.zeros(10, np.int64), np.linspace(1, 0.1, 10, dtype=np.float32)[None]
    assert el2n.select_window(scores, labels, 2, 0.3).tolist() == [3, 4]


@pytest.mark.parametrize("percent", range(100))
def test_a_fraction_that_binary_numbers_only_approach_drops_what_its_decimals_say(percent):
    key = np.arange(100)
    assert first_of_classes(np.zeros(100, np.int64), 1, key, skip=percent / 100).tolist() == [percent]


def test_el2n_sl_divides_by_the_temperature_and_so_changes_no_rank():
    distances = made_source(0).dynamics.el2n
    assert np.allclose(el2n.sl_scores(distances, 20), distances / 20, rtol=1e-6)
    labels = made_source(0).labels
    assert np.array_equal(el2n.select_hard(el2n.sl_scores(distances, 16), labels, 4), el2n.select_hard(distances, labels, 4))


@EXAMPLES
@given(sources(), st.sampled_from(["max", "zero"]))
def test_forgetting_counts_events_between_presentations_and_breaks_ties_by_el2n(case, never):
    source, ipc = case
    presented, scores, labels = source.dynamics.presented, source.dynamics.el2n, source.labels
    counted = [literal.forgetting_events(presented, row, never) for row in range(len(labels))]
    assert forgetting.forgetting_events(presented, never).tolist() == counted
    hard, easy = (select(presented, scores, labels, ipc, never) for select in (forgetting.select_hard, forgetting.select_easy))
    assert hard.tolist() == literal.forgetting_hard(presented, scores, labels, ipc, never)
    assert easy.tolist() == literal.forgetting_easy(presented, scores, labels, ipc, never)


@pytest.mark.parametrize(
    ("passes", "events"),
    [
        ([1, 1, 1, 1, 1], 0),
        ([0, 1, 1, 1, 1], 0),
        ([1, 0, 1, 0, 1], 2),
        ([1, 0, 0, 0, 0], 1),
        ([1, 255, 0, 255, 1], 1),  # the pass in which it was not presented is no presentation
        ([255, 255, 1, 255, 255], 0),
        ([0, 0, 0, 0, 0], 5),
        ([0, 255, 255, 255, 255], 5),
        ([255, 255, 255, 255, 255], 5),
    ],
)
def test_forgetting_events_by_hand_rows_never_learned_count_as_all_passes(passes, events):
    presented = np.array(passes, np.uint8)[:, None]
    assert forgetting.forgetting_events(presented, "max").tolist() == [events]
    assert forgetting.forgetting_events(presented, "zero").tolist() == [0 if events == 5 else events]


@pytest.mark.parametrize("name", ["forgetting-hard", "forgetting-easy"])
def test_a_recording_whose_presentations_are_all_wrong_while_snapshots_are_right_is_refused(name):
    source = made_source(0)
    damaged = replace(source, dynamics=replace(source.dynamics, presented=np.zeros_like(source.dynamics.presented)))
    with pytest.raises(UsageError, match="counts no row as correct"):
        SELECTORS[name].choose(damaged, 2, 0, **SELECTORS[name].settle({}))


def test_a_row_never_learned_is_hardest_or_easiest_by_the_convention_named():
    presented = np.array([[1, 0, 1, 1], [0, 0, 1, 0], [1, 0, 1, 1], [0, 0, 1, 1]], np.uint8)  # 2 events, never, 0, 1
    flat, labels = np.ones((1, 4), np.float32), np.zeros(4, np.int64)
    assert forgetting.select_hard(presented, flat, labels, 4, "max").tolist() == [1, 0, 3, 2]
    assert forgetting.select_hard(presented, flat, labels, 4, "zero").tolist() == [0, 3, 1, 2]
    assert forgetting.select_easy(presented, flat, labels, 4, "zero").tolist() == [1, 2, 3, 0]


@EXAMPLES
@given(sources(), st.integers(2, 10))
def test_dyn_unc_is_the_mean_deviation_of_all_windows_but_the_last(case, J):
    source, ipc = case
    p = source.dynamics.true_probability
    expected = [literal.dyn_unc(p, row, J) for row in range(p.shape[1])]
    assert np.allclose(dyn_unc.dyn_unc_scores(p, J), expected, rtol=1e-9)
    picked = dyn_unc.select_dyn_unc(p, source.labels, ipc, J)
    assert picked.tolist() == literal.take(source.labels, ipc, lambda row: -expected[row])


def test_dyn_unc_by_hand_and_the_last_snapshot_plays_no_part():
    p = np.array([[0.0], [0.2], [0.4], [0.9]])  # windows of 2: sqrt(0.02), sqrt(0.02), and the last, which is left out
    assert dyn_unc.dyn_unc_scores(p, 2) == pytest.approx([0.02**0.5])


@EXAMPLES
@given(sources(), st.integers(2, 8), st.integers(8, 11))
def test_dual_is_deviation_times_one_minus_the_mean_over_the_first_windows(case, J, T):
    source, ipc = case
    p = source.dynamics.true_probability
    expected = [literal.dual(p, row, J, T) for row in range(p.shape[1])]
    assert np.allclose(dual.dual_scores(p, J, T), expected, rtol=1e-9)
    picked = dual.select_dual(p, source.labels, ipc, J, T)
    assert picked.tolist() == literal.take(source.labels, ipc, lambda row: -expected[row])


def test_dual_by_hand():
    # Windows of 2 of 0.1, 0.3, 0.7: deviations 0.2 / sqrt 2 and 0.4 / sqrt 2, means 0.2 and 0.5.
    p = np.array([[0.1], [0.3], [0.7]])
    assert dual.dual_scores(p, 2) == pytest.approx([(0.2 * 0.8 + 0.4 * 0.5) / 2**0.5 / 2])
    assert dual.dual_scores(p, 2, T=2) == pytest.approx([0.2 * 0.8 / 2**0.5])


@EXAMPLES
@given(sources(), st.sampled_from([1.0, 4.0, 11.0]))
def test_dual_beta_weights_are_the_beta_density_of_the_mean_times_dual(case, c):
    source, ipc = case
    p, labels = source.dynamics.true_probability, source.labels
    expected = np.array(literal.dual_beta_weight(p, labels, ipc, c, 8, len(p)))
    weights = np.exp(dual.beta_log_weights(p, ipc * (labels.max() + 1) / len(labels), c, 8, None))
    assert np.allclose(weights / weights.sum(), expected / expected.sum(), rtol=1e-6)


def test_dual_beta_draws_rows_as_often_as_their_weights_say():
    p = np.random.default_rng(1).uniform(0.2, 0.9, (6, 5)).astype(np.float32)
    labels = np.zeros(5, np.int64)
    weights = np.exp(dual.beta_log_weights(p, 2 / 5, 4.0, 3, None))
    share = weights / weights.sum()
    pairs = np.array([dual.select_dual_beta(p, labels, 2, draw, 4.0, J=3) for draw in range(4000)])
    assert np.abs(np.bincount(pairs[:, 0], minlength=5) / 4000 - share).max() < 0.03
    second = sum(share[first] * np.where(np.arange(5) == first, 0, share / (1 - share[first])) for first in range(5))
    assert np.abs(np.bincount(pairs[:, 1], minlength=5) / 4000 - second).max() < 0.03


def test_dual_beta_takes_rows_whose_probability_is_0_or_1_or_never_moved():
    p = np.full((6, 8), 0.5, np.float32)
    p[:, 0], p[:, 1] = 0, 1  # certain from the first snapshot on
    p[::2, 6:] = 0.7
    rows = dual.select_dual_beta(p, np.zeros(8, np.int64), 8, 0, 4.0, J=3)
    assert sorted(rows.tolist()) == list(range(8))
    assert set(rows[:2].tolist()) == {6, 7}
    assert rows[2:].tolist() == [0, 1, 2, 3, 4, 5]


@EXAMPLES
@given(sources(), st.integers(2, 8), st.integers(1, 3))
def test_cad_is_equations_1_and_2(case, J, W):
    source, ipc = case
    scores, labels = source.dynamics.el2n, source.labels
    expected = [literal.cad(scores, row, J, W) for row in range(len(labels))]
    assert np.allclose(cad.cad_scores(scores, J, W), expected, rtol=1e-9)
    assert cad.select_cad_prune(scores, labels, ipc, J, W).tolist() == literal.take(labels, ipc, lambda row: -expected[row])


def test_cad_by_hand_on_a_toy_trajectory():
    # K = 5, J = 2, W = 2: windows k = 1 (0.8, 0.2) and k = 2 (0.2, 0.4); the deviation of two numbers is |a - b| / sqrt 2.
    toy = np.array([[9.0], [0.8], [0.2], [0.4], [7.0]], np.float32)
    assert cad.cad_scores(toy, J=2, W=2) == pytest.approx([(0.6 + 0.2) / 2**0.5 / 2], rel=1e-6)
    # J = K - W = 3: windows k = 0 (9, 0.8, 0.2) and k = 1 (0.8, 0.2, 0.4).
    first, second = np.std([9, 0.8, 0.2], ddof=1), np.std([0.8, 0.2, 0.4], ddof=1)
    assert cad.cad_scores(toy, W=2) == pytest.approx([(first + second) / 2], rel=1e-6)


def test_cad_never_uses_the_last_snapshot_and_its_default_is_the_papers_j_at_eight():
    scores = made_source(5, snapshots=8).dynamics.el2n
    changed = scores.copy()
    changed[-1] = 1 - changed[-1]
    assert np.array_equal(cad.cad_scores(scores), cad.cad_scores(changed))
    assert np.array_equal(cad.cad_scores(scores), cad.cad_scores(scores, J=6, W=2))


def test_blocks_of_rows_leave_no_seam(monkeypatch):
    scores = made_source(5).dynamics.el2n
    whole = cad.cad_scores(scores)
    monkeypatch.setattr("harness.coresets.windows.BLOCK", 7)
    assert np.array_equal(cad.cad_scores(scores), whole)


@EXAMPLES
@given(sources(), st.integers(0, 5), st.booleans(), st.sampled_from([0.34, 0.5, 0.6, 0.8, 1.0]))
def test_pareto_keeps_the_extreme_rows_of_a_random_pool(case, draw, hardest, f):
    source, _ = case
    smallest = int(np.bincount(source.labels).min())
    ipc = next((ipc for ipc in range(smallest, 0, -1) if pool_size(ipc, f) <= smallest), None)
    if ipc is None:
        return
    pools = [pool.tolist() for pool in random_pools(source.labels, pool_size(ipc, f), draw)]
    picked = select_pareto(source.dynamics.el2n, source.labels, ipc, draw, f, hardest)
    assert picked.tolist() == literal.pareto(source.dynamics.el2n, ipc, pools, hardest)


def test_pareto_with_the_whole_pool_is_random():
    source = made_source(3)
    picked = select_pareto(source.dynamics.el2n, source.labels, 4, 2, 1.0, hardest=False)
    assert set(picked.tolist()) == set(np.concatenate(random_pools(source.labels, 4, 2)).tolist())


@pytest.mark.parametrize(
    ("ipc", "f", "size"), [(10, 0.2, 50), (10, 1.0, 10), (10, 0.6, 17), (10, 0.8, 13), (3, 0.1, 30), (21, 0.7, 30)]
)
def test_the_pool_is_ipc_over_f_rounded_up(ipc, f, size):
    assert pool_size(ipc, f) == size


def test_in_a_pool_ties_go_to_the_lowest_row():
    source = made_source(3)
    flat = np.ones((1, len(source.labels)), np.float32)
    pools = [sorted(pool.tolist()) for pool in random_pools(source.labels, 8, 2)]
    for hardest in (False, True):
        picked = select_pareto(flat, source.labels, 4, 2, 0.5, hardest)
        assert picked.tolist() == [row for pool in pools for row in pool[:4]]
