"""The DCS page of a dataset, and the DCS column of its boards."""

from __future__ import annotations

from collections.abc import Sequence

from harness.dcs.objectives import NOT_EXPRESSIBLE, OBJECTIVE_OF_METHOD
from harness.dcs.statistic import TOO_FEW, LeaveOneOut, Score
from harness.scoring.cells import NOTHING, listed, plural, signed, signed_range
from harness.scoring.dcs import ObjectiveScore, PoolScores
from harness.scoring.dcs_errors import errors_section
from harness.scoring.dcs_preferences import preferences_section
from harness.scoring.dcs_reported import ReportedScore, comparison_section, reported_section
from harness.scoring.dcs_settings import settings_section, stale_notes
from harness.scoring.figures import Figure
from harness.scoring.markdown import GENERATED, escape, file_link, table
from harness.scoring.places import Places
from harness.submissions import Submission

ALPHA = 0.05  # p below it: a page says that the loss is aligned, or misleads

MEANING = """\
The Distillation Correlation Score (DCS, arXiv 2604.18811, section 4) asks of a loss: of many fixed subsets of the training
images, do those of lower loss give students of lower test error? **Positive: aligned; 0: the loss says nothing; negative: it
misleads.** Nothing is distilled here: each loss is evaluated on the same subsets, with the same random draws for each. *Own
losses* are those that somebody brought along; they were not computed here.

- *DCS*: subsets are compared with others of the same IPC only (ranks within each IPC, pooled), because error and loss both change
  with size. *m*: the subsets and twins that it rests on, and at how many sizes; below 30 of them or 3 sizes there is no score.
- A *twin* has the same IPC and half the images, each twice. Losses of moments and gradients cannot tell it from those images
  once; students can. Twins err more than their subsets, and most losses are greater for them, so that a loss scores above 0 by
  twins alone, even one that knows nothing else. **So judge a loss by p and by the column without twins**, and not by whether an
  interval excludes 0.
- *p* is of a permutation test in which whole selectors exchange their losses of all sizes, those with losses at the same sizes
  among each other. It asks for more than twins bring, and held 5% in simulated pools without a relation
  (`python benchmarks/dcs_statistic.py`). Nothing is corrected for the number of losses tried.
- *Without twins*: the DCS of the subsets alone, with its interval over selectors; fewer points, but nothing in it comes of twins.
- *95%, selectors* resamples whole selectors, each with its subsets of all sizes, and students' luck with them: how sure the DCS
  is, with the twins' part in it. *95%, subsets* resamples subsets together with their twins at each IPC. It takes the sizes of a
  selector for independent, which they are not: its losses rank alike at every size, and so do its students. Both are moved so
  that the median of the resamples falls on the score. In simulated pools of ten selectors whose losses and errors last over
  sizes, the first covered 91% and the second 72%: read both as a little too narrow.
- *Given size* is the partial Spearman correlation given IPC, which may be what the paper prints; *raw* is Spearman's over all
  subsets, size and all.
- *Nothing excluded*: the DCS with the subsets that the pool's rule leaves out. The rule goes by the error, as the paper's does:
  it removes what students learn least from, and a DCS whose sign hangs on that says little.
- *Without one method*: the lowest and highest DCS when all subsets of one selector with its parameters are left out.
- A loss is a mean over random draws; each one's number of draws and standard error stand in [dcs/](dcs). No interval counts that
  noise: *Settings of the losses* says how large it is.
- Error is that of the last epoch under hard labels, on the whole test split. A loss that is the same for every subset, to
  one in a million, has no DCS.
"""

CORRUPTED = """\
The same losses against the same students' error on corrupted test images (15 corruptions at 5 severities, mean of all 75): {done}
of {planned} students measured. The error on clean images settles which subsets count. The last column is the DCS at each severity
alone."""

BOARD_MEANING = (
    "DCS: how well the loss that a method's images descend on, or are ranked by, tracks the hard-label test error of students, "
    "over the pool of fixed subsets in [{name}]({target}): +1 perfectly, 0 not at all, negative: it misleads; the interval is "
    "over selectors, and twins alone can lift a score above 0: p is for what goes beyond. It speaks for the loss, not the set. "
    "`no loss`: a selector; `not expressible`: the method's loss is none of a set; `not computed`: nobody has; `not given`: this "
    "project knows no loss of the method; `own losses`: brought along, not computed here; "
    "`stale losses`: other code, settings or networks than those here gave them."
)


