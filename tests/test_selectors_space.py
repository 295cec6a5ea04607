"""Selectors by where rows lie in feature or gradient space: against the literal algorithms, and worked by hand."""

from __future__ import annotations

import literal_selectors as literal
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selector_cases import made_source, sources

from harness.coresets import cal
from harness.coresets.by_class import generator
from harness.coresets.cad_facility import gridded_weights, maximise_facility, select_facility
from harness.coresets.graphcut import maximise_graphcut, select_graphcut
from harness.coresets.greedy import lazy_greedy
from harness.coresets.kcenter import farthest_first, select_kcenter_greedy
from harness.coresets.kmeans_emb import rotated, select_kmeans_emb
from harness.coresets.similarity import feature_similarity, gradient_similarity

EXAMPLES = settings(max_examples=30, deadline=None)


@EXAMPLES
@given(sources(), st.integers(1, 12))
def test_cal_is_the_mean_symmetric_divergence_from_the_nearest_of_the_class_lowest_first(case, k):
    source, ipc = case
    p, h, labels = source.dynamics.probabilities, source.dynamics.features, source.labels
    expected = [literal.cal(p, h, labels, row, k) for row in range(len(labels))]
    assert np.allclose(cal.cal_scores(p, h, labels, k), expected, rtol=1e-9, atol=1e-12)
    ranks = np.round(expected, 9)
    if all(len(set(ranks[labels == label])) == (labels == label).sum() for label in set(labels.tolist())):
        assert cal.select_cal(p, h, labels, ipc, k).tolist() == literal.take(labels, ipc, lambda row: expected[row])


def test_cal_by_hand():
    # Neighbours in one dimension: 0 and 1 are each other's, 3 has 1. KL halves of (0.5, 0.5) and (0.8, 0.2):
    # (0.5 - 0.8)(ln 0.5 - ln 0.8) / 2 + (0.5 - 0.2)(ln 0.5 - ln 0.2) / 2 = 0.15 ln 4.
    p = np.array([[0.5, 0.5], [0.8, 0.2], [0.8, 0.2]])
    scores = cal.cal_scores(p, np.array([[0.0], [1.0], [3.0]]), np.zeros(3, np.int64), k=1)
    assert scores == pytest.approx([0.15 * np.log(4), 0.15 * np.log(4), 0])


def test_cal_survives_probabilities_of_zero():
    p = np.array([[1, 0], [0, 1]], np.float16)
    assert cal.cal_scores(p, np.eye(2, dtype=np.float16), np.zeros(2, np.int64)) == pytest.approx([-np.log(1e-12)] * 2)


def test_of_equally_near_rows_the_lowest_are_neighbours():
    points = np.array([[1.0], [0.0], [2.0], [-1.0], [1.0], [1.0]])
    assert cal.nearest_rows(points, 2).tolist() == [[4, 5], [0, 3], [0, 4], [0, 1], [0, 5], [0, 4]]


def test_neighbours_do_not_depend_on_the_blocks(monkeypatch):
    points = np.random.default_rng(0).normal(size=(50, 3))
    whole = cal.nearest_rows(points, 5)
    monkeypatch.setattr(cal, "DISTANCE_ROWS", 7)
    assert np.array_equal(cal.nearest_rows(points, 5), whole)


@EXAMPLES
@given(sources())
def test_the_gram_trick_gives_the_cosines_of_the_gradients(case):
    source, _ = case
    p, h, labels = source.dynamics.probabilities, source.dynamics.features, source.labels
    gradients = literal.last_layer_gradients(p, h, labels)
    rows = np.flatnonzero(labels == 0)
    found = gradient_similarity(p[rows], h[rows], 0)
    expected = [[0.5 + 0.5 * literal.cosine(gradients[i], gradients[j]) for j in rows] for i in rows]
    assert np.allclose(found, expected, atol=1e-7)
    assert np.array_equal(found, found.T)


