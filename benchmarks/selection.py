"""Seconds and memory of every selector from a ready artifact, on made-up arrays of a real dataset's size.

    python benchmarks/selection.py tiny-imagenet                 all 200 classes (0.5 GB of scratch space)
    python benchmarks/selection.py imagenet-1k --classes 40      the first 40 of 1,000 classes, the rest by proportion

Every selector works class by class, so that its time grows with the number of classes once their size is fixed: it is measured at
all of --classes, a half, a quarter; what is beyond is the largest measurement by proportion, and marked so. Each has a process of
its own. CPU seconds are those of all threads, and on a busy machine say more than the clock; peak memory is the resident set
and includes the pages of the mapped arrays that were touched.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tabulate import tabulate

from harness.coresets.registry import SELECTORS
from harness.coresets.selector import Source
from harness.datasets.base import Split

PASSES, SNAPSHOTS = 6, 60
FACTORS, NOISE = 10, 0.3  # features lie near a space of few dimensions, as learned ones do: k-means needs its iterations
SIZES = {"tiny-imagenet": (500, 200, 2048), "imagenet-1k": (1281, 1000, 512)}  # rows a class, classes, features
IN_SPACE = {"cal", "graphcut", "kcenter-greedy", "kmeans-emb", "cad-facility"}  # read features or probabilities
PARAMETERS = {"el2n-best": {"beta": 0.5}}


@dataclass(frozen=True)
class MappedDynamics:
    """The arrays of a recorded scoring run, as `harness.dynamics` gives them: mapped, of the first classes only."""

    folder: Path
    labels: np.ndarray

    def __getattr__(self, name: str) -> np.ndarray:
        array = np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        return array[: len(self.labels)] if name in ("features", "probabilities") else array[:, : len(self.labels)]

    def el2n_sl(self, temperature: float) -> np.ndarray:
        return self.el2n


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=SIZES)
    parser.add_argument("--classes", type=int, help="how many of its classes are measured; all by default")
    parser.add_argument("--steps", type=int, default=3, help="sizes measured: all of --classes, a half, a quarter, ...")
    parser.add_argument("--ipc", type=int, default=50)
    parser.add_argument("--only", nargs="*", help="names of selectors; all that need dynamics by default")
    arguments = parser.parse_args()
    per_class, all_classes, features = SIZES[arguments.dataset]
    classes = arguments.classes or all_classes
    names = arguments.only or [name for name, selector in SELECTORS.items() if selector.needs != "pixels"]
    parts = sorted({max(1, classes // 2**step) for step in range(arguments.steps)})
    with tempfile.TemporaryDirectory() as scratch:
        write_dynamics(Path(scratch), per_class, classes, all_classes, features, not IN_SPACE.isdisjoint(names))
        table = []
        for name in names:
            runs = [measured(Path(scratch), name, arguments.dataset, per_class, part, arguments.ipc) for part in parts]
            seconds, processor_seconds, megabytes = runs[-1]
            print(f"{name}: {seconds:.2f} s, {processor_seconds:.2f} CPU s, {megabytes:,.0f} MB", flush=True)
            whole = [f"{measure * all_classes / classes:.1f}" for measure in (seconds, processor_seconds)]
            table.append([name, *(f"{run[0]:.2f}" for run in runs), f"{megabytes:,.0f}", *whole])
    reach = "all" if classes == all_classes else f"{all_classes * per_class:,} by proportion"
    heads = ["selector", *(f"s, {part * per_class:,} rows" for part in parts), "peak MB", f"s, {reach}", f"CPU s, {reach}"]
    print(f"{arguments.dataset}: {per_class} rows a class, {features} features, {SNAPSHOTS} snapshots, IPC {arguments.ipc}")
    print(tabulate(table, heads, tablefmt="github", disable_numparse=True))


def measured(folder: Path, name: str, dataset: str, per_class: int, classes: int, ipc: int) -> tuple[float, float, float]:
    """(seconds, seconds of all threads, peak resident MB) of one selection in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(select, folder, name, dataset, per_class, classes, ipc).result()


def select(folder: Path, name: str, dataset: str, per_class: int, classes: int, ipc: int) -> tuple[float, float, float]:
    labels = np.repeat(np.arange(classes), per_class)
    source = Source(Split(dataset, "train", np.empty(0), labels, ""), MappedDynamics(folder, labels))
    begun, busy = time.perf_counter(), time.process_time()
    rows = SELECTORS[name].run(source, ipc, 0, **PARAMETERS.get(name, {}))
    seconds, busy = time.perf_counter() - begun, time.process_time() - busy
    assert np.bincount(labels[rows]).tolist() == [ipc] * classes
    return seconds, busy, peak_megabytes()


def peak_megabytes() -> float:
    """Of this program alone: ru_maxrss begins at what the process that started it held."""
    status = Path("/proc/self/status")
    if not status.exists():  # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM:")) / 1024


def write_dynamics(folder: Path, per_class: int, classes: int, all_classes: int, features: int, in_space: bool) -> None:
    """Arrays of plausible shape: features of few factors, probabilities of an unsure classifier of all classes."""
    generator, rows = np.random.default_rng(0), per_class * classes
    np.save(folder / "true_probability.npy", generator.random((SNAPSHOTS, rows), np.float32))
    np.save(folder / "el2n.npy", generator.random((SNAPSHOTS, rows), np.float32))
    np.save(folder / "presented.npy", generator.integers(0, 2, (PASSES, rows), dtype=np.uint8))
    wide = {"features": features, "probabilities": all_classes} if in_space else {}
    arrays = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float16, (rows, width)) for name, width in wide.items()
    }
    for label in range(classes if in_space else 0):
        place = slice(label * per_class, (label + 1) * per_class)
        factors = generator.standard_normal((per_class, FACTORS), np.float32) / np.float32(FACTORS**0.5)
        noise = NOISE * generator.standard_normal((per_class, features), np.float32)
        arrays["features"][place] = np.abs(factors @ generator.standard_normal((FACTORS, features), np.float32) + noise)
        logits = generator.standard_normal((per_class, all_classes), np.float32)
        logits[:, label] += 4
        arrays["probabilities"][place] = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    # Last, so that what is drawn above stays what it was when earlier figures were measured.
    np.save(folder / "correct.npy", generator.integers(0, 2, (SNAPSHOTS, rows), dtype=np.uint8))


if __name__ == "__main__":
    main()
