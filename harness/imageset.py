"""The checked set a student trains on: what flows from `intake/` (submissions) and `datasets/` (real splits) to `training/`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class EncodedImages:
    """Images kept as JPEG/PNG/WebP bytes, because decoded they would not fit in memory (ImageNet-1K).

    `read(i)` returns the encoded bytes of image i. It must be safe to call from several threads.
    """

    count: int
    read: Callable[[int], bytes]

    def __len__(self) -> int:
        return self.count


@dataclass(frozen=True)
class ImageSet:
    """N labelled images.

    Attributes:
        images: uint8 [N, 3, H, W] in 0..255; or float32 [N, 3, H, W], already normalised with `normalization`; or EncodedImages.
        labels: int64 [N], class indices.
        normalization: None for uint8 and encoded images, else the name of the statistics the floats were normalised with.
        source_rows: int64 [N], rows of the training split (coresets), or None (distilled sets).
        patch_shuffle: f of RDED-type stitched sets (methods A.6): the student sees f x f tiles shuffled; 1 means none.
    """

    images: np.ndarray | EncodedImages
    labels: np.ndarray
    normalization: str | None = None
    source_rows: np.ndarray | None = field(default=None)
    patch_shuffle: int = 1

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def sha256(self) -> str:
        """64 hex digits over shape, dtype and bytes of images and labels (encoded images: their encoded bytes)."""
        hasher = hashlib.sha256()
        if isinstance(self.images, EncodedImages):
            hasher.update(f"encoded {len(self.images)}\n".encode())
            for index in range(len(self.images)):
                hasher.update(hashlib.sha256(self.images.read(index)).digest())
        else:
            hasher.update(f"{self.images.dtype.str} {self.images.shape} {self.normalization}\n".encode())
            hasher.update(np.ascontiguousarray(self.images).data)
        hasher.update(np.ascontiguousarray(self.labels, dtype="<i8").data)
        return hasher.hexdigest()
