"""The losses of a pool's subsets under one objective: what the committed table lacks is computed and written as it comes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from filelock import FileLock

from harness.canonical import digest
from harness.datasets.base import Split
from harness.dcs.loss_table import SHORT, LossRow, lines_of, put_losses, read_losses, subset_hashes
from harness.dcs.objective import Objective, Report, Scene
from harness.dcs.pool import Pool
from harness.errors import CheckFailed, EnvironmentProblem
from harness.experts import find_experts, read_experts_card
from harness.paths import cache_root
from harness.teachers import CARD, PinnedTeacher, TeacherCard, TeacherRecipe, read_card, read_recipe, read_weights

SETS_BETWEEN_WRITES = 8  # of objectives that score set by set: what an interruption costs at most


def scene_of(root: Path, pool: Pool, train: Split, objective: Objective, device: str, report: Report) -> Scene:
    """What `objective` needs of the networks that the pool names, no more. Raises EnvironmentProblem when one is lacking."""
    if train.fingerprint != pool.split_fingerprint:
        raise EnvironmentProblem(
            "the training split is another than the pool's", where=pool.id,
            why=f"{train.fingerprint[:12]} here, {pool.split_fingerprint[:12]} in the pool",
            fix="use the dataset at its pinned revision; see hlbench doctor",
        )  # fmt: skip
    recipe = pool.recipe
    named = {"teacher": recipe.teacher, "observer": recipe.observer, "experts": recipe.experts}
    if lacking := [need for need in objective.needs if named.get(need, "") is None]:
        raise EnvironmentProblem(f"{objective.name} needs {lacking[0]}, and the pool names none", where=pool.id)

    def network(need: str) -> PinnedTeacher | None:
        if need not in objective.needs:
            return None
        card = read_card(root, named[need])
        return PinnedTeacher(card, read_weights(root, card))

    return Scene(
        train=train,
        backbone=backbone_of(root, recipe.backbone),
        teacher=network("teacher"),
        observer=network("observer"),
        experts=find_experts(root, recipe.experts).folder if "experts" in objective.needs else None,
        device=device,
        report=report,
    )


def backbone_of(root: Path, name: str) -> TeacherCard | TeacherRecipe:
    """Its card, or its recipe where it has not been trained: only the network and its input are read."""
    return read_card(root, name) if (root / "teachers" / name / CARD).is_file() else read_recipe(root, name)


def identity_of(root: Path, pool: Pool, objective: Objective) -> str:
    """The first 12 hex digits of the objective's identity on this pool, from what is pinned: no weights are read.

    Experts that nobody pinned are named by the card of those in the cache. Raises EnvironmentProblem when there are none.
    """
    recipe, used = pool.recipe, {"split": pool.split_fingerprint, "backbone": _seen(backbone_of(root, pool.recipe.backbone))}
    for need, teacher in (("teacher", recipe.teacher), ("observer", recipe.observer)):
        if need in objective.needs and teacher is not None:
            card = read_card(root, teacher)
            used[need] = digest({"weights": card.weights.sha256, "network": _seen(card)})
    if "experts" in objective.needs and recipe.experts is not None:
        pinned = read_experts_card(root / "teachers" / recipe.experts)
        used["experts"] = pinned.sha256 if pinned else find_experts(root, recipe.experts).sha256
    return objective.identity(recipe.dataset, used)[:SHORT]


def _seen(described: TeacherCard | TeacherRecipe) -> str:
    """Digest of the network and of how it sees images."""
    return digest({"student": described.student.model_dump(mode="json"), "input": described.input.model_dump(mode="json")})


def missing_losses(objective: Objective, identity: str, pool: Pool, names: Sequence[str], path: Path) -> list[str]:
    """Of the subsets `names` those that the table at `path` has no loss of, under this identity."""
    found = _known(objective, identity, pool, path)
    return [name for name in names if name not in found]


def update_losses(
    objective: Objective, identity: str, pool: Pool, rows: Mapping[str, np.ndarray], scene: Scene, path: Path
) -> dict[str, LossRow]:
    """{subset id: line} for every subset of `rows` ({id: int64 rows}), from the table at `path` or computed and added to it.

    What an interruption of a long computation has done lies in this user's cache (`dcs-draws`) until the lines are in the table.
    `identity`: `identity_of` the objective. Its lines under another one, or of a subset that changed, leave the table.
    Raises CheckFailed naming a subset whose loss is not finite; what was computed before is kept.
    """
    hashes = subset_hashes(pool)
    missing = missing_losses(objective, identity, pool, list(rows), path)
    settings = objective.settings_for(pool.recipe.dataset)
    inner = scene if objective.together else replace(scene, report=lambda done, total: None)
    done = 0

    def stays(row: LossRow) -> bool:
        return row.objective != objective.name or (row.identity, row.subset_sha256) == (identity, hashes.get(row.subset))

    for part in _parts(missing, objective.together):
        kept = cache_root() / "dcs-draws" / digest({"identity": identity, "sets": [hashes[name] for name in part]})
        kept.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(kept.with_suffix(".lock")):
            if missing_losses(objective, identity, pool, part, path):  # another command may have computed them meanwhile
                losses = objective.losses([rows[name] for name in part], replace(inner, kept=kept), settings)
                pairs = zip(part, losses, strict=True)
                found = [_row(objective.name, identity, name, hashes[name], values) for name, values in pairs]
                put_losses(path, found, stays)
            shutil.rmtree(kept, ignore_errors=True)
        done += len(part)
        if not objective.together:
            scene.report(done, len(missing))
    current = _known(objective, identity, pool, path)
    if lost := [name for name in rows if name not in current]:
        raise CheckFailed(
            "another command replaced losses that were just computed", where=str(path),
            why=f"{objective.name} of {len(lost)} subsets stands there under another identity now",
            fix="compute an objective by one version of the code at a time",
        )  # fmt: skip
    return {name: current[name] for name in rows}


def _known(objective: Objective, identity: str, pool: Pool, path: Path) -> dict[str, LossRow]:
    lines = lines_of(read_losses(path), objective.name, pool)
    return {name: line for name, line in lines.items() if line.identity == identity}


def _parts(names: Sequence[str], together: bool) -> list[list[str]]:
    """The table is written after every part."""
    size = max(len(names), 1) if together else SETS_BETWEEN_WRITES
    return [list(names[start : start + size]) for start in range(0, len(names), size)]


def _row(objective: str, identity: str, subset: str, subset_sha256: str, values: np.ndarray) -> LossRow:
    if not np.isfinite(values).all():
        raise CheckFailed(f"{objective} gives no finite loss", where=subset, why=f"draws: {values.tolist()[:5]}")
    error = float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else None
    return LossRow(objective, identity, subset, subset_sha256, float(values.mean()), error, len(values))
