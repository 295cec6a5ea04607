"""`hlbench` whose training and loading are replaced, for tests that kill it. Spawned workers run this file's top level too.

FAKE_LOG: every training appends a line `<set> seed<s>` there. FAKE_HOLD=<seed>: training that seed touches FAKE_LOG.held, then
waits until FAKE_LOG.go exists. FAKE_DIE=<seed>: the first training of that seed ends the process as the memory killer does.
"""

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

from runner_checkout import fake_outcome, fake_set

import harness.datasets
import harness.work
from harness.cli import main

LOG = Path(os.environ["FAKE_LOG"])


def train_and_evaluate(protocol, ipc, image_set, test, seed, device, on_epoch, teacher=None):
    with LOG.open("a") as log:
        log.write(f"{image_set.sha256[:8]} seed{seed}\n")
    if os.environ.get("FAKE_DIE") == str(seed) and not Path(f"{LOG}.died").exists():
        Path(f"{LOG}.died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if os.environ.get("FAKE_HOLD") == str(seed):
        Path(f"{LOG}.held").touch()
        while not Path(f"{LOG}.go").exists():
            time.sleep(0.02)
    return fake_outcome(protocol, ipc, image_set, test, seed, device, on_epoch)


fake = ModuleType("harness.training.evaluate_set")
fake.train_and_evaluate = train_and_evaluate
sys.modules[fake.__name__] = fake
harness.work.prepare_torch = lambda machine: replace(machine, device="cpu")
harness.work.load_set = fake_set
harness.datasets.load_split = lambda name, split, data: SimpleNamespace(fingerprint="0" * 64)
harness.work.describe_environment = lambda device: {"device": device}

if __name__ == "__main__":
    main()
