"""From a protocol, a split and K to the scoring run (methods F.0, F.11), before anything is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.datasets.base import Split
from harness.dynamics.spec import ScoringRun
from harness.errors import UsageError
from harness.protocols import Protocol
from harness.teachers import PinnedTeacher

FEWEST_SNAPSHOTS = 8  # J + W of CAD-Prune's paper setting, also where the run is shorter than 8 epochs (methods F.11)


@dataclass(frozen=True)
class Wish:
    """What a user asks for.

    `ipc`: match the compute of a set of this size; None: the student's recipe on the whole split. `epochs`: another K than
    follows from that. `snapshots`: None means max(8, round(K)), or every one of the student's epochs if they are fewer.
    `temperatures`: of EL2N-SL, recorded when there is a teacher.
    """

    ipc: int | None = None
    epochs: float | None = None
    snapshots: int | None = None
    seed: int = 0
    temperatures: tuple[float, ...] = (1.0, 20.0)


def plan_run(wish: Wish, protocol: Protocol, split: Split, features: int, teacher: PinnedTeacher | None = None) -> ScoringRun:
    """The run that fulfils `wish`. `features`: inputs of the student's last layer. Raises UsageError when there is none."""
    _require_fit(protocol, split, teacher)
    rows, classes = len(split), protocol.dataset.classes
    recipe_ipc = wish.ipc or max(1, rows // classes)
    recipe_epochs = protocol.epochs(recipe_ipc)
    matched = recipe_epochs * wish.ipc * classes / rows if wish.ipc else float(recipe_epochs)
    epochs = matched if wish.epochs is None else wish.epochs
    _check_epochs(epochs, recipe_epochs, protocol, rows)
    per_epoch = _images_per_epoch(epochs, recipe_epochs, rows, protocol, recipe_ipc)
    snapshots = wish.snapshots or min(recipe_epochs, max(FEWEST_SNAPSHOTS, round(epochs)))
    if snapshots > recipe_epochs:
        raise UsageError(
            f"{snapshots} snapshots are too many", where="--snapshots",
            why=f"they are taken after epochs of the student, which has {recipe_epochs} ({protocol.id})",
            fix=f"choose at most {recipe_epochs}",
        )  # fmt: skip
    return ScoringRun(
        dataset=split.dataset,
        split_fingerprint=split.fingerprint,
        rows=rows,
        classes=classes,
        features=features,
        protocol=protocol.id,
        protocol_sha256=protocol.sha256,
        regime=protocol.regime,
        ipc=wish.ipc,
        epochs=epochs,
        recipe_epochs=recipe_epochs,
        images_per_epoch=per_epoch,
        batch_size=min(protocol.batch_size(recipe_ipc, per_epoch), per_epoch),
        snapshots=snapshots,
        seed=wish.seed,
        teacher=teacher.card.id if teacher else None,
        teacher_sha256=teacher.card.weights.sha256 if teacher else None,
        temperatures=wish.temperatures if teacher else (),
    )


def run_name(run: ScoringRun, protocol: Protocol) -> str:
    """`resnet18-hl-v1-ipc10-s8-seed0`, `resnet18-hl-v1-k30-s30-seed0`: the folder recorded into unless another is named."""
    is_matched = run.ipc is not None and run.images_per_epoch == run.ipc * run.classes
    recipe = f"-of-ipc{run.ipc}" if run.ipc else ""
    length = f"ipc{run.ipc}" if is_matched else f"k{run.epochs:g}{recipe}"
    watched = f"-{run.teacher.split('/')[1]}" if run.teacher else ""
    return f"{protocol.record_folder}-{length}-s{run.snapshots}-seed{run.seed}{watched}"


def _require_fit(protocol: Protocol, split: Split, teacher: PinnedTeacher | None) -> None:
    if split.dataset != protocol.dataset.name or split.name != "train":
        raise UsageError(
            "protocol and data do not belong together", where=protocol.id,
            why=f"the protocol is for {protocol.dataset.name}, the data are the {split.name} split of {split.dataset}",
            fix=f"choose a protocol whose id starts with {split.dataset}/",
        )  # fmt: skip
    if protocol.regime == "sl-kd":
        raise UsageError(
            "a scoring run cannot be trained under SL+KD", where=protocol.id,
            why="CutMix mixes two images, so that no prediction during training belongs to one row",
            fix="choose the student's hl or sl protocol",
        )  # fmt: skip
    if protocol.regime == "sl" and teacher and teacher.card.weights.sha256 != protocol.labels.teacher_sha256:
        raise UsageError(
            "a run under soft labels is measured against the teacher it learns from", where=protocol.id,
            why=f"that is {protocol.labels.teacher}, given {teacher.card.id}", fix="leave --teacher out",
        )  # fmt: skip
    if teacher and teacher.card.dataset.name != split.dataset:
        raise UsageError(
            "the teacher knows other classes", where=teacher.card.id, why=f"its dataset is {teacher.card.dataset.name}",
            fix=f"choose a teacher of {split.dataset}: hlbench teacher list",
        )  # fmt: skip


def _check_epochs(epochs: float, recipe_epochs: int, protocol: Protocol, rows: int) -> None:
    fewest = 2 * recipe_epochs / rows
    if not (math.isfinite(epochs) and fewest <= epochs <= recipe_epochs):
        raise UsageError(
            f"K = {epochs:g} epochs is out of range", where="--ipc, --epochs",
            why=f"each of the student's {recipe_epochs} epochs ({protocol.id}) shrinks to K / {recipe_epochs} of the split, "
            f"which is at least 2 and at most all of its {rows:,} images",
            fix=f"choose K from {fewest:.3g} to {recipe_epochs}",
        )  # fmt: skip


def _images_per_epoch(epochs: float, recipe_epochs: int, rows: int, protocol: Protocol, ipc: int) -> int:
    """Rounded down, so that K whole epochs never begin another pass over the split."""
    images = int(epochs * rows / recipe_epochs + 1e-6)
    if protocol.student.norm == "batch" and images > 1 and images % protocol.batch_size(ipc, images) == 1:
        return images - 1  # a last batch of one image has no statistics to normalise with
    return images
