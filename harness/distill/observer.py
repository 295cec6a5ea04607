"""The observer: a pinned teacher that says how well a piece of an image still shows its class (RDED synthesize/utils.py).

In evaluation mode and float32 whatever the card's precision, for the ranking hangs on small differences. A piece that is smaller
than an image lies in its middle, and around it zeros of the normalised space, that is the mean colour.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.errors import ProtocolError, UsageError
from harness.normalization import Statistics
from harness.teachers import PinnedTeacher, read_card, read_weights
from harness.training.engine import CPU_MICRO_BATCH, choose_engine, make_deterministic, resolve_device
from harness.training.teacher import build_teacher

BATCH = 256
# By name, not "the dataset's teacher": a command must write the same set after another teacher has joined.
OBSERVERS = {
    "digits": "digits/convnet-d3",
    "cifar10": "cifar10/convnet-d3",
    "cifar100": "cifar100/convnet-d3",
    "tiny-imagenet": "tiny-imagenet/convnet-d4",
    "imagenet-1k": "imagenet-1k/resnet18",
}


@dataclass(frozen=True)
class Observer:
    """A network that knows the classes.

    Attributes:
        logits: from normalised float32 [B, 3, resolution, resolution] on `device` to float32 [B, classes].
        resolution: side in pixels of what the network sees; images of another side are resized to it (digits: 8 to 32).
        statistics: mean and deviation per channel, for pixels in 0..1.
        teacher, sha256: id and weights of the pinned teacher, for the record.
    """

    logits: Callable[[Tensor], Tensor]
    resolution: int
    statistics: Statistics
    device: str = "cpu"
    teacher: str = ""
    sha256: str = ""

    @torch.no_grad()
    def cross_entropy(self, pieces: Tensor, label: int, side: int, batch: int = BATCH) -> Tensor:
        """-log p(label | piece) in nats, float64 [N] on the CPU, of uint8 pieces [N, 3, s, s], each padded to side x side.

        By log-softmax in float64: the official log(softmax(...)) in float32 is 0 for every piece of which the observer is sure.
        Raises ProtocolError when a value is not finite.
        """
        found = []
        for part in pieces.split(batch):
            logits = self.logits(self.view(part.to(self.device), side))
            labels = torch.full((len(part),), label, device=logits.device)
            found.append(F.cross_entropy(logits.double(), labels, reduction="none").cpu())
        values = torch.cat(found)
        if not values.isfinite().all():
            raise ProtocolError(
                "the observer gives no number", where=self.teacher, why=f"a cross-entropy of class {label} is not finite"
            )
        return values

    def view(self, pieces: Tensor, side: int) -> Tensor:
        """uint8 [B, 3, s, s] to normalised float32 [B, 3, resolution, resolution]."""
        mean, std = (torch.tensor(values, device=pieces.device).view(1, 3, 1, 1) for values in self.statistics)
        images = (pieces.float() / 255 - mean) / std
        before = (side - pieces.shape[-1]) // 2
        after = side - pieces.shape[-1] - before
        images = F.pad(images, (before, after, before, after))
        if side == self.resolution:
            return images
        size = (self.resolution, self.resolution)
        return F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)


def load_observer(root: Path, dataset: str, images: int, teacher: str | None = None, device: str = "auto") -> Observer:
    """The pinned teacher as an observer of about `images` pieces (that decides whether compiling it pays).

    `teacher` None means the one in OBSERVERS. Raises UsageError (a dataset that has none there, a teacher of another dataset),
    EnvironmentProblem (no weights yet, or no such device) and ProtocolError (altered weights).
    """
    if teacher is None and dataset not in OBSERVERS:
        raise UsageError(f"no observer of {dataset} is known", where="--observer", fix="name a teacher of that dataset")
    card = read_card(root, teacher or OBSERVERS[dataset])
    if card.dataset.name != dataset:
        raise UsageError(f"teacher {card.id} knows the classes of {card.dataset.name}, not of {dataset}", where="--observer")
    device = resolve_device(device)
    make_deterministic(card)
    micro_batch = CPU_MICRO_BATCH if device == "cpu" else 0  # also with batch norm, which looks at no batch in evaluation mode
    engine = replace(choose_engine(card, images, device), precision="fp32", micro_batch=micro_batch)
    forward = engine.inference(build_teacher(PinnedTeacher(card, read_weights(root, card)), engine))
    return Observer(
        logits=lambda batch: forward(engine.arrange(batch)),
        resolution=card.input.resolution,
        statistics=(card.input.mean, card.input.std),
        device=device,
        teacher=card.id,
        sha256=card.weights.sha256,
    )
