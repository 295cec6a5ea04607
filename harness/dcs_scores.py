"""What `hlbench dcs` does: losses from objectives, a file or a function, joined with a pool's look-up table and scored."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.canonical import digest, file_sha256
from harness.coresets import SELECTORS
from harness.dcs import lookup
from harness.dcs.custom import find_function, losses_of_function, read_custom_losses
from harness.dcs.kept_losses import kept_path, read_kept, sources_of, write_kept
from harness.dcs.loss_table import NAME, SHORT, LossRow, folded, losses_path, put_losses, read_losses, subset_hashes
from harness.dcs.objectives import NOT_EXPRESSIBLE, OBJECTIVE_OF_METHOD, OBJECTIVES, find_objective, objective_titles
from harness.dcs.pool import Pool, pool_rows
from harness.dcs.statistic import Score
from harness.dcs.subset_rows import rows_at_hand
from harness.errors import CheckFailed, EnvironmentProblem, UsageError
from harness.scoring import cells
from harness.scoring.dcs import Errors, ObjectiveScore, look_up, score_losses
from harness.scoring.dcs import score_objectives as score_table
from harness.scoring.dcs_cells import chance_cell, dcs_cell, named, p_cell, severity_cell, shared_flags, without_twins_cell
from harness.scoring.dcs_verdicts import verdict_lines

ALL = "all"
Report = Callable[[int, int], None]


def require_students(root: Path, pool: Pool, ood: bool = False) -> None:
    """Raises CheckFailed when no student of the pool has been looked up, `ood`: on corrupted images: nothing to score against."""
    rows = lookup.read_table(root, pool)
    if any(row.ood for row in rows) if ood else rows:
        return
    of_all = len(pool.subsets) * len(pool.recipe.seeds)
    held = Counter(row.objective for row in read_losses(losses_path(root, pool)))
    losses = ", ".join(f"{name} {count}" for name, count in sorted(held.items()))
    told = f"; losses of its {len(pool.subsets)} subsets that are there, see hlbench leaderboard: {losses}" if losses else ""
    raise CheckFailed(
        f"no student of the pool has been looked up{' on corrupted images' if ood else ''}",
        where=str(lookup.table_path(root, pool)),
        why=f"0 of {of_all} students{told}",
        fix=f"hlbench pool train {'--ood ' if ood else ''}{pool.options}; hlbench pool table {pool.options}",
    )


def score_objectives(
    root: Path,
    pool: Pool,
    names: Sequence[str],
    data: Path | None,
    most: int | None,
    device: str,
    report: Report,
    ood: bool = False,
) -> list[ObjectiveScore]:
    """Compute what the table of losses lacks of the objectives named (`all`: every one), and score them; [] names scores all
    that the table holds. `ood`: against the errors on corrupted test images, here and in the functions below.

    Own losses of the table go by their names. Raises UsageError for an unknown objective, EnvironmentProblem for a network that
    is not here."""
    wanted = list(OBJECTIVES) if ALL in names else list(dict.fromkeys(names))
    own = {row.objective for row in read_losses(losses_path(root, pool))} - set(OBJECTIVES)
    if computed := [name for name in wanted if name not in own]:
        compute_losses(root, pool, computed, data, most, device, report)
    require_students(root, pool, ood)
    found = score_table(root, pool, _errors(root, pool, ood))
    return [one for one in found if not wanted or one.objective in wanted]


def compute_losses(
    root: Path, pool: Pool, names: Sequence[str], data: Path | None, most: int | None, device: str, report: Report
) -> None:
    """Data and networks are asked for only where the table lacks a loss of a subset whose rows are to be had."""
    from harness.datasets import load_split
    from harness.dcs.losses import identity_of, missing_losses, scene_of, update_losses
    from harness.training.engine import resolve_device

    path, subsets = losses_path(root, pool), _subsets(pool, most)
    for objective in [find_objective(name) for name in names]:
        identity = identity_of(root, pool, objective)
        if not missing_losses(objective, identity, pool, subsets, path):
            continue
        rows = rows_at_hand(root, pool, data, subsets)
        if missing_losses(objective, identity, pool, list(rows), path):
            train = load_split(pool.recipe.dataset, "train", data)
            scene = scene_of(root, pool, train, objective, resolve_device(device), report)
            update_losses(objective, identity, pool, rows, scene, path)


def score_file(root: Path, pool: Pool, path: Path, partial: bool, save: str | None, ood: bool = False) -> list[ObjectiveScore]:
    """Score the losses of a file, and keep them under the name `save` if that is given and none is missing. Raises UsageError."""
    if save is not None:
        _refuse_part(partial)
        _check_name(losses_path(root, pool), save)
    losses = read_custom_losses(path, [subset.id for subset in pool.subsets], partial)
    return [_score_own(root, pool, losses, path.stem if save is None else save, file_sha256(path), save is not None, ood)]


def score_function(
    root: Path, pool: Pool, spec: str, data: Path | None, most: int | None, save: str | None, report: Report, ood: bool = False
) -> list[ObjectiveScore]:
    """As `score_file`, of a function called on this machine. The identity of its losses is their own hash.

    What an interruption leaves is kept in this user's cache, and used again while the function's files are what they were.
    """
    from harness.datasets import load_split

    subsets = _subsets(pool, most)
    if save is not None:
        _refuse_part(len(subsets) < len(pool.subsets))
        _check_name(losses_path(root, pool), save)
    loss, rows = find_function(spec), pool_rows(root, pool, data, subsets)
    train, sources = load_split(pool.recipe.dataset, "train", data), sources_of(spec)
    path, hashes = kept_path(pool, spec, sources), {subset.id: subset.sha256 for subset in pool.subsets}
    kept = read_kept(path) if sources else {}
    known = {name: kept[hashes[name]] for name in rows if hashes[name] in kept}
    if known:
        told = f"{len(known)} of {len(rows)} losses are there from an earlier run of {', '.join(sources)} as it is"
        print(f"{told}; to compute them again, delete {path}", file=sys.stderr)

    def keep(found: Mapping[str, float]) -> None:
        if sources:
            write_kept(path, kept | {hashes[name]: value for name, value in found.items()})

    try:
        losses = losses_of_function(loss, spec, rows, train, report, known, keep)
    except KeyboardInterrupt:
        if path.is_file():
            print(f"interrupted: {len(read_kept(path))} losses are kept; the same command goes on", file=sys.stderr)
        raise
    scored = _score_own(root, pool, losses, spec if save is None else save, digest(losses), save is not None, ood)
    path.unlink(missing_ok=True)
    if save is None:
        print("these losses are scored and not kept: --save NAME keeps those of a whole pool", file=sys.stderr)
    return [scored]


def _refuse_part(partial: bool) -> None:
    """Raises UsageError when losses of only some of a pool's subsets are to be kept."""
    if partial:
        raise UsageError(
            "losses of a part of the pool are not kept", where="--save", why="whoever chooses the subsets chooses the score",
            fix="leave out --save, or give a loss for every subset",
        )  # fmt: skip


