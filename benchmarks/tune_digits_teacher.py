"""How the digits teachers' recipes were chosen: candidates trained on the first 598 training rows, measured on the last 300.

    OMP_NUM_THREADS=1 python benchmarks/tune_digits_teacher.py [WORDS]    those whose names hold all of the words; default: all

Printed for each: top-1 on the held-out rows and on its own training rows, and the mean largest probability of its labels on them
at T = 20, which says how much of the teacher's opinion a student can see. The test split is never loaded.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import torch

from harness.datasets import Split, load_split
from harness.paths import project_root
from harness.protocol_models import AdamW, StepSchedule
from harness.teachers import TeacherRecipe, read_recipe
from harness.training.train_teacher import top1, trained_network
from harness.training.views import evaluation_views

HELD_OUT = 300
TEMPERATURE = 20
PARAMETERS = {32: 24714, 64: 86282, 128: 320010}  # of ConvNet-D3 at 32 px with ten classes, by width
MLP_PARAMETERS = {32: 99722, 64: 201482, 128: 411146}  # of DC's MLP, likewise
ADAMW = AdamW(name="adamw", lr=0.001, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01, decayed_parameters="matrices")
CONSTANT = StepSchedule(name="step", decay_after_epochs=10**6, factor=1.0, reset_momentum=False)


def main() -> None:
    recipe = read_recipe(project_root(), "digits/convnet-d3")
    train = load_split("digits", "train")
    kept = replace(train, images=train.images[:-HELD_OUT], labels=train.labels[:-HELD_OUT])
    held_out = replace(train, images=train.images[-HELD_OUT:], labels=train.labels[-HELD_OUT:])
    chosen = candidates(recipe) | weaker_candidates(recipe)
    for name, candidate in chosen.items():
        if not all(word in name for word in sys.argv[1:]):
            continue
        print(f"{name:46} {report(candidate, kept, held_out)}", flush=True)


def candidates(recipe: TeacherRecipe) -> dict[str, TeacherRecipe]:
    """The recipe and its variants, by name."""
    expert = changed(recipe, optimizer={"momentum": 0.0, "weight_decay": 0.0}, training={"batch_size": {1: 256}})
    return {
        "the recipe": recipe,
        "20 epochs": changed(recipe, training={"epochs": {1: 20}}),
        "width 32": changed(recipe, student={"width": 32, "parameters": PARAMETERS[32]}),
        "width 128": changed(recipe, student={"width": 128, "parameters": PARAMETERS[128]}),
        "AdamW 0.001": recipe.model_copy(update={"optimizer": ADAMW}),
        "NOD's expert (batch 256, no momentum, constant)": expert.model_copy(update={"schedule": CONSTANT}),
    }


def weaker_candidates(recipe: TeacherRecipe) -> dict[str, TeacherRecipe]:
    """The recipe stopped early, for digits/convnet-d3-early, and with another network, for digits/mlp."""
    # Its cosine over 60 epochs falls by 0.1 % in the first of them and by 4 % in the first eight.
    constant = recipe.model_copy(update={"schedule": CONSTANT})
    early = {f"stopped after {n} epochs": changed(constant, training={"epochs": {1: n}}) for n in (1, 2, 3, 4, 6, 8)}
    mlp = {"architecture": "mlp", "norm": "none", "depth": 2}
    return early | {
        f"MLP, width {width}": changed(recipe, student=mlp | {"width": width, "parameters": count})
        for width, count in MLP_PARAMETERS.items()
    }


def changed(recipe: TeacherRecipe, **sections: dict) -> TeacherRecipe:
    return recipe.model_copy(update={name: getattr(recipe, name).model_copy(update=values) for name, values in sections.items()})


@torch.no_grad()
def report(recipe: TeacherRecipe, kept: Split, held_out: Split) -> str:
    with torch.enable_grad():
        model = trained_network(recipe, kept, "cpu")
    accuracies = top1(model, held_out, recipe, "cpu"), top1(model, kept, recipe, "cpu")
    logits = torch.cat([model(images) for images, _ in evaluation_views(kept, recipe, "cpu")])
    largest = (logits / TEMPERATURE).softmax(dim=1).amax(dim=1).mean().item()
    return f"held out {accuracies[0]:6.2f}  own rows {accuracies[1]:6.2f}  largest probability {largest:.3f}"


if __name__ == "__main__":
    main()
