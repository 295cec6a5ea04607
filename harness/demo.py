"""The embedded default: shipped digits sets under hard labels, SL and SL+KD, on a CPU in minutes, without a download."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.errors import UsageError
from harness.plan import Unit, plan_units
from harness.submissions import FULL_DATASET

# Random with all its draws, because one random set is not Random; of the others one draw, to stay within minutes.
DRAWS = {"random": (0, 1, 2), "kmeans-nearest": (0,), "kmeans-centroids": (0,), FULL_DATASET: (0,)}
IPCS = (1, 5, 10)
SEEDS = (0, 1)


def demo_units(root: Path, ipcs: tuple[int, ...], results: Path) -> list[Unit]:
    """Units of the demo. Raises UsageError for an IPC without shipped submissions."""
    if foreign := sorted(set(ipcs) - set(IPCS)):
        raise UsageError(f"the demo ships no digits set at IPC {foreign[0]}", where="--ipc", fix="choose among 1,5,10")
    units = []
    for ipc in sorted(set(ipcs)):
        for method, draws in DRAWS.items():
            path = root / "submissions" / method / f"digits-ipc{ipc}.yaml"
            units += plan_units(root, [path], None, "all", SEEDS, results, draws)
    return units


def forget(folder: Path) -> None:
    """Delete the demo's records and pages."""
    shutil.rmtree(folder, ignore_errors=True)
