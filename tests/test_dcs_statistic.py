"""The Distillation Correlation Score on pools whose truth is known, and against a slow version written from methods E.3 alone."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr

from harness.dcs import resample, statistic
from harness.dcs.exchange import exchange_test
from harness.dcs.points import strata_of
from harness.dcs.statistic import Point, score
from harness.errors import UsageError

IPCS = (1, 5, 10, 50)
BENCHMARK = Path(__file__).resolve().parent.parent / "benchmarks" / "dcs_statistic.py"
QUICK = {"resamples": 400, "permutations": 400}


def pool(relation=0.5, *, ipcs=IPCS, methods=10, twins=True, noise=0.5, students=2, seed=0, twin_shift=0.0, size_effect=10.0):
    """A pool with a relation between -1 and 1 within IPC; error and loss fall with IPC by `size_effect` each step."""
    random = np.random.default_rng(seed)
    points = []
    for step, ipc in enumerate(ipcs):
        for method in range(methods):
            shared = random.normal(size=2)
            for twin in range(1 + (twins and ipc % 2 == 0)):
                quality, other = 0.9 * shared + 0.4 * random.normal(size=2)
                loss = relation * quality + math.sqrt(1 - relation**2) * other + twin * twin_shift - size_effect * step
                error = 60 + quality + twin * twin_shift - size_effect * step
                base = f"ipc{ipc}-m{method}-d0"
                runs = tuple((error + noise * random.normal(size=students)).tolist())
                points.append(Point(base + "-twin" * twin, base, ipc, f"m{method}", runs, loss))
    return points


def with_losses(points, losses):
    return [replace(point, loss=float(loss)) for point, loss in zip(points, losses, strict=True)]


def mean_errors(points):
    return [sum(point.errors) / len(point.errors) for point in points]


def literal_midrank(values, value):
    return sum(other < value for other in values) + (sum(other == value for other in values) + 1) / 2


def literal_pearson(xs, ys):
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    both = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    return both / math.sqrt(sum((x - mean_x) ** 2 for x in xs) * sum((y - mean_y) ** 2 for y in ys))


def literal_primary(triples):
    """Methods E.3.1 word for word, of (ipc, error, loss)."""
    xs, ys = [], []
    for ipc in {ipc for ipc, _, _ in triples}:
        errors = [error for size, error, _ in triples if size == ipc]
        losses = [loss for size, _, loss in triples if size == ipc]
        n = len(errors)
        xs += [(literal_midrank(errors, error) - (n + 1) / 2) / n for error in errors]
        ys += [(literal_midrank(losses, loss) - (n + 1) / 2) / n for loss in losses]
    return literal_pearson(xs, ys)


def triples_of(points):
    return [(point.ipc, error, point.loss) for point, error in zip(points, mean_errors(points), strict=True)]


def literal_partial(points):
    """Methods E.3.2 as residuals: ranks of error and loss, each freed of its straight line in the rank of IPC."""
    columns = [mean_errors(points), [point.loss for point in points], [point.ipc for point in points]]
    error, loss, size = ([literal_midrank(column, value) for value in column] for column in columns)
    freed = [np.array(ranks) - np.polyval(np.polyfit(size, ranks, 1), size) for ranks in (error, loss)]
    return literal_pearson(*freed)


def test_every_value_is_that_of_the_slow_version():
    points = pool(0.5, seed=3)
    found = score(points, **QUICK)
    assert found.primary == pytest.approx(literal_primary(triples_of(points)), abs=1e-12)
    assert found.partial == pytest.approx(literal_partial(points), abs=1e-9)
    assert found.raw == pytest.approx(spearmanr(mean_errors(points), [point.loss for point in points]).statistic, abs=1e-12)
    without = {m: literal_primary(triples_of([p for p in points if p.method != m])) for m in {p.method for p in points}}
    assert found.leave_one_out.low == pytest.approx(min(without.values()), abs=1e-12)
    assert found.leave_one_out.high == pytest.approx(max(without.values()), abs=1e-12)
    assert without[found.leave_one_out.low_without] == min(without.values())
    assert without[found.leave_one_out.high_without] == max(without.values())


def test_the_value_of_an_ipc_is_scipys_spearman():
    points = pool(0.3)
    for own in score(points, **QUICK).per_ipc:
        members = [point for point in points if point.ipc == own.ipc]
        assert own.n == len(members)
        assert own.value == pytest.approx(spearmanr(mean_errors(members), [p.loss for p in members]).statistic, abs=1e-12)


def test_lower_loss_with_lower_error_is_one_and_the_reverse_minus_one():
    points = pool()
    aligned = score(with_losses(points, mean_errors(points)), **QUICK)
    reversed_ = score(with_losses(points, [-error for error in mean_errors(points)]), **QUICK)
    assert (aligned.primary, aligned.partial, aligned.raw) == pytest.approx((1, 1, 1))
    assert (reversed_.primary, reversed_.partial, reversed_.raw) == pytest.approx((-1, -1, -1))
    assert aligned.p_subsets == reversed_.p_subsets == 1 / 401
    assert 0.7 < aligned.interval_subsets[0] <= aligned.interval_subsets[1] <= 1
    assert -1 <= reversed_.interval_subsets[0] <= reversed_.interval_subsets[1] < -0.7


def test_no_relation_is_near_zero_and_not_significant():
    found = score(pool(0.0, twins=False, methods=30), **QUICK)
    assert abs(found.primary) < 0.2
    assert found.p_subsets > 0.05
    assert found.interval_subsets[0] < 0 < found.interval_subsets[1]
    assert found.chance == pytest.approx(0, abs=0.03)


def test_a_pure_effect_of_size_is_high_in_the_raw_value_and_absent_from_the_primary():
    found = score(pool(0.0, methods=30, twins=False), **QUICK)
    assert found.raw > 0.85
    assert abs(found.primary) < 0.2
    none_of_it = score(pool(0.0, methods=30, twins=False, size_effect=0.0), **QUICK)
    assert none_of_it.primary == pytest.approx(found.primary)
    assert none_of_it.raw < 0.3


def test_size_that_leaks_into_the_partial_value_is_flagged():
    """Error and loss share a U shape over IPC and nothing else: no straight line in size takes that away."""
    points = pool(0.0, methods=15, twins=False, size_effect=0.0)
    shape = dict(zip(IPCS, (40, 0, 0, 40), strict=True))
    bent = [replace(p, loss=p.loss + shape[p.ipc], errors=tuple(e + shape[p.ipc] for e in p.errors)) for p in points]
    found = score(bent, **QUICK)
    assert found.partial > 0.5 > abs(found.primary)
    assert any(flag.startswith("primary and partial differ") for flag in found.flags)
    assert not any("primary and partial" in flag for flag in score(pool(0.5, twins=False, size_effect=0), **QUICK).flags)


def test_values_of_opposite_sign_are_flagged_however_near():
    assert statistic.disagreement(0.02, -0.02) == ["primary and partial differ in sign (+0.02, -0.02)"]
    assert statistic.disagreement(0.3, 0.2) == []
    assert statistic.disagreement(0.3, 0.14) == ["primary and partial differ by 0.16"]


@pytest.mark.parametrize("loss", [0.0, 1.0, -3.5])
def test_constant_loss_is_undefined_and_not_zero(loss):
    points = with_losses(pool(), [loss * (1 + 1e-7 * (place % 5)) for place in range(len(pool()))])
    found = score(points, **QUICK)
    assert (found.primary, found.reason) == (None, "undefined: constant loss")
    assert (found.interval_subsets, found.p_subsets, found.partial, found.raw) == (None, None, None, None)
    assert {own.value for own in found.per_ipc} == {None}


def test_a_loss_that_differs_between_ipcs_only_is_constant():
    assert score([replace(p, loss=float(p.ipc)) for p in pool()], **QUICK).reason == "undefined: constant loss"


def test_constant_error_is_undefined():
    assert score([replace(p, errors=(90.0, 90.0)) for p in pool()], **QUICK).reason == "undefined: constant error"


def test_an_ipc_of_constant_loss_is_left_out_and_named():
    points = [replace(point, loss=7.0) if point.ipc == 5 else point for point in pool()]
    found, without = score(points, **QUICK), score([point for point in points if point.ipc != 5], **QUICK)
    assert "IPC 5 left out: constant loss" in found.flags
    assert (found.primary, found.m, found.strata, found.p_subsets) == (without.primary, without.m, 3, without.p_subsets)
    assert found.points == without.points + 10


def test_heavy_ties_take_mid_ranks():
    points = [
        replace(p, loss=float(round(p.loss / 2)), errors=tuple(float(round(error)) for error in p.errors))
        for p in pool(0.8, noise=1)
    ]
    found = score(points, **QUICK)
    assert found.primary == pytest.approx(literal_primary(triples_of(points)), abs=1e-12)
    assert found.interval_subsets[0] < found.primary < found.interval_subsets[1]


def test_means_that_are_equal_but_for_rounding_are_ties():
    points = pool()
    equal = [replace(p, errors=(1.1, 2.2, 3.3) if place % 2 else (2.2,)) for place, p in enumerate(points)]
    assert score(equal, **QUICK).reason == "undefined: constant error"


def test_too_few_points_or_strata_are_refused_with_their_number():
    few = score(pool(ipcs=(1, 5, 11), methods=9), **QUICK)
    assert (few.primary, few.reason, few.m, few.strata) == (None, "too few", 27, 3)
    assert len(few.per_ipc) == 3
    two = score(pool(ipcs=(1, 5), methods=40), **QUICK)
    assert (two.primary, two.reason, two.m, two.strata) == (None, "too few", 80, 2)
    enough = score(pool(ipcs=(1, 5, 11), methods=10), **QUICK)
    assert (enough.reason, enough.m, enough.strata) == ("", 30, 3)
    assert score([]).reason == "too few"


def test_ipcs_of_one_point_do_not_count_as_strata():
    lonely = [replace(pool()[0], subset=f"x{ipc}", cluster=f"x{ipc}", ipc=ipc) for ipc in (100, 200)]
    found = score(pool(ipcs=(1, 5), methods=40) + lonely, **QUICK)
    assert (found.reason, found.strata, found.m, found.points) == ("too few", 2, 80, 82)
    assert "IPC 100 left out: one point" in found.flags


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"loss": math.nan}, "loss"),
        ({"loss": math.inf}, "loss"),
        ({"errors": ()}, "no test error"),
        ({"errors": (3.0, math.nan)}, "error"),
        ({"subset": "ipc1-m0-d0"}, "more than once"),
        ({"cluster": "ipc1-m0-d0"}, "twin"),
    ],
)
def test_points_that_cannot_be_scored_are_named(change, said):
    points = pool()
    points[-1] = replace(points[-1], **change)
    with pytest.raises(UsageError, match=said) as refused:
        score(points, **QUICK)
    assert points[-1].subset in refused.value.where or points[-1].cluster in refused.value.where


@settings(max_examples=15, deadline=None)
@given(order=st.randoms(use_true_random=False), seed=st.integers(0, 5))
def test_neither_the_order_of_points_nor_of_seeds_changes_anything(order, seed):
    points = pool(0.4, ipcs=(2, 5, 10), methods=8, students=3)
    shuffled = [replace(point, errors=tuple(order.sample(point.errors, 3))) for point in order.sample(points, len(points))]
    quick = {"resamples": 50, "permutations": 50, "seed": seed}
    assert score(points, **quick) == score(shuffled, **quick)


def test_the_seed_settles_the_interval_and_another_one_moves_it():
    first, again, other = (score(pool(), **QUICK, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.interval_subsets != other.interval_subsets
    assert first.primary == other.primary


MONOTONE = (
    lambda loss: 3 * loss + 7,
    lambda loss: math.exp(loss / 20),
    lambda loss: loss**3,
    lambda loss: -math.exp(-loss / 20),
    lambda loss: math.atan(loss / 50),
)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), transform=st.sampled_from(MONOTONE), other=st.sampled_from(MONOTONE))
def test_a_monotone_transform_of_the_loss_changes_nothing(seed, transform, other):
    points = pool(0.3, ipcs=(2, 5, 10), methods=8, seed=seed)
    moved = [replace(point, loss=other(transform(point.loss) / 10)) for point in points]
    quick = {"resamples": 40, "permutations": 40}
    assert score(points, **quick) == score(moved, **quick)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_resample_is_ranked_as_if_its_points_were_written_out(seed):
    """Weights stand for copies: the correlation of a weighted resample is the slow version's of the copies."""
    random = np.random.default_rng(seed)
    written, total = [], np.zeros((3, 1))
    for ipc in (1, 2, 3):
        error, loss = random.integers(6, size=(2, 8)).astype(float)
        weights = random.multinomial(8, np.full(8, 1 / 8))
        total += resample.moments(error[None], loss, weights[None].astype(float))
        written += [(ipc, error[i], loss[i]) for i in range(8) for _ in range(weights[i])]
    assert resample.correlation(total)[0] == pytest.approx(literal_primary(written), abs=1e-12)


