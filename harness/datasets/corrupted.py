"""The whole test split under each of the 15 corruptions x 5 severities: kept on disk when that is small, else made in passing.

Small means at most 1 GB for all 75 (digits: 0.2 GB), or as many GB as HLBENCH_CORRUPTED_GB says; CIFAR would take 2.3 GB,
TinyImageNet 9.2 GB, ImageNet-1K 560 GB. benchmarks/corruptions.py measures what making them again costs.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL
import scipy
from PIL import Image

from harness.datasets.base import Split
from harness.datasets.cache import Recipe, cached_folder
from harness.datasets.corruptions import CORRUPTIONS, SEVERITIES, SMALLEST_SIDE, VERSION, corrupt
from harness.datasets.decode import eval_view
from harness.datasets.loader import iterate_batches
from harness.environment import available_cores
from harness.errors import UsageError
from harness.imageset import EncodedImages

BATCH = 256
KEPT_GB = "HLBENCH_CORRUPTED_GB"
KEPT_GB_BY_DEFAULT = 1.0

Condition = tuple[str, int]  # corruption, severity
CONDITIONS: tuple[Condition, ...] = tuple((name, severity) for name in CORRUPTIONS for severity in SEVERITIES)


def corrupted_batches(
    test: Split, resize_short_side: int = 0, center_crop: int = 0
) -> Iterator[tuple[Condition, slice, np.ndarray]]:
    """The whole split under every condition: (condition, rows, uint8 [B, 3, S, S]), rows in order, all 75 for each batch.

    Corrupted is the image as the dataset stores it; one smaller than 32 px (digits) is enlarged to 32 first, because no severity
    means anything below; one still encoded (ImageNet-1K) is resized and cropped first, as ImageNet-C does and as the protocol's
    evaluation says. Memory is bounded: a few batches. Raises EnvironmentProblem when the cache cannot be written.
    """
    kept = kept_splits(test) if is_kept(test) else None

    def made(condition: Condition, rows: slice, clean: np.ndarray) -> np.ndarray:
        if kept is not None:
            return np.array(kept[condition][rows])
        return corrupt(clean, np.arange(rows.start, rows.stop), *condition)

    def tasks() -> Iterator[tuple[Condition, slice, np.ndarray]]:
        for rows, clean in clean_batches(test, resize_short_side, center_crop):
            for condition in CONDITIONS:
                yield condition, rows, clean

    for (condition, rows, _), images in _ahead(made, tasks()):
        yield condition, rows, images


def clean_batches(test: Split, resize_short_side: int = 0, center_crop: int = 0) -> Iterator[tuple[slice, np.ndarray]]:
    """The images that get corrupted: (rows, uint8 [B, 3, S, S] with S >= 32), in order."""
    rows = [slice(start, min(start + BATCH, len(test))) for start in range(0, len(test), BATCH)]
    if not isinstance(test.images, EncodedImages):
        yield from ((part, enlarged(test.images[part])) for part in rows)
        return

    def view(encoded: bytes, row: int) -> np.ndarray:
        return eval_view(encoded, resize_short_side, center_crop)

    batches = iterate_batches(test.images, np.arange(len(test)), BATCH, view, available_cores())
    yield from zip(rows, batches, strict=True)


def enlarged(images: np.ndarray) -> np.ndarray:
    """uint8 [B, 3, S, S] as they are, or at 32 px (bilinear) when they are smaller."""
    if images.shape[-1] >= SMALLEST_SIDE:
        return np.asarray(images)
    large = [
        np.asarray(Image.fromarray(image).resize((SMALLEST_SIDE,) * 2, Image.Resampling.BILINEAR))
        for image in np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    ]
    return np.ascontiguousarray(np.stack(large).transpose(0, 3, 1, 2))


def is_kept(test: Split) -> bool:
    """Whether the 75 splits are kept on disk. Raises UsageError when HLBENCH_CORRUPTED_GB is not a number."""
    asked = os.environ.get(KEPT_GB, "")
    try:
        most = float(asked) if asked else KEPT_GB_BY_DEFAULT
    except ValueError:
        raise UsageError(f"{asked!r} is not a number of GB", where=KEPT_GB, fix=f"for example {KEPT_GB}=10") from None
    return not isinstance(test.images, EncodedImages) and len(CONDITIONS) * _bytes_of_one(test) <= most * 1e9


def kept_splits(test: Split) -> dict[Condition, np.ndarray]:
    """Each of the 75 splits, uint8 [N, 3, S, S], mapped from the cache; what is absent or damaged is made first."""
    return {condition: kept_split(test, condition) for condition in CONDITIONS}


def kept_split(test: Split, condition: Condition) -> np.ndarray:
    """One of them: `<cache>/corrupted/v<VERSION>/<dataset>-<fingerprint>/<corruption>-s<k>-<key>/images.npy`.

    Its bytes are checked against their sha256 at every opening, and built anew when they differ (`cache.py`).
    """
    name, severity = condition
    recipe = Recipe(
        key={
            "corruptions": VERSION, "fingerprint": test.fingerprint, "rows": len(test), "corruption": name, "severity": severity,
            "pillow": PIL.__version__, "numpy": np.__version__, "scipy": scipy.__version__,
        },
        build=lambda folder: _build(test, condition, folder),
        needed_bytes=_bytes_of_one(test),
    )  # fmt: skip
    parent = f"corrupted/v{VERSION}/{test.dataset}-{test.fingerprint[:12]}"
    return np.load(cached_folder(parent, f"{name}-s{severity}", recipe) / "images.npy", mmap_mode="r")


def _build(test: Split, condition: Condition, folder: Path) -> None:
    side = max(SMALLEST_SIDE, test.images.shape[-1])
    images = np.lib.format.open_memmap(folder / "images.npy", mode="w+", dtype=np.uint8, shape=(len(test), 3, side, side))

    def made(rows: slice, clean: np.ndarray) -> np.ndarray:
        return corrupt(clean, np.arange(rows.start, rows.stop), *condition)

    for (rows, _), corrupted in _ahead(made, clean_batches(test)):
        images[rows] = corrupted
    images.flush()


def _bytes_of_one(test: Split) -> int:
    return len(test) * 3 * max(SMALLEST_SIDE, test.images.shape[-1]) ** 2


def _ahead(make: Callable, tasks: Iterator[tuple]) -> Iterator[tuple[tuple, np.ndarray]]:
    """(task, make(*task)) in order, made by a thread per core, one task a thread ahead and never more."""
    workers = available_cores()
    with ThreadPoolExecutor(workers, thread_name_prefix="corrupt") as pool:
        pending: deque[tuple[tuple, Future]] = deque()
        try:
            for task in tasks:
                pending.append((task, pool.submit(make, *task)))
                if len(pending) > workers:
                    first, future = pending.popleft()
                    yield first, future.result()
            while pending:
                first, future = pending.popleft()
                yield first, future.result()
        finally:
            pool.shutdown(cancel_futures=True)
