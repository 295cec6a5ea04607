"""Facts about a checked set that a reader of the board may want and no rule forbids: bytes, pixels, duplicates, float range."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from harness.imageset import EncodedImages, ImageSet
from harness.intake.files import SetFile
from harness.submissions import ImageDeclaration


def audit(
    image_set: ImageSet, files: list[SetFile], of_files: dict[str, str], declared: ImageDeclaration | None
) -> dict[str, int | float | str | bool]:
    """Flat facts; counts are of images, sizes in bytes. `of_files`: what was found while reading them.

    `duplicate_images`: images that repeat an earlier one exactly (same pixels; encoded images: same encoded bytes). Repeating an
    image is legal in a distilled set and spends the author's own budget.
    """
    facts: dict[str, int | float | str | bool] = {
        "images": len(image_set),
        "per_class": int(np.bincount(image_set.labels).max()),
        "duplicate_images": len(image_set) - len(set(_fingerprints(image_set))),
        **of_files,
        "files": len(files),
        "set_bytes": sum(file.size for file in files),
        "kept_encoded": isinstance(image_set.images, EncodedImages),
    }
    if declared is not None:
        facts["pixels_per_image"] = declared.resolution**2
    if isinstance(image_set.images, np.ndarray):
        facts["pixels_per_image"] = image_set.images.shape[2] * image_set.images.shape[3]
        facts["dtype"] = image_set.images.dtype.name
        if image_set.images.dtype == np.float32:
            facts["float_min"] = float(image_set.images.min())
            facts["float_max"] = float(image_set.images.max())
    return facts


def _fingerprints(image_set: ImageSet) -> Iterator[bytes]:
    encoded = isinstance(image_set.images, EncodedImages)
    for row in range(len(image_set)):
        contents = image_set.images.read(row) if encoded else np.ascontiguousarray(image_set.images[row]).data
        yield hashlib.sha256(contents).digest()