def test_chunks_do_not_change_the_resamples(monkeypatch):
    strata = strata_of(pool())
    whole = resample.bootstrap(strata, 100, seed=4)
    monkeypatch.setattr(resample, "CELLS", 1000)
    assert np.array_equal(whole, resample.bootstrap(strata, 100, seed=4))


def test_a_twin_and_its_subset_are_one_cluster_so_the_interval_is_wider_than_of_independent_points():
    points = pool(0.5, ipcs=(2, 10, 50), methods=12, noise=0.1)
    together = score(points, resamples=4000, permutations=10)
    apart = score([replace(point, cluster=point.subset) for point in points], resamples=4000, permutations=10)
    assert np.ptp(together.interval_subsets) > 1.15 * np.ptp(apart.interval_subsets)
    assert together.primary == apart.primary


def profiled_pool(seed=0):
    """Ten methods whose losses and errors, unrelated, rank alike at every one of six IPCs."""
    random = np.random.default_rng(seed)
    quality, loss = random.normal(size=(2, 10))
    return [
        Point(
            f"{ipc}-{method}", f"{ipc}-{method}", ipc, f"m{method}", (50 + q + 0.1 * random.normal(),), at + 0.1 * random.normal()
        )
        for ipc in range(1, 7)
        for method, (q, at) in enumerate(zip(quality, loss, strict=True))
    ]


