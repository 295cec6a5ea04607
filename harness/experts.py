"""Expert trajectories, which trajectory matching compares with (methods E.5, G.5; GeorgeCazenavette/mtt-distillation buffer.py).

`teachers/<dataset>/<name>/` holds `experts-recipe.yaml` (how the experts are trained: a protocol under hard labels, on the whole
training split, one expert a seed) and, once they were trained, `experts.yaml` (the card: recipe, machine, sha256 of every file).
The trajectories are too large for the project. They lie in a folder of their own, by default in the cache, beside a copy of
the card: one safetensors file an expert, `parameters` float32 [epochs + 1, P], row t after t epochs. They are made again with
`hlbench teacher train ID --trajectories`. Torch-free; `training/train_experts.py` makes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import safetensors
import yaml
from pydantic import Field, model_validator

from harness.canonical import digest, file_sha256
from harness.errors import CheckFailed, EnvironmentProblem, ProtocolError, UsageError
from harness.paths import cache_root
from harness.protocol_models import Dsa, HardLabels, Sgd, StepSchedule
from harness.protocols import Protocol, read_protocol
from harness.strict_yaml import StrictModel, as_tuples, load_yaml, parse_model
from harness.teachers import Made, Percent, Sha256, TeacherId, has_card, read_card, read_recipe
from harness.whole_files import write_in_one_step

CARD, RECIPE = "experts.yaml", "experts-recipe.yaml"
PARAMETERS = "parameters"  # the tensor's name


class ExpertsRecipe(Protocol):
    """How experts are trained, at a constant rate. `backbone`: the teacher whose network, input and data are theirs."""

    id: TeacherId
    backbone: TeacherId
    labels: HardLabels
    optimizer: Sgd
    schedule: StepSchedule
    augmentation: Dsa

    @model_validator(mode="after")
    def _id_names_the_regime(self):
        return self  # as a teacher's, the id has no regime

    @model_validator(mode="after")
    def _trajectories_are_comparable(self):
        if self.schedule.factor != 1 or self.schedule.reset_momentum:
            raise ValueError("experts have a constant learning rate: write factor 1.0, reset_momentum false")
        if self.seeds != tuple(range(len(self.seeds))):
            raise ValueError("the seeds of experts are 0, 1, 2 and so on")
        return self

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(file_of(seed) for seed in self.seeds)

    @property
    def epochs_trained(self) -> int:
        return self.epochs(max(1, self.dataset.train_images // self.dataset.classes))


class ExpertsCard(StrictModel):
    """What was made. `files`: sha256 by name; `train_top1`: percent of the un-augmented training split after the last epoch.

    `recipe_sha256` names the recipe's file with its reasons. While experts are being made, those that are done are listed.
    """

    schema_version: Literal[1] = Field(alias="schema")
    recipe_sha256: Sha256
    recipe: ExpertsRecipe
    train_split: Sha256
    files: dict[Annotated[str, Field(pattern=r"^expert-[0-9]+\.safetensors$")], Sha256]
    train_top1: dict[str, Percent]
    made: Made

    @model_validator(mode="after")
    def _files_are_those_of_the_recipe(self):
        if not set(self.files) <= set(self.recipe.files) or set(self.files) != set(self.train_top1):
            raise ValueError("files and train_top1 name the same experts, one a seed of the recipe")
        return self

    @property
    def complete(self) -> bool:
        return set(self.files) == set(self.recipe.files)

    @property
    def sha256(self) -> str:
        """64 hex digits naming recipe, data and every byte of the trajectories; the machine and its time are no part of it."""
        return digest({"recipe": self.recipe_sha256, "train_split": self.train_split, "files": self.files})


@dataclass(frozen=True)
class Experts:
    """Checked trajectories: their files hash to what the card beside them says."""

    folder: Path
    card: ExpertsCard

    @cached_property
    def sha256(self) -> str:
        return self.card.sha256

    @property
    def epochs(self) -> int:
        return self.card.recipe.epochs_trained

    def parameters(self, expert: int, epoch: int) -> np.ndarray:
        """float32 [P] of `expert` (0-based) after `epoch` epochs, in the order of the network's `parameters()`; no other is read.

        Raises UsageError when there is no such expert or epoch, CheckFailed when a number is not finite.
        """
        if not (0 <= expert < len(self.card.recipe.seeds) and 0 <= epoch <= self.epochs):
            raise UsageError(
                f"no expert {expert} after epoch {epoch}", where=str(self.folder),
                why=f"there are experts 0 to {len(self.card.recipe.seeds) - 1} with epochs 0 to {self.epochs}",
            )  # fmt: skip
        path = self.folder / file_of(expert)
        with safetensors.safe_open(path, framework="np") as file:
            found = file.get_slice(PARAMETERS)[epoch]
        if not np.isfinite(found).all():
            raise damaged(path, f"a parameter after epoch {epoch} is not finite")
        return found


def file_of(seed: int) -> str:
    return f"expert-{seed}.safetensors"


def experts_ids(root: Path) -> list[str]:
    """Ids of every set of experts of the checkout at `root`, sorted."""
    folder = root / "teachers"
    return sorted(path.parent.relative_to(folder).as_posix() for path in folder.glob(f"*/*/{RECIPE}"))


def default_folder(experts_id: str) -> Path:
    return cache_root() / "experts" / experts_id


def make_command(experts_id: str) -> str:
    return f"hlbench teacher train {experts_id} --trajectories"


def read_experts_recipe(root: Path, experts_id: str) -> ExpertsRecipe:
    """Raises UsageError when there is none, ProtocolError when it is malformed, misplaced, or not of its backbone's network."""
    path, known = root / "teachers" / experts_id / RECIPE, experts_ids(root)
    if experts_id not in known:
        raise UsageError(
            f"no recipe for experts {experts_id!r}", where=str(path), fix=f"choose one of: {', '.join(known) or '(none yet)'}"
        )
    recipe = read_protocol(path, ExpertsRecipe)
    if recipe.id != experts_id:
        raise ProtocolError(
            "id and path disagree", where=f"{path}: id", why=f"file says {recipe.id!r}", fix=f"write id: {experts_id}"
        )
    backbone = (read_card if has_card(root, recipe.backbone) else read_recipe)(root, recipe.backbone)
    if differing := [name for name in ("dataset", "input", "student") if getattr(backbone, name) != getattr(recipe, name)]:
        raise ProtocolError(
            "experts and backbone differ", where=f"{path}: {', '.join(differing)}",
            why=f"not as in teachers/{recipe.backbone}", fix="copy these sections from there",
        )  # fmt: skip
    return recipe


