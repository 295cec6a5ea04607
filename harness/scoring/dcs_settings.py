"""What each objective's losses on a pool were computed with, and how much of their differences is luck of the draws."""

from __future__ import annotations

from harness.dcs.declared import DECLARED, DSA_SETTINGS
from harness.scoring.cells import NOTHING, listed
from harness.scoring.dcs import ObjectiveScore, PoolScores
from harness.scoring.markdown import table

HEADING = "### Settings of the losses"
MEANING = """\
*Draws*: how many values a loss is the mean of: random networks, or pairs of an expert and a start epoch. *Noise*: at most this
share of the variance of losses within IPC is luck of the draws (mean squared standard error over that variance; in brackets the
size where it is largest); every subset meets the same draws, and what a draw does to all alike moves no rank. Where it is small,
a weak correlation is not for want of draws. The share counts losses as they are, the DCS ranks them: one far-off loss makes the
share small. Parameters of an augmentation are left out, and `most_batches 0` means all."""


def settings_section(scores: PoolScores) -> list[str]:
    """A row for each objective of the harness that has losses; nothing where none has."""
    rows = [
        [f"`{one.objective}`", *_stated(one, scores.pool.recipe.dataset)]
        for one in scores.objectives
        if not one.is_own
    ]  # fmt: skip
    headers = ["Objective", "Version", "Draws", "Noise", "Settings", "Identity"]
    notes = [note for one in scores.objectives if not one.is_own for note in (_led_away(one), _labelled(one, scores)) if note]
    notes = "\n".join(f"- {note}" for note in notes)
    return [HEADING, MEANING, table(headers, rows), *([notes] if notes else [])] if rows else []


def _led_away(one: ObjectiveScore) -> str:
    """Of a loss that tells where a student ends: on how many sets training led away from the goal. Empty where that is none."""
    unmoved = DECLARED[one.objective].unmoved
    away = 0 if unmoved is None else sum(point.loss > unmoved for point in one.points)
    if not away:
        return ""
    return (
        f"`{one.objective}`: {away} of {len(one.points)} losses exceed {unmoved:g}, that of a student that does not move: "
        "training on those sets leads away from the experts' goal, and their losses tell how far."
    )


def _labelled(one: ObjectiveScore, scores: PoolScores) -> str:
    """Which network gives a loss its soft labels. Empty where there are none."""
    if DECLARED[one.objective].settings.get("labels") != "teacher":
        return ""
    return f"`{one.objective}`: its labels are those of the observer, {scores.pool.recipe.observer}."


def _stated(one: ObjectiveScore, dataset: str) -> list[str]:
    """Settings are told only where they are those that gave the losses: the identity says so."""
    draws, noise = _noise(one)
    if one.is_stale:
        return ["another", draws, noise, f"**not those of the code here**, which gives {one.identity_here}", one.identity]
    if one.identity_here is None:
        return ["not known", draws, noise, "not known: its networks are not pinned here", one.identity]
    objective = DECLARED[one.objective]
    stated = {name: value for name, value in objective.settings_for(dataset).items() if name not in DSA_SETTINGS}
    told = listed([f"{name} {value}" for name, value in stated.items()])
    return [str(objective.version), draws, noise, f"`{told}`", one.identity]


def _noise(one: ObjectiveScore) -> tuple[str, str]:
    if one.noise is None:
        return NOTHING, NOTHING
    fewest, most = one.noise.draws
    draws = str(most) if fewest == most else f"{fewest} to {most}"
    if "backbone" not in DECLARED[one.objective].needs:  # pinned networks on clean images in a fixed order
        return "nothing drawn", "none"
    if one.noise.share is None:
        return draws, "not known: one draw has no standard error" if most == 1 else "not known"
    ipc, most = one.noise.most
    return draws, f"{100 * one.noise.share:.1f}% (IPC {ipc}: {100 * most:.0f}%)"


def stale_notes(scores: PoolScores) -> list[str]:
    """What a page says of losses that another version of the code, of settings or of networks gave."""
    stale = [one for one in scores.objectives if one.is_stale]
    return [
        f"`{one.objective}`: **stale**. Its losses are of identity {one.identity}, its code, settings and networks now give "
        f"{one.identity_here}; to renew them: `hlbench dcs {one.objective} {scores.pool.options}`."
        for one in stale
    ]