def test_whole_methods_are_drawn_for_the_interval_over_selectors_so_six_sizes_of_one_are_not_six_methods():
    def widths(points):
        found = score(points, resamples=600, permutations=1)
        return [high - low for low, high in (found.interval_selectors, found.interval_subsets)]

    of_methods, of_subsets = widths(profiled_pool())
    assert of_methods > 1.7 * of_subsets
    independent = [replace(point, method=point.subset) for point in profiled_pool()]
    of_methods, of_subsets = widths(independent)
    assert 0.8 * of_subsets < of_methods < 1.3 * of_subsets


def test_the_interval_over_selectors_is_that_of_pools_written_out():
    """Every resample again by hand: a method drawn twice is there twice, one not drawn is not there."""
    points = [replace(point, errors=point.errors[:1]) for point in profiled_pool(3)]
    strata = strata_of(points)
    drawn = resample.bootstrap_methods(strata, 20, seed=5)
    counts = np.random.default_rng([5, resample.METHODS]).multinomial(10, np.full(10, 0.1), size=20)
    for times, value in zip(counts, drawn, strict=True):
        copies = [
            replace(point, subset=f"{point.subset}-{copy}", cluster=f"{point.subset}-{copy}")
            for point in points
            for copy in range(times[int(point.method[1:])])
        ]
        assert value == pytest.approx(resample.stratified(strata_of(copies)))