def dcs_page(
    dataset: str, pools: Sequence[PoolScores], places: Places, figures: Sequence[Figure], reported: Sequence[ReportedScore]
) -> str:
    """<dataset>-dcs.md. `figures` are those of the pools, by stem."""
    parts = [GENERATED, f"# {dataset}: does the loss track what students learn?", f"[Boards of {dataset}]({dataset}.md)"]
    parts.append(MEANING.rstrip())
    for scores in pools:
        parts += _pool_section(scores, places, [figure for figure in figures if figure.board == scores.pool.stem], reported)
    parts += reported_section(reported)
    return "\n\n".join(parts) + "\n"


def dcs_column(submissions: Sequence[Submission], scores: PoolScores) -> tuple[str, list[str]]:
    """Header and one cell a row of a board."""
    return "DCS", [_of_submission(one, scores) for one in submissions]


def board_note(scores: PoolScores, places: Places) -> str:
    page = f"{scores.pool.recipe.dataset}-dcs.md"
    return BOARD_MEANING.format(name=page, target=page)


def dcs_cell(one: ObjectiveScore) -> str:
    """`+0.41 [+0.20, +0.58], p 0.012 (m=120)`, of selectors; `too few (m=12 in 2 sizes)`; `undefined: ... (m=120)`."""
    found = one.score
    if found.primary is None:
        return f"{found.reason} (m={_size(found) if found.reason == TOO_FEW else found.points})"
    p = "" if found.methods_p is None else f", p {p_cell(found)}"
    return f"{signed(found.primary)} {signed_range(found.methods_interval or found.interval)}{p} (m={found.m})"


def _size(found: Score) -> str:
    return f"{found.m} in {plural(found.strata, 'size')}"


def named(one: ObjectiveScore) -> str:
    """`dm`; `my-loss (own losses, not computed here)`. Plain text, as a terminal shows it."""
    return f"{one.objective} (own losses, not computed here)" if one.is_own else one.objective


def _code(one: ObjectiveScore) -> str:
    # Names need no escape: `loss_table.NAME` lets through only letters, digits, hyphens and underscores.
    return f"`{one.objective}`"


def _heading(one: ObjectiveScore) -> str:
    return f"{_code(one)} (own losses, not computed here)" if one.is_own else _code(one)


def _of_submission(submission: Submission, scores: PoolScores) -> str:
    if submission.kind != "distilled":
        return "no loss" if submission.kind == "coreset" else NOTHING
    one = scores.of_method(submission.method)
    if one is not None:
        return f"{dcs_cell(one)}{_turned(one)}{' own losses' if one.is_own else ''}{', stale losses' if one.is_stale else ''}"
    if submission.method in {entry.name for entry in NOT_EXPRESSIBLE}:
        return "not expressible"
    return "not computed" if submission.method in OBJECTIVE_OF_METHOD else "not given"


def _turned(one: ObjectiveScore) -> str:
    """What belongs beside a score whose sign hangs on the subsets that the pool's rule leaves out; "" otherwise."""
    turned = one.score.primary is not None and one.of_all is not None and one.score.primary * one.of_all < 0
    return f", {signed(one.of_all)} with nothing excluded" if turned else ""


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
        *_verdicts(scores),
        _objectives_table(scores.objectives),
        _notes(scores),
        *settings_section(scores),
        *comparison_section(scores, reported),
        *preferences_section(scores),
        *errors_section(scores),
        *images,
        *_on_corrupted_images(scores),
    ]


def _objectives_table(objectives: Sequence[ObjectiveScore]) -> str:
    headers = [
        "Objective", "DCS", "95%, selectors", "p", "Without twins", "m", "Nothing excluded", "Given size", "Raw",
        "95%, subsets", "Without one method", "By IPC",
    ]  # fmt: skip
    rows = [[_heading(one), *_cells(one)] for one in objectives]
    rows += [[escape(entry.title), "not expressible", *[NOTHING] * 10] for entry in NOT_EXPRESSIBLE]
    return table(headers, rows)


def _cells(one: ObjectiveScore) -> list[str]:
    found = one.score
    of_all = NOTHING if one.of_all is None else signed(one.of_all)
    by_ipc = [f"{each.ipc}: {each.reason if each.value is None else signed(each.value)}" for each in found.per_ipc]
    by_ipc = listed(by_ipc) or NOTHING
    size = f"{found.m} in {found.strata}"
    if found.primary is None:
        return [found.reason, NOTHING, NOTHING, NOTHING, size, of_all, NOTHING, NOTHING, NOTHING, NOTHING, by_ipc]
    return [
        f"**{signed(found.primary)}**",
        signed_range(found.methods_interval) if found.methods_interval else NOTHING,
        p_cell(found),
        without_twins_cell(found),
        size,
        of_all,
        signed(found.partial),
        signed(found.raw),
        signed_range(found.interval),
        _left_out(found.leave_one_out),
        by_ipc,
    ]


