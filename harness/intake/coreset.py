"""A coreset index to the ImageSet it selects: unique rows of one pinned training split, exactly IPC of every class."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from harness.datasets.base import DatasetSpec, Split
from harness.errors import SubmissionError
from harness.imageset import EncodedImages, ImageSet
from harness.intake import indexes
from harness.intake.files import SetFile, one_format
from harness.intake.labels import SHOWN, check_balance, check_count
from harness.intake.limits import FILE_OVERHEAD, INDEX_ROW_BYTES, check_file_sizes
from harness.submissions import Submission

FORMATS = {name: name[1:] for name in (".json", ".csv", ".txt", ".npy", ".parquet", ".safetensors")}
READERS = {
    "json": indexes.read_json,
    "csv": indexes.read_lines,
    "txt": indexes.read_lines,
    "npy": indexes.read_npy,
    "parquet": indexes.read_parquet,
    "safetensors": indexes.read_safetensors,
}


def read_coreset(
    files: list[SetFile], submission: Submission, spec: DatasetSpec, load_train: Callable[[], Split]
) -> tuple[ImageSet, dict[str, str]]:
    """The selected images, in the index's order, and the index's `format` as an audit fact.

    `load_train` is called only after everything that can be checked without the split has been. Raises SubmissionError.
    """
    file_format = one_format(files, FORMATS, "coreset index")
    if len(files) > 1:
        raise SubmissionError("a coreset index is one file", where=files[1].name, why=f"{len(files)} files", fix="join them")
    file, count = files[0], spec.classes * submission.ipc
    check_file_sizes(files, count * INDEX_ROW_BYTES + FILE_OVERHEAD, f"{count:,} row numbers")
    rows = READERS[file_format](file, lambda found: check_count(found, spec.classes, submission.ipc, file.name, "rows"))
    _check_rows(rows, spec, file.name, submission.repeats)
    split = load_train()
    _check_split(split, submission)
    _check_range(rows, len(split), file.name)
    labels = split.labels[rows].astype(np.int64)
    check_balance(labels, spec.classes, submission.ipc, file.name)
    return ImageSet(_select(split, rows), labels, source_rows=rows), {"format": file_format}


def _check_rows(rows: np.ndarray, spec: DatasetSpec, where: str, repeats: bool) -> None:
    """Range against the dataset's pinned row count, and repetitions where they are not meant."""
    _check_range(rows, spec.train_rows, where)
    if repeats:
        return
    numbers, positions, counts = np.unique(rows, return_index=True, return_counts=True)
    if repeated := numbers[counts > 1].size:
        first = numbers[counts > 1][np.argsort(positions[counts > 1])][:SHOWN]
        raise SubmissionError(
            f"{repeated:,} row(s) appear more than once",
            where=where,
            why=f"row {', '.join(map(str, first))}{' ...' if repeated > SHOWN else ''}",
            fix="a coreset is a set: name each row once",
        )


def _check_range(rows: np.ndarray, available: int, where: str) -> None:
    outside = np.flatnonzero((rows < 0) | (rows >= available))
    if outside.size:
        listed = ", ".join(f"{rows[position]} (entry {position})" for position in outside[:SHOWN])
        raise SubmissionError(
            f"{outside.size:,} row(s) are not in the training split",
            where=where,
            why=f"rows are 0 to {available - 1}: {listed}{' ...' if outside.size > SHOWN else ''}",
            fix="count rows of the training split from 0",
        )


def _check_split(split: Split, submission: Submission) -> None:
    if split.fingerprint != submission.split_fingerprint:
        raise SubmissionError(
            "the index was made from another training split",
            where=f"{submission.relative_path}: split_fingerprint",
            why=f"{submission.split_fingerprint[:16]}... declared; {submission.dataset} train is {split.fingerprint[:16]}...",
            fix="select rows from the pinned files of the dataset, in their order, and declare that fingerprint",
        )


def _select(split: Split, rows: np.ndarray) -> np.ndarray | EncodedImages:
    """A copy of the selected images, or a view that reads them from the split as they are needed."""
    if isinstance(split.images, EncodedImages):
        return EncodedImages(len(rows), lambda row: split.images.read(int(rows[row])))
    return np.asarray(split.images)[rows]
