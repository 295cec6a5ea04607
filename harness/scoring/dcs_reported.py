"""Correlations that papers print, as `leaderboards/reported/dcs/*.csv` holds them, and how the scores here compare with them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from pathlib import Path

from harness.dcs.declared import DECLARED
from harness.scoring.cells import joined, listed, signed, signed_range
from harness.scoring.dcs import ObjectiveScore, PoolScores
from harness.scoring.markdown import escape, table
from harness.scoring.reported import ReportedError

REPORTED = Path("reported") / "dcs"
ON_CLEAN, ON_CORRUPTED = "test images", "corrupted images"

COMPARED = """\
Each printed value beside the score here, with its interval over selectors. A value given in words stands for a range: "no
correlation" for 0, "zero or negative" for 0 and below. *Sign*: whether the score here has the printed sign, however unsure it is.
*Fits*: the interval here holds the printed value, or some of its range; a wide interval fits much. Nothing here repeats a paper's
setting: the last column says where dataset or student differ; the subsets always do, and so do the networks of the losses
(ResNet-18 in arXiv 2604.18811) and, by cost, most of the settings above, and the paper does not print by which statistic it
accounts for size. Its subsets have 10 to 700 images a class (appendix G.2), those that are scored here {sizes}. So what can agree
are findings, not numbers."""


@dataclass(frozen=True)
class ReportedScore:
    """What a paper prints of an objective, word for word; and, to compare it, of which objectives here (`compares`) and between
    which correlations (`low`, `high`, in [-1, 1]) that lies."""

    source: str
    where: str
    objective: str
    student: str
    dataset: str
    errors: str
    printed: str
    compares: tuple[str, ...]
    low: float
    high: float

    @property
    def shown(self) -> str:
        """`+0.41`, `0`, `0 or below`, `0.20 to 0.40`."""
        low, high = (f"{bound:+.2f}" if bound else "0" for bound in (self.low, self.high))
        if self.low == self.high:
            return low
        return f"{high} or below" if self.low == -1 else f"{low} or above" if self.high == 1 else f"{low} to {high}"


COLUMNS = [field.name for field in fields(ReportedScore)]


def read_reported_scores(folder: Path) -> tuple[ReportedScore, ...]:
    """Every line of the CSV files in `folder`; () where there is none. Raises ReportedError naming file and line."""
    found = []
    for path in sorted(folder.glob("*.csv")):
        header, *lines = csv.reader(path.read_text(encoding="utf-8").splitlines())
        if header != COLUMNS:
            raise ReportedError("the columns are fixed", where=f"{path}:1", fix=f"write: {','.join(COLUMNS)}")
        found += [_parsed(path, number, cells) for number, cells in enumerate(lines, start=2)]
    return tuple(found)


def _parsed(path: Path, number: int, cells: Sequence[str]) -> ReportedScore:
    try:
        *words, compares, low, high = cells
        score = ReportedScore(*words, tuple(compares.split()), float(low), float(high))
        if unknown := [name for name in score.compares if name not in DECLARED]:
            raise ValueError(f"no objective {unknown[0]!r}")
        if score.errors not in (ON_CLEAN, ON_CORRUPTED) or not -1 <= score.low <= score.high <= 1:
            raise ValueError(f"errors are on {ON_CLEAN} or on {ON_CORRUPTED}, and -1 <= low <= high <= 1")
    except (TypeError, ValueError) as reason:
        raise ReportedError("not a line of reported scores", where=f"{path}:{number}", why=str(reason)) from reason
    return score


def comparison_section(scores: PoolScores, reported: Sequence[ReportedScore]) -> list[str]:
    """One row for each printed value and objective with a score here; nothing where there is none."""
    by_errors = {ON_CLEAN: scores.objectives, ON_CORRUPTED: scores.on_corrupted}
    rows = [
        _comparison(one, entry, scores)
        for entry in reported
        for name in entry.compares
        for one in by_errors[entry.errors]
        if one.objective == name and one.score.primary is not None and not one.is_own
    ]
    if not rows:
        return []
    headers = ["Objective", "Errors on", "Printed", "Where", "DCS here", "Sign", "Fits", "Other there"]
    sizes = sorted({subset.ipc for subset in scores.pool.subsets if subset.id in scores.errors.counted})
    return ["### Beside what papers print", COMPARED.format(sizes=listed(sizes)), table(headers, rows)]


def _comparison(one: ObjectiveScore, entry: ReportedScore, scores: PoolScores) -> list[str]:
    value, interval = one.score.primary, one.score.interval_selectors or one.score.interval_subsets
    here = {"dataset": scores.pool.recipe.dataset, "student": scores.student}
    other = [f"{name} ({there})" for name, of in here.items() if (there := getattr(entry, name)) != of]
    return [
        f"`{one.objective}`",
        entry.errors,
        entry.shown,
        escape(f"{entry.source}, {entry.where}"),
        f"{signed(value)} {signed_range(interval)}{' (stale)' * one.is_stale}",
        sign_verdict(value, entry.low, entry.high),
        "yes" if holds(interval, entry.low, entry.high) else "no",
        escape(joined([*other, "subsets"])),
    ]


def holds(interval: tuple[float, float], low: float, high: float) -> bool:
    """Whether an interval and the range from `low` to `high` meet."""
    return interval[0] <= high and low <= interval[1]


def sign_verdict(value: float, low: float, high: float) -> str:
    """Of a value here against a printed one between `low` and `high`: `same`, `other`, or `-` where the printed one is 0."""
    if low == high == 0:
        return "-"
    return "same" if (value > 0 and high > 0) or (value < 0 and low < 0) or low <= value <= high else "other"


def reported_section(reported: Sequence[ReportedScore]) -> list[str]:
    """What was printed, word for word."""
    if not reported:
        return []
    parts = ["## Reported, not run here", "Correlations as printed by their sources, on other data, pools and students."]
    headers = ["Objective", "Student", "Dataset", "Errors on", "Printed", "Where"]
    for source, entries in groupby(reported, key=lambda one: one.source):
        rows = [[one.objective, one.student, one.dataset, one.errors, one.printed, one.where] for one in entries]
        parts += [f"### {escape(source)}", table(headers, [[escape(cell) for cell in row] for row in rows])]
    return parts
