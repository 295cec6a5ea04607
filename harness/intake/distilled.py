"""A distilled set in any accepted format to one ImageSet."""

from __future__ import annotations

import numpy as np

from harness.datasets.base import DatasetSpec
from harness.errors import SubmissionError
from harness.imageset import ImageSet
from harness.intake.brought_along import brought_along, set_aside_label_files
from harness.intake.expected import expected_of
from harness.intake.files import IMAGE_SUFFIXES, SetFile, one_format
from harness.intake.folders import read_folder_set
from harness.intake.limits import check_file_sizes
from harness.intake.parquet_sets import IMAGE_COLUMNS, LABEL_COLUMNS, read_parquet_set
from harness.intake.tensors import KEYS, read_npz_set, read_safetensors_set
from harness.submissions import Submission

FORMATS = {
    ".parquet": "parquet",
    ".safetensors": "safetensors",
    ".npz": "npz",
    **dict.fromkeys(IMAGE_SUFFIXES, "image folder"),
}
READERS = {
    "parquet": read_parquet_set,
    "safetensors": read_safetensors_set,
    "npz": read_npz_set,
    "image folder": read_folder_set,
}
USED = {"parquet": IMAGE_COLUMNS + LABEL_COLUMNS, "safetensors": KEYS, "npz": KEYS, "image folder": ()}


def read_distilled(found: list[SetFile], submission: Submission, spec: DatasetSpec) -> tuple[ImageSet, dict[str, str]]:
    """The checked set, and audit facts about its files: `format`, and what they hold that is not used. Raises SubmissionError."""
    expected = expected_of(submission, spec)
    files, beside = set_aside_label_files(found)
    if not files:
        raise SubmissionError(
            "the set has no images", where=found[0].name, why="by its name and format this is a file of labels, beside no set",
            fix="name the files that hold the images too",
        )  # fmt: skip
    file_format = one_format(files, FORMATS, "distilled set")
    if file_format == "image folder" and expected.dtype != np.uint8:
        raise SubmissionError(
            "image files hold 8-bit pixels",
            where=files[0].name,
            why="the submission declares images.pixel_space: float32",
            fix="declare uint8, or store the floats as safetensors",
        )
    check_file_sizes(found, expected.most_bytes, expected.described)
    facts = {"format": file_format} | brought_along(files, beside, USED[file_format], expected.classes)
    images, labels = READERS[file_format](files, expected)
    declared = submission.images
    return ImageSet(images, labels, normalization=declared.normalization, patch_shuffle=declared.patch_shuffle), facts
