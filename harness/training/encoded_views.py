"""Views of images that stay encoded (ImageNet-1K): decoded, cropped and resized by a pool of threads, a few batches ahead.

All random numbers of an epoch are drawn before its first image is decoded, so threads cannot change them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from harness.datasets.base import Split
from harness.datasets.decode import decode_rgb, decode_view, eval_view, image_size, resize_view
from harness.datasets.loader import iterate_batches
from harness.errors import UsageError
from harness.imageset import ImageSet
from harness.protocol_models import CropFlip
from harness.protocols import Protocol
from harness.teachers import TeacherCard
from harness.training.crop_flip import crop_scale, sample_boxes, shuffled_strips

TEST_BATCH = 256


class EncodedTrainingViews:
    """An encoded set; every epoch decodes each image once, at its own random crop."""

    def __init__(self, image_set: ImageSet, protocol: Protocol, device: str):
        if not isinstance(protocol.augmentation, CropFlip):
            raise UsageError(
                "encoded images need a protocol that crops", where=protocol.id, why=f"it uses {protocol.augmentation.name}"
            )
        self.images, self.protocol, self.device = image_set.images, protocol, device
        self.labels = torch.from_numpy(image_set.labels)
        self.factor = image_set.patch_shuffle
        sizes = np.array([image_size(self.images.read(row)) for row in range(len(image_set))])
        self.heights, self.widths = torch.from_numpy(sizes).unbind(1)

    def epoch(self, order: Tensor, batch_size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """(float32 [B, 3, R, R], int64 [B]) in the order given (int64 [N])."""
        settings, size = self.protocol.augmentation, self.protocol.input.resolution
        boxes = sample_boxes(self.heights, self.widths, crop_scale(settings, self.factor), settings.ratio, generator).tolist()
        flipped = torch.rand(len(self.labels), generator=generator) < settings.flip
        strip_seeds = torch.randint(2**62, (len(self.labels),), generator=generator).tolist()

        def view(encoded: bytes, position: int) -> np.ndarray:
            row = int(order[position])
            if self.factor == 1:
                return decode_view(encoded, tuple(boxes[row]), size)
            return self._shuffled_view(decode_rgb(encoded), strip_seeds[row], boxes[row], size)

        batches = iterate_batches(self.images, order.numpy(), batch_size, view, _workers())
        for rows, pixels in zip(order.split(batch_size), batches, strict=True):
            images = to_input(pixels, self.protocol, self.device)
            mirror = flipped[rows].to(self.device)[:, None, None, None]
            yield torch.where(mirror, images.flip(3), images), self.labels[rows].to(self.device)

    def _shuffled_view(self, pixels: np.ndarray, seed: int, box: list[int], size: int) -> np.ndarray:
        """PatchShuffle of one decoded image (uint8 [H, W, 3]), then its crop: uint8 [3, size, size]."""
        generator = torch.Generator().manual_seed(seed)
        columns = shuffled_strips(1, pixels.shape[1], self.factor, generator)[0].numpy()
        rows = shuffled_strips(1, pixels.shape[0], self.factor, generator)[0].numpy()
        return resize_view(pixels[rows][:, columns], tuple(box), size)


class EncodedEvaluationViews:
    """Encoded images in row order: resized and centre-cropped as the evaluation section of a protocol or teacher's card says."""

    def __init__(self, data: Split | ImageSet, protocol: Protocol | TeacherCard, device: str):
        self.data, self.protocol, self.device = data, protocol, device

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        settings = self.protocol.evaluation
        # A synthetic image is labelled as it is (methods A.7), whether or not the set was small enough to be decoded.
        synthetic = isinstance(self.data, ImageSet) and self.data.source_rows is None
        short_side, crop = (0, 0) if synthetic else (settings.resize_short_side, settings.center_crop)

        def view(encoded: bytes, row: int) -> np.ndarray:
            return eval_view(encoded, short_side, crop)

        labels = torch.from_numpy(self.data.labels).split(TEST_BATCH)
        batches = iterate_batches(self.data.images, np.arange(len(self.data)), TEST_BATCH, view, _workers())
        for batch_labels, pixels in zip(labels, batches, strict=True):
            yield to_input(pixels, self.protocol, self.device), batch_labels.to(self.device)


def to_input(pixels: np.ndarray, protocol: Protocol | TeacherCard, device: str) -> Tensor:
    """uint8 [B, 3, R, R] to the protocol's normalised float32 on the device."""
    images = torch.from_numpy(pixels).to(device, non_blocking=True).float() / 255
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (protocol.input.mean, protocol.input.std))
    return (images - mean) / std


def _workers() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
