"""Shared by the tests of teachers: a checkout that a test may spoil, shortened recipes, digits as another dataset's pictures."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import torch
import yaml

from harness.datasets import Split, load_split
from harness.teachers import CARD, TeacherRecipe, read_recipe

ROOT = Path(__file__).resolve().parent.parent
DIGITS = "digits/convnet-d3"


def make_teacher_checkout(folder: Path) -> Path:
    """Root of a checkout with the shipped protocols, teachers and a submission."""
    for name in ("protocols", "teachers"):
        shutil.copytree(ROOT / name, folder / "checkout" / name)
    submissions = folder / "checkout" / "submissions" / "random"
    shutil.copytree(ROOT / "submissions" / "random" / "digits-ipc1", submissions / "digits-ipc1")
    shutil.copy(ROOT / "submissions" / "random" / "digits-ipc1.yaml", submissions)
    return folder / "checkout"


def alter_card(root: Path, teacher_id: str, **sections) -> None:
    path = root / "teachers" / teacher_id / CARD
    card = yaml.safe_load(path.read_text())
    for name, values in sections.items():
        card[name] = {**(card.get(name) or {}), **values} if isinstance(values, dict) else values
    path.write_text(yaml.safe_dump(card))


def small(teacher_id: str, epochs: int = 2) -> TeacherRecipe:
    """The recipe, shortened to what a test has time for."""
    recipe = read_recipe(ROOT, teacher_id)
    return recipe.model_copy(update={"training": recipe.training.model_copy(update={"epochs": {1: epochs}})})


def as_pictures_of(recipe: TeacherRecipe, split: Split, count: int) -> Split:
    """Real digits enlarged to the recipe's resolution, standing in for a slice of a dataset that has to be downloaded."""
    enlarged = torch.nn.functional.interpolate(torch.from_numpy(split.images[:count]), size=recipe.input.resolution)
    return replace(split, dataset=recipe.dataset.name, images=enlarged.numpy(), labels=split.labels[:count])


def slices_for(recipe: TeacherRecipe, count: int = 60) -> tuple[Split, Split]:
    """(train, test) of `count` pictures each."""
    train, test = (as_pictures_of(recipe, load_split("digits", name), count) for name in ("train", "test"))
    return train, test
