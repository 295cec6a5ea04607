"""Pieces/s of RDED: cutting crops on the processor, and the observer's pass over them, in each layout of the work.

    python benchmarks/rded.py [--teacher tiny-imagenet/convnet-d4] [--pieces 256] [--threads 1] [--device cpu]

Noise stands in for images, and fresh weights for those of a teacher that only has a recipe: neither changes the speed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from harness.distill.observer import Observer
from harness.distill.patches import cut_all
from harness.distill.rded import CROPS, IMAGES_PER_CLASS, crop_boxes
from harness.paths import project_root
from harness.teachers import read_recipe
from harness.training.engine import CPU_MICRO_BATCH, choose_engine
from harness.training.seeding import generator_for
from harness.training.students import build_student


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", default="tiny-imagenet/convnet-d4")
    parser.add_argument("--pieces", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    recipe = read_recipe(project_root(), arguments.teacher)
    side, rows = recipe.input.resolution, np.arange(max(1, arguments.pieces // CROPS))
    images = np.random.default_rng(0).integers(0, 256, (len(rows), 3, side, side), dtype=np.uint8)
    boxes = crop_boxes(images, rows, CROPS, generator_for(0, "benchmark"))
    cutting = pieces_per_second(len(rows) * CROPS, lambda: cut_all(images, rows, boxes, side))
    print(f"{'cutting and resizing':34} {cutting:8.0f} pieces/s", flush=True)

    pieces = torch.from_numpy(cut_all(images, rows, boxes, side)).flatten(0, 1)
    model = build_student(recipe, generator_for(0, "init")).requires_grad_(False).eval()
    chosen = replace(choose_engine(recipe, 10**6, arguments.device), precision="fp32")
    layouts = {"plain": replace(chosen, micro_batch=0, compiled=False, channels_last=False)}
    if arguments.device == "cpu":
        layouts["micro-batches"] = replace(chosen, micro_batch=CPU_MICRO_BATCH, compiled=False)
        layouts["micro-batches, bf16 (not used)"] = replace(layouts["micro-batches"], precision="bf16-autocast")
    layouts["the observer's own layout"] = replace(chosen, micro_batch=layouts.get("micro-batches", chosen).micro_batch)
    in_all = recipe.dataset.classes * min(IMAGES_PER_CLASS, recipe.dataset.train_images // recipe.dataset.classes) * CROPS
    for name, engine in layouts.items():
        forward = engine.inference(engine.place(model))
        statistics = (recipe.input.mean, recipe.input.std)
        observer = Observer(lambda batch, e=engine, f=forward: f(e.arrange(batch)), side, statistics, arguments.device)
        speed = pieces_per_second(len(pieces), lambda o=observer: o.cross_entropy(pieces, 0, side))
        print(f"{name:34} {speed:8.0f} pieces/s; {in_all:,} pieces in {in_all / speed / 60:.1f} min", flush=True)


def pieces_per_second(count: int, work: Callable[[], object]) -> float:
    """Better of two runs, after one to warm up (compilation included)."""
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return count / min(seconds[1:])


if __name__ == "__main__":
    main()