def test_one_method_alone_has_no_interval_over_selectors():
    alone = [replace(point, method="only") for point in pool()]
    assert score(alone, resamples=50, permutations=1).interval_selectors is None


def test_redrawn_errors_spread_as_students_do():
    """Two seeds drawn with replacement would have half of the variance; the stretch gives back all of it."""
    for students in (2, 3, 5):
        stratum = strata_of(pool(ipcs=(5,), methods=3, students=students))[0]
        redrawn = resample.redrawn_errors(stratum, np.empty(0), 40_000, np.random.default_rng(0))
        wanted = [np.var(runs, ddof=1) / students for runs in stratum.runs]
        assert redrawn.var(axis=0) == pytest.approx(wanted, rel=0.05)
        assert redrawn.mean(axis=0) == pytest.approx(stratum.error, abs=0.05)


def test_a_subset_of_one_student_takes_the_noise_of_the_others():
    points = pool(ipcs=(5,), methods=12)
    stratum = strata_of([replace(points[0], errors=points[0].errors[:1]), *points[1:]])[0]
    borrowed = resample.pooled_deviations([stratum])
    redrawn = resample.redrawn_errors(stratum, borrowed, 40_000, np.random.default_rng(0))
    assert redrawn[:, 0].var() == pytest.approx(np.mean([np.var(p.errors, ddof=1) for p in points[1:]]), rel=0.05)


