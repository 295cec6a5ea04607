"""The DCS column of a dataset's boards."""

from __future__ import annotations

from collections.abc import Sequence

from harness.dcs.objectives import NOT_EXPRESSIBLE, OBJECTIVE_OF_METHOD
from harness.scoring.cells import NOTHING
from harness.scoring.dcs import PoolScores
from harness.scoring.dcs_cells import NOT_OF_A_SET, dcs_cell, turned_note
from harness.submissions import Submission

BOARD_MEANING = (
    "DCS: how well the loss that a method's images descend on, or are ranked by, tracks the hard-label test error of students, "
    "over the pool of fixed subsets in [{name}]({target}), from -1, misleading, to +1. The interval is over selectors; a loss "
    "that knows nothing may score above 0: only p below 0.05 tells one from it. It speaks for the loss named, not for the set. "
    "`not expressible`: a selector's score ranks single images, or the method's loss is none of a set; `not computed`: nobody "
    "has; `not given`: this project knows no loss of the method; `own losses`: brought along, not computed here; "
    "`stale losses`: other code, settings or networks than those here gave them; `provisional`: not all students of the pool are "
    "trained yet."
)


def dcs_column(submissions: Sequence[Submission], scores: PoolScores) -> tuple[str, list[str]]:
    """Header and one cell a row of a board."""
    return "DCS", [_of_submission(one, scores) for one in submissions]


def board_note(scores: PoolScores) -> str:
    page = f"{scores.pool.recipe.dataset}-dcs.md"
    return BOARD_MEANING.format(name=page, target=page)


def _of_submission(submission: Submission, scores: PoolScores) -> str:
    if submission.kind == "coreset":
        return NOT_OF_A_SET
    if submission.kind != "distilled":
        return NOTHING
    one = scores.of_method(submission.method)
    if one is not None:
        of_whom = f"{' own losses' if one.is_own else ''}{', stale losses' if one.is_stale else ''}"
        part = ", provisional" if one.score.primary is not None and scores.students < scores.planned else ""
        return f"`{one.objective}` {dcs_cell(one)}{turned_note(one)}{of_whom}{part}"
    if submission.method in {entry.name for entry in NOT_EXPRESSIBLE}:
        return NOT_OF_A_SET
    return "not computed" if submission.method in OBJECTIVE_OF_METHOD else "not given"
