"""The contrast of the regimes: against literal implementations on random rows, and defined where rows are few or degenerate."""

from __future__ import annotations

import dataclasses
import itertools
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from regime_rows import board, row, single, three_draws
from scipy import stats as scipy_stats

from harness.scoring import stats
from harness.scoring.contrast import contrasts
from harness.scoring.side_by_side import boards_of
from harness.scoring.tables import build_tables

RANDOM = {"random": three_draws(31.0)}
HERDING = {"herding": single(40.0, 41.0, 42.0)}

accuracy = st.floats(1, 99, allow_subnormal=False).map(lambda value: round(value, 2))
draws = st.lists(st.lists(accuracy, min_size=1, max_size=4).map(tuple), min_size=1, max_size=3).map(tuple)
slugs = ("random", "a", "b", "c", "d")
tables = st.fixed_dictionaries({"random": draws}, optional=dict.fromkeys(slugs[1:], draws))


def literal_sample(of_row) -> list[float]:
    return [statistics.mean(seeds) for seeds in of_row] if len(of_row) > 1 else list(of_row[0])


def literal_pooled_sd(rows) -> float | None:
    """Root of the squared distances from each draw's own mean over the degrees of freedom."""
    every = [seeds for of_row in rows for seeds in of_row]
    freedom = sum(len(seeds) - 1 for seeds in every)
    squares = sum(((np.array(seeds) - np.mean(seeds)) ** 2).sum() for seeds in every)
    return float(np.sqrt(squares / freedom)) if freedom else None


def literal_wins(table, shared) -> int:
    """Rows of `shared` with a higher mean than Random and a Holm-adjusted Welch p below 5%, the family being the whole table.

    None when there is one draw of Random: it is one random set.
    """
    if len(table["random"]) == 1:
        return 0
    reference = literal_sample(table["random"])
    p_values = {}
    for slug in table:
        sample = literal_sample(table[slug])
        constant = len(set(sample)) == 1 and len(set(reference)) == 1
        if slug != "random" and min(len(sample), len(reference)) > 1 and not (constant and sample[0] != reference[0]):
            p_values[slug] = 1.0 if constant else scipy_stats.ttest_ind(sample, reference, equal_var=False).pvalue
    wins, largest = 0, 0.0
    for position, slug in enumerate(sorted(p_values, key=p_values.get)):
        largest = max(largest, p_values[slug] * (len(p_values) - position))
        wins += slug in shared and largest < 0.05 and statistics.mean(literal_sample(table[slug])) > statistics.mean(reference)
    return wins


@pytest.mark.filterwarnings("ignore:Precision loss:RuntimeWarning")
@settings(deadline=None, max_examples=60)
@given(tables, tables)
def test_every_number_is_that_of_a_literal_implementation(hard, soft):
    (contrast,) = contrasts(board(hard, soft))
    shared = sorted(set(hard) & set(soft))
    assert sorted(contrast.slugs) == shared
    assert sorted(contrast.left_out) == sorted(set(hard) ^ set(soft))
    for found, table in zip(contrast.regimes, (hard, soft), strict=True):
        means = [statistics.mean(literal_sample(table[slug])) for slug in shared]
        sd = literal_pooled_sd([table[slug] for slug in shared])
        assert found.spread == (pytest.approx(max(means) - min(means), abs=1e-9) if len(means) > 1 else None)
        assert found.seed_sd == (None if sd is None else pytest.approx(sd, abs=1e-6))
        assert found.freedom == sum(len(seeds) - 1 for slug in shared for seeds in table[slug])
        if len(means) > 1 and sd:
            assert found.sigmas == pytest.approx((max(means) - min(means)) / sd, rel=1e-6)
        assert (found.better, found.compared) == (literal_wins(table, shared), len(shared) - 1)
    hard_means, soft_means = (
        np.round([statistics.mean(literal_sample(table[slug])) for slug in shared], 9) for table in (hard, soft)
    )  # fmt: skip
    found = contrast.regimes[1].agreement
    if len(shared) < 2:
        assert found is None
    elif len(set(hard_means)) == 1 or len(set(soft_means)) == 1:
        assert found.tau is None
    else:
        assert found.tau == pytest.approx(scipy_stats.kendalltau(hard_means, soft_means, variant="b").statistic)