def test_numbers_of_students_may_differ_and_one_student_is_said():
    points = pool()
    mixed = score([replace(points[0], errors=points[0].errors[:1]), *points[1:]], **QUICK)
    assert "1 subsets have one student: their noise is taken from the other subsets" in mixed.flags
    single = score([replace(point, errors=point.errors[:1]) for point in points], **QUICK)
    assert any(flag.startswith("one student a subset") for flag in single.flags)
    assert single.noise_share is None
    assert single.interval_subsets[0] < single.primary < single.interval_subsets[1]


def test_noisier_students_widen_the_interval_and_show_in_the_noise_share():
    calm, noisy = (score(pool(0.9, noise=noise), **QUICK) for noise in (0.05, 1.5))
    assert np.ptp(noisy.interval_subsets) > 1.5 * np.ptp(calm.interval_subsets)
    assert calm.noise_share < 0.02 < 0.3 < noisy.noise_share


def test_the_interval_lies_around_the_value_and_the_plain_percentiles_lean_to_zero():
    found = score(pool(0.95, noise=0.7), **QUICK)
    assert found.interval_subsets[0] < found.primary < found.interval_subsets[1]
    assert sum(found.percentile_interval) < sum(found.interval_subsets)


def test_p_is_the_share_of_all_permutations_of_whole_clusters():
    """Counted out by hand: every way to deal the losses of whole clusters among clusters of the same composition."""
    points = pool(0.7, ipcs=(2, 4, 7), methods=3, twin_shift=2.0, seed=8)
    points = [point for point in points if point.subset != "ipc2-m1-d0-twin"]
    by_cluster = {}
    for point in points:
        by_cluster.setdefault((point.ipc, point.cluster), []).append(point)
    kinds = {}
    for (ipc, _), members in by_cluster.items():
        kinds.setdefault((ipc, len(members)), []).append(members)
    values = []
    for deal in product(*(list(permutations(range(len(clusters)))) for clusters in kinds.values())):
        dealt = []
        for order, clusters in zip(deal, kinds.values(), strict=True):
            for receiver, giver in zip(clusters, order, strict=True):
                dealt += [replace(to, loss=of.loss) for to, of in zip(receiver, clusters[giver], strict=True)]
        values.append(literal_primary(triples_of(dealt)))
    centre = sum(values) / len(values)
    own = literal_primary(triples_of(points))
    exact = sum(abs(value - centre) >= abs(own - centre) - 1e-12 for value in values) / len(values)
    p, chance = resample.permutation_test(strata_of(points), 20_000, seed=0)
    assert len(values) == 2 * 6 * 6
    assert chance == pytest.approx(centre, abs=1e-9)
    assert chance > 0.05
    assert p == pytest.approx(exact, abs=0.02)
    assert 0.01 < exact < 0.99


