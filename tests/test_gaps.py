"""Gaps to the named baselines: which row is the baseline, what is one family of tests, and what cannot be tested."""

from __future__ import annotations

import itertools
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from regime_rows import row, single, three_draws

from harness.scoring import stats
from harness.scoring.tables import Table, build_tables

RANDOM = {"random": three_draws(31.0)}
accuracy = st.floats(1, 99, allow_subnormal=False).map(lambda value: round(value, 2))
draws = st.lists(st.lists(accuracy, min_size=1, max_size=3).map(tuple), min_size=1, max_size=3).map(tuple)
slugs = ("random", "herding", "k-center", "dd-a", "dd-b")


def table_of(rows: dict) -> Table:
    (table,) = build_tables([row(slug, draws, "hl") for slug, draws in rows.items()])
    return table


def best(table: Table) -> str | None:
    return table.best_coreset and table.best_coreset.row.submission.slug


def gap(table: Table, slug: str) -> tuple[float, float | None] | None:
    (found,) = [ranked.gap_to_coreset for ranked in table.rows if ranked.row.submission.slug == slug]
    return found and (found.points, found.p)


def test_the_best_coreset_is_the_one_with_the_highest_mean():
    rows = RANDOM | {"herding": single(40.0, 41.0, 42.0), "k-center": single(35.0, 36.0), "dd-a": single(50.0, 51.0, 52.0)}
    table = table_of(rows)
    assert best(table) == "herding"
    assert gap(table, "dd-a")[0] == 10.0
    assert [gap(table, slug) for slug in ("herding", "k-center", "random")] == [None] * 3


def test_of_equal_coresets_the_first_slug_is_the_best():
    rows = {"k-center": single(40.0, 41.0), "herding": single(40.0, 41.0), "dd-a": single(50.0, 51.0)}
    assert best(table_of(rows)) == "herding"


def test_random_is_the_best_coreset_when_no_other_is_higher():
    table = table_of(RANDOM | {"herding": single(20.0, 21.0), "dd-a": single(50.0, 51.0)})
    assert best(table) == "random"
    assert gap(table, "dd-a")[0] == table.rows[0].gap.points == 19.5


@pytest.mark.parametrize(
    "others", [{"dd-a": single(50.0, 51.0)}, {"herding": single(40.0, 41.0)}, {"full-dataset": single(80.0)}]
)
def test_there_is_no_best_coreset_without_a_distilled_row_and_a_coreset_beside_random(others):
    table = table_of(RANDOM | others)
    assert best(table) is None
    assert [ranked.gap_to_coreset for ranked in table.rows] == [None] * len(table.rows)


def test_rows_without_a_result_are_neither_best_nor_compared():
    table = table_of(
        RANDOM | {"herding": single(None), "k-center": single(20.0, 21.0), "dd-a": single(40.0), "dd-b": single(None)}
    )
    assert best(table) == "random"
    assert gap(table, "dd-b") is None


def test_nothing_is_tested_against_a_single_draw_of_random_but_other_coresets_may_have_one():
    rows = {"random": single(60.0, 61.0, 62.0), "herding": single(40.0, 41.0, 42.0), "dd-a": single(50.0, 51.0, 52.0)}
    assert gap(table_of(rows), "dd-a") == (-10.0, None)
    lower = rows | {"random": single(30.0, 31.0, 32.0)}
    assert gap(table_of(lower), "dd-a") == (10.0, stats.welch_p(lower["dd-a"][0], lower["herding"][0]))


def test_one_value_or_no_spread_at_all_cannot_be_tested():
    constant = {"herding": single(40.0, 40.0), "dd-a": single(50.0, 50.0), "dd-b": single(50.0)}
    table = table_of(RANDOM | constant)
    assert gap(table, "dd-a") == gap(table, "dd-b") == (10.0, None)
    assert gap(table_of(RANDOM | constant | {"herding": single(39.0, 41.0)}), "dd-a")[1] is not None


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.sampled_from(slugs), draws, min_size=1))
@pytest.mark.filterwarnings("ignore:Precision loss:RuntimeWarning")
def test_p_values_are_corrected_for_every_pair_of_a_distilled_row_and_a_coreset(rows):
    table = table_of(rows)
    samples = {slug: [statistics.fmean(seeds) for seeds in of] if len(of) > 1 else list(of[0]) for slug, of in rows.items()}
    distilled = [slug for slug in rows if slug.startswith("dd-")]
    coresets = [slug for slug in rows if slug not in distilled]
    if not distilled or not set(coresets) - {"random"}:
        assert best(table) is None
        return
    assert best(table) == min(coresets, key=lambda slug: (-statistics.fmean(samples[slug]), slug))
    pairs = list(itertools.product(distilled, coresets))
    tested = {
        (one, other): None if other == "random" and len(rows["random"]) == 1 else stats.welch_p(samples[one], samples[other])
        for one, other in pairs
    }
    family = sorted(p for p in tested.values() if p is not None)
    for one in distilled:
        points, p = gap(table, one)
        assert points == pytest.approx(statistics.fmean(samples[one]) - statistics.fmean(samples[best(table)]))
        raw = tested[one, best(table)]
        if raw is None:
            assert p is None
        else:  # Holm, literally: the largest of p x (tests left) over all p-values up to this one
            steps = [smaller * (len(family) - place) for place, smaller in enumerate(family) if smaller <= raw]
            assert p == pytest.approx(min(1.0, max(steps)))
