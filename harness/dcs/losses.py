"""The losses of a pool's subsets under one objective: what the committed table lacks is computed and written as it comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from harness.canonical import digest
from harness.datasets.base import Split
from harness.dcs.experts import find_experts, open_experts
from harness.dcs.loss_table import SHORT, LossRow, read_losses, write_losses
from harness.dcs.objective import Objective, Report, Scene
from harness.dcs.pool import Pool
from harness.errors import CheckFailed, EnvironmentProblem
from harness.teachers import CARD, PinnedTeacher, TeacherCard, TeacherRecipe, read_card, read_recipe, read_weights

SETS_BETWEEN_WRITES = 8  # of objectives that score set by set: what an interruption costs at most


def scene_of(root: Path, pool: Pool, train: Split, objective: Objective, device: str, report: Report) -> Scene:
    """What `objective` needs of the networks that the pool names, no more. Raises EnvironmentProblem when one is lacking."""
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


def used_by(scene: Scene) -> dict[str, str]:
    """Hashes of all that a scene supplies, by name: a part of a loss's identity."""
    backbone = {"student": scene.backbone.student.model_dump(mode="json"), "input": scene.backbone.input.model_dump(mode="json")}
    used = {"split": scene.train.fingerprint, "backbone": digest(backbone)}
    for name in ("teacher", "observer"):
        if network := getattr(scene, name):
            used[name] = network.card.weights.sha256
    if scene.experts is not None:
        used["experts"] = open_experts(scene.experts).sha256
    return used


def update_losses(
    objective: Objective, pool: Pool, rows: Mapping[str, np.ndarray], scene: Scene, path: Path
) -> dict[str, LossRow]:
    """{subset id: line} for every subset of `rows` ({id: int64 rows}), from the table at `path` or computed and added to it.

    Lines of the objective under another identity, or of a subset that changed, leave the table.
    Raises CheckFailed naming a subset whose loss is not finite; what was computed before is kept.
    """
    identity = objective.identity(pool.recipe.dataset, used_by(scene))[:SHORT]
    hashes = {subset.id: subset.sha256[:SHORT] for subset in pool.subsets}
    table = read_losses(path)
    others = [row for row in table if row.objective != objective.name]
    current = lines_of(table, objective.name, pool, identity)
    missing = [name for name in rows if name not in current]
    settings = objective.settings_for(pool.recipe.dataset)
    inner = scene if objective.together else replace(scene, report=lambda done, total: None)
    done = 0
    for part in _parts(missing, objective.together):
        losses = objective.losses([rows[name] for name in part], inner, settings)
        for name, values in zip(part, losses, strict=True):
            current[name] = _row(objective.name, identity, name, hashes[name], values)
        write_losses(path, [*others, *current.values()])
        done += len(part)
        if not objective.together:
            scene.report(done, len(missing))
    return {name: current[name] for name in rows}


def lines_of(table: Sequence[LossRow], objective: str, pool: Pool, identity: str | None = None) -> dict[str, LossRow]:
    """{subset id: line} of one objective for the pool's subsets as they are."""
    hashes = {subset.id: subset.sha256[:SHORT] for subset in pool.subsets}
    return {
        row.subset: row
        for row in table
        if row.objective == objective and hashes.get(row.subset) == row.subset_sha256 and identity in (None, row.identity)
    }


def _parts(names: Sequence[str], together: bool) -> list[list[str]]:
    """The table is written after every part."""
    size = max(len(names), 1) if together else SETS_BETWEEN_WRITES
    return [list(names[start : start + size]) for start in range(0, len(names), size)]


def _row(objective: str, identity: str, subset: str, subset_sha256: str, values: np.ndarray) -> LossRow:
    if not np.isfinite(values).all():
        raise CheckFailed(f"{objective} gives no finite loss", where=subset, why=f"draws: {values.tolist()[:5]}")
    error = float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else None
    return LossRow(objective, identity, subset, subset_sha256, float(values.mean()), error, len(values))
