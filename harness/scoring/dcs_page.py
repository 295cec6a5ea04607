"""The DCS page of a dataset: the answer first, then how far it holds, what it was computed with, and how to read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from harness.dcs.objectives import NOT_EXPRESSIBLE
from harness.dcs.statistic import MIN_POINTS, MIN_STRATA, TOO_FEW
from harness.scoring.cells import NOTHING, listed, plural, signed, signed_range
from harness.scoring.dcs import ObjectiveScore, PoolScores
from harness.scoring.dcs_cells import (
    NOT_OF_A_SET,
    chance_cell,
    code,
    heading,
    left_out_cell,
    p_cell,
    severity_cell,
    shared_flags,
    turned_note,
    without_twins_cell,
    without_twins_p_cell,
)
from harness.scoring.dcs_errors import errors_section
from harness.scoring.dcs_preferences import preferences_section
from harness.scoring.dcs_reported import ReportedScore, comparison_section, reported_section
from harness.scoring.dcs_settings import settings_section, stale_notes
from harness.scoring.dcs_verdicts import verdict_lines
from harness.scoring.figures import Figure
from harness.scoring.markdown import GENERATED, escape, file_link, table
from harness.scoring.places import Places

MEANING = """\
The Distillation Correlation Score (DCS, arXiv 2604.18811, section 4) asks of a loss: of many fixed subsets of the training
images, do those of lower loss give students of lower test error, trained under **hard labels**? +1: always; -1: the loss always
misleads. A loss that knows nothing scores what stands under *By chance*, mostly above 0, and only *p* tells whether a score is
more than that. Nothing is distilled: each loss is evaluated on the same subsets, with the same random draws for each. This page
does not speak of SL and SL+KD. [How to read this page](#how-to-read-this-page) explains every column.
"""

COLUMNS = """\
## How to read this page

- *DCS*: subsets are compared with others of the same IPC only (ranks within each IPC, pooled), because error and loss both change
  with size. *m*: the subsets and twins that it rests on, and at how many sizes; below 30 of them or 3 sizes there is no score.
- A *twin* has the same IPC as its subset and half of its images, each twice. Losses of moments and gradients cannot tell it from
  those images once; students can. Twins err more than their subsets, and most losses are greater for them, so that a loss scores
  above 0 by twins alone, even one that knows nothing else. So judge a loss by p, and not by whether an interval excludes 0.
- *By chance*: what the same losses score when whole selectors exchange them, those of all sizes, among selectors with losses at
  the same sizes: the mean, and in brackets the middle 95%. A score inside the brackets is none to speak of. The mean is not 0
  because a twin's loss stays beside its subset's, and because Random, with more draws than others, keeps its own.
- *p*: how often such an exchange leads as far from their mean as the DCS is. It held 5% in simulated pools without a relation
  (`python benchmarks/dcs_statistic.py`). Nothing is corrected for the number of losses tried.
- *Without twins*: the same of the subsets alone; fewer points, but nothing in it comes of twins. Where the two p part, go by it.
- The interval of a DCS is a 95% bootstrap of whole selectors, each with its subsets of all sizes, and of students' luck with
  them: how sure the DCS is, with the twins' part in it. *95%, subsets* resamples subsets together with their twins at each IPC.
  It takes the sizes of a selector for independent, which they are not: its losses rank alike at every size, and so do its
  students. Both are moved so that the median of the resamples falls on the score. In simulated pools of ten selectors whose
  losses and errors last over sizes, the first covered 91% and the second 72%: read both as a little too narrow.
- *By IPC*: Spearman's correlation of loss and error at each size alone. The DCS is an average over sizes, and says nothing of a
  loss that turns round from small sets to large ones.
- *Without one method*: the lowest and highest DCS when all subsets of one selector with its parameters are left out.
- *Nothing excluded*: the DCS with the subsets that the pool's rule leaves out. The rule goes by the error, as the paper's does:
  it removes what students learn least from, and a DCS whose sign hangs on that says little.
- *Given size* is the partial Spearman correlation given IPC, which may be what the paper prints; *raw* is Spearman's over all
  subsets, size and all.
- A loss is a mean over random draws; each one's number of draws and standard error stand in [dcs/](dcs). No interval counts that
  noise: *Settings of the losses* says how large it is. *Own losses* are those that somebody brought along; they were not computed
  here.
- Error is that of the last epoch under hard labels, on the whole test split. A loss that is the same for every subset, to
  one in a million, has no DCS."""

CLEAR, FEWEST_OF_A_SIZE = 0.2, 10  # a correlation at one size that a page calls a direction, and of how many points at least
MOSTLY_LUCK = 0.3  # share of the variance of a loss at one size
SCORE_HEADERS = ("DCS", "By chance", "p", "Without twins", "p, without twins", "m")

CORRUPTED = """\
The same losses against the same students' error on corrupted test images (15 corruptions at 5 severities, mean of all 75): {done}
of {planned} students measured. The error on clean images settles which subsets count. The last column is the DCS at each severity
alone."""


def dcs_page(
    dataset: str, pools: Sequence[PoolScores], places: Places, figures: Sequence[Figure], reported: Sequence[ReportedScore]
) -> str:
    """<dataset>-dcs.md. `figures` are those of the pools, by stem."""
    parts = [GENERATED, f"# {dataset}: does the loss track what students learn?", f"[Boards of {dataset}]({dataset}.md)"]
    parts.append(MEANING.rstrip())
    for scores in pools:
        parts += _pool_section(scores, places, [figure for figure in figures if figure.board == scores.pool.stem], reported)
    parts.append(COLUMNS)
    parts += reported_section(reported)
    return "\n\n".join(parts) + "\n"


def _networks(scores: PoolScores) -> str:
    recipe = scores.pool.recipe
    named = {"teacher": recipe.teacher, "observer": recipe.observer, "experts": recipe.experts}
    others = [f"{role} {name}" for role, name in named.items() if name]
    return f"Losses are computed with networks as {recipe.backbone}{', ' * bool(others)}{listed(others)}."


def _pool_section(scores: PoolScores, places: Places, figures: Sequence[Figure], reported: Sequence[ReportedScore]) -> list[str]:
    pool, recipe = scores.pool, scores.pool.recipe
    link = file_link(f"{pool.id}, sha256 {pool.sha256[:12]}", places.project(f"protocols/{pool.id}.yaml"))
    protocol = file_link(recipe.protocol, places.project(f"protocols/{recipe.protocol}.yaml"))
    twins = sum(subset.twin_of is not None for subset in pool.subsets)
    head = (
        f"Pool {link}: {len(pool.subsets) - twins} subsets and {twins} twins at IPC {listed(recipe.ipc)}. Students: {protocol}, "
        f"{scores.students} of {scores.planned} looked up (seeds {listed(recipe.seeds)}). {_networks(scores)}"
    )
    images = [f"![{figure.alt}]({figure.name})" for figure in figures]
    return [
        f"## {escape(pool.title)}",
        head,
        *_answer(scores),
        _score_table(scores.objectives),
        _notes(scores),
        *_robustness_section(scores),
        *settings_section(scores),
        *comparison_section(scores, reported),
        *preferences_section(scores),
        *errors_section(scores),
        *images,
        *_on_corrupted_images(scores),
    ]


def _score_table(objectives: Sequence[ObjectiveScore]) -> str:
    rows = [[heading(one), *_score_cells(one)] for one in objectives]
    rows += [[escape(entry.title), NOT_OF_A_SET, *[NOTHING] * (len(SCORE_HEADERS) - 1)] for entry in NOT_EXPRESSIBLE]
    return table(["Objective", *SCORE_HEADERS], rows)


def _score_cells(one: ObjectiveScore) -> list[str]:
    found = one.score
    size = f"{found.m} in {found.strata}"
    if found.primary is None:
        return [found.reason, NOTHING, NOTHING, NOTHING, NOTHING, size]
    interval = f" {signed_range(found.interval_selectors)}" if found.interval_selectors else ""
    return [
        f"**{signed(found.primary)}**{interval}",
        chance_cell(found),
        p_cell(found.p_selectors),
        without_twins_cell(found),
        without_twins_p_cell(found),
        size,
    ]


def _robustness_section(scores: PoolScores) -> list[str]:
    """Each objective's score taken another way; sizes alone where there is no score yet."""
    if not scores.students or not scores.objectives:
        return []
    headers = ["Objective", "By IPC", "Without one method", "Nothing excluded", "95%, subsets", "Given size", "Raw"]
    rows = [[heading(one), *_robustness_cells(one)] for one in scores.objectives]
    return ["### How far the scores hold", table(headers, rows), *_points_a_size(scores)]


def _points_a_size(scores: PoolScores) -> list[str]:
    """How much a correlation at one size rests on; of the objectives with most points, where some lack losses."""
    most = max(scores.objectives, key=lambda one: one.score.points)
    counts = [f"{each.n} at IPC {each.ipc}" for each in most.score.per_ipc]
    return [f"By IPC, of so many subsets and twins that count: {listed(counts)}."] if counts else []


def _robustness_cells(one: ObjectiveScore) -> list[str]:
    found = one.score
    sizes = [f"{each.ipc}: {each.reason if each.value is None else signed(each.value)}" for each in found.per_ipc]
    by_ipc, of_all = listed(sizes) or NOTHING, NOTHING if one.of_all is None else signed(one.of_all)
    if found.primary is None:
        return [by_ipc, NOTHING, of_all, NOTHING, NOTHING, NOTHING]
    left_out, interval = left_out_cell(found.leave_one_out), signed_range(found.interval_subsets)
    return [by_ipc, left_out, of_all, interval, signed(found.partial), signed(found.raw)]


def _notes(scores: PoolScores) -> str:
    notes = stale_notes(scores)
    notes += _flags(scores.objectives)
    if turned := [f"{code(one)} ({signed(one.of_all)})" for one in scores.objectives if turned_note(one)]:
        notes.append(f"Their sign hangs on the subsets that the pool's rule leaves out: {listed(turned)} with nothing excluded.")
    notes += [
        f"{code(one)}: no loss of {plural(len(one.without_loss), 'subset')}." for one in scores.objectives if one.without_loss
    ]
    notes += [*_turning(scores), *_lucky_losses(scores), *_students_luck(scores)]
    notes += [f"{escape(entry.title)}: {escape(entry.reason)}." for entry in NOT_EXPRESSIBLE]
    if exchanged := sorted({one.score.exchanged for one in scores.objectives if one.score.exchanged}):
        groups = [" and among ".join(map(str, one)) for one in exchanged]
        notes.append(f"p: losses are exchanged among {', or among '.join(groups)} selectors; others keep their own.")
    if scores.diverged:
        notes.append(f"Diverged, without an error: {plural(scores.diverged, 'student')}.")
    return "\n".join(f"- {note}" for note in notes)


def _flags(objectives: Sequence[ObjectiveScore]) -> list[str]:
    return [f"{listed([code(one) for one in those])}: {escape(flag)}." for flag, those in shared_flags(objectives).items()]


def _turning(scores: PoolScores) -> list[str]:
    """Of which losses the score averages over sizes that say opposite things."""
    found = []
    for one in scores.objectives:
        known = {each.ipc: each.value for each in one.score.per_ipc if each.value is not None and each.n >= FEWEST_OF_A_SIZE}
        if known and min(known.values()) <= -CLEAR and max(known.values()) >= CLEAR:
            lowest, highest = (pick(known, key=known.get) for pick in (min, max))
            found.append(f"{code(one)} ({signed(known[lowest])} at IPC {lowest}, {signed(known[highest])} at IPC {highest})")
    return [f"They turn round over sizes, which their DCS averages away: {listed(found)}."] if found else []


def _lucky_losses(scores: PoolScores) -> list[str]:
    """Of which losses the draws are too few to say much at some size."""
    found = [
        f"{code(one)} ({100 * share:.0f}% at IPC {ipc})"
        for one in scores.objectives
        if one.noise is not None and one.noise.most is not None
        for ipc, share in [one.noise.most]
        if share >= MOSTLY_LUCK
    ]
    if not found:
        return []
    return [f"Much of how these losses differ is luck of their draws, so that their scores say little: {listed(found)}."]


def _students_luck(scores: PoolScores) -> list[str]:
    found = [one.score for one in scores.objectives if one.score.noise_share is not None]
    if not found:
        return []
    points = max((one.points for one in scores.objectives), key=len)
    repeated = sum(len(point.errors) > 1 for point in points)
    if 2 * repeated < len(points):
        return [f"Students' luck is not known: {repeated} of {plural(len(points), 'subset')} have more than one student."]
    most = max(found, key=lambda one: one.noise_share)
    ipc, share = most.noisiest
    return [
        f"Students' luck is about {100 * most.noise_share:.0f}% of the variance of errors within IPC ({100 * share:.0f}% at IPC "
        f"{ipc}), and pulls every DCS towards 0."
    ]


def _answer(scores: PoolScores) -> list[str]:
    """What the tests say of each loss, or what a test would need."""
    lines = verdict_lines(scores.objectives)
    return [*(["\n".join(f"- {line}" for line in lines)] if lines else _no_score_yet(scores)), *_what_lacks(scores)]


def _what_lacks(scores: PoolScores) -> list[str]:
    """At which sizes subsets have students, while the pool lacks some; nothing before the first."""
    if scores.students in (0, scores.planned):
        return []
    whole = Counter(subset.ipc for subset in scores.pool.subsets)
    here = Counter(subset.ipc for subset in scores.pool.subsets if subset.id in scores.errors.measured)
    sizes = [f"{here[ipc]} of {count} at IPC {ipc}" for ipc, count in whole.items() if here[ipc]]
    without = [ipc for ipc in whole if not here[ipc]]
    sizes += [f"none at IPC {listed(without)}"] if without else []
    label = "Provisional" if any(one.score.primary is not None for one in scores.objectives) else "Not complete"
    told = f"**{label}**: {scores.students} of {scores.planned} students are trained."
    return [f"{told} Subsets and twins that have one: {listed(sizes)}."]


def _no_score_yet(scores: PoolScores) -> list[str]:
    few = [one.score for one in scores.objectives if one.score.reason == TOO_FEW]
    if not few or len(few) < len(scores.objectives):
        return []
    points, sizes = max(one.m for one in few), max(one.strata for one in few)
    have = (
        f"{plural(points, 'subset')} at {plural(sizes, 'size')} have a loss and students"
        if points
        else "no subset has students yet"
    )
    return [f"**No score yet**: {have}; a score asks for {MIN_POINTS} at {MIN_STRATA} sizes."]


def _on_corrupted_images(scores: PoolScores) -> list[str]:
    """Nothing before the first student is measured on them."""
    if not scores.corrupted.students:
        return []
    headers = ["Objective", *SCORE_HEADERS, "By severity"]
    rows = [[heading(one), *_score_cells(one), severity_cell(one)] for one in scores.on_corrupted]
    notes = [f"- {flag}" for flag in _flags(scores.on_corrupted)]
    text = CORRUPTED.format(done=scores.corrupted.students, planned=scores.planned)
    return ["### On corrupted test images", text, table(headers, rows), *(["\n".join(notes)] if notes else [])]