def test_the_quotient_is_worked_by_hand():
    hard = RANDOM | HERDING
    soft = {"random": three_draws(61.0), "herding": single(61.0, 63.0, 65.0)}
    (contrast,) = contrasts(board(hard, soft))
    of_hard, of_soft = contrast.regimes
    assert (of_hard.spread, of_hard.seed_sd, of_hard.freedom, of_hard.sigmas) == (10.0, 1.0, 8, 10.0)
    assert (of_soft.spread, of_soft.seed_sd) == (2.0, pytest.approx(np.sqrt((6 + 8) / 8)))
    assert of_soft.sigmas == pytest.approx(2 / np.sqrt(1.75))
    assert (of_hard.better, of_hard.compared, of_soft.better) == (1, 1, 0)


def test_by_chance_is_the_mean_studentized_range_of_equal_rows():
    rng = np.random.default_rng(3)
    for rows, seeds in ((2, 3), (5, 3), (10, 5)):
        simulated = np.ptp(rng.normal(size=(40_000, rows, seeds)).mean(axis=2), axis=1).mean()
        assert stats.range_by_chance([((0.0,) * seeds,)] * rows) == pytest.approx(simulated, rel=0.02)
    assert stats.range_by_chance([((0.0,) * 3, (0.0,) * 3)] * 2) == pytest.approx(stats.range_by_chance([((0.0,) * 6,)] * 2))
    assert stats.range_by_chance([((0.0,),)]) is None


def test_the_full_dataset_is_a_yardstick_and_no_row():
    full = {"full-dataset": single(80.0, 81.0, 82.0)}
    with_full, without = board(RANDOM | HERDING | full, RANDOM | HERDING), board(RANDOM | HERDING, RANDOM | HERDING)
    (contrast,), (plain,) = contrasts(with_full), contrasts(without)
    assert contrast.slugs == plain.slugs == ("herding", "random")
    assert contrast.regimes[0].gap_to_full == pytest.approx(81 - 36)
    assert contrast.regimes[0].share_of_full == pytest.approx((31 / 81 + 41 / 81) / 2)
    assert contrast.regimes[1].gap_to_full is None
    assert dataclasses.replace(contrast.regimes[0], gap_to_full=None, share_of_full=None) == plain.regimes[0]
    assert [ranked.rank for ranked in with_full.main.rows] == [ranked.rank for ranked in without.main.rows]
    assert with_full.main.rows[0].gap == without.main.rows[0].gap


def test_a_full_dataset_that_diverged_or_reached_zero_gives_no_share():
    for top1 in (None, 0.0):
        made = board(RANDOM | {"full-dataset": single(top1)}, RANDOM)
        assert made.main.share_of_full(made.main.rows[0]) is None
        assert [one.gap_to_full for one in contrasts(made)[0].regimes] == [None if top1 is None else -31.0, None]


def test_a_coreset_that_calls_its_method_full_dataset_is_a_competitor():
    (table,) = build_tables(
        [row("random", three_draws(31.0), "hl"), row("bold", single(90.0, 91.0), "hl", method="full-dataset")]
    )
    assert (table.full_row, [ranked.row.submission.slug for ranked in table.rows]) == (None, ["bold", "random"])


def test_nobody_beats_a_single_draw_of_random():
    one_draw = {"random": single(30.0, 31.0, 32.0)} | HERDING
    (contrast,) = contrasts(board(one_draw, one_draw))
    assert [(one.better, one.compared, one.untested) for one in contrast.regimes] == [(0, 1, 1)] * 2


def test_diverged_students_are_in_no_mean_spread_or_deviation():
    lossy = {"random": ((30.0, None, 32.0), (None, None, None), (31.0, 31.0, 31.0)), "herding": single(40.0, None, 42.0)}
    (contrast,) = contrasts(board(lossy, RANDOM | HERDING))
    of_hard = contrast.regimes[0]
    assert (of_hard.spread, of_hard.freedom) == (10.0, 4)
    assert of_hard.seed_sd == pytest.approx(np.sqrt((2 + 0 + 2) / 4))