def test_a_true_class_that_float16_stores_as_exactly_1_keeps_its_gradient():
    logits = np.array([[12.0, 2, 0, 0], [12.5, 0, 2, 0], [14.0, 1, 1, 1], [3.0, 1, 0, 2]])
    exact = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    stored = exact.astype(np.float16)
    assert stored[:3, 0].tolist() == [1, 1, 1]  # as are 68 % of the digits rows of a full-length run
    h = np.ones((4, 2), np.float16)
    gradients = [np.concatenate([d, np.outer(d, row).ravel()]) for d, row in zip(exact - np.eye(4)[[0] * 4], h, strict=True)]
    expected = [[0.5 + 0.5 * literal.cosine(one, other) for other in gradients] for one in gradients]
    assert np.allclose(gradient_similarity(stored, h, 0), expected, atol=2e-2)


def test_a_row_without_a_gradient_is_half_alike_to_every_row():
    p = np.array([[1, 0], [0.5, 0.5], [0.5, 0.5]], np.float16)  # the first is certain and right
    found = gradient_similarity(p, np.ones((3, 2), np.float16), 0)
    assert found.tolist() == [[0.5, 0.5, 0.5], [0.5, 1, 1], [0.5, 1, 1]]
    assert feature_similarity(np.array([[0, 0], [1, 0]], np.float16)).tolist() == [[0.5, 0.5], [0.5, 1]]


def by_class(picked: np.ndarray, source, ipc: int) -> list[tuple[list[int], list[int]]]:
    """(the picks, all rows) of each class."""
    parts = picked.reshape(-1, ipc).tolist()
    return [(part, literal.rows_of(source.labels, label)) for label, part in enumerate(parts)]


@EXAMPLES
@given(sources(), st.sampled_from([0.0, 1.0, 2.5]))
def test_graphcut_is_the_plain_greedy_on_explicit_gradients(case, lam):
    source, ipc = case
    p, h, labels = source.dynamics.probabilities, source.dynamics.features, source.labels
    gradients = literal.last_layer_gradients(p, h, labels)
    for picked, rows in by_class(select_graphcut(p, h, labels, ipc, lam), source, ipc):
        assert literal.is_greedy(picked, rows, literal.graphcut_gain(gradients, rows, lam), 1e-5)


def test_graphcut_by_hand():
    # Column sums 2.2, 2.1, 1.3: first 0. Then gains 2.1 - 2 * 0.9 = 0.3 and 1.3 - 2 * 0.3 = 0.7: 2 comes before 1.
    similarity = np.array([[1, 0.9, 0.3], [0.9, 1, 0.2], [0.3, 0.2, 0.8]], np.float32)
    assert maximise_graphcut(similarity, 3, 1.0).tolist() == [0, 2, 1]


@EXAMPLES
@given(sources(), st.booleans())
def test_facility_location_is_the_plain_greedy_on_the_objective(case, uniform):
    source, ipc = case
    h, labels = source.dynamics.features, source.labels
    weights = np.ones(len(labels)) if uniform else source.dynamics.el2n.mean(axis=0, dtype=np.float64)
    for picked, rows in by_class(select_facility(h, weights, labels, ipc), source, ipc):
        assert literal.is_greedy(picked, rows, literal.facility_gain(h, weights, rows), 2e-4)  # 9 weights in steps of 2^-16


def test_facility_location_by_hand_weights_decide_whom_to_serve():
    similarity = np.array([[1, 0.75, 0], [0.75, 1, 0], [0, 0, 1]], np.float32)
    # Uniform: serving 1.75, 1.75 or 1: first 0, then 2 (1 against 0.25). With weight 4 on row 2: 1.75, 1.75, 4: 2 first.
    assert maximise_facility(similarity, gridded_weights(np.ones(3)), 3).tolist() == [0, 2, 1]
    assert maximise_facility(similarity, gridded_weights(np.array([1.0, 1.0, 4.0])), 3).tolist() == [2, 0, 1]


