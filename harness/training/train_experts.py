"""Expert trajectories from their recipe: each expert is trained as a student is, and its parameters are kept after every epoch.

Source: GeorgeCazenavette/mtt-distillation buffer.py. There a network on the CPU is kept by reference, so that every epoch of the
buffer is the last one (methods I.10); here states are copies, and a file whose epochs are equal is refused.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from torch import Tensor

from harness.canonical import file_sha256
from harness.datasets.base import Split
from harness.environment import describe_environment
from harness.errors import CheckFailed, EnvironmentProblem, UsageError
from harness.experts import (
    PARAMETERS,
    Experts,
    ExpertsCard,
    ExpertsRecipe,
    check_file,
    damaged,
    file_of,
    read_experts_card,
    require_pinned,
    write_experts_card,
)
from harness.teachers import Made
from harness.training.checkpoint import held
from harness.training.engine import resolve_device
from harness.training.made_by import commit_of, machine_facts
from harness.training.seeding import generator_for
from harness.training.state import MODEL, TrainingState
from harness.training.students import build_network, build_student
from harness.training.train_teacher import engine_for, top1, trained_network

OnState = Callable[[int, TrainingState], None]
MACHINE = ("torch", "device", "processor", "threads", "compiled")


def train_experts(
    recipe: ExpertsRecipe,
    train_split: Split,
    folder: Path,
    device: str = "auto",
    pinned: ExpertsCard | None = None,
    on_state: OnState = lambda seed, state: None,
) -> ExpertsCard:
    """Make the experts that `folder` lacks, one file each, and the card beside them, rewritten after each expert.

    A killed run loses the expert it was at. `pinned`: what the files must be; checked after each expert, so that a machine
    that rounds otherwise is found out early. `on_state` gets each expert's seed and its state after each epoch.
    Raises UsageError (another process, another recipe, files that are not listed), EnvironmentProblem (begun on another machine),
    CheckFailed (diverged, altered files, not the pinned ones).
    """
    device = resolve_device(device)
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder / ".making"):
        card = begun(recipe, train_split, folder, device)
        for seed in recipe.seeds:
            path = folder / file_of(seed)
            if path.name in card.files and path.exists():
                check_file(path, card)
                continue
            refuse_unlisted(path)
            card = with_expert(card, seed, path, train_split, device, pinned, on_state)
        require_pinned(card, pinned)
    return card


def begun(recipe: ExpertsRecipe, train_split: Split, folder: Path, device: str) -> ExpertsCard:
    """The card in `folder` if it can be gone on from, or an empty one. Raises UsageError, EnvironmentProblem."""
    environment, engine = describe_environment(device), engine_for(recipe, train_split, device)
    made = Made(**machine_facts(engine, environment), seconds=0.0, code=(commit_of(environment),))
    kept = read_experts_card(folder)
    if kept is None:
        return ExpertsCard(
            schema=1, recipe_sha256=recipe.sha256, recipe=recipe, train_split=train_split.fingerprint,
            files={}, train_top1={}, made=made,
        )  # fmt: skip
    if (kept.recipe_sha256, kept.train_split) != (recipe.sha256, train_split.fingerprint):
        raise UsageError(
            "there are experts of another recipe or training split", where=str(folder), why="a folder holds one set of experts",
            fix="name another folder with --out, or remove this one",
        )  # fmt: skip
    to_make = [name for name in recipe.files if not (name in kept.files and (folder / name).exists())]
    changed = [name for name in MACHINE if getattr(kept.made, name) != getattr(made, name)]
    if to_make and changed:
        then_and_now = "; ".join(f"{name}: {getattr(kept.made, name)} then, {getattr(made, name)} now" for name in changed)
        raise EnvironmentProblem(
            "these experts were begun in another setting", where=str(folder), why=f"{then_and_now}; rounding would be another",
            fix="go on as they were begun (OMP_NUM_THREADS sets the threads), or name another folder with --out",
        )  # fmt: skip
    code = tuple(dict.fromkeys([*kept.made.code, *made.code])) if to_make else kept.made.code
    return kept.model_copy(update={"made": kept.made.model_copy(update={"code": code})})


def with_expert(
    card: ExpertsCard, seed: int, path: Path, train_split: Split, device: str, pinned: ExpertsCard | None, on_state: OnState
) -> ExpertsCard:
    """Train one expert and write its file; the card that lists it, already written too."""
    started = time.perf_counter()
    trajectory, accuracy = trained_trajectory(card.recipe, seed, train_split, device, on_state)
    unfinished = path.with_name(f".{path.name}.unfinished")
    write_trajectory(unfinished, trajectory)
    sha256 = file_sha256(unfinished)
    if card.files.get(path.name, sha256) != sha256:
        unfinished.unlink()
        raise damaged(path, "made again, it is not what the card lists: the code or the machine rounds otherwise now")
    seconds = round(card.made.seconds + time.perf_counter() - started, 1)
    card = card.model_copy(update={
        "files": {**card.files, path.name: sha256},
        "train_top1": {**card.train_top1, path.name: round(accuracy, 2)},
        "made": card.made.model_copy(update={"seconds": seconds}),
    })  # fmt: skip
    require_pinned(card, pinned)
    write_experts_card(path.parent, card)  # before the file has its name: a file that no card lists is somebody else's
    unfinished.replace(path)
    return card


def trained_trajectory(
    recipe: ExpertsRecipe, seed: int, train_split: Split, device: str, on_state: OnState = lambda seed, state: None
) -> tuple[np.ndarray, float]:
    """(float32 [epochs + 1, P], percent of the training split that the last epoch classifies rightly). Raises CheckFailed."""
    one = recipe.model_copy(update={"seeds": (seed,)})
    network = build_student(one, generator_for(seed, "init"))
    names = [name for name, _ in network.named_parameters()]
    rows = [flat([parameter for _, parameter in network.named_parameters()])]

    def keep(state: TrainingState) -> None:
        rows.append(flat([state.tensors[MODEL + name] for name in names]))
        on_state(seed, state)

    trained = trained_network(one, train_split, device, keep)
    trajectory = np.stack(rows)
    if still := [epoch for epoch in range(1, len(rows)) if np.array_equal(trajectory[epoch - 1], trajectory[epoch])]:
        raise CheckFailed(
            "an expert stood still", where=f"{recipe.id}, seed {seed}", why=f"epoch {still[0]} changed no parameter"
        )
    return trajectory, top1(trained, train_split, one, device)


def flat(tensors: list[Tensor]) -> np.ndarray:
    """float32 [P], copied."""
    return torch.cat([tensor.detach().float().cpu().contiguous().flatten() for tensor in tensors]).numpy().copy()


def write_trajectory(path: Path, trajectory: np.ndarray) -> None:
    """Raises OSError."""
    safetensors.numpy.save_file({PARAMETERS: np.ascontiguousarray(trajectory)}, path)
    with path.open("rb") as file:
        os.fsync(file.fileno())


def refuse_unlisted(path: Path) -> None:
    if path.exists():
        raise UsageError(
            "there is a file that these experts did not leave", where=str(path), why="the card beside it does not list it",
            fix="move it away, or name another folder with --out",
        )  # fmt: skip


def verify_experts(experts: Experts, train_split: Split, device: str) -> dict[str, Any]:
    """What was found: hashes are checked already; here the beginnings are drawn again and the last epochs measured again.

    Raises CheckFailed when an expert does not begin as its seed says or measures otherwise, UsageError for another split.
    """
    card, recipe = experts.card, experts.card.recipe
    if train_split.fingerprint != card.train_split:
        raise UsageError("the experts were trained on another split", where=str(experts.folder), fix="see hlbench doctor")
    measured = []
    for seed in recipe.seeds:
        path = experts.folder / file_of(seed)
        begun_at = flat(list(build_student(recipe, generator_for(seed, "init")).parameters()))
        if not np.array_equal(begun_at, experts.parameters(seed, 0)):
            raise damaged(path, f"it does not begin with the parameters of seed {seed}")
        if recipe.student.norm != "batch":  # running statistics are no parameters, so these networks cannot be measured
            network = build_network(recipe.student, recipe.dataset.classes, recipe.input.resolution, recipe.id)
            torch.nn.utils.vector_to_parameters(torch.from_numpy(experts.parameters(seed, experts.epochs)), network.parameters())
            measured.append(top1(network, train_split, recipe, device))
            if abs(measured[-1] - card.train_top1[path.name]) > 0.2:
                raise damaged(path, f"{measured[-1]:.2f} % of train, the card says {card.train_top1[path.name]:.2f} %")
    return {
        "id": recipe.id,
        "sha256": experts.sha256[:12],
        "train_top1": f"{np.mean(measured):.2f}" if measured else "",
        "test_top1": "",
    }
