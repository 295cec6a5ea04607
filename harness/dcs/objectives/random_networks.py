"""What DM and DC share: networks of random weights, the images of a class under one augmentation, exact class means, and draws
that an interruption does not lose.

Both losses hang on means over the images of a class alone. So every image that any set counts is seen once a draw, and each set
takes its mean by a product with its shares. A row that a set names k times counts k; a set's counts are divided by what divides
them all, so that a set whose every row comes twice is the set of those rows, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from torch import Tensor, nn

from harness.datasets.base import Split
from harness.dcs.declared import DSA_SETTINGS
from harness.dcs.objective import Scene, Value
from harness.errors import UsageError
from harness.imageset import EncodedImages
from harness.protocol_models import Dsa
from harness.teachers import TeacherCard
from harness.training.engine import CPU_MICRO_BATCH
from harness.training.seeding import generator_for
from harness.training.siamese import augment_siamese
from harness.training.students import build_network, initialise
from harness.training.views import evaluation_views
from harness.whole_files import write_in_one_step

Distances = Callable[["ClassBatch"], np.ndarray]  # float64 [sets]: of one class, between each set and the real sample

BATCH_NORM_IMAGES_PER_CLASS = 16  # DC main.py: BNSizePC
BATCH_NORM_BATCH = 256
ACCELERATOR_MICRO_BATCH = 64


@dataclass(frozen=True)
class ClassCounts:
    """How often each set counts each image of one class: `rows` int64 [n] ascending, `counts` int64 [sets, n], reduced."""

    rows: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True)
class ClassBatch:
    """The images of one class in one draw, and whose mean is over which.

    Attributes:
        label: the class.
        images: float32 [n, 3, R, R] on the scene's device, normalised, augmented: rows that any set counts, and the real sample.
        shares: float64 [means, n], lines that sum to 1, no two alike.
        mean_of: int64 [sets], the line of `shares` that is a set's mean.
        real: the line that is the mean of the real sample.
    """

    label: int
    images: Tensor
    shares: Tensor
    mean_of: np.ndarray
    real: int


def losses_of_draws(
    counts: Sequence[ClassCounts],
    scene: Scene,
    settings: Mapping[str, Value],
    objective: str,
    network: nn.Module,
    distances: Distances,
) -> np.ndarray:
    """float64 [sets, draws]: the mean over classes of `distances`, which see `network` with the weights of the draw.

    Draws that lie in the scene's `kept` are not done again.
    """
    draws = int(settings["networks"])
    found = np.zeros((len(counts[0].counts), draws))
    for draw in range(draws):
        kept = None if scene.kept is None else scene.kept / f"{objective}-{draw}.safetensors"
        if kept is not None and (known := _kept_losses(kept, len(found))) is not None:
            found[:, draw] = known
            continue
        draw_weights(network, scene, objective, draw)
        for batch in class_batches(counts, scene, settings, objective, draw):
            found[:, draw] += distances(batch)
            scene.report(draw * len(counts) + batch.label + 1, draws * len(counts))
        found[:, draw] /= len(counts)
        if kept is not None and np.isfinite(found[:, draw]).all():
            write_in_one_step(kept, save({"losses": np.ascontiguousarray(found[:, draw])}))
    return found


def _kept_losses(path: Path, sets: int) -> np.ndarray | None:
    """float64 [sets]; None where there is no file, or one that is damaged: a draw is done again."""
    try:
        losses = load_file(path)["losses"]
    except (OSError, SafetensorError, KeyError):
        return None
    fits = losses.shape == (sets,) and losses.dtype == np.float64
    return losses if fits and np.isfinite(losses).all() else None


def counts_by_class(sets: Sequence[np.ndarray], labels: np.ndarray, classes: int) -> list[ClassCounts]:
    """One entry a class. Raises UsageError when a set names a row that does not exist, or no image of some class."""
    for position, rows in enumerate(sets):
        where = f"set {position}"
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(labels):
            raise UsageError("a set names rows that do not exist", where=where, why=f"the split has {len(labels)} rows")
        if len(missing := np.setdiff1d(np.arange(classes), labels[rows])):
            raise UsageError("a set has no mean in every class", where=where, why=f"it has no image of class {missing[0]}")
    return [_counts([rows[labels[rows] == label] for rows in sets]) for label in range(classes)]


def _counts(members: list[np.ndarray]) -> ClassCounts:
    used = np.unique(np.concatenate(members))
    counts = np.stack([np.bincount(np.searchsorted(used, rows), minlength=len(used)) for rows in members])
    return ClassCounts(used, counts // np.gcd.reduce(counts, axis=1, keepdims=True))


def class_batches(
    counts: Sequence[ClassCounts], scene: Scene, settings: Mapping[str, Value], objective: str, draw: int
) -> Iterator[ClassBatch]:
    """The classes of one draw in order. Each has its own real sample and, as in DC main.py, its own augmentation."""
    for label, of_class in enumerate(counts):
        real = sample_of_class(scene.train.labels, label, int(settings["real_per_class"]), objective, draw)
        rows = np.union1d(of_class.rows, real)
        weights = np.zeros((len(of_class.counts) + 1, len(rows)), dtype=np.int64)
        weights[:-1, np.searchsorted(rows, of_class.rows)] = of_class.counts
        weights[-1, np.searchsorted(rows, real)] = 1
        distinct, line_of = np.unique(weights, axis=0, return_inverse=True)
        shares = torch.from_numpy(distinct / distinct.sum(axis=1, keepdims=True)).to(scene.device)
        images = images_of(scene.train, rows, scene.backbone, scene.device)
        if settings["augmentation"] == "siamese-dsa":
            images = augment_siamese(images, dsa_settings(settings), generator_for(draw, f"{objective}/augmentation/{label}"))
        yield ClassBatch(label, images, shares, line_of[:-1], int(line_of[-1]))


def sample_of_class(labels: np.ndarray, label: int, most: int, objective: str, draw: int) -> np.ndarray:
    """int64 ascending: `most` rows of the class without replacement, all of a smaller class (DC main.py, get_images)."""
    rows = np.flatnonzero(labels == label)
    order = torch.randperm(len(rows), generator=generator_for(draw, f"{objective}/real/{label}")).numpy()
    return np.sort(rows[order[:most]])


def images_of(split: Split, rows: np.ndarray, card: TeacherCard, device: str) -> Tensor:
    """float32 [n, 3, R, R] in the order of `rows`, as the card sees images that nothing augments."""
    images = split.images
    if isinstance(images, EncodedImages):
        chosen = EncodedImages(len(rows), lambda position: images.read(int(rows[position])))
    else:
        chosen = images[rows]
    part = Split(split.dataset, split.name, chosen, split.labels[rows], split.fingerprint)
    return torch.cat([batch for batch, _ in evaluation_views(part, card, device)])


def dsa_settings(settings: Mapping[str, Value]) -> Dsa:
    values = {name: settings[name] for name in DSA_SETTINGS if name != "strategy"}
    return Dsa(name="dsa", mode="one-op-per-batch", strategy=tuple(str(settings["strategy"]).split("_")), **values)


def blank_network(scene: Scene) -> nn.Module:
    """The backbone on the scene's device, frozen, in evaluation mode; `draw_weights` gives it the weights of a draw."""
    return _network(scene).to(scene.device).requires_grad_(False).eval()


