"""What SRe2L, DWA and RDED's realism share: means over the images of a set of what a pinned network says of each image alone.

A set's channel means and mean squares are the means of its images' own, and so is a cross-entropy. So every image that any set
counts is seen once, and each set takes its mean by a product with its counts. A row that a set names k times counts k times; the
counts are reduced by their greatest common divisor, so that a set whose every row comes twice is the set of those rows, to the
bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.datasets.base import Split
from harness.dcs.objective import Scene
from harness.dcs.objectives.random_networks import images_of
from harness.errors import EnvironmentProblem, ProtocolError, UsageError
from harness.teachers import PinnedTeacher, TeacherCard
from harness.training.engine import CPU_MICRO_BATCH, Engine, choose_engine, make_deterministic
from harness.training.teacher import build_teacher

CHUNK = 256  # rows whose quantities are held at once

PerImage = Callable[[Tensor, Tensor], Tensor]  # float32 [B, 3, R, R] and labels int64 [B] to float [B, quantities]


@dataclass(frozen=True)
class CountedRows:
    """Distinct rows, int64 [n], and how often each counts, int64 [n]. Those of a set ascend and their counts are reduced."""

    rows: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True)
class PinnedNetwork:
    """A teacher's network in evaluation mode and float32, whatever its card's precision; nothing is compiled."""

    card: TeacherCard
    model: nn.Module
    engine: Engine

    def parts(self, images: Tensor) -> tuple[Tensor, ...]:
        """The images in pieces that fit the processor's cache. In evaluation mode batch norm looks at no batch."""
        return self.engine.arrange(images).split(self.engine.micro_batch or len(images))