def p_cell(found: Score) -> str:
    """Of the test over selectors; `-` where there is none."""
    if found.methods_p is None:
        return NOTHING
    return "<0.001" if found.methods_p < 0.001 else f"{found.methods_p:.3f}"


def without_twins_cell(found: Score) -> str:
    """`+0.33 [+0.02, +0.59]`; `too few`."""
    bases = found.without_twins
    if bases is None or bases.value is None:
        return TOO_FEW
    return signed(bases.value) + (f" {signed_range(bases.interval)}" if bases.interval else "")


def _left_out(found: LeaveOneOut | None) -> str:
    if found is None:
        return NOTHING
    ends = ((found.low, found.low_without), (found.high, found.high_without))
    return " to ".join(f"{signed(value)} ({escape(method)})" for value, method in ends)


def _notes(scores: PoolScores) -> str:
    notes = stale_notes(scores)
    notes += [f"{_code(one)}: {escape(flag)}." for one in scores.objectives for flag in one.score.flags]
    notes += [f"{_code(one)}: {signed(one.score.primary)}{_turned(one)}." for one in scores.objectives if _turned(one)]
    notes += [
        f"{_code(one)}: no loss of {plural(len(one.without_loss), 'subset')}." for one in scores.objectives if one.without_loss
    ]
    notes += _students_luck(scores)
    notes += [f"{escape(entry.title)}: {escape(entry.reason)}." for entry in NOT_EXPRESSIBLE]
    if exchanged := sorted({one.score.exchanged for one in scores.objectives if one.score.exchanged}):
        groups = [" and among ".join(map(str, one)) for one in exchanged]
        notes.append(f"p: losses are exchanged among {', or among '.join(groups)} selectors.")
    if scores.diverged:
        notes.append(f"Diverged, without an error: {plural(scores.diverged, 'student')}.")
    lacking = scores.planned - scores.students
    if lacking:
        notes.append(f"Not complete: {plural(lacking, 'student')} of {scores.planned} are not trained yet.")
    return "\n".join(f"- {note}" for note in notes)


def _students_luck(scores: PoolScores) -> list[str]:
    found = [one.score for one in scores.objectives if one.score.noise_share is not None]
    if not found:
        return []
    most = max(found, key=lambda one: one.noise_share)
    ipc, share = most.noisiest
    return [
        f"Students' luck is about {100 * most.noise_share:.0f}% of the variance of errors within IPC ({100 * share:.0f}% at IPC "
        f"{ipc}), and pulls every DCS towards 0."
    ]


def _verdicts(scores: PoolScores) -> list[str]:
    """The answer first: which losses track errors beyond what twins bring, by p below 5%."""
    tested = [one for one in scores.objectives if one.score.methods_p is not None]
    if not tested:
        return []
    sure = [one for one in tested if one.score.methods_p < ALPHA]
    kinds = {
        "Aligned beyond what twins bring": [one for one in sure if one.score.primary > one.score.chance],
        "Misleading beyond it": [one for one in sure if one.score.primary < one.score.chance],
        "Not told apart from a loss that says nothing": [one for one in tested if one not in sure],
    }
    lines = [f"- {kind} (p {'<' if one_of[0] in sure else '>='} {ALPHA}): {listed([_code(one) for one in one_of])}."
             for kind, one_of in kinds.items() if one_of]  # fmt: skip
    return ["\n".join(lines)]


def _on_corrupted_images(scores: PoolScores) -> list[str]:
    """Nothing before the first student is measured on them."""
    if not scores.corrupted.students:
        return []
    headers = ["Objective", "DCS", "95%, selectors", "p", "Without twins", "m", "By severity"]
    rows = [[_heading(one), *_cells(one)[:5], severity_cell(one)] for one in scores.on_corrupted]
    notes = [f"- {_code(one)}: {escape(flag)}." for one in scores.on_corrupted for flag in one.score.flags]
    text = CORRUPTED.format(done=scores.corrupted.students, planned=scores.planned)
    return ["### On corrupted test images", text, table(headers, rows), *(["\n".join(notes)] if notes else [])]


def severity_cell(one: ObjectiveScore) -> str:
    """`1: +0.41, 2: +0.40, ...`; `-` where there is no score."""
    values = enumerate(one.by_severity, start=1)
    return listed([f"{severity}: {NOTHING if value is None else signed(value)}" for severity, value in values]) or NOTHING
