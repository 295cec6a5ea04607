"""The three label regimes (methods A.1): what a batch becomes before the student sees it, and its loss.

HL: the integer class, cross-entropy. SL: one teacher distribution an image, computed once from the un-augmented image, the
same for every view. SL+KD: a fresh teacher distribution for every augmented and CutMixed view. Labels that a distilled set brings
along reach none of them: an ImageSet holds classes only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.errors import UsageError
from harness.imageset import ImageSet
from harness.protocol_models import HardLabels, SoftLabels
from harness.protocols import Protocol
from harness.teachers import PinnedTeacher
from harness.training.cutmix import cutmix
from harness.training.engine import Engine
from harness.training.label_cache import image_logits
from harness.training.seeding import generator_for
from harness.training.teacher import build_teacher

SummedLoss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Supervision:
    """What a regime adds to the training loop.

    `batch(images, labels, rows)`: the images the student sees (float [B, 3, R, R]) and their targets, from a batch of views, its
    classes (int64 [B], on the device) and its rows in the set (int64 [B], on the CPU).
    `summed_loss(logits, targets)`: the loss of some of the batch's images, summed over them.
    """

    batch: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
    summed_loss: SummedLoss


def supervise(protocol: Protocol, image_set: ImageSet, teacher: PinnedTeacher | None, seed: int, engine: Engine) -> Supervision:
    """The protocol's regime. Raises UsageError when it has soft labels and no teacher, or another than the one it names."""
    labels = protocol.labels
    if isinstance(labels, HardLabels):
        return hard_labels(labels)
    if teacher is None or teacher.card.weights.sha256 != labels.teacher_sha256:
        found = "none" if teacher is None else f"{teacher.card.id} ({teacher.card.weights.sha256[:12]})"
        raise UsageError(
            "soft labels need the teacher their protocol names", where=f"{protocol.id}: labels.teacher",
            why=f"given: {found}; named: {labels.teacher} ({labels.teacher_sha256[:12]})",
            fix="take it from harness.teachers.find_teacher",
        )  # fmt: skip
    if labels.regime == "sl":
        return fixed_soft_labels(labels, image_logits(teacher, image_set, engine))
    return fresh_soft_labels(labels, engine.inference(build_teacher(teacher, engine)), generator_for(seed, "cutmix"), engine)


def hard_labels(settings: HardLabels) -> Supervision:
    def summed_loss(logits: Tensor, classes: Tensor) -> Tensor:
        return F.cross_entropy(logits, classes, label_smoothing=settings.label_smoothing, reduction="sum")

    return Supervision(lambda images, classes, rows: (images, classes), summed_loss)


def fixed_soft_labels(settings: SoftLabels, teacher_logits: Tensor) -> Supervision:
    """`teacher_logits`: float32 [N, classes] of the set's images, on the device."""
    distributions = soft_targets(teacher_logits, settings)

    def batch(images: Tensor, classes: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        return images, distributions[rows.to(distributions.device)]

    return Supervision(batch, lambda logits, targets: summed_divergence(logits, targets, settings))


def fresh_soft_labels(
    settings: SoftLabels, teacher: Callable[[Tensor], Tensor], generator: torch.Generator, engine: Engine
) -> Supervision:
    """`teacher`: images to float32 logits. `generator` draws CutMix's boxes and permutations."""

    def batch(images: Tensor, classes: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        if settings.cutmix != "none":
            images = cutmix(images, settings.cutmix, generator)
        images = engine.arrange(images)
        with torch.no_grad():
            return images, soft_targets(teacher(images), settings)

    return Supervision(batch, lambda logits, targets: summed_divergence(logits, targets, settings))


def soft_targets(teacher_logits: Tensor, settings: SoftLabels) -> Tensor:
    """The teacher's distributions q at the protocol's temperature."""
    return (teacher_logits / settings.temperature).softmax(dim=1)


def summed_divergence(logits: Tensor, targets: Tensor, settings: SoftLabels) -> Tensor:
    """KL(q || p), p the student's softmax at the same temperature: summed over classes and images; 0-dim float32."""
    student = (logits.float() / settings.temperature).log_softmax(dim=1)
    divergence = F.kl_div(student, targets, reduction="sum")
    return divergence * settings.temperature**2 if settings.t_squared else divergence