def counted_sets(sets: Sequence[np.ndarray], split: Split) -> list[CountedRows]:
    """Raises UsageError when a set is empty or names a row that does not exist."""
    found = []
    for position, members in enumerate(sets):
        if not len(members) or not 0 <= np.min(members) <= np.max(members) < len(split):
            why = f"the split has {len(split)} rows" if len(members) else "it is empty"
            raise UsageError("a set names rows that do not exist, or none", where=f"set {position}", why=why)
        rows, counts = np.unique(np.asarray(members, dtype=np.int64), return_counts=True)
        found.append(CountedRows(rows, counts // np.gcd.reduce(counts)))
    return found


def open_network(teacher: PinnedTeacher | None, scene: Scene, role: str, fix: str) -> PinnedNetwork:
    """Raises EnvironmentProblem, with `fix`, when there is no teacher, UsageError when it knows another dataset's classes."""
    dataset = scene.train.dataset
    if teacher is None:
        raise EnvironmentProblem(f"the objective needs {role} of {dataset}, and there is none", fix=fix)
    card = teacher.card
    if card.dataset.name != dataset:
        why = f"it knows {card.dataset.name}, the sets are of {dataset}"
        raise UsageError(f"{role} of another dataset", where=card.id, why=why)
    make_deterministic(card)
    micro_batch = CPU_MICRO_BATCH if scene.device == "cpu" else 0
    # Never compiled, which rounds differently: a loss must not depend on how many sets are scored with it.
    engine = replace(choose_engine(card, 0, scene.device), precision="fp32", compiled=False, micro_batch=micro_batch)
    return PinnedNetwork(card, build_teacher(teacher, engine), engine)


def open_batch_norm_teacher(scene: Scene) -> PinnedNetwork:
    """The scene's teacher. Raises EnvironmentProblem when it has none, UsageError when that has no layer of batch norm."""
    dataset = scene.train.dataset
    fix = f"choose one from hlbench teacher list, or train one of norm: batch: hlbench teacher train {dataset}/<name>"
    network = open_network(scene.teacher, scene, "a teacher with batch norm", fix)
    if not batch_norm_layers(network.model):
        raise UsageError("the teacher has no batch norm", where=network.card.id, why="it keeps no running statistics", fix=fix)
    return network


def batch_norm_layers(model: nn.Module) -> list[nn.BatchNorm2d]:
    """In the order of `model.modules()`, as SRe2L numbers them."""
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


@torch.no_grad()
def means_over_images(sets: Sequence[CountedRows], scene: Scene, network: PinnedNetwork, per_image: PerImage) -> np.ndarray:
    """float64 [sets, quantities]: of `per_image`, over each set's images as stored, a row counted as often as the set says."""
    used = np.unique(np.concatenate([members.rows for members in sets]))
    places = np.concatenate([np.searchsorted(used, members.rows) for members in sets])
    starts = np.cumsum([0, *(len(members.rows) for members in sets)])
    counts = np.concatenate([members.counts for members in sets]).astype(np.float64)
    weights = scipy.sparse.csr_array((counts, places, starts), shape=(len(sets), len(used))).tocsc()
    sums: np.ndarray | float = 0.0
    for start in range(0, len(used), CHUNK):
        rows = used[start : start + CHUNK]
        sums = sums + weights[:, start : start + CHUNK] @ values_of(rows, scene, network, per_image)
        scene.report(start + len(rows), len(used))
    return sums / weights.sum(axis=1)[:, None]


def values_of(rows: np.ndarray, scene: Scene, network: PinnedNetwork, per_image: PerImage) -> np.ndarray:
    """float64 [rows, quantities] of the images as stored. Raises ProtocolError when one is not finite."""
    images, labels = images_and_labels(rows, scene, network.card)
    parts = network.parts(images)
    values = [per_image(part, of_part) for part, of_part in zip(parts, labels.split(len(parts[0])), strict=True)]
    found = torch.cat(values).cpu().numpy().astype(np.float64)
    if not np.isfinite(found).all():
        raise ProtocolError("the teacher gives no number", where=network.card.id, why="what it says of an image is not finite")
    return found


def images_and_labels(rows: np.ndarray, scene: Scene, card: TeacherCard) -> tuple[Tensor, Tensor]:
    """float32 [n, 3, R, R] and int64 [n], in the order of `rows`, on the scene's device."""
    labels = torch.from_numpy(np.ascontiguousarray(scene.train.labels[rows])).to(scene.device)
    return images_of(scene.train, rows, card, scene.device), labels


def cross_entropies(logits: Tensor, labels: Tensor) -> Tensor:
    """float64 [B], nats."""
    return F.cross_entropy(logits.double(), labels, reduction="none")


def say_all(model: nn.Module, forward: Callable[[Tensor], Tensor]) -> PerImage:
    """float64 [B, 1 + 2 x channels]: an image's cross-entropy, then its deviations. `forward` runs `model` with any weights."""
    layers = batch_norm_layers(model)

    def per_image(images: Tensor, labels: Tensor) -> Tensor:
        with recorded_deviations(layers) as deviations:
            logits = forward(images)
        return torch.cat([cross_entropies(logits, labels)[:, None], *(part.double() for part in deviations)], dim=1)

    return per_image


@contextmanager
def recorded_deviations(layers: Sequence[nn.BatchNorm2d]) -> Iterator[list[Tensor]]:
    """While a batch passes: for each layer float32 [B, 2 x channels], the mean of x - RM over the image, and of its square.

    x is the layer's input. About the running mean RM, so that a variance is no small difference of large numbers.
    """
    found: list[Tensor] = []

    def keep(layer: nn.BatchNorm2d, given: tuple[Tensor]) -> None:
        deviation = given[0] - layer.running_mean[:, None, None]
        mean = deviation.mean(dim=(2, 3))
        found.append(torch.cat([mean, deviation.square_().mean(dim=(2, 3))], dim=1))

    hooks = [layer.register_forward_pre_hook(keep) for layer in layers]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def bn_term(model: nn.Module, deviations: np.ndarray, first_weight: float, variance_weight: float = 1.0) -> np.ndarray:
    """float64 [sets]: sum over layers of w (|mean - RM| + variance_weight |variance - RV|), w = `first_weight` in the first.

    Elsewhere w = 1. Norms over channels, not squared; the variance is biased. `deviations`: float64 [sets, 2 x channels], as
    recorded, averaged over the set. Source: VILA-Lab/SRe2L 8d00cba3 recover/utils.py BNFeatureHook, recover/data_synthesis.py
    first_bn_multiplier.
    """
    found, start = np.zeros(len(deviations)), 0
    for number, layer in enumerate(batch_norm_layers(model)):
        channels = layer.num_features
        mean, square = (deviations[:, start + i * channels : start + (i + 1) * channels] for i in range(2))
        variance = square - mean**2
        expected = layer.running_var.double().cpu().numpy()
        term = np.linalg.norm(mean, axis=1) + variance_weight * np.linalg.norm(variance - expected, axis=1)
        found += (first_weight if number == 0 else 1.0) * term
        start += 2 * channels
    return found
