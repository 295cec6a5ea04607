"""Images stored as arrays: which layouts and dtypes are accepted, decided from the header alone; and what floats must satisfy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.errors import SubmissionError
from harness.intake.expected import Expected

# Normalised pixels lie within about 3 deviations, and images learned without clamping reach tens; raw 0..255 must not pass.
MOST_FLOAT = 100.0


@dataclass(frozen=True)
class ArrayHeader:
    """What a file says about an array before it is read. `dtype`: numpy's name if plain and native, else the file's own."""

    dtype: str
    shape: tuple[int, ...]


def channels_last(header: ArrayHeader, expected: Expected, where: str) -> bool:
    """Whether images lie as [N, H, W, 3] (uint8 only) and not as [N, 3, H, W].

    Raises SubmissionError for another dtype or shape than declared, and where both readings fit.
    """
    if header.dtype != expected.dtype.name:
        raise SubmissionError(
            f"images are {header.dtype}, not {expected.dtype.name}",
            where=where,
            why=f"the submission declares images.pixel_space: {expected.dtype.name}",
            fix="store them as declared (uint8: 0..255; float32: little-endian, already normalised), or mend the declaration",
        )
    size, image_shape = expected.resolution, header.shape[1:]
    last = image_shape == (size, size, 3) and header.dtype == "uint8"
    first = image_shape == (3, size, size)
    if first and last:
        raise SubmissionError(
            "channel order is ambiguous", where=where, why=f"shape {header.shape} fits [N, 3, H, W] and [N, H, W, 3]",
            fix="store the images as PNG",
        )  # fmt: skip
    if not first and not last:
        also = f" or [N, {size}, {size}, 3]" if header.dtype == "uint8" else ""
        raise SubmissionError(
            f"images have shape {list(header.shape)}",
            where=where,
            why=f"the submission declares [N, 3, {size}, {size}]{also}",
            fix="repeat grey images to three channels, move channels first, or mend images.resolution",
        )
    return last


def check_integer(header: ArrayHeader, dimensions: int, where: str, what: str, fix: str) -> None:
    """Raises SubmissionError unless the header is that of a plain integer array with that many dimensions."""
    plain = header.dtype.removeprefix("u") in ("int8", "int16", "int32", "int64")
    if not plain or len(header.shape) != dimensions:
        raise SubmissionError(
            f"{what} are {header.dtype} of shape {list(header.shape)}",
            where=where,
            why=f"{what} are integers, shape [N]",
            fix=fix,
        )


def place_block(images: np.ndarray, first: int, block: np.ndarray, last: bool, where: str) -> None:
    """Copy `block` ([n, 3, R, R], or [n, R, R, 3] if `last`) into images[first : first + n], checking floats on the way.

    Raises SubmissionError naming the first image with NaN, infinity or a value beyond MOST_FLOAT.
    """
    images[first : first + len(block)] = block.transpose(0, 3, 1, 2) if last else block
    if block.dtype != np.float32:
        return
    for row, image in enumerate(block, start=first):
        if not np.isfinite(image).all():
            raise SubmissionError(
                f"image {row} holds NaN or infinity", where=where, why="pixels are finite numbers", fix="export the set again"
            )
        if np.abs(image).max() > MOST_FLOAT:
            raise SubmissionError(
                f"image {row} holds {image.flat[np.abs(image).argmax()]:g}",
                where=where,
                why=f"normalised pixels lie within +-{MOST_FLOAT:g}; 0..255 are raw pixels",
                fix="normalise with the statistics images.normalization names, or store raw pixels as uint8",
            )
