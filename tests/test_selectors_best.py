"""EL2N-Best: the window found on rows of the training split that are in no window; training is replaced by a function."""

from __future__ import annotations

import literal_selectors as literal
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selector_cases import made_source

from harness.coresets.el2n_best import choose_window, hold_out, window_grid, window_of_candidates
from harness.coresets.registry import SELECTORS
from harness.errors import UsageError

SOURCE = made_source(11, sizes=(30, 41, 33))
SCORES, LABELS = SOURCE.dynamics.el2n, SOURCE.labels


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(2, 40), min_size=1, max_size=5), st.floats(0.01, 0.99), st.integers(0, 9))
def test_each_class_is_split_exactly_and_no_row_is_on_both_sides(sizes, fraction, seed):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    candidates, held = hold_out(labels, fraction, seed)
    assert sorted([*candidates.tolist(), *held.tolist()]) == list(range(len(labels)))
    for label, size in enumerate(sizes):
        assert (labels[held] == label).sum() == min(max(int(fraction * size + 1e-9), 1), size - 1)
    assert all(np.array_equal(one, two) for one, two in zip((candidates, held), hold_out(labels, fraction, seed), strict=True))


def test_a_candidate_is_left_of_each_class_however_much_is_held_out():
    candidates, held = hold_out(np.array([0, 0, 1, 1, 1]), 1 - 1e-12, 0)
    assert (len(candidates), len(held)) == (2, 3)


def test_another_seed_holds_out_other_rows_and_none_of_them_are_those_of_random():
    held = {seed: set(hold_out(LABELS, 0.2, seed)[1].tolist()) for seed in range(3)}
    assert held[0] != held[1] != held[2]
    random = set(SELECTORS["random"].run(SOURCE, 6, 0).tolist())
    assert held[0] != random


@pytest.mark.parametrize("ipc", [1, 3, 10])
def test_no_window_ever_shows_a_held_out_row_to_the_student(ipc):
    candidates, held = hold_out(LABELS, 0.1, 0)
    shown = []
    choose_window(SCORES, LABELS, ipc, lambda rows: shown.append(rows) or 0.0, candidates)
    assert len(shown) == len(window_grid(LABELS[candidates], ipc))
    assert not set(np.concatenate(shown).tolist()) & set(held.tolist())
    assert all(np.bincount(LABELS[rows]).tolist() == [ipc] * 3 for rows in shown)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(0, 3))
def test_the_window_is_that_of_a_brute_force_search(seed, ipc, held_seed):
    candidates, held = hold_out(LABELS, 0.1, held_seed)
    taste = np.random.default_rng(seed).integers(0, 3, len(LABELS))  # an "accuracy" with ties

    def accuracy(rows):
        return float(taste[rows].mean())

    chosen = choose_window(SCORES, LABELS, ipc, accuracy, candidates)
    found = None
    kept = [row for row in range(len(LABELS)) if row not in set(held.tolist())]
    for tenth in range(10):
        rows = []
        for label in range(3):
            ranked = sorted((row for row in kept if LABELS[row] == label), key=lambda row: -literal.mean_el2n(SCORES, row))
            rows += ranked[tenth * len(ranked) // 10 :][:ipc]
        if len(rows) == 3 * ipc and tenth / 10 <= 1 - ipc / min(np.bincount(LABELS[candidates])) + 1e-12:
            measured = accuracy(np.array(rows))
            assert chosen.accuracies[tenth / 10] == measured
            if found is None or measured > found[0]:
                found = measured, tenth / 10, rows
    assert (chosen.accuracies[chosen.beta], chosen.beta, chosen.rows.tolist()) == found


def test_the_grid_ends_where_the_smallest_class_has_no_more_rows():
    assert window_grid(np.zeros(500, np.int64), 50) == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert window_grid(np.zeros(500, np.int64), 51) == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    assert window_grid(np.repeat([0, 1], [500, 10]), 10) == [0]


def test_a_window_counts_candidates_and_not_all_rows_of_the_class():
    labels, scores = np.zeros(20, np.int64), np.linspace(1, 0, 20, dtype=np.float32)[None]
    candidates = np.arange(0, 20, 2)
    assert window_of_candidates(scores, labels, 2, 0.5, candidates).tolist() == [10, 12]


def test_a_search_can_be_written_down_as_a_submission_without_training_again():
    candidates, _ = hold_out(LABELS, 0.2, 5)
    chosen = choose_window(SCORES, LABELS, 4, lambda rows: -abs(SCORES[:, rows].mean() - 0.6), candidates)
    parameters = {"beta": chosen.beta, "held_out": 0.2, "held_out_seed": 5}
    assert np.array_equal(SELECTORS["el2n-best"].run(SOURCE, 4, 0, **parameters), chosen.rows)


def test_before_the_search_there_is_no_best_window():
    with pytest.raises(UsageError, match="not known before students were trained"):
        SELECTORS["el2n-best"].run(SOURCE, 4, 0)


def test_a_failed_training_an_empty_grid_and_a_window_too_far_are_refused():
    candidates, _ = hold_out(LABELS, 0.1, 0)
    with pytest.raises(UsageError, match="window at 0 has no accuracy"):
        choose_window(SCORES, LABELS, 2, lambda rows: float("nan"), candidates)
    with pytest.raises(UsageError, match="no window to choose from"):
        choose_window(SCORES, LABELS, 2, lambda rows: 0.0, candidates, grid=[])
    with pytest.raises(UsageError, match=r"no window of 2 images begins at 0\.99"):
        choose_window(SCORES, LABELS, 2, lambda rows: 0.0, candidates, grid=[0.99])
    with pytest.raises(UsageError, match="fewer than IPC 2"):
        hold_out(np.array([0, 0, 1]), 0.1, 0)
