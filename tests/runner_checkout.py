"""A checkout with the digits protocol and the random digits submissions, and a stand-in for training, for tests of the runner."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from harness.imageset import ImageSet
from harness.ood_records import CORRUPTION_NAMES, OodResult
from harness.plan import plan_units
from harness.records import CurvePoint, Result
from harness.runner import Summary, run_units
from harness.work import Machine

PROJECT = Path(__file__).resolve().parent.parent
PROTOCOL = "digits/resnet18-hl/v1"


def make_checkout(folder: Path) -> Path:
    """Root of the checkout: protocols with their lock, teachers, `submissions/{random,kmeans-centroids}/digits-ipc1`."""
    root = folder / "checkout"
    for name in ("protocols", "teachers"):
        shutil.copytree(PROJECT / name, root / name)
    for slug in ("random", "kmeans-centroids"):
        shutil.copytree(PROJECT / "submissions" / slug / "digits-ipc1", root / "submissions" / slug / "digits-ipc1")
        shutil.copy(PROJECT / "submissions" / slug / "digits-ipc1.yaml", root / "submissions" / slug)
    return root


def units_of(root: Path, slug: str = "kmeans-centroids", seeds: tuple[int, ...] | None = None):
    path = root / "submissions" / slug / "digits-ipc1.yaml"
    return plan_units(root, [path], None, "hl", seeds, root / "leaderboards" / "results")


def fake_outcome(protocol, ipc, image_set, test, seed, device, on_epoch, teacher=None) -> SimpleNamespace:
    """What `train_and_evaluate` returns, without training: numbers that follow from the set and the seed alone."""
    on_epoch(1, 1)
    top1 = 10.0 + seed + int(image_set.sha256[:4], 16) / 65536
    images_seen = ipc * protocol.dataset.classes
    result = Result(
        top1=top1, top5=90.0, test_loss=1.0, train_loss=0.5, images_seen=images_seen, steps=1, epochs=protocol.epochs(ipc)
    )
    curve = (CurvePoint(epoch=0, train_loss=0.5, lr=0.01),)
    return SimpleNamespace(status="ok", result=result, curve=curve, wall_seconds=1.0, images_per_second=50.0, engine={})


def corrupted_result(top: float = 10.0) -> OodResult:
    """`top` percent at severity 1, ten points more at each further one."""
    errors = dict.fromkeys(CORRUPTION_NAMES, tuple(top + 10 * place for place in range(5)))
    return OodResult(corruptions=1, image_side=32, images=20, images_sha256="0" * 64, errors=errors)


def replace_training(monkeypatch) -> list[int]:
    """From here on training is `fake_outcome`; the list grows by every seed that is trained."""
    import harness.training.evaluate_set as module

    seeds = []

    def train(protocol, ipc, image_set, test, seed, device, on_epoch, teacher=None):
        seeds.append(seed)
        return fake_outcome(protocol, ipc, image_set, test, seed, device, on_epoch)

    monkeypatch.setattr(module, "train_and_evaluate", train)
    return seeds


def run_here(root: Path, units) -> Summary:
    return run_units(units, Machine(root, device="cpu"), lambda event: None)


def hidden_files(root: Path) -> list[str]:
    """Claims and temporary files below `root` (not the empty files that lock a takeover)."""
    return [path.name for path in root.rglob(".draw*") if not path.name.endswith(".lock")]


def fake_set(submission, draw, machine) -> tuple[ImageSet, dict]:
    """What `work.load_set` returns, without loading scikit-learn: a set that follows from the draw."""
    count = 10 * submission.ipc
    return ImageSet(np.full((count, 3, 8, 8), draw, dtype=np.uint8), np.arange(count) % 10), {}


def start_hlbench(root: Path, *arguments: str, **environment: str) -> subprocess.Popen:
    """`hlbench` with fake training, in a process of its own, inside the checkout `root`. See `fake_hlbench.py`."""
    script = Path(__file__).with_name("fake_hlbench.py")
    return subprocess.Popen(
        [sys.executable, str(script), *arguments], cwd=root, env={**os.environ, **environment},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        # A suite started in a shell's background ignores Ctrl-C, and so would the process that a test interrupts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def wait_for(path: Path, process: subprocess.Popen) -> None:
    """Until `path` exists; fails when the process ends first or nothing happens for a minute."""
    for _ in range(1200):
        if path.exists():
            return
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)
    raise AssertionError(f"{path} did not appear")
