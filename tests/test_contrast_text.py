"""What a board says in words is what its contrast table says in numbers, and no more."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from regime_rows import board, single, three_draws
from scipy.stats import chi2
from small_checkout import table_rows

from harness.scoring.contrast import contrasts
from harness.scoring.contrast_text import FEW, contrast_section, sentences

THREE = {"random": three_draws(31.0), "herding": single(40.0, 41.0, 42.0), "worse": single(10.0, 11.0, 12.0)}
SOFT = {"random": three_draws(61.0), "herding": single(60.5, 61.5, 62.5), "worse": single(60.2, 61.2, 62.2)}

accuracy = st.floats(1, 99, allow_subnormal=False).map(lambda value: round(value, 1))
rows = st.dictionaries(
    st.sampled_from(["random", "a", "b", "c", "d", "e"]), st.lists(accuracy, min_size=1, max_size=3).map(tuple), min_size=1
)


def said(*regimes) -> str:
    (contrast,) = contrasts(board(*regimes))
    return sentences(contrast)


def test_three_regimes_over_three_rows_are_told_with_their_numbers_and_their_limits():
    assert said(THREE, SOFT, SOFT) == (
        "The best and the worst of the 3 submissions measured under HL, SL and SL+KD are this many seed sigmas apart: "
        "30.00 under HL, 0.50 under SL and 0.50 under SL+KD; equal ones would be about 0.86 apart by the luck of their "
        "students. Significantly better than Random are 1 of 2 under HL, 0 of 2 under SL and 0 of 2 under SL+KD. The "
        "order of these rows has a tau-b with that under HL of 0.33 under SL and 0.33 under SL+KD; with 3 rows not even "
        "the same order would be significant (p 0.33 at best)."
    )


def test_the_table_is_rebuilt_to_the_printed_digit():
    (contrast,) = contrasts(board(THREE | {"full-dataset": single(80.0, 82.0)}, SOFT))
    headers, hard, soft = table_rows(contrast_section(contrast))
    assert headers == [
        "Regime", "Rows", "Spread, points", "Seed sd", "Spread, sigmas", "by chance", "Beat Random", "tau-b with HL", "95%",
        "Gap to full", "Share of full",
    ]  # fmt: skip
    assert hard == ["HL", "3", "30.00", "1.00 (10 df)", "30.00", "0.86", "1 of 2 (50.0%)", "-", "-", "53.33", "34.2%"]
    assert soft == ["SL", "3", "0.50", "1.00 (10 df)", "0.50", "0.86", "0 of 2 (0.0%)", "0.33 (p=1.000, exact)", "n/a", "-", "-"]


@settings(deadline=None, max_examples=60)
@given(rows, rows)
def test_every_number_of_the_sentences_stands_in_the_table(hard, soft):
    for contrast in contrasts(board(*({slug: (seeds,) for slug, seeds in of.items()} for of in (hard, soft)))):
        text = sentences(contrast).replace(" (5%)", "")
        text = re.sub(r"\(p [0-9.]+ at best\)", "", text)  # follows from the number of rows
        cells = " ".join(cell for row in table_rows(contrast_section(contrast)) for cell in row)
        assert text.count(". ") <= 2
        rough = re.search(r"few degrees of freedom \((.*?)\)", text)
        assert all(f"({freedom} df)" in cells for freedom in re.findall(r"\d+", rough[1] if rough else ""))
        assert [number for number in re.findall(r"-?\d+\.\d+|\d+ of \d+", text) if number not in cells] == []


def test_one_row_is_said_to_be_one_row():
    only = {"random": single(30.0, 31.0)}
    assert said(only, only) == (
        "Only one submission (random) was measured under HL and SL: there is no spread and no order to compare."
    )


def test_no_row_in_common_is_said():
    assert said({"random": single(30.0, 31.0)}, {"other": single(30.0)}) == "No submission has a result under all of HL and SL."


def test_sigmas_that_are_not_defined_are_not_numbers():
    lone = {slug: ((60.0 + place,),) * (3 if slug == "random" else 1) for place, slug in enumerate(THREE)}
    text = said(THREE, lone)
    assert "30.00 under HL; equal ones would be about 0.86 apart" in text
    assert "under SL that is not defined, for want of a spread between students of the same set." in text
    assert "(not testable: 2 under SL)" in text
    assert "a number of seed sigmas apart that is not defined" in said(lone, lone)


def test_sigmas_from_few_students_are_called_rough():
    few = {"random": ((30.0, 31.0), (31.0, 32.0), (30.0,)), "herding": single(40.0, 41.0, 42.0), "worse": single(10.0, 11.0)}
    assert "students; these are rough figures, for the seed sd has few degrees of freedom (5 under HL)." in said(few, THREE)
    assert "rough" not in said(THREE, SOFT)


def test_the_limits_of_the_figure_called_rough_are_those_of_the_chi_square_interval():
    few, enough = ([(df / chi2.ppf(q, df)) ** 0.5 for q in (0.975, 0.025)] for df in (FEW - 1, FEW))
    assert few[0] < 0.7 <= round(enough[0], 1)
    assert few[1] > 1.8 >= enough[1]


def test_a_tau_is_told_with_its_interval_where_there_is_one():
    hard = {f"m{place}": single(30.0 + 5 * place, 31.0 + 5 * place) for place in range(9)}
    soft = {f"m{place}": single(60.0 + mean, 61.0 + mean) for place, mean in enumerate((2, 0, 3, 1, 4, 8, 6, 7, 5))}
    (contrast,) = contrasts(board(hard, soft))
    (interval,) = [row[8] for row in table_rows(contrast_section(contrast)) if row[0] == "SL"]
    assert re.fullmatch(r"-?\d\.\d\d to \d\.\d\d", interval)
    assert f"a tau-b with that under HL of 0.56 (95% {interval}) under SL;" in sentences(contrast)


def test_a_regime_with_equal_means_has_no_order():
    equal = {slug: single(59.0, 60.0, 61.0) for slug in THREE}
    assert "of not defined under SL; with 3 rows" in said(THREE, equal)


@pytest.mark.parametrize(
    ("step", "verdict"), [(1, "alike beyond chance (5%) under SL"), (-1, "reversed beyond chance (5%) under SL")]
)
def test_five_rows_in_the_same_or_the_reverse_order_are_said_to_be(step, verdict):
    hard = {f"m{place}": single(30.0 + 5 * place, 31.0 + 5 * place) for place in range(5)}
    soft = {f"m{place}": single(60.0 + step * place, 61.0 + step * place) for place in range(5)}
    assert said(hard, soft).endswith(f"; {verdict}.")


def test_an_order_that_chance_explains_is_called_neither():
    hard = {f"m{place}": single(30.0 + 5 * place, 31.0 + 5 * place) for place in range(5)}
    soft = {f"m{place}": single(60.0 + mean, 61.0 + mean) for place, mean in enumerate((2, 0, 3, 1, 4))}
    assert said(hard, soft).endswith("; neither alike nor reversed beyond chance (5%).")


def test_who_was_left_out_is_named_below_the_table():
    (contrast,) = contrasts(board(THREE, {"random": single(60.0, 61.0), "herding": single(None)}))
    assert contrast_section(contrast).endswith("Left out, because one of these regimes has no result for them: herding, worse.")
