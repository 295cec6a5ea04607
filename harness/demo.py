"""The embedded default: shipped digits submissions under the digits protocol, on a CPU in minutes, without a download."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.errors import UsageError
from harness.plan import Unit, plan_units

METHODS = ("random", "kmeans-nearest", "kmeans-centroids")
IPCS = (1, 5, 10)
PROTOCOL = "digits/resnet18-hl/v1"
SEEDS = (0, 1, 2)
DRAWS = (0,)  # all draws would take three times as long; `hlbench run` does them


def demo_units(root: Path, ipcs: tuple[int, ...], results: Path) -> list[Unit]:
    """Units of the demo, draw 0 only. Raises UsageError for an IPC without shipped submissions."""
    if foreign := sorted(set(ipcs) - set(IPCS)):
        raise UsageError(f"the demo ships no digits set at IPC {foreign[0]}", where="--ipc", fix="choose among 1,5,10")
    paths = [root / "submissions" / method / f"digits-ipc{ipc}.yaml" for ipc in IPCS if ipc in ipcs for method in METHODS]
    return plan_units(root, paths, PROTOCOL, "hl", SEEDS, results, DRAWS)


def forget(folder: Path) -> None:
    """Delete the demo's records and pages."""
    shutil.rmtree(folder, ignore_errors=True)
