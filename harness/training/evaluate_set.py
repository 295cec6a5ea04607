"""From a checked set and a protocol to the unit's numbers: build the student, train it, measure its last epoch on test."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from harness.datasets.base import Split
from harness.errors import UsageError
from harness.imageset import ImageSet
from harness.protocols import Protocol
from harness.records import CurvePoint, Result
from harness.teachers import PinnedTeacher, TeacherCard
from harness.training.engine import Engine, choose_engine, make_deterministic, resolve_device
from harness.training.labels import supervise
from harness.training.seeding import generator_for
from harness.training.students import build_student
from harness.training.trainer import train
from harness.training.views import evaluation_views, require_fit, training_views


@dataclass(frozen=True)
class Outcome:
    """What a record needs to know. `result` is None exactly when `status` is diverged."""

    status: str
    result: Result | None
    curve: tuple[CurvePoint, ...]
    wall_seconds: float
    images_per_second: float
    engine: dict[str, str | int | bool | None]


def train_and_evaluate(
    protocol: Protocol,
    ipc: int,
    image_set: ImageSet,
    test: Split,
    seed: int,
    device: str = "auto",
    on_epoch: Callable[[int, int], None] | None = None,
    teacher: PinnedTeacher | None = None,
    examine: Callable[[nn.Module, Engine, Result], None] | None = None,
) -> Outcome:
    """One unit. Same arguments on the same machine give the same bits. `teacher`: the protocol's, None under hard labels.

    `image_set` holds `ipc` images a class, or is the whole training split: then every epoch shows as many images as one of a set
    of this IPC would, so that steps, images seen and schedule are those of the sets beside it, and only the images are others.
    `examine` is shown the trained student and its result at the end, unless it diverged; it changes nothing of the outcome.

    Raises UsageError when set, protocol, test split and teacher do not belong together.
    """
    require_fit(image_set, protocol)
    images_per_epoch = ipc * protocol.dataset.classes
    fits = len(image_set) in (images_per_epoch, protocol.dataset.train_images)
    if not fits or test.dataset != protocol.dataset.name:
        raise UsageError(
            "set and protocol do not fit",
            where=protocol.id,
            why=f"{len(image_set)} images at IPC {ipc}; test split of {test.dataset}",
        )
    started = time.perf_counter()
    device = resolve_device(device)
    make_deterministic(protocol)
    engine = choose_engine(protocol, protocol.epochs(ipc) * images_per_epoch, device)
    model = engine.place(build_student(protocol, generator_for(seed, "init")))
    views = training_views(image_set, protocol, device)
    supervision = supervise(protocol, image_set, teacher, seed, engine)
    run = train(model, views, protocol, ipc, seed, engine, supervision, on_epoch or (lambda done, total: None), images_per_epoch)
    trained = time.perf_counter()
    top1, top5, test_loss = (math.nan,) * 3 if run.diverged else measure(model, test, protocol, engine)
    result = None
    if math.isfinite(test_loss):
        result = Result(
            top1=top1, top5=top5, test_loss=test_loss, train_loss=run.train_loss,
            images_seen=run.images_seen, steps=run.steps, epochs=protocol.epochs(ipc),
        )  # fmt: skip
    outcome = Outcome(
        status="diverged" if result is None else "ok",
        result=result,
        curve=run.curve,
        wall_seconds=round(time.perf_counter() - started, 2),
        images_per_second=round(run.images_seen / (trained - started), 1),
        engine=engine.as_record(),
    )
    if examine is not None and result is not None:
        examine(model, engine, result)
    return outcome


@torch.inference_mode()
def measure(model: nn.Module, test: Split, protocol: Protocol | TeacherCard, engine: Engine) -> tuple[float, float, float]:
    """(top-1 in percent, top-5 in percent, mean cross-entropy in nats) over the whole split."""
    model.eval()
    forward = engine.inference(model)
    top1 = top5 = 0
    loss = 0.0
    for images, labels in evaluation_views(test, protocol, engine.device):
        logits = forward(images)
        best = logits.topk(min(5, logits.shape[1]), dim=1).indices
        top1 += (best[:, 0] == labels).sum().item()
        top5 += (best == labels[:, None]).sum().item()
        loss += F.cross_entropy(logits, labels, reduction="sum").double().item()
    return 100 * top1 / len(test), 100 * top5 / len(test), loss / len(test)
