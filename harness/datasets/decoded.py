"""Small images of one resolution, decoded once into `images.npy` (uint8 [N, 3, R, R]) and memory-mapped from then on."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from harness.datasets.base import DatasetSpec
from harness.datasets.decode import decode_rgb
from harness.datasets.fingerprint import row_digest
from harness.datasets.parquet import Rows, restore_hint
from harness.errors import EnvironmentProblem


def build_decoded(spec: DatasetSpec, rows: Iterator[Rows], count: int, folder: Path) -> None:
    """Decode `count` rows on all cores (Pillow lets go of Python's lock while it decodes) into `folder`.

    Raises EnvironmentProblem naming the row that does not decode or has another size than R x R.
    """
    workers = os.cpu_count() or 1
    shape = (count, 3, spec.resolution, spec.resolution)
    images = np.lib.format.open_memmap(folder / "images.npy", mode="w+", dtype=np.uint8, shape=shape)
    labels = np.empty(count, np.int64)
    digests = np.empty((count, 32), np.uint8)

    def decode(chunk: Rows) -> None:
        for row, (encoded, label) in enumerate(zip(chunk.encoded, chunk.labels, strict=True), start=chunk.first):
            images[row] = _pixels(spec, row, encoded)
            labels[row] = label
            digests[row] = np.frombuffer(row_digest(label, encoded), np.uint8)

    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future] = deque()
        for chunk in rows:
            pending.append(pool.submit(decode, chunk))
            if len(pending) > 2 * workers:
                pending.popleft().result()
        for future in pending:
            future.result()
    images.flush()
    np.save(folder / "labels.npy", labels)
    np.save(folder / "digests.npy", digests)


def _pixels(spec: DatasetSpec, row: int, encoded: bytes) -> np.ndarray:
    """uint8 [3, R, R]."""
    try:
        pixels = decode_rgb(encoded)
    except ValueError as reason:
        raise _bad_row(spec, row, str(reason)) from reason
    height, width = pixels.shape[:2]
    if height != spec.resolution or width != spec.resolution:
        raise _bad_row(spec, row, f"image is {height} x {width} pixels, not {spec.resolution} x {spec.resolution}")
    return pixels.transpose(2, 0, 1)


def _bad_row(spec: DatasetSpec, row: int, why: str) -> EnvironmentProblem:
    return EnvironmentProblem(f"row {row} of {spec.name} cannot be used", why=why, fix=restore_hint(spec))
