"""Candidates for the TinyImageNet teacher, trained briefly on rows of the training split and measured on others of it.

    HLBENCH_DATA=../shared/data python benchmarks/tune_tiny_teacher.py [EPOCHS]

Of every class, rows 0-474 of the training split are trained on, rows 475-499 are measured. The test split is never loaded.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import numpy as np

from harness.datasets import Split, load_split
from harness.paths import project_root
from harness.protocol_models import CosineSchedule
from harness.teachers import TeacherRecipe, read_recipe
from harness.training.train_teacher import top1, trained_network

HELD_OUT_PER_CLASS = 25


def main() -> None:
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    recipe = read_recipe(project_root(), "tiny-imagenet/convnet-d4")
    kept, held_out = divided(load_split("tiny-imagenet", "train"))
    for name, candidate in candidates(recipe, epochs).items():
        started = time.perf_counter()
        model = trained_network(candidate, kept, "cpu")
        seconds = time.perf_counter() - started
        print(f"{name:40} held out {top1(model, held_out, candidate, 'cpu'):6.2f}  {seconds:.0f} s", flush=True)


def divided(split: Split) -> tuple[Split, Split]:
    """The rows that candidates learn and those that measure them: the last of every class."""
    held = np.concatenate([np.flatnonzero(split.labels == c)[-HELD_OUT_PER_CLASS:] for c in range(200)])
    learned = np.setdiff1d(np.arange(len(split)), held)
    return (
        replace(split, images=split.images[learned], labels=split.labels[learned]),
        replace(split, images=split.images[held], labels=split.labels[held]),
    )


def candidates(recipe: TeacherRecipe, epochs: int) -> dict[str, TeacherRecipe]:
    cosine = CosineSchedule(name="cosine", stepping="iteration", final_lr=0.0, warmup_epochs=0, warmup_start=0.0)
    short = recipe.model_copy(update={"schedule": cosine})
    short = changed(short, training={"epochs": {1: epochs}})
    momentum = {"momentum": 0.9, "weight_decay": 0.0005}
    return {
        "momentum 0.9, lr 0.02, batch 128": changed(short, optimizer=momentum | {"lr": 0.02}, training={"batch_size": {1: 128}}),
        "momentum 0.9, lr 0.05, batch 128": changed(short, optimizer=momentum | {"lr": 0.05}, training={"batch_size": {1: 128}}),
        "NOD: lr 0.01, no momentum, batch 256": short,
    }


def changed(recipe: TeacherRecipe, **sections: dict) -> TeacherRecipe:
    return recipe.model_copy(update={name: getattr(recipe, name).model_copy(update=values) for name, values in sections.items()})


if __name__ == "__main__":
    main()