def test_weights_of_zero_take_the_lowest_rows():
    assert maximise_facility(feature_similarity(np.eye(4)), gridded_weights(np.zeros(4)), 3).tolist() == [0, 1, 2]


@EXAMPLES
@given(st.integers(0, 10**6), st.integers(1, 120), st.integers(1, 40))
def test_lazy_greedy_picks_what_plain_greedy_picks_ties_included(seed, size, count):
    generator_ = np.random.default_rng(seed)
    covers = generator_.uniform(size=(size, 30)) < 0.15  # set cover: many exact ties
    covered = np.zeros(30, bool)

    def add(row: int) -> None:
        covered[:] |= covers[row]

    picked = lazy_greedy(lambda rows: (covers[rows] & ~covered).sum(axis=1).astype(float), add, size, min(count, size))
    plain, seen = [], np.zeros(30, bool)
    for _ in range(min(count, size)):
        gains = (covers & ~seen).sum(axis=1)
        gains[plain] = -1
        plain.append(int(gains.argmax()))
        seen |= covers[plain[-1]]
    assert picked.tolist() == plain


@EXAMPLES
@given(sources(), st.integers(0, 5))
def test_kcenter_greedy_adds_the_row_farthest_from_all_picked(case, draw):
    source, ipc = case
    h, gain = source.dynamics.features, literal.kcenter_gain(source.dynamics.features)
    for picked, rows in by_class(select_kcenter_greedy(h, source.labels, ipc, draw), source, ipc):
        assert literal.is_greedy(picked[1:], rows, lambda j, A, first=picked[0]: gain(j, [first, *A]), 1e-5)


def test_kcenter_greedy_by_hand_and_its_first_row_is_uniform():
    points = np.array([[0.0], [1.0], [10.0], [6.0]])
    assert farthest_first(points, 1, 4).tolist() == [1, 2, 3, 0]
    h, labels = np.arange(4, dtype=np.float16)[:, None], np.zeros(4, np.int64)
    firsts = np.bincount([select_kcenter_greedy(h, labels, 1, draw)[0] for draw in range(400)], minlength=4)
    assert firsts.min() > 70


def test_kcenter_greedy_takes_the_lower_of_two_equally_far():
    assert farthest_first(np.array([[0.0], [3.0], [-3.0], [3.0]]), 0, 4).tolist() == [0, 1, 2, 3]


@settings(max_examples=15, deadline=None)
@given(sources(), st.integers(0, 5))
def test_kmeans_emb_takes_the_nearest_unused_image_to_each_centre_largest_cluster_first(case, draw):
    source, ipc = case
    h, labels = source.dynamics.features, source.labels
    seeds = [int(generator("kmeans-emb", draw, label).integers(2**31)) for label in range(labels.max() + 1)]
    expected = literal.kmeans_emb(h, labels, ipc, 3, seeds)
    assert select_kmeans_emb(h, labels, ipc, draw, 3).tolist() == expected


def test_rotation_keeps_all_distances():
    points = np.random.default_rng(0).normal(size=(6, 40))
    turned = rotated(points)
    assert turned.shape == (6, 6)
    assert np.allclose(turned @ turned.T, points @ points.T)


def test_equal_features_are_equally_near_wherever_their_rows_lie():
    source = made_source(4, sizes=(40,), features=200)
    h = source.dynamics.features.copy()
    h[[3, 17, 31, 39]] = h[8]
    similarity = feature_similarity(h)
    assert len({row.tobytes() for row in similarity[[3, 8, 17, 31, 39]]}) == 1
    neighbours = cal.nearest_rows(h.astype(np.float64), 3)
    assert neighbours[[3, 8, 17, 31, 39]].tolist() == [[8, 17, 31], [3, 17, 31], [3, 8, 31], [3, 8, 17], [3, 8, 17]]
