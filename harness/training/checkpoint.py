"""What a teacher's training leaves after every epoch, so that the same command goes on where it was stopped.

One safetensors file, replaced in one step: the tensors of the state, and in the header the rest as JSON with a sha256 over all.
A checkpoint belongs to one recipe and one folder to write, which name it, and to one setting (data, machine, threads, layout of
the work), on which rounding depends: elsewhere training would go on, but to other bytes, so there it is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
from filelock import FileLock, Timeout
from torch import Tensor

from harness import canonical
from harness.errors import EnvironmentProblem, UsageError
from harness.paths import cache_root
from harness.records import CurvePoint
from harness.teachers import TeacherRecipe
from harness.training.state import TrainingState
from harness.whole_files import write_in_one_step

HEADER = "hlbench"

Setting = dict[str, str | int | bool | None]


@dataclass(frozen=True)
class Checkpoint:
    """`seconds` of training so far, without the pauses; `code`: the commits it ran at, as `Made.code`."""

    state: TrainingState
    seconds: float
    code: tuple[str, ...]


def checkpoint_path(recipe: TeacherRecipe, folder: Path) -> Path:
    """Of the training of `recipe` whose teacher goes to `folder`: `<cache>/teacher-training/<teacher>-<16 hex>.safetensors`."""
    key = canonical.digest([recipe.model_dump(mode="json", by_alias=True), str(folder.resolve())])
    return cache_root() / "teacher-training" / f"{recipe.id.replace('/', '-')}-{key[:16]}.safetensors"


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Keep other processes from the same training. Raises UsageError when one is at it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(f"{path}.lock", timeout=0):
            yield
    except Timeout as reason:
        raise UsageError(
            "another process is at this training", where=str(path), why="both would write the same teacher",
            fix="wait for it; --out trains into another folder",
        ) from reason  # fmt: skip


def write_checkpoint(path: Path, setting: Setting, checkpoint: Checkpoint) -> None:
    """Raises OSError."""
    state = checkpoint.state
    facts = {
        "setting": setting,
        "epochs_done": state.epochs_done,
        "train_loss": state.train_loss,
        "curve": [[point.epoch, point.train_loss, point.lr] for point in state.curve],
        "seconds": checkpoint.seconds,
        "code": list(checkpoint.code),
    }
    header = json.dumps({"facts": facts, "sha256": _sha256(facts, state.tensors)})
    write_in_one_step(path, safetensors.torch.save(state.tensors, metadata={HEADER: header}))


def read_checkpoint(path: Path, setting: Setting) -> Checkpoint | None:
    """None when there is none. Raises EnvironmentProblem when it is damaged, or was made in another setting."""
    if not path.exists():
        return None
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})[HEADER])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        facts = header["facts"]
        intact = header["sha256"] == _sha256(facts, tensors)
    except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError) as reason:
        raise _refused(path, "is damaged", f"{type(reason).__name__}: {reason}") from reason
    if not intact:
        raise _refused(path, "is damaged", "its contents are not those that were written")
    if changed := [name for name in setting if facts["setting"].get(name) != setting[name]]:
        then_and_now = "; ".join(f"{name}: {facts['setting'].get(name)} then, {setting[name]} now" for name in changed)
        raise _refused(path, "was left in another setting", f"{then_and_now}; rounding would be another")
    curve = tuple(CurvePoint(epoch=epoch, train_loss=loss, lr=rate) for epoch, loss, rate in facts["curve"])
    state = TrainingState(facts["epochs_done"], facts["train_loss"], curve, tensors)
    return Checkpoint(state, facts["seconds"], tuple(facts["code"]))


def remove_checkpoint(path: Path) -> None:
    """With what a process that was killed while it wrote left beside it."""
    for leftover in (path, *path.parent.glob(f".{path.name}.*")):
        leftover.unlink(missing_ok=True)


def _sha256(facts: dict, tensors: dict[str, Tensor]) -> str:
    """Of the facts and of every tensor's name, type, shape and bytes."""
    hashed = hashlib.sha256(canonical.canonical_json(facts))
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        hashed.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        hashed.update(tensor.numpy().tobytes())
    return hashed.hexdigest()


def _refused(path: Path, what: str, why: str) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"the checkpoint of this training {what}", where=str(path), why=why,
        fix="go on as it was begun (OMP_NUM_THREADS sets the threads), or remove the file to begin anew",
    )  # fmt: skip