def _subsets(pool: Pool, most: int | None) -> list[str]:
    """Ids of the subsets up to IPC `most`. Raises UsageError when there is none."""
    kept = [subset.id for subset in pool.subsets if most is None or subset.ipc <= most]
    if not kept:
        smallest = pool.recipe.ipc[0]
        raise UsageError(f"no subset has IPC {most} or less", where="--most-ipc", fix=f"choose {smallest} or more")
    return kept


def _score_own(
    root: Path, pool: Pool, losses: Mapping[str, float], name: str, sha256: str, keep: bool, ood: bool
) -> ObjectiveScore:
    if keep:
        _keep(root, pool, losses, name, sha256)
    require_students(root, pool, ood)
    return score_losses(pool, _errors(root, pool, ood), losses, name, sha256[:SHORT], is_own=True)


def _errors(root: Path, pool: Pool, ood: bool) -> Errors:
    found = look_up(root, pool)
    return found.corrupted if ood else found.clean


def _keep(root: Path, pool: Pool, losses: Mapping[str, float], name: str, sha256: str) -> None:
    """Raises as `_check_name`: another command may have taken the name meanwhile."""
    path, hashes = losses_path(root, pool), subset_hashes(pool)
    _check_name(path, name)
    own = [LossRow(name, sha256[:SHORT], subset, hashes[subset], loss, None, 1) for subset, loss in losses.items()]
    before = sum(row.objective == name for row in read_losses(path))
    put_losses(path, own, stays=lambda row: row.objective != name)
    instead = f", instead of {before} that were saved under that name" if before else ""
    where = path.relative_to(root)
    print(f"{where}: {len(own)} losses saved as {name}{instead}; hlbench leaderboard shows them", file=sys.stderr)


def _check_name(path: Path, name: str) -> None:
    """Raises UsageError for a name that the harness knows, that is too like another one of the table at `path`, or unfit."""
    saved = {row.objective for row in read_losses(path)} - {name}
    known = {*OBJECTIVES, *OBJECTIVE_OF_METHOD, *SELECTORS, *(entry.name for entry in NOT_EXPRESSIBLE), ALL, *saved}
    if like := next((one for one in sorted(known) if folded(one) == folded(name)), None):
        raise UsageError(
            f"{name} would be taken for {like}", where="--save", why="its score is the harness's own, or somebody else's",
            fix="name your losses otherwise",
        )  # fmt: skip
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name", where="--save", fix="use up to 40 of a-z, A-Z, 0-9, '-' and '_'")


