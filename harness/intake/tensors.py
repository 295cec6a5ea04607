"""Distilled sets stored as arrays `images` and `labels`: safetensors (one file or shards) and npz (one file)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from harness.errors import SubmissionError
from harness.intake.arrays import ArrayHeader, channels_last, check_integer, place_block
from harness.intake.expected import Expected
from harness.intake.files import SetFile, printable
from harness.intake.labels import HOW_TO_CLASSES, check_count, check_labels
from harness.intake.limits import check_array_bytes
from harness.intake.numpy_files import load_npz, npz_headers
from harness.intake.safetensors_files import load_tensor, tensor_headers

KEYS = ("images", "labels")

Headers = Callable[[SetFile], dict[str, ArrayHeader]]
Load = Callable[[SetFile, str], np.ndarray]


def read_safetensors_set(files: list[SetFile], expected: Expected) -> tuple[np.ndarray, np.ndarray]:
    """Images [N, 3, R, R] of the declared dtype and labels int64 [N]; shards joined in sorted order. Raises SubmissionError."""
    return _read(files, expected, tensor_headers, load_tensor)


def read_npz_set(files: list[SetFile], expected: Expected) -> tuple[np.ndarray, np.ndarray]:
    """As `read_safetensors_set`, from the one npz file. Raises SubmissionError."""
    if len(files) > 1:
        raise SubmissionError(
            "an npz set is one file", where=files[1].name, why=f"{len(files)} files", fix="use safetensors or parquet for shards"
        )
    return _read(files, expected, npz_headers, load_npz)


def _read(files: list[SetFile], expected: Expected, headers_of: Headers, load: Load) -> tuple[np.ndarray, np.ndarray]:
    """All headers, then all labels, then the images file by file into one array."""
    names = ", ".join(file.name for file in files[:3])
    headers = [_checked(file, headers_of(file), expected) for file in files]
    check_count(sum(header.shape[0] for header in headers), expected.classes, expected.ipc, names)
    check_array_bytes(expected.count * expected.image_bytes, names)
    # uint64 beyond int64 turns negative, and is refused as such
    parts = [load(file, "labels").astype(np.int64) for file in files]
    labels = check_labels(np.concatenate(parts), expected.classes, expected.ipc, names)
    images = np.empty((expected.count, *expected.image_shape), expected.dtype)
    first = 0
    for file, header in zip(files, headers, strict=True):
        last = channels_last(header, expected, file.name)
        place_block(images, first, load(file, "images"), last, file.name)
        first += header.shape[0]
    return images, labels


def _checked(file: SetFile, headers: dict[str, ArrayHeader], expected: Expected) -> ArrayHeader:
    """The header of `images`, once both headers are found, fit the declaration and each other."""
    if missing := [key for key in KEYS if key not in headers]:
        raise SubmissionError(
            f"no array {' and '.join(missing)}",
            where=file.name,
            why=f"a set holds `images` and `labels`; the file has {', '.join(map(printable, headers))[:200]}",
            fix=HOW_TO_CLASSES if missing == ["labels"] else "name them so",
        )
    images, labels = headers["images"], headers["labels"]
    channels_last(images, expected, f"{file.name}: images")
    check_integer(labels, 1, f"{file.name}: labels", "labels", HOW_TO_CLASSES)
    if images.shape[0] != labels.shape[0]:
        raise SubmissionError(
            "images and labels differ in number", where=file.name, why=f"{images.shape[0]} images, {labels.shape[0]} labels"
        )
    return images