def test_p_over_selectors_is_the_share_of_all_deals_of_whole_profiles_those_of_uncounted_subsets_among_them():
    """Counted out by hand: five selectors of one shape exchange, one with a size less keeps its losses."""
    points = [point for point in pool(0.6, ipcs=(2, 3, 4), methods=6, seed=4) if (point.method, point.ipc) != ("m5", 4)]
    uncounted = [point for point in points if point.subset in ("ipc2-m0-d0-twin", "ipc4-m3-d0", "ipc4-m3-d0-twin")]
    counted = [point for point in points if point not in uncounted]
    loss = {point.subset: point.loss for point in points}
    values = []
    for order in permutations(range(5)):
        giver = {f"m{receiver}": f"m{of}" for receiver, of in enumerate(order)} | {"m5": "m5"}
        lent = [loss[point.subset.replace(f"-{point.method}-", f"-{giver[point.method]}-")] for point in counted]
        values.append(literal_primary(triples_of(with_losses(counted, lent))))
    centre = sum(values) / len(values)
    exact = sum(abs(value - centre) >= abs(values[0] - centre) - 1e-12 for value in values) / len(values)
    found = exchange_test(strata_of(counted), counted, uncounted, 20_000, seed=0)
    assert found.groups == (5,)
    assert found.p == pytest.approx(exact, abs=0.02)
    assert found.chance == pytest.approx(centre, abs=0.02)
    assert 0.01 < exact < 0.99
    assert exchange_test(strata_of(counted), counted, [], 20_000, seed=0) is None  # without them shapes differ


def test_draws_of_one_selector_are_no_selectors_of_their_own_and_the_order_of_points_changes_nothing():
    points = pool(0.6, ipcs=(2, 4, 10), methods=8, seed=5)
    drawn = [replace(point, method="m0") if point.method in ("m1", "m2") else point for point in points]
    found = exchange_test(strata_of(drawn), drawn, [], 400, seed=0)
    assert found.groups == (5,)  # m3 to m7; m0 with its three draws is alone with its shape
    assert exchange_test(strata_of(drawn), drawn[::-1], [], 400, seed=0) == found


def test_with_fewer_than_20_ways_to_deal_profiles_there_is_no_p_over_selectors():
    few, enough = (pool(0.9, ipcs=(2, 4, 6, 8, 10, 50), methods=count, seed=1) for count in (3, 4))
    assert score(few, **QUICK).primary is not None
    assert (score(few, **QUICK).p_selectors, score(few, **QUICK).exchanged) == (None, ())
    assert score(enough, **QUICK).p_selectors is not None
    assert score(enough, **QUICK).exchanged == (4,)


def test_what_twins_bring_by_themselves_is_not_significant_but_said():
    """Loss and error both rise when a subset is halved and doubled, and have nothing else in common."""
    found = score(pool(0.0, ipcs=(2, 4, 10, 50), methods=12, twin_shift=3.0, seed=2), **QUICK)
    assert found.primary > 0.5
    assert found.chance > 0.5
    assert found.p_subsets > 0.05
    assert found.p_selectors > 0.05


def test_a_loss_that_only_tells_twins_scores_above_0_and_has_no_p_and_nothing_without_twins():
    """1 for twins, 0 for others: their students err more, so it is aligned, and it says nothing of any selector."""
    points = pool(0.0, ipcs=(2, 4, 10, 50), methods=12, twin_shift=3.0, seed=2)
    found = score([replace(point, loss=float(point.subset != point.cluster)) for point in points], **QUICK)
    assert found.primary > 0.5
    assert found.interval_selectors[0] > 0
    assert found.p_selectors == 1.0
    assert found.chance == pytest.approx(found.primary)
    assert (found.without_twins.value, found.without_twins.m) == (None, 0)  # constant among the subsets