def read_experts_card(folder: Path) -> ExpertsCard | None:
    """The card in `folder`; None when there is none. Raises CheckFailed when it is malformed."""
    path = folder / CARD
    if not path.exists():
        return None
    return parse_model(ExpertsCard, as_tuples(load_yaml(path, CheckFailed)), str(path), CheckFailed)


def write_experts_card(folder: Path, card: ExpertsCard) -> None:
    text = yaml.safe_dump(card.model_dump(by_alias=True), sort_keys=False, width=120)
    write_in_one_step(folder / CARD, text.encode())


def find_experts(root: Path, experts_id: str) -> Experts:
    """The trajectories in the cache, checked, and the same as those pinned in the checkout at `root` if any are.

    Raises EnvironmentProblem when they have to be made first, CheckFailed when they are damaged or not the pinned ones.
    """
    experts = open_experts(default_folder(experts_id), make_command(experts_id))
    recipe = read_experts_recipe(root, experts_id).sha256
    if experts.card.recipe_sha256 != recipe:
        raise CheckFailed(
            "these expert trajectories are of another recipe", where=str(experts.folder / CARD),
            why=f"{experts.card.recipe_sha256[:12]} there, {recipe[:12]} in teachers/{experts_id}",
            fix=f"remove the folder and make them again: {make_command(experts_id)}",
        )  # fmt: skip
    require_pinned(experts.card, read_experts_card(root / "teachers" / experts_id))
    return experts


