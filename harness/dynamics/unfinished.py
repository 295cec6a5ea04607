"""The folder of a recording while it is made: its arrays, and a checkpoint of the training they are written by.

It lies beside the final folder as `.<name>.unfinished` and is renamed as the last step, so a recording is whole or not there.
The same command goes on from the checkpoint. What was written into the arrays after it is then written again, the same.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from harness.dynamics.artifact import create_arrays, open_array
from harness.dynamics.spec import ScoringRun
from harness.errors import EnvironmentProblem, UsageError
from harness.training.checkpoint import remove_checkpoint

CHECKPOINT, LOCK = "checkpoint.safetensors", "lock"


def unfinished_folder(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.unfinished")


@contextmanager
def held(folder: Path) -> Iterator[Path]:
    """The unfinished folder of `folder`, made if need be and this process's alone. Raises UsageError when another has it."""
    unfinished = unfinished_folder(folder)
    unfinished.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(unfinished / LOCK, timeout=0):
            yield unfinished
    except Timeout as reason:
        raise UsageError(
            "another process is recording these dynamics", where=str(unfinished), fix="wait for it, or name another --out"
        ) from reason


def arrays_of(unfinished: Path, run: ScoringRun, resumed: bool) -> dict[str, np.memmap]:
    """The writable arrays: new ones, or those an earlier sitting filled in part.

    Raises EnvironmentProblem when the disk has no room for new ones, CheckFailed when those that are there are damaged.
    """
    if not resumed:
        require_space(unfinished, run.bytes)
        return create_arrays(unfinished, run)
    return {name: open_array(unfinished / name, form, mode="r+") for name, form in run.arrays.items()}


def require_space(folder: Path, bytes_needed: int) -> None:
    """A mapped file takes its space only as it is written, and then a full disk kills the process."""
    free = shutil.disk_usage(folder).free
    if free < bytes_needed:
        raise EnvironmentProblem(
            "not enough disk space for the training dynamics", where=str(folder),
            why=f"{bytes_needed / 1e9:.2f} GB needed, {free / 1e9:.2f} GB free",
            fix="free some, name an --out on a larger disk, or take fewer --snapshots",
        )  # fmt: skip


def finish(unfinished: Path, folder: Path) -> None:
    """All but the recording removed, and the folder renamed to its final name."""
    remove_checkpoint(unfinished / CHECKPOINT)
    (unfinished / LOCK).unlink(missing_ok=True)
    unfinished.rename(folder)


def discard(unfinished: Path) -> None:
    shutil.rmtree(unfinished, ignore_errors=True)
