"""A distilled set in any accepted format to one ImageSet."""

from __future__ import annotations

import numpy as np

from harness.datasets.base import DatasetSpec
from harness.errors import SubmissionError
from harness.imageset import ImageSet
from harness.intake.expected import expected_of
from harness.intake.files import SetFile, one_format
from harness.intake.folders import read_folder_set
from harness.intake.limits import check_file_sizes
from harness.intake.parquet_sets import read_parquet_set
from harness.intake.tensors import read_npz_set, read_safetensors_set
from harness.submissions import Submission

FORMATS = {
    ".parquet": "parquet",
    ".safetensors": "safetensors",
    ".npz": "npz",
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".webp"), "image folder"),
}
READERS = {
    "parquet": read_parquet_set,
    "safetensors": read_safetensors_set,
    "npz": read_npz_set,
    "image folder": read_folder_set,
}


def read_distilled(files: list[SetFile], submission: Submission, spec: DatasetSpec) -> tuple[ImageSet, str]:
    """The checked set and the name of its format. Raises SubmissionError."""
    expected = expected_of(submission, spec)
    file_format = one_format(files, FORMATS, "distilled set")
    if file_format == "image folder" and expected.dtype != np.uint8:
        raise SubmissionError(
            "image files hold 8-bit pixels",
            where=files[0].name,
            why="the submission declares images.pixel_space: float32",
            fix="declare uint8, or store the floats as safetensors",
        )
    check_file_sizes(files, expected.most_bytes, expected.described)
    images, labels = READERS[file_format](files, expected)
    declared = submission.images
    return ImageSet(images, labels, normalization=declared.normalization, patch_shuffle=declared.patch_shuffle), file_format
