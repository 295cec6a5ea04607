"""A teacher from its recipe: trained as a student is, on the whole training split, and measured; the last epoch is kept.

The trainer, the optimizer, the schedule and the views are those of students (methods B.4 names candidates). Training takes as
many threads as torch gives it, one per core unless OMP_NUM_THREADS says otherwise; the card tells how many. It leaves a
checkpoint after every epoch, from which the same command goes on to the bytes it would have written without a break.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from harness.canonical import sha256_hex
from harness.datasets.base import Split
from harness.environment import describe_environment
from harness.errors import CheckFailed, UsageError
from harness.imageset import ImageSet
from harness.teachers import (
    CARD,
    MOST_BYTES,
    RECIPE,
    WEIGHTS,
    Accuracy,
    Fingerprints,
    Made,
    TeacherCard,
    TeacherRecipe,
    Weights,
    write_card,
)
from harness.training.checkpoint import (
    Checkpoint,
    Setting,
    checkpoint_path,
    held,
    read_checkpoint,
    remove_checkpoint,
    write_checkpoint,
)
from harness.training.engine import Engine, choose_engine, make_deterministic, resolve_device
from harness.training.evaluate_set import measure
from harness.training.labels import hard_labels
from harness.training.made_by import commit_of, machine_facts
from harness.training.seeding import generator_for
from harness.training.state import TrainingState
from harness.training.students import build_student
from harness.training.trainer import train
from harness.training.views import training_views
from harness.whole_files import write_in_one_step

OnState = Callable[[TrainingState], None]


def train_teacher(
    recipe: TeacherRecipe,
    train_split: Split,
    test: Split,
    folder: Path,
    device: str = "auto",
    on_state: OnState = lambda state: None,
) -> TeacherCard:
    """Train on `train_split`, measure on both splits, write `weights.safetensors` and `teacher.yaml` into `folder`.

    `on_state` gets the state after each epoch, once its checkpoint is written. Raises UsageError when `folder` holds a teacher
    already or another process trains it, EnvironmentProblem when the checkpoint of an earlier sitting cannot be gone on from,
    CheckFailed when training diverged or the file is too large.
    """
    refuse_large(4 * recipe.student.parameters, recipe)  # before hours are spent on it
    device = resolve_device(device)
    path = checkpoint_path(recipe, folder)
    with held(path):
        refuse_existing(folder)
        model, made = trained_in_sittings(recipe, train_split, path, device, on_state)
        weights = safetensors.torch.save({name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()})
        refuse_large(len(weights), recipe)
        measured = {f"{split.name}_top1": top1(model, split, recipe, device) for split in (train_split, test)}
        card = describe(recipe, weights, measured, Fingerprints(train=train_split.fingerprint, test=test.fingerprint), made)
        folder.mkdir(parents=True, exist_ok=True)
        write_in_one_step(folder / WEIGHTS, weights)
        write_card(folder, card)
        remove_checkpoint(path)
    return card


def describe(
    recipe: TeacherRecipe, weights: bytes, measured: dict[str, float], fingerprints: Fingerprints, made: Made
) -> TeacherCard:
    """The card of a teacher that `recipe` gave. `measured`: `train_top1` and `test_top1` in percent."""
    shared = ("id", "title", "notes", "dataset", "input", "student", "evaluation", "numerics")
    return TeacherCard(
        schema=1,
        **{name: getattr(recipe, name) for name in shared},
        recipe=f"{RECIPE} {recipe.sha256}",
        weights=Weights(file=WEIGHTS, bytes=len(weights), sha256=sha256_hex(weights)),
        accuracy=Accuracy(source="measured", **measured),
        fingerprints=fingerprints,
        made=made,
    )


def refuse_existing(folder: Path) -> None:
    """Raises UsageError when a teacher lies in `folder`: protocols name its weights, so they never change."""
    if (folder / CARD).exists():
        raise UsageError(
            "there is a teacher already",
            where=str(folder),
            why="protocols name its weights by sha256, so they never change",
            fix="give a new teacher a folder of its own; --out writes another training of this one elsewhere",
        )
    if (folder / WEIGHTS).exists():
        raise UsageError(
            "there are weights without a card",
            where=str(folder / WEIGHTS),
            why="they may be somebody's only copy, so they are not written over",
            fix="move them away and run the command again; a training killed at its very end goes on from its checkpoint",
        )


def refuse_large(size: int, recipe: TeacherRecipe) -> None:
    """Raises CheckFailed when weights of `size` bytes are too large to lie in the project."""
    if size > MOST_BYTES:
        why = f"{size:,} bytes; limit {MOST_BYTES:,}"
        raise CheckFailed("the teacher is too large for the project", where=recipe.id, why=why, fix="choose a smaller network")


def trained_in_sittings(
    recipe: TeacherRecipe, train_split: Split, path: Path, device: str, on_state: OnState
) -> tuple[nn.Module, Made]:
    """`trained_network`, which goes on from the checkpoint at `path` and writes it after each epoch; and how it was made."""
    engine, environment = engine_for(recipe, train_split, device), describe_environment(device)
    machine = machine_facts(engine, environment)
    setting: Setting = {**machine, "micro_batch": engine.micro_batch, "train_split": train_split.fingerprint}
    earlier = read_checkpoint(path, setting)
    seconds, code = (earlier.seconds, earlier.code) if earlier else (0.0, ())
    code = tuple(dict.fromkeys([*code, commit_of(environment)]))
    started = time.perf_counter()

    def keep(state: TrainingState) -> None:
        write_checkpoint(path, setting, Checkpoint(state, seconds + time.perf_counter() - started, code))
        on_state(state)

    model = trained_network(recipe, train_split, device, keep, earlier.state if earlier else None)
    return model, Made(**machine, seconds=round(seconds + time.perf_counter() - started, 1), code=code)


def trained_network(
    recipe: TeacherRecipe,
    train_split: Split,
    device: str = "auto",
    on_state: OnState | None = None,
    resume: TrainingState | None = None,
) -> nn.Module:
    """The recipe's network after its last epoch; `on_state`, `resume`: as in `trainer.train`. Raises CheckFailed: it diverged."""
    device = resolve_device(device)
    make_deterministic(recipe)
    seed = recipe.seeds[0]
    engine = engine_for(recipe, train_split, device)
    model = engine.place(build_student(recipe, generator_for(seed, "init")))
    views = training_views(ImageSet(train_split.images, train_split.labels), recipe, device)
    supervision = hard_labels(recipe.labels)
    ipc = images_per_class(recipe, train_split)
    run = train(model, views, recipe, ipc, seed, engine, supervision, on_state=on_state, resume=resume)
    if run.diverged:
        why = "a loss or a weight is not finite"
        raise CheckFailed("the teacher's training diverged", where=recipe.id, why=why, fix="lower the recipe's learning rate")
    return model


def engine_for(recipe: TeacherRecipe, train_split: Split, device: str) -> Engine:
    epochs = recipe.epochs(images_per_class(recipe, train_split))
    return choose_engine(recipe, epochs * len(train_split), device)


def images_per_class(recipe: TeacherRecipe, train_split: Split) -> int:
    return max(1, len(train_split) // recipe.dataset.classes)


def top1(model: nn.Module, split: Split, described: TeacherRecipe | TeacherCard, device: str = "auto") -> float:
    """Percent on the whole split, un-augmented and without autocast, so that machines agree."""
    return measure(model, split, described, exact_engine(described, device))[0]


def exact_engine(described: TeacherRecipe | TeacherCard, device: str) -> Engine:
    """fp32, whole batches, nothing compiled."""
    channels_last = described.student.architecture != "mlp"
    return Engine(resolve_device(device), 0, False, channels_last, torch.get_num_threads(), "fp32")