def test_rows_without_a_result_under_one_regime_are_left_out_and_named():
    soft = {"random": single(60.0, 61.0), "herding": single(None, None)}
    (contrast,) = contrasts(board(RANDOM | HERDING, soft))
    assert (contrast.slugs, contrast.left_out) == (("random",), ("herding",))
    assert all((one.spread, one.sigmas, one.by_chance, one.agreement) == (None,) * 4 for one in contrast.regimes)


def test_regimes_measured_on_the_same_rows_share_a_contrast_and_others_do_not_shrink_it():
    three = RANDOM | HERDING | {"a": single(20.0, 21.0)}
    (together,) = contrasts(board(three, three, three))
    assert [one.regime for one in together.regimes] == ["hl", "sl", "sl-kd"]
    first, second = contrasts(board(three, three, RANDOM))
    assert ([one.regime for one in first.regimes], len(first.slugs)) == (["hl", "sl"], 3)
    assert ([one.regime for one in second.regimes], second.slugs) == (["hl", "sl-kd"], ("random",))


def test_missing_regimes_give_no_contrast():
    assert contrasts(board(RANDOM | HERDING)) == []
    assert contrasts(board(None, RANDOM, RANDOM)) == []
    assert contrasts(board({"random": single(None)}, RANDOM)) == []
    assert contrasts(board(RANDOM, {"random": single(None)})) == []


def test_regimes_without_a_row_in_common_give_an_empty_contrast():
    (contrast,) = contrasts(board(RANDOM, HERDING))
    assert (contrast.slugs, contrast.left_out) == ((), ("herding", "random"))
    assert [one.sigmas for one in contrast.regimes] == [None, None]


def test_rows_without_spread_between_students_have_no_sigmas():
    constant = {"random": ((30.0, 30.0), (30.0, 30.0)), "herding": single(90.0, 90.0, 90.0)}
    (contrast,) = contrasts(board(constant, {"random": ((60.0,), (60.0,)), "herding": single(61.0)}))
    assert [(one.seed_sd, one.sigmas, one.untested) for one in contrast.regimes] == [(0.0, None, 1), (None, None, 1)]


def test_one_row_without_spread_is_tested_and_counted_with_the_spread_of_the_others():
    (contrast,) = contrasts(board(RANDOM | {"constant": single(41.0, 41.0, 41.0)}, RANDOM | {"constant": single(31.0, 31.0)}))
    assert [(one.seed_sd, one.freedom) for one in contrast.regimes] == [
        (pytest.approx(np.sqrt(6 / 8)), 8),
        (pytest.approx(np.sqrt(6 / 7)), 7),
    ]
    assert [(one.better, one.untested) for one in contrast.regimes] == [(1, 0), (0, 0)]


def test_without_random_nobody_beats_it():
    (contrast,) = contrasts(board(HERDING, HERDING))
    assert [(one.better, one.compared) for one in contrast.regimes] == [(None, None)] * 2


def test_an_older_version_of_a_protocol_never_shares_a_column_with_the_newer():
    newer = [row(slug, single(40.0, 41.0), "hl") for slug in ("random", "herding")]
    second = newer[0].protocol.model_copy(update={"id": "digits/resnet18-hl/v10", "sha256": "ef" * 32})
    third = newer[0].protocol.model_copy(update={"id": "digits/resnet18-hl/v9", "sha256": "cd" * 32})
    rows = [*newer, dataclasses.replace(newer[0], protocol=second), dataclasses.replace(newer[1], protocol=third)]
    for order in itertools.permutations(rows):
        current, *older = boards_of(build_tables([*order, row("random", single(60.0), "sl")]))
        assert [table.protocol.id for table in current.tables] == ["digits/resnet18-hl/v10", "digits/resnet18-sl/v1"]
        assert [board.main.protocol.id for board in older] == ["digits/resnet18-hl/v1", "digits/resnet18-hl/v9"]
        assert all(board.superseded for board in older)
