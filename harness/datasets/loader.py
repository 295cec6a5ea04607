"""Batches of views of encoded images: decoded on all cores, in order, a few batches ahead and never more."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from harness.errors import EnvironmentProblem
from harness.imageset import EncodedImages

PREFETCHED_BATCHES = 3


def iterate_batches(
    images: EncodedImages, order: np.ndarray, batch_size: int, view: Callable[[bytes, int], np.ndarray], workers: int
) -> Iterator[np.ndarray]:
    """Yield uint8 [B, 3, h, w] for consecutive pieces of `order` (int [N], rows of `images`); the last may be smaller.

    `view(encoded, position)` returns uint8 [3, h, w], the same h and w for all; `position` indexes `order`. It is called from
    `workers` threads in no fixed order, so its randomness must follow from `position` alone; then batches do not depend on
    `workers`. At most PREFETCHED_BATCHES + 1 batches are in memory beside the one being used.

    Raises EnvironmentProblem naming the row when `view` raises ValueError (it does not decode); other errors carry the row
    as a note. Closing the iterator stops the threads.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="view") as pool:
        ahead: deque[list[Future]] = deque()
        try:
            for start in range(0, len(order), batch_size):
                positions = range(start, min(start + batch_size, len(order)))
                ahead.append([pool.submit(_view_of_row, images, int(order[at]), view, at) for at in positions])
                if len(ahead) > PREFETCHED_BATCHES:
                    yield _batch(ahead.popleft())
            while ahead:
                yield _batch(ahead.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def _batch(views: list[Future]) -> np.ndarray:
    return np.stack([view.result() for view in views])


def _view_of_row(images: EncodedImages, row: int, view: Callable[[bytes, int], np.ndarray], position: int) -> np.ndarray:
    try:
        return view(images.read(row), position)
    except ValueError as reason:
        raise EnvironmentProblem(
            f"row {row} of the images cannot be decoded", why=str(reason), fix="restore the dataset's files from their source"
        ) from reason
    except Exception as reason:
        reason.add_note(f"while preparing row {row}")
        raise