def objective_rows() -> list[dict[str, str]]:
    """What `--list` prints."""
    rows = [{"objective": name, "title": title, "expressible": "yes"} for name, title in objective_titles().items()]
    return rows + [{"objective": one.name, "title": one.title, "expressible": f"no: {one.reason}"} for one in NOT_EXPRESSIBLE]


def score_rows(found: Sequence[ObjectiveScore], ood: bool = False) -> list[dict[str, str]]:
    """What is printed; with `ood` one cell more, the primary value at severities 1 to 5."""
    return [
        {
            "objective": named(one),
            "DCS": dcs_cell(one),
            "by chance": chance_cell(one.score),
            "without twins": _without_twins(one.score),
            "given size": "-" if one.score.partial is None else f"{one.score.partial:+.2f}",
            "raw": "-" if one.score.raw is None else f"{one.score.raw:+.2f}",
            "nothing excluded": "-" if one.of_all is None else f"{one.of_all:+.2f}",
            "by IPC": ", ".join(f"{each.ipc}: {each.reason or format(each.value, '+.2f')}" for each in one.score.per_ipc),
            **({"by severity": severity_cell(one)} if ood else {}),
        }
        for one in found
    ]


def _without_twins(found: Score) -> str:
    """`+0.33 [+0.02, +0.59], p 0.261 (m=75)`; `too few`."""
    bases, told = found.without_twins, without_twins_cell(found)
    if bases is None:
        return "-"
    return told if bases.value is None else f"{told}, p {p_cell(bases.p_selectors)} (m={bases.m})"


def stale_losses(root: Path, pool: Pool, found: Sequence[ObjectiveScore]) -> list[str]:
    """A line for each objective of the harness whose losses another version of it, of its settings or networks has given."""
    from harness.dcs.losses import identity_of

    lines = []
    for one in found:
        try:
            now = one.identity if one.is_own else identity_of(root, pool, find_objective(one.objective))
        except EnvironmentProblem:  # experts that nobody pinned and that are not here
            continue
        if now != one.identity:
            told = f"{one.objective}: its losses are of identity {one.identity}, what is here gives {now}"
            lines.append(f"{told}; to renew them: hlbench dcs {one.objective} {pool.options}")
    return lines


def remarks(root: Path, pool: Pool, found: Sequence[ObjectiveScore], ood: bool = False) -> list[str]:
    """What belongs below the table: what the tests say, flags, subsets without a loss, what the look-up table lacks."""
    lines = verdict_lines(found, quote="")
    lines += [f"{cells.listed([one.objective for one in those])}: {flag}" for flag, those in shared_flags(found).items()]
    lines += [_lacking(pool, one) for one in found if one.without_loss]
    lines += stale_losses(root, pool, found)
    table = look_up(root, pool)
    if ood:
        measured = f"{table.corrupted.students} of {table.planned} students measured"
        lines.append(f"on corrupted test images: {measured} (hlbench pool train --ood; hlbench pool table)")
    elif table.planned > table.students:
        lines.append(f"look-up table: {table.students} of {table.planned} students, so m can still grow")
    if table.excluded:
        lines.append(f"{cells.plural(len(table.excluded), 'subset')} excluded by the pool's rule (hlbench pool table)")
    page = f"leaderboards/{pool.recipe.dataset}-dcs.md"
    lines.append(f"in brackets: 95% over selectors, of chance 95% of deals; {page} explains all columns at its end")
    return lines


def _lacking(pool: Pool, one: ObjectiveScore) -> str:
    counted, absent = len(one.without_loss), len(pool.subsets) - len(one.losses)
    told = f"{one.objective}: no loss of {cells.plural(absent, 'subset')} of {len(pool.subsets)}, {counted} of which count"
    return f"{told}; a score of a part does not compare with one of the whole"


def facts(pool: Pool, found: Sequence[ObjectiveScore], ood: bool = False) -> dict[str, Any]:
    """For --json. `by_severity`: with `ood`, the primary value at severity 1, ..., 5; empty where there is no score."""
    entries = [
        {
            "objective": one.objective,
            "own_losses": one.is_own,
            "identity": one.identity,
            "score": one.score.to_json(),
            "nothing_excluded": one.of_all,
            "without_loss": list(one.without_loss),
            **({"by_severity": list(one.by_severity)} if ood else {}),
        }
        for one in found
    ]
    errors_on = "corrupted test images" if ood else "test images"
    return {"pool": pool.id, "pool_sha256": pool.sha256, "errors_on": errors_on, "objectives": entries}
