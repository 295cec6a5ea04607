"""A teacher from its recipe: trained as a student is, on the whole training split, and measured; the last epoch is kept.

The trainer, the optimizer, the schedule and the views are those of students (methods B.4 names candidates).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from harness.canonical import sha256_hex
from harness.datasets.base import Split
from harness.errors import CheckFailed, UsageError
from harness.imageset import ImageSet
from harness.teachers import (
    CARD,
    MOST_BYTES,
    RECIPE,
    WEIGHTS,
    Accuracy,
    Fingerprints,
    TeacherCard,
    TeacherRecipe,
    Weights,
    write_card,
)
from harness.training.engine import Engine, choose_engine, make_deterministic, resolve_device
from harness.training.evaluate_set import measure
from harness.training.labels import hard_labels
from harness.training.seeding import generator_for
from harness.training.students import build_student
from harness.training.trainer import train
from harness.training.views import training_views

OnEpoch = Callable[[int, int], None]


def train_teacher(
    recipe: TeacherRecipe,
    train_split: Split,
    test: Split,
    folder: Path,
    device: str = "auto",
    on_epoch: OnEpoch = lambda done, total: None,
) -> TeacherCard:
    """Train on `train_split`, measure on both splits, write `weights.safetensors` and `teacher.yaml` into `folder`.

    Raises UsageError when `folder` holds a teacher already, CheckFailed when training diverged or the file is too large.
    """
    refuse_existing(folder)
    model = trained_network(recipe, train_split, device, on_epoch)
    weights = safetensors.torch.save({name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()})
    if len(weights) > MOST_BYTES:
        why = f"{len(weights):,} bytes; limit {MOST_BYTES:,}"
        raise CheckFailed("the teacher is too large for the project", where=recipe.id, why=why, fix="choose a smaller network")
    card = TeacherCard(
        schema=1,
        id=recipe.id,
        title=recipe.title,
        notes=recipe.notes,
        dataset=recipe.dataset,
        input=recipe.input,
        student=recipe.student,
        evaluation=recipe.evaluation,
        numerics=recipe.numerics,
        recipe=f"{RECIPE} {recipe.sha256}",
        weights=Weights(file=WEIGHTS, bytes=len(weights), sha256=sha256_hex(weights)),
        accuracy=Accuracy(
            source="measured", train_top1=top1(model, train_split, recipe, device), test_top1=top1(model, test, recipe, device)
        ),
        fingerprints=Fingerprints(train=train_split.fingerprint, test=test.fingerprint),
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS).write_bytes(weights)
    write_card(folder, card)
    return card


def refuse_existing(folder: Path) -> None:
    """Raises UsageError when a teacher lies in `folder`: protocols name its weights, so they never change."""
    if (folder / CARD).exists() or (folder / WEIGHTS).exists():
        raise UsageError(
            "there is a teacher already",
            where=str(folder),
            why="protocols name its weights by sha256, so they never change",
            fix="give a new teacher a folder of its own; --out writes another training of this one elsewhere",
        )


def trained_network(
    recipe: TeacherRecipe, train_split: Split, device: str = "auto", on_epoch: OnEpoch = lambda done, total: None
) -> nn.Module:
    """The recipe's network after its last epoch. Raises CheckFailed when training diverged."""
    device = resolve_device(device)
    make_deterministic(recipe)
    seed, per_class = recipe.seeds[0], max(1, len(train_split) // recipe.dataset.classes)
    engine = choose_engine(recipe, recipe.epochs(per_class) * len(train_split), device)
    model = engine.place(build_student(recipe, generator_for(seed, "init")))
    views = training_views(ImageSet(train_split.images, train_split.labels), recipe, device)
    run = train(model, views, recipe, per_class, seed, engine, hard_labels(recipe.labels), on_epoch)
    if run.diverged:
        why = "a loss or a weight is not finite"
        raise CheckFailed("the teacher's training diverged", where=recipe.id, why=why, fix="lower the recipe's learning rate")
    return model


def top1(model: nn.Module, split: Split, described: TeacherRecipe | TeacherCard, device: str = "auto") -> float:
    """Percent on the whole split, un-augmented and without autocast, so that machines agree."""
    return measure(model, split, described, exact_engine(described, device))[0]


def exact_engine(described: TeacherRecipe | TeacherCard, device: str) -> Engine:
    """fp32, whole batches, nothing compiled."""
    channels_last = described.student.architecture != "mlp"
    return Engine(resolve_device(device), 0, False, channels_last, torch.get_num_threads(), "fp32")
