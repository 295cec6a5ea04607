"""Stitched images: which piece of which real image lies in which quadrant, and the pixels that follow from it.

Pieces are cut and resized by Pillow's 8-bit bilinear filter (`datasets/decode.resize_view`: cut first, antialiased), which counts
in integers. So the same boxes give the same pixels on every machine, and a set can be made again from its boxes alone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from harness.datasets.decode import decode_rgb, resize_view
from harness.errors import EnvironmentProblem, UsageError
from harness.imageset import EncodedImages

MOST_FACTOR = 8  # as a submission's `patch_shuffle` allows


@dataclass(frozen=True)
class Layout:
    """`ipc` images a class, side x side pixels, each of factor x factor pieces. Raises UsageError for what cannot be laid out."""

    ipc: int
    side: int
    factor: int = 1

    def __post_init__(self):
        if self.ipc < 1:
            raise UsageError(f"{self.ipc} images per class", where="--ipc", fix="choose 1 or more")
        if not 1 <= self.factor <= MOST_FACTOR or self.side % self.factor:
            raise UsageError(
                f"factor {self.factor} does not fit images of {self.side} pixels",
                where="factor",
                why="an image is stitched from factor x factor pieces of one size",
                fix=f"choose one of 1 to {MOST_FACTOR} that divides {self.side}",
            )

    @property
    def pieces(self) -> int:
        """Of one image."""
        return self.factor**2

    @property
    def needed(self) -> int:
        """Pieces of one class."""
        return self.ipc * self.pieces

    @property
    def piece_side(self) -> int:
        return self.side // self.factor


@dataclass(frozen=True)
class Patches:
    """Where every piece of a stitched set comes from.

    Piece p lies in image p // factor² at quadrant p % factor² (row-major); images lie class by class, `layout.ipc` of each.

    Attributes:
        rows: int64 [P], row of the training split.
        boxes: int32 [P, 4], the part that was cut: top, left, height, width in pixels of that row's image.
        cross_entropy: float32 [P], of the observer on the piece alone (nats); lower is more realistic.
    """

    layout: Layout
    rows: np.ndarray
    boxes: np.ndarray
    cross_entropy: np.ndarray

    @property
    def images(self) -> int:
        return len(self.rows) // self.layout.pieces

    @property
    def labels(self) -> np.ndarray:
        """int64 [images]."""
        return np.arange(self.images, dtype=np.int64) // self.layout.ipc

    def of_ipc(self, ipc: int) -> Patches:
        """The set of a smaller IPC from the same pools and crops, without asking the observer again. Raises UsageError."""
        if ipc > self.layout.ipc:
            raise UsageError(f"IPC {ipc} of pieces ranked for IPC {self.layout.ipc}", fix="distil the larger set first")
        layout = replace(self.layout, ipc=ipc)
        classes = self.images // self.layout.ipc
        by_rank = np.arange(len(self.rows)).reshape(classes, self.layout.ipc, -1).transpose(0, 2, 1).reshape(classes, -1)
        kept = np.concatenate([ranks[arranged(layout)] for ranks in by_rank])
        return Patches(layout, self.rows[kept], self.boxes[kept], self.cross_entropy[kept])


class StitchedImages(Sequence):
    """The images that `patches` describe, each uint8 [3, side, side], made from `source` whenever it is asked for.

    Nothing is held: 50,000 images of 224 pixels would be 7.5 GB.
    """

    def __init__(self, source: np.ndarray | EncodedImages, patches: Patches):
        self.source, self.patches = source, patches

    def __len__(self) -> int:
        return self.patches.images

    def __getitem__(self, index: int) -> np.ndarray:
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        layout = self.patches.layout
        side = layout.piece_side
        image = np.empty((3, layout.side, layout.side), np.uint8)
        for quadrant in range(layout.pieces):
            at = index * layout.pieces + quadrant
            top, left = side * (quadrant // layout.factor), side * (quadrant % layout.factor)
            pixels = pixels_of(self.source, int(self.patches.rows[at]))
            image[:, top : top + side, left : left + side] = cut(pixels, self.patches.boxes[at], side)
        return image


def arranged(layout: Layout) -> np.ndarray:
    """The rank of each piece of a class, int64 [needed], in the order of images and quadrants.

    Image i has rank q * IPC + i at quadrant q (RDED mix_images), so every image gets one of the IPC best pieces.
    """
    return np.arange(layout.needed).reshape(layout.pieces, layout.ipc).T.ravel()


def pixels_of(source: np.ndarray | EncodedImages, row: int) -> np.ndarray:
    """uint8 [H, W, 3]. Raises EnvironmentProblem naming a row that does not decode."""
    if not isinstance(source, EncodedImages):
        return source[row].transpose(1, 2, 0)
    try:
        return decode_rgb(source.read(row))
    except ValueError as reason:
        raise EnvironmentProblem(
            f"row {row} of the images cannot be decoded", why=str(reason), fix="restore the dataset's files from their source"
        ) from reason


def cut(pixels: np.ndarray, box: np.ndarray, side: int) -> np.ndarray:
    """uint8 [3, side, side]: the box (top, left, height, width) of uint8 [H, W, 3], resized."""
    return resize_view(pixels, tuple(int(number) for number in box), side)


def cut_all(source: np.ndarray | EncodedImages, rows: np.ndarray, boxes: np.ndarray, side: int) -> np.ndarray:
    """uint8 [n, k, 3, side, side]: the k boxes (int [n, k, 4]) of each of n rows; encoded ones are decoded once, on all cores."""

    def cut_row(at: int) -> np.ndarray:
        pixels = pixels_of(source, int(rows[at]))
        return np.stack([cut(pixels, box, side) for box in boxes[at]])

    with ThreadPoolExecutor(os.cpu_count() if isinstance(source, EncodedImages) else 1) as pool:
        return np.stack(list(pool.map(cut_row, range(len(rows)))))