def test_without_twins_is_the_score_of_the_subsets_alone():
    points = pool(0.6, ipcs=(2, 4, 10, 50), methods=12, twin_shift=3.0, seed=3)
    bases = [point for point in points if point.subset == point.cluster]
    found, alone = score(points, **QUICK).without_twins, score(bases, **QUICK)
    assert (found.value, found.interval_selectors, found.m, found.strata) == (
        alone.primary, alone.interval_selectors, alone.m, alone.strata
    )  # fmt: skip
    assert (found.p_selectors, found.chance) == (alone.p_selectors, alone.chance)
    assert score(points, **QUICK).primary != alone.primary
    few = [point for point in points if point.ipc in (2, 4)] + [one for one in bases if one.ipc == 10][:2]
    assert score(few, **QUICK).primary is not None
    assert score(few, **QUICK).without_twins.value is None  # 26 of them


def test_the_noisiest_size_is_named_and_each_point_counts_alike():
    points = pool(0.6, ipcs=(2, 4, 10, 50), methods=12, seed=3)
    spread = lambda point: 9.0 if point.ipc == 10 else 0.0  # noqa: E731
    shaken = [replace(one, errors=(one.errors[0] - spread(one), one.errors[0] + spread(one))) for one in points]
    found = score(shaken, **QUICK)
    ipc, share = found.noisiest
    assert ipc == 10
    assert found.noise_share == pytest.approx(share / 4)


@pytest.mark.filterwarnings("error")
def test_losses_near_the_largest_number_are_ranked_without_a_warning():
    points = pool(0.6, ipcs=(2, 4, 10, 50), methods=12, seed=3)
    order = rankdata([point.loss for point in points])
    huge = [replace(point, loss=float(1.7e308 * (2 * rank / len(points) - 1))) for point, rank in zip(points, order, strict=True)]
    assert score(huge, **QUICK).primary == pytest.approx(score(points, **QUICK).primary)


def test_a_score_goes_into_json_and_back():
    for found in (score(pool(), **QUICK), score(pool(methods=2), **QUICK)):
        written = json.loads(json.dumps(found.to_json(), allow_nan=False))
        assert written["primary"] == found.primary
        assert written["per_ipc"][0]["n"] == found.per_ipc[0].n


@pytest.fixture
def simulation(monkeypatch):
    described = importlib.util.spec_from_file_location("dcs_statistic", BENCHMARK)
    module = importlib.util.module_from_spec(described)
    monkeypatch.setitem(sys.modules, "dcs_statistic", module)  # dataclasses look their module up
    described.loader.exec_module(module)
    for name, count in (("POOLS", 60), ("TRUTHS", 300), ("RESAMPLES", 200), ("PERMUTATIONS", 99)):
        monkeypatch.setattr(module, name, count)
    return module


def test_in_simulated_pools_the_interval_covers_where_plain_percentiles_do_not(simulation):
    design = simulation.Design("strong relation, noisy students", relation=0.95, noise=1.0)
    _, _, cover, holds, _, _, _, percentile, _ = simulation.covered(design, np.random.default_rng(0))
    assert holds == "yes"
    assert percentile < 0.85 < cover


def test_in_simulated_pools_twins_taken_as_further_subsets_find_relations_that_are_not_there(simulation, monkeypatch):
    monkeypatch.setattr(simulation, "POOLS", 200)
    _, _, _, _, _, ours, apart, _, _ = simulation.sized(simulation.NULLS[0], np.random.default_rng(0))
    assert ours == pytest.approx(simulation.SIZE, abs=simulation.half_width(simulation.SIZE, 200))
    assert apart > 0.08 > ours


@pytest.mark.parametrize("dropped", [0.0, 0.2])
def test_in_simulated_pools_whose_selectors_last_over_sizes_only_the_test_over_selectors_keeps_to_5_percent(
    simulation, monkeypatch, dropped
):
    monkeypatch.setattr(simulation, "POOLS", 200)
    design = simulation.Design("lasting", relation=0.0, lasting=0.9, dropped=dropped)
    _, over_selectors, holds, _, holds_without_twins, at_each_ipc, _, above, _ = simulation.sized(
        design, np.random.default_rng(0)
    )
    assert holds == holds_without_twins == "yes"
    assert at_each_ipc > 0.12 > over_selectors
    assert above > 0.12  # intervals above 0 by twins alone: they are no test
