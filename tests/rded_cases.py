"""What the tests of RDED and CA2D share: real digits that can be stitched by 1, 2 and 3, and an observer without a network."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import functional as TF

from harness.datasets import load_split
from harness.datasets.base import Split
from harness.distill.method import DistilledSet, Source
from harness.distill.observer import Observer
from harness.distill.rded import class_rows

DIGITS = ((0.31, 0.31, 0.31), (0.38, 0.38, 0.38))


def toy_observer(side: int, resolution: int | None = None) -> Observer:
    """A fixed linear classifier; each image on its own and in float64, so that no batch can change its logits."""
    size = resolution or side
    weights = torch.randn(10, 3 * size * size, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) / size

    def logits(images: torch.Tensor) -> torch.Tensor:
        assert images.shape[1:] == (3, size, size)
        assert images.dtype == torch.float32
        return torch.stack([(weights * image.flatten().double()).sum(dim=1) for image in images])

    return Observer(logits, size, DIGITS, teacher="toy")


def few_digits() -> Split:
    """The 12 first images of each class, enlarged to 12 pixels so that they can be stitched by 1, 2 and 3."""
    train = load_split("digits", "train")
    rows = np.sort(np.concatenate([rows[:12] for rows in class_rows(train.labels)]))
    images = np.stack([TF.resize(torch.from_numpy(image), [12, 12]).numpy() for image in train.images[rows]])
    return Split("digits", "train", images, train.labels[rows], "0" * 64)


def source(split: Split, **given) -> Source:
    return Source(split, **{"observer": toy_observer(split.images.shape[-1]), **given})


def pixels(distilled: DistilledSet) -> np.ndarray:
    return np.stack(list(distilled.images))


def encode(image: np.ndarray) -> bytes:
    """uint8 [3, H, W] as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(buffer, format="PNG")
    return buffer.getvalue()
