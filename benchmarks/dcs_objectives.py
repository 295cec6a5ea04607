"""Seconds that an objective takes for a whole pool, against those of training the pool's students once.

    python benchmarks/dcs_objectives.py [dm dc ...] [--dataset digits|tiny-imagenet] [--sets 20] [--threads 1]

Noise stands in for images. Only objectives that need random networks alone. For TinyImageNet two classes of 500 rows are timed,
with a classifier of two outputs, and the seconds multiplied by a hundred. One draw is timed and multiplied by the draws.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from tabulate import tabulate

from harness.datasets.base import Split
from harness.dcs.objective import Scene
from harness.dcs.objectives import find_objective
from harness.imageset import ImageSet
from harness.paths import project_root
from harness.protocols import Protocol, find_protocol
from harness.teachers import TeacherCard, TeacherRecipe, read_recipe
from harness.training.engine import choose_engine
from harness.training.labels import hard_labels
from harness.training.seeding import generator_for
from harness.training.students import build_student
from harness.training.trainer import gradient_step, make_optimizer
from harness.training.views import training_views

# dataset: backbone, students' protocol, pixels stored, classes timed, rows of a class, sizes of the pool's sets
SHAPES = {
    "digits": ("digits/convnet-d3", "digits/resnet18-hl/v1", 8, 10, 90, (1, 2, 4, 10, 20, 50)),
    "tiny-imagenet": ("tiny-imagenet/convnet-d4", "tiny-imagenet/convnet-d4-hl/v1", 64, 2, 500, (1, 5, 10, 20, 50)),
}
LONG_RUN = 10**6  # images; long enough for the engine to compile


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("objectives", nargs="*", default=["dm", "dc"])
    parser.add_argument("--dataset", choices=SHAPES, default="digits")
    parser.add_argument("--sets", type=int, default=20, help="of each size")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    backbone, protocol_id, side, classes, per_class, sizes = SHAPES[arguments.dataset]
    protocol, recipe = find_protocol(project_root(), protocol_id), read_recipe(project_root(), backbone)
    share = classes / recipe.dataset.classes
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), per_class)
    pixels = generator.integers(0, 256, (len(labels), 3, side, side), dtype=np.uint8)
    scene = Scene(Split(arguments.dataset, "train", pixels, labels, "0" * 64), with_classes(recipe, classes))
    sets = [random_rows(labels, ipc, generator) for ipc in sizes for _ in range(arguments.sets)]

    images = sum(ipc * recipe.dataset.classes * protocol.epochs(ipc) for ipc in sizes) * arguments.sets
    speed = images_per_second(protocol, side)
    training = images / speed
    print(f"{len(sets)} students: {images:,} images at {speed:.0f} images/s, {training:,.0f} s")
    rows = []
    for name in arguments.objectives:
        seconds, draws = seconds_of_a_draw(name, sets, scene)
        whole = seconds * draws / share
        rows.append([name, draws, seconds / share, whole, 100 * whole / training])
    headers = ["objective", "draws", "s a draw", "s a pool", "% of training"]
    print(tabulate(rows, headers=headers, floatfmt=("", "", ",.1f", ",.0f", ".2f")))


def with_classes(recipe: TeacherRecipe, classes: int) -> TeacherRecipe | TeacherCard:
    """The network with a smaller classifier: that of the ConvNet sees width x (side / 2^depth)^2 features."""
    student, dropped = recipe.student, recipe.dataset.classes - classes
    features = student.width * (recipe.input.resolution >> student.depth) ** 2
    smaller = student.model_copy(update={"parameters": student.parameters - dropped * (features + 1)})
    return recipe.model_copy(
        update={"student": smaller, "dataset": recipe.dataset.model_copy(update={"classes": classes})},
    )


def random_rows(labels: np.ndarray, ipc: int, generator: np.random.Generator) -> np.ndarray:
    return np.concatenate([generator.choice(np.flatnonzero(labels == c), ipc, replace=False) for c in np.unique(labels)])


def seconds_of_a_draw(name: str, sets: list[np.ndarray], scene: Scene) -> tuple[float, int]:
    """(processor seconds of one thread for one draw over the timed classes, draws). The second of two runs."""
    objective = find_objective(name)
    if objective.needs != ("backbone",):
        raise SystemExit(f"{name} needs {', '.join(objective.needs)}; this benchmark has random networks only")
    settings = objective.settings_for(scene.train.dataset)
    for _ in range(2):
        started = time.process_time()
        objective.losses(sets, scene, {**settings, "networks": 1})
        seconds = time.process_time() - started
    return seconds / torch.get_num_threads(), int(settings["networks"])


def images_per_second(protocol: Protocol, side: int, steps: int = 3) -> float:
    """Of training a student at IPC 10, by the processor seconds of the fastest step; compilation is not counted."""
    generator = np.random.default_rng(0)
    count = min(256, 10 * protocol.dataset.classes)
    pixels = generator.integers(0, 256, (count, 3, side, side), dtype=np.uint8)
    views = training_views(ImageSet(pixels, generator.integers(0, protocol.dataset.classes, count)), protocol, "cpu")
    engine = choose_engine(protocol, LONG_RUN, "cpu")
    model = engine.place(build_student(protocol, generator_for(0, "init")))
    optimizer, step = make_optimizer(model, protocol), gradient_step(model, hard_labels(protocol.labels).summed_loss, engine)
    order, augmentation = torch.arange(count), generator_for(0, "augmentation")
    seconds = []
    for _ in range(steps + 2):
        started = time.process_time()
        for batch, labels in views.epoch(order, count, augmentation):
            optimizer.zero_grad(set_to_none=True)
            step(batch, labels)
            optimizer.step()
        seconds.append((time.process_time() - started) / torch.get_num_threads())
    return count / min(seconds[2:])


if __name__ == "__main__":
    main()
