"""What a distilled set must be, taken from its submission and its dataset before a byte is read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.datasets.base import DatasetSpec
from harness.errors import SubmissionError
from harness.intake.limits import FILE_OVERHEAD, IMAGE_OVERHEAD, IN_MEMORY_BYTES
from harness.normalization import NORMALIZATIONS
from harness.submissions import Submission


@dataclass(frozen=True)
class Expected:
    """`ipc` images of each of `classes` classes, R x R pixels (R = `resolution`), stored as `dtype` (uint8 or float32)."""

    classes: int
    ipc: int
    resolution: int
    dtype: np.dtype
    normalization: str | None
    class_names: tuple[str, ...]

    @property
    def count(self) -> int:
        return self.classes * self.ipc

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return (3, self.resolution, self.resolution)

    @property
    def image_bytes(self) -> int:
        """Raw bytes of one image."""
        return 3 * self.resolution**2 * self.dtype.itemsize

    @property
    def most_bytes(self) -> int:
        """Most bytes the files of the set may have together, in any format."""
        return self.count * (self.image_bytes + IMAGE_OVERHEAD) + FILE_OVERHEAD

    @property
    def stays_encoded(self) -> bool:
        return self.count * self.image_bytes > IN_MEMORY_BYTES

    @property
    def described(self) -> str:
        return f"{self.count:,} images ({self.classes} classes x IPC {self.ipc}) of {self.resolution} x {self.resolution} pixels"


# Most pixels a side where a dataset's images vary in size: what students see and released ImageNet-1K sets have.
VARYING_RESOLUTION = 224


def expected_of(submission: Submission, spec: DatasetSpec) -> Expected:
    """Raises SubmissionError when the declaration cannot be met: too many pixels, unknown normalization."""
    declared = submission.images
    where = f"{submission.relative_path}: images"
    most = spec.resolution or VARYING_RESOLUTION
    if declared.resolution > most:
        raise SubmissionError(
            "images larger than the dataset's",
            where=f"{where}.resolution",
            why=f"{declared.resolution} pixels declared; {spec.name} has {most}, and more pixels are more information",
            fix=f"store the images at {most} x {most}",
        )
    if declared.normalization is not None and declared.normalization not in NORMALIZATIONS:
        raise SubmissionError(
            f"no normalization {declared.normalization!r}",
            where=f"{where}.normalization",
            why=f"known: {', '.join(NORMALIZATIONS)}",
            fix="name the statistics the images were stored with, or store raw pixels as uint8",
        )
    return Expected(
        classes=spec.classes,
        ipc=submission.ipc,
        resolution=declared.resolution,
        dtype=np.dtype(declared.pixel_space),
        normalization=declared.normalization,
        class_names=spec.class_names,
    )
