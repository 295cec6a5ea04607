"""What the observer said of a class's crops, kept in this user's cache: a pass that was interrupted goes on where it stopped, and
a set of another IPC from the same pools asks the observer nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from harness.paths import cache_root
from harness.whole_files import write_in_one_step


@dataclass(frozen=True)
class Judged:
    """The best crop of each of n images of one class.

    Attributes:
        boxes: int32 [n, 4], top, left, height, width.
        cross_entropy: float64 [n], nats.
    """

    boxes: np.ndarray
    cross_entropy: np.ndarray


def folder_of(key: str) -> Path:
    """Where the judgements of one pass lie; `key` (64 hex digits) names all that they depend on."""
    return cache_root() / "judged" / key


def recalled(path: Path, images: int, judge: Callable[[], Judged]) -> Judged:
    """What lies at `path`, if it is whole and of `images` images; else what `judge` says, written there in one step."""
    found = _read(path, images)
    if found is None:
        found = judge()
        write_in_one_step(path, save({"boxes": found.boxes, "cross_entropy": found.cross_entropy}))
    return found


def _read(path: Path, images: int) -> Judged | None:
    try:
        tensors = load_file(path)
        found = Judged(tensors["boxes"], tensors["cross_entropy"])
    except (OSError, SafetensorError, KeyError):
        return None
    shapes = (found.boxes.shape, found.cross_entropy.shape) == ((images, 4), (images,))
    types = (found.boxes.dtype, found.cross_entropy.dtype) == (np.int32, np.float64)
    return found if shapes and types and np.isfinite(found.cross_entropy).all() else None
