"""Scores of a loss as the text of a cell, in pages, on boards and in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from harness.dcs.statistic import TOO_FEW, LeaveOneOut, Score
from harness.scoring.cells import NOTHING, listed, plural, signed, signed_range
from harness.scoring.dcs import ObjectiveScore
from harness.scoring.markdown import escape

NOT_OF_A_SET = "not expressible"  # what a method minimises, if anything, is a loss of something else


def dcs_cell(one: ObjectiveScore) -> str:
    """`+0.41 [+0.20, +0.58], p 0.012 (m=120)`, of selectors; `too few (m=12 in 2 sizes)`; `undefined: ... (m=120)`."""
    found = one.score
    if found.primary is None:
        return f"{found.reason} (m={_size(found) if found.reason == TOO_FEW else found.points})"
    p = "" if found.p_selectors is None else f", p {p_cell(found.p_selectors)}"
    return f"{signed(found.primary)} {signed_range(found.interval_selectors or found.interval_subsets)}{p} (m={found.m})"


def _size(found: Score) -> str:
    return f"{found.m} in {plural(found.strata, 'size')}"


def named(one: ObjectiveScore) -> str:
    """`dm`; `my-loss (own losses, not computed here)`. Plain text, as a terminal shows it."""
    return f"{one.objective} (own losses, not computed here)" if one.is_own else one.objective


def code(one: ObjectiveScore) -> str:
    # Names need no escape: `loss_table.NAME` lets through only letters, digits, hyphens and underscores.
    return f"`{one.objective}`"


def heading(one: ObjectiveScore) -> str:
    return f"{code(one)} (own losses, not computed here)" if one.is_own else code(one)


def shared_flags(objectives: Sequence[ObjectiveScore]) -> dict[str, list[ObjectiveScore]]:
    """Each flag of the scores once, with those it is said of."""
    said: dict[str, list[ObjectiveScore]] = {}
    for one in objectives:
        for flag in one.score.flags:
            said.setdefault(flag, []).append(one)
    return said


def turned_note(one: ObjectiveScore) -> str:
    """What belongs beside a score whose sign hangs on the subsets that the pool's rule leaves out; "" otherwise."""
    turned = one.score.primary is not None and one.of_all is not None and one.score.primary * one.of_all < 0
    return f", {signed(one.of_all)} with nothing excluded" if turned else ""


def p_cell(p: float | None) -> str:
    """`0.012`; `<0.001`; `-` where there is no test."""
    if p is None:
        return NOTHING
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def chance_cell(found: Score) -> str:
    """`+0.17 [-0.20, +0.51]`: what a loss that knows nothing scores; `-` where there is no score."""
    if found.chance is None:
        return NOTHING
    return with_range(found.chance, found.chance_range)


def without_twins_cell(found: Score) -> str:
    """`+0.33 [+0.02, +0.59]`; `too few`."""
    bases = found.without_twins
    return TOO_FEW if bases is None or bases.value is None else with_range(bases.value, bases.interval_selectors)


def without_twins_p_cell(found: Score) -> str:
    return NOTHING if found.without_twins is None else p_cell(found.without_twins.p_selectors)


def with_range(value: float, interval: tuple[float, float] | None) -> str:
    """`+0.33 [+0.02, +0.59]`; `+0.33`."""
    return f"{signed(value)} {signed_range(interval)}" if interval else signed(value)


def left_out_cell(found: LeaveOneOut | None) -> str:
    if found is None:
        return NOTHING
    ends = ((found.low, found.low_without), (found.high, found.high_without))
    return " to ".join(f"{signed(value)} ({escape(method)})" for value, method in ends)


def severity_cell(one: ObjectiveScore) -> str:
    """`1: +0.41, 2: +0.40, ...`; `-` where there is no score."""
    values = enumerate(one.by_severity, start=1)
    return listed([f"{severity}: {NOTHING if value is None else signed(value)}" for severity, value in values]) or NOTHING
