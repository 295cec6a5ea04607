"""What the network sees: batches of normalised float images on the device, augmented for training, plain for testing."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.datasets.base import Split
from harness.errors import UsageError
from harness.imageset import EncodedImages, ImageSet
from harness.normalization import NORMALIZATIONS
from harness.protocol_models import CropFlip
from harness.protocols import Protocol
from harness.teachers import TeacherCard
from harness.training.crop_flip import crop_and_flip, crop_scale, patch_shuffle, sample_boxes
from harness.training.dsa import augment_dsa
from harness.training.encoded_views import EncodedEvaluationViews, EncodedTrainingViews

TEST_BATCH = 256

Batches = Iterator[tuple[Tensor, Tensor]]


class TrainingViews:
    """A decoded set, resident on the device as it was stored; every epoch yields it once, augmented."""

    def __init__(self, image_set: ImageSet, protocol: Protocol, device: str):
        self.protocol = protocol
        self.images = shared_tensor(np.ascontiguousarray(image_set.images)).to(device)
        self.labels = torch.from_numpy(image_set.labels).to(device)
        self.stored_as = image_set.normalization
        self.factor = image_set.patch_shuffle

    def epoch(self, order: Tensor, batch_size: int, generator: torch.Generator) -> Batches:
        """(float32 [B, 3, R, R], int64 [B]) in the order given (int64 [N]), with augmentation drawn from `generator`."""
        for rows in order.split(batch_size):
            rows = rows.to(self.images.device)
            images = normalised(self.images[rows], self.protocol, self.stored_as)
            yield self._augmented(images, generator), self.labels[rows]

    def _augmented(self, images: Tensor, generator: torch.Generator) -> Tensor:
        settings = self.protocol.augmentation
        images = patch_shuffle(images, self.factor, generator)
        if not isinstance(settings, CropFlip):
            return augment_dsa(images, settings, generator)
        heights, widths = (torch.full((len(images),), side) for side in images.shape[2:])
        boxes = sample_boxes(heights, widths, crop_scale(settings, self.factor), settings.ratio, generator)
        flipped = torch.rand(len(images), generator=generator) < settings.flip
        return crop_and_flip(images, boxes, flipped, self.protocol.input.resolution)


def shared_tensor(array: np.ndarray) -> Tensor:
    """A tensor over the array's own memory: a mapped training split is read, not copied. Nobody writes to it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def require_fit(image_set: ImageSet, protocol: Protocol) -> None:
    """Raises UsageError when the protocol has no use for images of this size, or does not know PatchShuffle (methods A.6)."""
    crops = isinstance(protocol.augmentation, CropFlip)
    if image_set.patch_shuffle > 1 and not crops:
        raise UsageError(
            "the protocol has no PatchShuffle",
            where=protocol.id,
            why=f"the set declares patch_shuffle: {image_set.patch_shuffle}; only protocols with random crops shuffle patches",
            fix="declare patch_shuffle: 1, or choose another protocol",
        )
    if isinstance(image_set.images, EncodedImages) or crops or protocol.input.resize != "none":
        return
    height, width = image_set.images.shape[2:]
    if height != protocol.input.resolution or width != protocol.input.resolution:
        raise UsageError(
            "images and protocol differ in size",
            where=protocol.id,
            why=f"the set has {height} x {width} pixels, the student sees {protocol.input.resolution}, and nothing resizes",
            fix=f"store the images at {protocol.input.resolution} x {protocol.input.resolution}",
        )


def training_views(image_set: ImageSet, protocol: Protocol, device: str) -> TrainingViews | EncodedTrainingViews:
    """Views of a set, decoded or still encoded. Encoded sets are cropped while they are decoded, so they need a crop protocol."""
    if isinstance(image_set.images, EncodedImages):
        return EncodedTrainingViews(image_set, protocol, device)
    return TrainingViews(image_set, protocol, device)


def evaluation_views(data: Split | ImageSet, described: Protocol | TeacherCard, device: str) -> Batches:
    """Images in row order, un-augmented, as the evaluation section of a protocol or a teacher's card says; nothing random.

    That section's resize and crop are for images that are still encoded, as real large ones are; the others are seen as they are.
    """
    if isinstance(data.images, EncodedImages):
        yield from EncodedEvaluationViews(data, described, device)
        return
    is_split = isinstance(data, Split)
    if is_split and (described.evaluation.resize_short_side or described.evaluation.center_crop):
        raise UsageError("decoded test splits are measured at their own size", where=f"{described.id}: evaluation")
    stored_as = None if is_split else data.normalization
    for start in range(0, len(data), TEST_BATCH):
        images = torch.from_numpy(data.images[start : start + TEST_BATCH].copy()).to(device)
        labels = torch.from_numpy(data.labels[start : start + TEST_BATCH].copy()).to(device)
        yield normalised(images, described, stored_as), labels


def normalised(images: Tensor, protocol: Protocol | TeacherCard, stored_as: str | None) -> Tensor:
    """uint8 0..255 (`stored_as` None) or floats normalised with the statistics named `stored_as`, to the float32 input.

    Images smaller than the input are enlarged when the protocol says so (digits: 8 to 32 px).
    """
    wanted = (protocol.input.mean, protocol.input.std)
    if stored_as is None:
        images = _standardised(images.float() / 255, wanted)
    elif NORMALIZATIONS[stored_as] != wanted:
        mean, std = _channels(NORMALIZATIONS[stored_as], images)
        images = _standardised(images * std + mean, wanted)
    size = protocol.input.resolution
    if protocol.input.resize == "bilinear" and images.shape[-1] != size:
        images = F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
    return images


def _standardised(pixels: Tensor, statistics: tuple) -> Tensor:
    mean, std = _channels(statistics, pixels)
    return (pixels - mean) / std


def _channels(statistics: tuple, like: Tensor) -> tuple[Tensor, Tensor]:
    mean, std = (torch.tensor(values, device=like.device).view(1, 3, 1, 1) for values in statistics)
    return mean, std
