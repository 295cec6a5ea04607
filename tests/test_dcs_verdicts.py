"""What a page says of a loss: aligned and misleading by both tests, undecided by neither, and which one where they part."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.dcs.statistic import Point, score
from harness.scoring.dcs import ObjectiveScore
from harness.scoring.dcs_verdicts import ALIGNED, MISLEADING, PARTED, UNDECIDED, verdict, verdict_lines


@pytest.fixture(scope="module")
def tested():
    """The score of 10 selectors at 4 sizes with twins."""
    points = [
        Point(f"ipc{ipc}-m{method}{twin}", f"ipc{ipc}-m{method}", ipc, f"m{method}", (method + 3.0 * bool(twin),), float(method))
        for ipc in (2, 4, 10, 50)
        for method in range(10)
        for twin in ("", "-twin")
    ]
    return score(points, resamples=50, permutations=99)


def scored(tested, with_twins, without):
    """`with_twins`, `without`: (value, chance, p) of either test."""
    names = ("chance", "p_selectors")
    bases = replace(tested.without_twins, value=without[0], **dict(zip(names, without[1:], strict=True)))
    return replace(tested, primary=with_twins[0], without_twins=bases, **dict(zip(names, with_twins[1:], strict=True)))


@pytest.mark.parametrize(
    ("with_twins", "without", "told", "which"),
    [
        ((0.7, 0.2, 0.01), (0.6, 0.0, 0.01), ALIGNED, ""),
        ((-0.5, 0.2, 0.01), (-0.4, 0.0, 0.01), MISLEADING, ""),
        ((0.05, 0.3, 0.01), (-0.4, 0.0, 0.01), MISLEADING, ""),  # above 0, and below what chance gives
        ((0.3, 0.2, 0.6), (0.3, 0.1, 0.2), UNDECIDED, ""),
        ((0.3, 0.2, 0.05), (0.3, 0.1, 0.05), UNDECIDED, ""),
        ((-0.26, -0.3, 0.8), (0.54, 0.1, 0.001), PARTED, "aligned without twins"),
        ((0.7, 0.2, 0.01), (0.2, 0.1, 0.4), PARTED, "aligned with twins"),
        ((0.7, 0.2, 0.01), (-0.5, 0.1, 0.01), PARTED, "misleading without twins"),
        ((0.7, 0.2, 0.01), (0.6, None, None), ALIGNED, ""),  # too few subsets for the second test
    ],
)
def test_a_verdict_asks_both_tests(tested, with_twins, without, told, which):
    found = scored(tested, with_twins, without)
    assert verdict(found) == told
    one = ObjectiveScore("mine", "a" * 12, (), found, None, (), True, {})
    (line,) = verdict_lines([one])
    assert line.startswith(f"{told} (")
    assert line.endswith(f": `mine` ({which})." if which else ": `mine`.")


def test_a_verdict_says_whether_it_was_tested_without_twins(tested):
    both = ObjectiveScore("both", "a" * 12, (), scored(tested, (0.7, 0.2, 0.01), (0.6, 0.0, 0.01)), None, (), True, {})
    too_few = ObjectiveScore("few", "a" * 12, (), scored(tested, (0.7, 0.2, 0.01), (None, None, None)), None, (), True, {})
    assert verdict_lines([too_few, both], quote="") == [
        "Aligned (p < 0.05 with twins and without): both.",
        "Aligned (p < 0.05 with twins; too few subsets to test without): few.",
    ]


def test_a_verdict_of_a_pool_without_students_of_twins_does_not_speak_of_two_tests():
    bases = [
        Point(f"ipc{ipc}-m{method}", f"ipc{ipc}-m{method}", ipc, f"m{method}", (float(method),), float(method))
        for ipc in (2, 4, 10)
        for method in range(10)
    ]
    one = ObjectiveScore("mine", "a" * 12, (), score(bases, resamples=50, permutations=99), None, (), True, {})
    assert verdict_lines([one], quote="") == ["Aligned (p < 0.05 of subsets alone: no twin counts yet): mine."]


def test_without_a_test_there_is_no_verdict(tested):
    assert verdict(replace(tested, p_selectors=None)) is None
    assert verdict_lines([]) == []


def test_a_loss_that_is_the_error_is_aligned(tested):
    assert verdict(tested) == ALIGNED