def draw_weights(network: nn.Module, scene: Scene, objective: str, draw: int) -> None:
    """Give a network of the backbone's kind the weights of a draw.

    Batch norm gets the statistics of 16 real images a class and keeps them. That is what DC does (main.py, BNSizePC), but for its
    momentum of 0.1, which leaves nine tenths of the initial 0 and 1. For DM it is inferred: main_DM.py pushes all classes through
    one batch in training mode, where an image's features depend on the rest of its set.
    """
    student, fresh = scene.backbone.student, _network(scene)
    initialise(fresh, student.init, generator_for(draw, f"{objective}/init"))
    network.load_state_dict(fresh.state_dict())
    if student.norm == "batch":
        _estimate_batch_norm(network, scene, objective, draw)


def _network(scene: Scene) -> nn.Module:
    card = scene.backbone
    return build_network(card.student, card.dataset.classes, card.input.resolution, f"teachers/{card.id}")


@torch.no_grad()
def _estimate_batch_norm(network: nn.Module, scene: Scene, objective: str, draw: int) -> None:
    """Statistics averaged over batches of at most 256 in random order; up to 16 classes they are those of one batch."""
    labels = scene.train.labels
    rows = np.concatenate([
        sample_of_class(labels, label, BATCH_NORM_IMAGES_PER_CLASS, f"{objective}/batch-norm", draw)
        for label in range(scene.backbone.dataset.classes)
    ])  # fmt: skip
    order = torch.randperm(len(rows), generator=generator_for(draw, f"{objective}/batch-norm/order")).numpy()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # a plain average over the batches
            module.reset_running_stats()
    network.train()
    for start in range(0, len(rows), BATCH_NORM_BATCH):
        network(images_of(scene.train, rows[order[start : start + BATCH_NORM_BATCH]], scene.backbone, scene.device))
    network.eval()


def micro_batches(images: Tensor) -> tuple[Tensor, ...]:
    """The images in parts of one size, the last filled up with copies that the caller drops.

    Of one size, because another shape may round otherwise, and what a network makes of an image must not hang on how many others
    the sets name: where the input of a ReLU is as good as 0, rounding turns its slope, which a gradient over few images shows.
    """
    size = CPU_MICRO_BATCH if images.device.type == "cpu" else ACCELERATOR_MICRO_BATCH
    return torch.cat([images, images[-1:].expand(-len(images) % size, -1, -1, -1)]).split(size)
