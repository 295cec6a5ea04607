"""How much a file may hold, from what the submission declares; checked before memory is asked for."""

from __future__ import annotations

from harness.errors import SubmissionError
from harness.intake.files import SetFile

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

# Encoded sets whose pixels exceed this stay encoded (ImageNet-1K at IPC 50 would be 7.5 GB).
IN_MEMORY_BYTES = 2 * GIB
# Arrays stored as such must fit into a machine's memory beside everything else.
MOST_ARRAY_BYTES = 32 * GIB
# Above IN_MEMORY_BYTES compressed files must not grow more than this; real images do not, all-zero bombs do.
MOST_EXPANSION = 20
# Room for the header, metadata and worst-case coding of one encoded image, beyond its raw pixels.
IMAGE_OVERHEAD = 64 * KIB
FILE_OVERHEAD = MIB
# Room for one row number with its separator and indentation, in any index format.
INDEX_ROW_BYTES = 64


def most_encoded_bytes(resolution: int) -> int:
    """Most bytes one encoded R x R image may take: raw RGB pixels and IMAGE_OVERHEAD."""
    return 3 * resolution**2 + IMAGE_OVERHEAD


def check_file_sizes(files: list[SetFile], most: int, why: str) -> None:
    """Raises SubmissionError for an empty file, or when all files together exceed `most` bytes."""
    for file in files:
        if file.size == 0:
            raise SubmissionError("a file of the set is empty", where=file.name, why="0 bytes", fix="upload it again")
    total = sum(file.size for file in files)
    if total > most:
        raise SubmissionError(
            "the set is larger than what it declares to hold",
            where=f"{files[0].name} and {len(files) - 1} more" if len(files) > 1 else files[0].name,
            why=f"{total:,} bytes; at most {most:,} for {why}",
            fix="remove what is not images and labels, or mend ipc and images.resolution in the submission",
        )


def check_expansion(stored: int, unpacked: int, where: str) -> None:
    """Raises SubmissionError when `stored` bytes grow to an `unpacked` size that real images do not reach (a bomb)."""
    if unpacked > IN_MEMORY_BYTES and unpacked > MOST_EXPANSION * stored:
        raise SubmissionError(
            "the file unpacks to far more than it stores",
            where=where,
            why=f"{unpacked:,} bytes from {stored:,}; beyond {IN_MEMORY_BYTES:,} at most {MOST_EXPANSION} times as many",
            fix="store the images as PNG, JPEG or WebP in parquet",
        )


def check_array_bytes(unpacked: int, where: str) -> None:
    """Raises SubmissionError when an array would not fit into memory."""
    if unpacked > MOST_ARRAY_BYTES:
        raise SubmissionError(
            "the array is too large to be held in memory",
            where=where,
            why=f"{unpacked:,} bytes; at most {MOST_ARRAY_BYTES:,}",
            fix="store the images as PNG, JPEG or WebP in parquet: large encoded sets are decoded batch by batch",
        )
