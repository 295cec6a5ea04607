"""What recording training dynamics costs: time of the watched training step and of a snapshot's pass, and disk.

    python benchmarks/dynamics.py [--images 1024] [--threads 1]

Rates are images per second of processor time, so that other work on the machine counts little; of TinyImageNet's ConvNet-D4 on
random pixels, compilation left out. Disk is arithmetic. RssAnon is the process's memory that no file backs, before and after the
pass of a snapshot.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from harness.datasets import Split
from harness.datasets.specs import DATASETS
from harness.dynamics.artifact import create_arrays
from harness.dynamics.plan import Wish, plan_run
from harness.dynamics.record import plan_scoring
from harness.dynamics.spec import ScoringRun
from harness.dynamics.watch import FeaturesAndLogits, Watcher, feature_count
from harness.imageset import ImageSet
from harness.paths import project_root
from harness.protocols import Protocol, find_protocol
from harness.training.engine import choose_engine
from harness.training.labels import hard_labels
from harness.training.seeding import generator_for
from harness.training.students import build_student
from harness.training.trainer import gradient_step, make_optimizer
from harness.training.views import training_views

LONG_RUN = 10**6  # images; long enough for the engine to compile
RUNS = [
    ("digits/resnet18-hl/v1", 10), ("digits/resnet18-hl/v1", None), ("cifar100/convnet-d3-hl/v1", 10),
    ("cifar100/convnet-d3-hl/v1", 50), ("tiny-imagenet/convnet-d4-hl/v1", 10), ("tiny-imagenet/convnet-d4-hl/v1", 50),
    ("tiny-imagenet/convnet-d4-hl/v1", 100), ("imagenet-1k/resnet18-hl/v1", 10), ("imagenet-1k/resnet18-hl/v1", 100),
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{'run':42} {'K':>7} {'snapshots':>9} {'disk, MB':>9}")
    for protocol_id, ipc in RUNS:
        run = planned(find_protocol(project_root(), protocol_id), ipc)
        name = f"{protocol_id} {f'IPC {ipc}' if ipc else 'whole recipe'}"
        print(f"{name:42} {run.epochs:7.2f} {run.snapshots:9} {run.bytes / 1e6:9.1f}")
    protocol = find_protocol(project_root(), "tiny-imagenet/convnet-d4-hl/v1")
    plain, watched = (training_rate(protocol, arguments.images, keep_logits) for keep_logits in (False, True))
    looked = snapshot_rate(protocol, arguments.images)
    print(f"training {plain:.0f} images/s, watched {watched:.0f} images/s, snapshots {looked:.0f} images/s")
    for ipc in (10, 50, 100):
        run = planned(protocol, ipc)
        training, looking = run.images_seen / watched / 3600, run.snapshots * run.rows / looked / 3600
        print(f"TinyImageNet, IPC {ipc}: {training:.1f} processor hours of training, {looking:.1f} of snapshots")


def planned(protocol: Protocol, ipc: int | None) -> ScoringRun:
    """The run on the protocol's whole training split, whose images nobody looks at."""
    spec = DATASETS[protocol.dataset.name]
    images = np.broadcast_to(np.uint8(0), (spec.train_rows, 3, 8, 8))
    split = Split(spec.name, "train", images, np.arange(spec.train_rows) % spec.classes, "0" * 64)
    return plan_run(Wish(ipc), protocol, split, feature_count(build_student(protocol, torch.Generator())))


def training_rate(protocol: Protocol, count: int, keep_logits: bool) -> float:
    """Images/s of whole training steps, batches of 256."""
    split = random_split(protocol, count)
    engine = choose_engine(protocol, LONG_RUN, "cpu")
    views = training_views(ImageSet(split.images, split.labels), protocol, "cpu")
    model = engine.place(build_student(protocol, generator_for(0, "init")))
    optimizer = make_optimizer(model, protocol)
    step = gradient_step(model, hard_labels(protocol.labels).summed_loss, engine, keep_logits)

    def train(rows: int) -> None:
        for images, labels in views.epoch(torch.arange(rows), 256, generator_for(0, "augmentation")):
            optimizer.zero_grad(set_to_none=True)
            step(images, labels)
            optimizer.step()

    train(256)
    started = time.process_time()
    train(count)
    return count / (time.process_time() - started)


def snapshot_rate(protocol: Protocol, count: int) -> float:
    """Images/s of a snapshot's pass, arrays written; prints the memory before and after."""
    split = random_split(protocol, count)
    engine = choose_engine(protocol, LONG_RUN, "cpu")
    run = plan_scoring(Wish(epochs=30, snapshots=2), protocol, split).run
    look = engine.inference(FeaturesAndLogits(engine.place(build_student(protocol, generator_for(0, "init")))))
    with tempfile.TemporaryDirectory() as folder:
        watcher = Watcher(run, protocol, split, create_arrays(Path(folder), run), look, "cpu")
        watcher.snapshot(0)
        before, started = anonymous_memory(), time.process_time()
        watcher.snapshot(1)
        seconds = time.process_time() - started
    print(f"RssAnon {before} before, {anonymous_memory()} after the pass")
    return count / seconds


def random_split(protocol: Protocol, count: int) -> Split:
    generator, side = np.random.default_rng(0), protocol.input.resolution
    images = generator.integers(0, 256, (count, 3, side, side), dtype=np.uint8)
    return Split(protocol.dataset.name, "train", images, generator.integers(0, protocol.dataset.classes, count), "0" * 64)


def anonymous_memory() -> str:
    """As Linux has it; elsewhere unknown."""
    try:
        return re.search(r"RssAnon:\s*(.*)", Path("/proc/self/status").read_text()).group(1)
    except (OSError, AttributeError):
        return "unknown"


if __name__ == "__main__":
    main()
