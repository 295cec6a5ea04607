"""Images/s of the ConvNet-D4 training step at 64 px, batch 256, DSA included: the engine's layout against the plain ones.

    python benchmarks/train_step.py [--steps 5] [--threads 2]

Each layout runs two steps to warm up (compilation included), then the counted steps; the median step is printed.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch

from harness.imageset import ImageSet
from harness.paths import project_root
from harness.protocols import find_protocol
from harness.training.engine import Engine, choose_engine
from harness.training.labels import hard_labels
from harness.training.seeding import generator_for
from harness.training.students import build_student
from harness.training.trainer import gradient_step, make_optimizer
from harness.training.views import training_views

LONG_RUN = 10**6  # images; long enough for the engine to compile


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    protocol = find_protocol(project_root(), "tiny-imagenet/convnet-d4-hl/v1")
    chosen = choose_engine(protocol, LONG_RUN, "cpu")
    layouts = {
        "plain fp32": Engine("cpu", 0, False, False, arguments.threads, "fp32"),
        "bf16": Engine("cpu", 0, False, False, arguments.threads, "bf16-autocast"),
        **{
            f"bf16, compiled, micro-batch {size}": Engine("cpu", size, True, True, arguments.threads, "bf16-autocast")
            for size in (32, 16, 8, 4)
        },
        "the engine's choice": chosen,
    }
    for name, engine in layouts.items():
        print(f"{name:32} {images_per_second(protocol, engine, arguments.steps):6.1f} images/s", flush=True)


def images_per_second(protocol, engine: Engine, steps: int) -> float:
    """Median over `steps` training steps: augmentation, forward, backward and optimizer."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (256, 3, 64, 64), dtype=np.uint8)
    views = training_views(ImageSet(images, generator.integers(0, 200, 256)), protocol, "cpu")
    model = engine.place(build_student(protocol, generator_for(0, "init")))
    optimizer, step = make_optimizer(model, protocol), gradient_step(model, hard_labels(protocol.labels).summed_loss, engine)
    order, augmentation = torch.arange(256), generator_for(0, "augmentation")
    seconds = []
    for _ in range(steps + 2):
        started = time.perf_counter()
        for batch, labels in views.epoch(order, 256, augmentation):
            optimizer.zero_grad(set_to_none=True)
            step(batch, labels)
            optimizer.step()
        seconds.append(time.perf_counter() - started)
    return 256 / statistics.median(seconds[2:])


if __name__ == "__main__":
    main()
