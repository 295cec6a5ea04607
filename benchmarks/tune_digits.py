"""How the digits recipe was chosen: rates first, then augmentations at the best rate, on rows held out of the training split.

    python benchmarks/tune_digits.py

Sets are random draws of the first 598 training rows; accuracy is taken on the last 300. The test split is never loaded.
"""

from __future__ import annotations

import statistics
from dataclasses import replace

from harness.coresets.random import select_random
from harness.datasets import Split, load_split
from harness.imageset import ImageSet
from harness.paths import project_root
from harness.protocols import Protocol, find_protocol
from harness.training.evaluate_set import train_and_evaluate

HELD_OUT = 300
RATES = (0.005, 0.01, 0.02, 0.05)
STRATEGIES = {
    "crop scale rotate": ("crop", "scale", "rotate"),
    "crop": ("crop",),
    "all but flip": ("color", "crop", "cutout", "scale", "rotate"),
    "all six": ("color", "crop", "cutout", "flip", "scale", "rotate"),
}


def main() -> None:
    frozen = find_protocol(project_root(), "digits/resnet18-hl/v1")
    train = load_split("digits", "train")
    kept = replace(train, images=train.images[:-HELD_OUT], labels=train.labels[:-HELD_OUT])
    held_out = replace(train, images=train.images[-HELD_OUT:], labels=train.labels[-HELD_OUT:])
    strategies = list(STRATEGIES.items())
    by_rate = {
        rate: score(variant(frozen, rate, strategies[0][1]), kept, held_out, f"lr {rate}, {strategies[0][0]}") for rate in RATES
    }
    best_rate = max(by_rate, key=by_rate.__getitem__)
    for name, strategy in strategies[1:]:
        score(variant(frozen, best_rate, strategy), kept, held_out, f"lr {best_rate}, {name}")


def score(protocol: Protocol, kept: Split, held_out: Split, title: str) -> float:
    """Mean top-1 in percent over IPC 1 and 10, three draws each; prints both."""
    by_ipc = {ipc: [accuracy(protocol, kept, held_out, ipc, draw) for draw in range(3)] for ipc in (1, 10)}
    cells = [f"IPC {ipc}: {statistics.mean(found):5.2f} (sd {statistics.stdev(found):4.2f})" for ipc, found in by_ipc.items()]
    print(f"{title:30} {'  '.join(cells)}", flush=True)
    return statistics.mean(statistics.mean(found) for found in by_ipc.values())


def variant(protocol: Protocol, rate: float, strategy: tuple[str, ...]) -> Protocol:
    optimizer = protocol.optimizer.model_copy(update={"lr": rate})
    augmentation = protocol.augmentation.model_copy(update={"strategy": strategy})
    return protocol.model_copy(update={"optimizer": optimizer, "augmentation": augmentation})


def accuracy(protocol: Protocol, kept: Split, held_out: Split, ipc: int, draw: int) -> float:
    """Top-1 in percent on the held-out rows; draw and seed vary together."""
    rows = select_random(kept, ipc, draw)
    outcome = train_and_evaluate(protocol, ipc, ImageSet(kept.images[rows], kept.labels[rows]), held_out, draw, "cpu")
    return outcome.result.top1 if outcome.result else 0.0


if __name__ == "__main__":
    main()
