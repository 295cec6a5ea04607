"""One student, trained on one set by one protocol: the loop, read top to bottom."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

from harness.protocol_models import Sgd
from harness.protocols import Protocol
from harness.records import CurvePoint
from harness.training.engine import Engine
from harness.training.labels import SummedLoss, Supervision
from harness.training.schedule import learning_rate
from harness.training.seeding import generator_for
from harness.training.state import TrainingState, capture, restore
from harness.training.views import TrainingViews

CURVE_POINTS = 50  # epochs kept of the training curve, evenly spaced, the last always among them


@dataclass(frozen=True)
class TrainingRun:
    """`diverged`: a loss or a weight stopped being finite; training ended there."""

    diverged: bool
    train_loss: float
    curve: tuple[CurvePoint, ...]
    images_seen: int
    steps: int


def train(
    model: nn.Module,
    views: TrainingViews,
    protocol: Protocol,
    ipc: int,
    seed: int,
    engine: Engine,
    supervision: Supervision,
    on_epoch: Callable[[int, int], None] = lambda done, total: None,
    images_per_epoch: int | None = None,
    on_state: Callable[[TrainingState], None] | None = None,
    resume: TrainingState | None = None,
    on_batch: Callable[[Tensor, Tensor], None] | None = None,
) -> TrainingRun:
    """Train `model` in place for the protocol's epochs; `on_epoch(done, total)` after each.

    `images_per_epoch`: None means every image of the set once. `on_state`, if given, gets the state after each epoch;
    `resume` is such a state, from which training goes on to the bits it would have reached without a break. Not under SL+KD:
    the generator of CutMix is no part of the state. `on_batch`, if given, gets each batch's rows (int64 [B], on the CPU) and the
    logits that the loss was taken of ([B, classes], training mode, detached).
    """
    count, epochs = images_per_epoch or len(views.labels), protocol.epochs(ipc)
    batch_size = protocol.batch_size(ipc, count)
    steps_per_epoch = -(-count // batch_size)
    order_generator, view_generator = generator_for(seed, "order"), generator_for(seed, "augmentation")
    accumulate_gradients = gradient_step(model, supervision.summed_loss, engine, keep_logits=on_batch is not None)
    optimizer = make_optimizer(model, protocol)
    done, mean_loss, diverged = 0, math.nan, False
    curve: list[CurvePoint] = []
    if resume:
        restore(resume.tensors, model, optimizer, view_generator)
        done, mean_loss, curve = resume.epochs_done, resume.train_loss, list(resume.curve)
    orders = islice(epoch_orders(len(views.labels), count, order_generator), done, None)
    model.train()
    for epoch, order in zip(range(done, epochs), orders, strict=False):
        if starts_afresh(protocol, epoch):
            optimizer = make_optimizer(model, protocol)
        epoch_loss = torch.zeros((), device=engine.device)
        batches = zip(order.split(batch_size), views.epoch(order, batch_size, view_generator), strict=True)
        for step, (rows, (images, labels)) in enumerate(batches):
            images, targets = supervision.batch(images, labels, rows)
            rate = learning_rate(protocol, epoch, step, steps_per_epoch, epochs)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad(set_to_none=True)
            loss, logits = accumulate_gradients(images, targets)
            epoch_loss += loss * len(labels)
            if on_batch:
                on_batch(rows, logits)
            optimizer.step()
        mean_loss = epoch_loss.item() / count
        diverged = not (torch.isfinite(epoch_loss).item() and (epoch + 1 < epochs or weights_finite(model)))
        if diverged or epoch in kept_epochs(epochs):
            curve.append(CurvePoint(epoch=epoch, train_loss=None if diverged else mean_loss, lr=rate))
        done = epoch + 1
        on_epoch(done, epochs)
        if diverged:
            break
        if on_state:
            on_state(TrainingState(done, mean_loss, tuple(curve), capture(model, optimizer, view_generator)))
    return TrainingRun(diverged, mean_loss, tuple(curve), images_seen=count * done, steps=steps_per_epoch * done)


def epoch_orders(count: int, per_epoch: int, generator: torch.Generator) -> Iterator[Tensor]:
    """int64 [per_epoch] rows of each epoch, without end: the set is gone through in new random orders, `per_epoch` at a time.

    No row comes again before all the others came, also across epochs.
    """
    rows = torch.empty(0, dtype=torch.int64)
    while True:
        while len(rows) < per_epoch:
            rows = torch.cat([rows, torch.randperm(count, generator=generator)])
        yield rows[:per_epoch]
        rows = rows[per_epoch:]


def gradient_step(
    model: nn.Module, summed_loss: SummedLoss, engine: Engine, keep_logits: bool = False
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor | None]]:
    """A function of images and targets that adds the batch's mean-loss gradient to the parameters: (that loss (0-dim), logits).

    In micro-batches when the engine says so: each adds its share of the batch's mean, so the sum is the whole batch's gradient.
    Without `keep_logits` the logits are None, and the compiled graph is the one without them.
    """

    def forward(images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        logits = model(images)
        return summed_loss(logits, targets), logits.detach() if keep_logits else None

    compiled = engine.compile(forward)

    def accumulate(images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        size = engine.micro_batch or len(images)
        images = engine.arrange(images)
        total = torch.zeros((), device=engine.device)
        seen = []
        for part, part_targets in zip(images.split(size), targets.split(size), strict=True):
            # A shorter last part would be compiled anew for its shape; it is not worth that.
            loss_of = compiled if len(part) == size else forward
            with engine.autocast():
                summed, logits = loss_of(part, part_targets)
                loss = summed / len(images)
            if keep_logits:
                seen.append(logits.clone())  # the compiled backward writes the gradient into the very buffer
            loss.backward()
            total += loss.detach()
        return total, torch.cat(seen) if keep_logits else None

    return accumulate


def make_optimizer(model: nn.Module, protocol: Protocol) -> torch.optim.Optimizer:
    """The protocol's optimizer with an empty state; weight decay on all parameters or on those with more than one dimension."""
    settings = protocol.optimizer
    decayed = [p for p in model.parameters() if settings.decayed_parameters == "all" or p.ndim > 1]
    undecayed = [p for p in model.parameters() if settings.decayed_parameters != "all" and p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": undecayed, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    if isinstance(settings, Sgd):
        return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, nesterov=settings.nesterov)
    return torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, eps=settings.eps)


def starts_afresh(protocol: Protocol, epoch: int) -> bool:
    """Whether the optimizer is made anew before 0-based `epoch`: DC does so at the decay, which empties the momentum."""
    schedule = protocol.schedule
    return schedule.name == "step" and schedule.reset_momentum and epoch == schedule.decay_after_epochs


def kept_epochs(epochs: int) -> set[int]:
    """0-based epochs whose loss goes into the record."""
    return {(point * epochs) // CURVE_POINTS - 1 for point in range(1, CURVE_POINTS + 1)} - {-1} | {epochs - 1}


def weights_finite(model: nn.Module) -> bool:
    return all(torch.isfinite(tensor).all().item() for tensor in model.state_dict().values())