def open_experts(folder: Path, command: str = "hlbench teacher train ID --trajectories") -> Experts:
    """The trajectories in `folder`, every file's form and hash checked against the card there.

    Raises EnvironmentProblem (naming the `command` that makes them) when they are not there or not all made, CheckFailed when a
    file or the card is altered, truncated, of another form or missing.
    """
    card = read_experts_card(folder)
    if card is None or not card.complete:
        done = f"{len(card.files)} of {len(card.recipe.files)} experts are made" if card else "there is no card"
        raise EnvironmentProblem(
            "there are no expert trajectories", where=str(folder / CARD), why=done, fix=f"make them: {command}"
        )
    for name in card.files:
        check_file(folder / name, card)
    return Experts(folder, card)


def check_file(path: Path, card: ExpertsCard) -> None:
    """Raises CheckFailed unless the file at `path` is the one that `card` lists under its name."""
    stated, shape = card.files[path.name], [card.recipe.epochs_trained + 1, card.recipe.student.parameters]
    try:
        if (found := file_sha256(path)) != stated:
            raise damaged(path, f"sha256 {found[:12]}, the card says {stated[:12]}")
        with safetensors.safe_open(path, framework="np") as file:
            kept = file.get_slice(PARAMETERS)
            form = (list(file.keys()), kept.get_dtype(), kept.get_shape())
    except (OSError, safetensors.SafetensorError) as reason:
        raise damaged(path, f"{type(reason).__name__}: {reason}") from reason
    if form != ([PARAMETERS], "F32", shape):
        raise damaged(path, f"it holds {form}, and should hold {PARAMETERS}, F32, {shape}")


def require_pinned(card: ExpertsCard, pinned: ExpertsCard | None) -> None:
    """Raises CheckFailed when experts that `card` lists are others than the `pinned` ones; None pins nothing."""
    if pinned is None:
        return
    differing = [name for name, found in card.files.items() if pinned.files.get(name) != found]
    same_recipe = (card.recipe_sha256, card.train_split) == (pinned.recipe_sha256, pinned.train_split)
    if same_recipe and not differing:
        return
    there, here = (f"{made.processor}, torch {made.torch}, {made.threads} threads" for made in (pinned.made, card.made))
    raise CheckFailed(
        "these expert trajectories are not the pinned ones",
        where=f"teachers/{pinned.recipe.id}/{CARD}",
        why=f"{', '.join(differing)} differ; pinned: {there}; here: {here}. Another machine may round otherwise"
        if same_recipe
        else "they are of another recipe or another training split",
        fix=f"fetch the pinned files; or make a set with an identity of its own: {make_command(pinned.recipe.id)} --out FOLDER",
    )


def damaged(path: Path, why: str) -> CheckFailed:
    return CheckFailed(
        "expert trajectories are damaged", where=str(path), why=why,
        fix="remove this file and make it again with hlbench teacher train ID --trajectories (and --out, if you gave it)",
    )  # fmt: skip


def summaries(root: Path) -> list[dict[str, Any]]:
    """One row a set of experts, with the columns of `teachers.summaries`."""
    rows = []
    for known in experts_ids(root):
        recipe, pinned = read_experts_recipe(root, known), read_experts_card(root / "teachers" / known)
        made = (default_folder(known) / CARD).is_file()
        rows.append({
            "id": known,
            "network": recipe.student.architecture,
            "parameters": recipe.student.parameters,
            "weights": f"{len(recipe.seeds)} trajectories of {recipe.epochs_trained} epochs",
            "sha256": pinned and pinned.sha256,
            "top1": None,
            "state": f"{'pinned' if pinned else 'recipe only'}; {'in the cache' if made else make_command(known)}",
        })  # fmt: skip
    return rows
