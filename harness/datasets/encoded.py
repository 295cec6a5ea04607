"""Large images of varying size (ImageNet-1K), kept encoded in one memory-mapped file with an index, for random access.

`images.bin` holds the encoded images one after another, `offsets.npy` int64 [N + 1] where each begins. Reading at random from the
parquet files instead would decompress a whole row group, about a hundred images, to get at one. The price is a second copy on
disk: about 150 GB for the train split and 7 GB for validation.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from harness.datasets.fingerprint import row_digest
from harness.datasets.parquet import Rows
from harness.errors import EnvironmentProblem
from harness.imageset import EncodedImages

BLOB = "images.bin"


def build_encoded(rows: Iterator[Rows], folder: Path) -> None:
    """Write all rows into `folder` in bounded memory (the index takes some 100 bytes a row)."""
    labels, sizes, digests = [], [], []
    with (folder / BLOB).open("wb") as blob:
        for chunk in rows:
            blob.writelines(chunk.encoded)
            labels.append(chunk.labels)
            sizes.extend(map(len, chunk.encoded))
            digests.extend(map(row_digest, chunk.labels, chunk.encoded))
    np.save(folder / "labels.npy", np.concatenate(labels))
    np.save(folder / "offsets.npy", np.cumsum([0, *sizes], dtype=np.int64))
    np.save(folder / "digests.npy", np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32))


def open_encoded(folder: Path, labels: np.ndarray, digests: np.ndarray) -> EncodedImages:
    """The images `build_encoded` has written, safe to read from several threads.

    `read(i)` checks the bytes against the row's digest (microseconds, where decoding takes milliseconds): it raises
    EnvironmentProblem naming a damaged row, and IndexError outside 0..N-1.
    """
    offsets = np.load(folder / "offsets.npy")
    blob = np.memmap(folder / BLOB, np.uint8, mode="r")

    def read(row: int) -> bytes:
        if not 0 <= row < len(labels):
            raise IndexError(f"row {row} of a split of {len(labels)} rows")
        encoded = blob[offsets[row] : offsets[row + 1]].tobytes()
        if row_digest(labels[row], encoded) != digests[row].tobytes():
            raise EnvironmentProblem(
                f"row {row} of the dataset cache is damaged",
                where=str(folder / BLOB),
                why="its bytes do not have the sha256 they were written with",
                fix=f"delete {folder}; the next command builds it again",
            )
        return encoded

    return EncodedImages(count=len(labels), read=read)
