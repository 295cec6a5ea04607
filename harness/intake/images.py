"""One encoded image from a stranger to pixels: PNG, JPEG or WebP, one frame, 8 bits a channel, no alpha, exactly R x R.

The size is read from the header before anything is decoded. Grey and palette images become RGB; metadata (EXIF, ICC, text) is
dropped, and EXIF rotation is not applied: the pixels are used as they are stored.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
from PIL import Image

from harness.errors import SubmissionError
from harness.imageset import EncodedImages
from harness.intake.expected import Expected
from harness.intake.limits import most_encoded_bytes

FORMATS = ("PNG", "JPEG", "WEBP")
OPAQUE_MODES = ("RGB", "L", "1", "P")
PNG_MAGIC, PNG_BIT_DEPTH_AT = b"\x89PNG\r\n\x1a\n", 24
CHUNK = 256


def decode_set(encoded: EncodedImages, place: Callable[[int], str], expected: Expected) -> np.ndarray | EncodedImages:
    """uint8 [N, 3, R, R], or `encoded` itself where decoded images would exceed 2 GiB; either way every image is decoded once.

    `place(row)` names a row in messages. Raises SubmissionError at the first image, in row order, that cannot be used.
    """
    kept = None if expected.stays_encoded else np.empty((len(encoded), *expected.image_shape), np.uint8)

    def decode(first: int) -> None:
        for row in range(first, min(first + CHUNK, len(encoded))):
            pixels = decode_image(encoded.read(row), expected.resolution, place(row))
            if kept is not None:
                kept[row] = pixels

    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for _ in pool.map(decode, range(0, len(encoded), CHUNK)):
            pass
    return encoded if kept is None else kept


def decode_image(encoded: bytes, resolution: int, where: str) -> np.ndarray:
    """uint8 [3, R, R] in 0..255. Raises SubmissionError naming `where`, what is wrong with the image and how to mend it."""
    most = most_encoded_bytes(resolution)
    if len(encoded) > most:
        raise SubmissionError(
            "encoded image is too large", where=where, why=f"{len(encoded):,} bytes; at most {most:,} at {resolution} pixels",
            fix="save it without metadata",
        )  # fmt: skip
    if (size := _webp_size(encoded)) is not None:
        _check_size(size, resolution, where)
    with _decoding(where), Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
        _check_size(image.size, resolution, where)
        _check_plain(image, encoded, where)
        return np.ascontiguousarray(np.asarray(image.convert("RGB")).transpose(2, 0, 1))


def _check_size(size: tuple[int, int], resolution: int, where: str) -> None:
    if size != (resolution, resolution):
        raise SubmissionError(
            f"image is {size[0]} x {size[1]} pixels",
            where=where,
            why=f"the submission declares {resolution} x {resolution}",
            fix="resize it, or mend images.resolution in the submission",
        )


def _check_plain(image: Image.Image, encoded: bytes, where: str) -> None:
    """Refuse what would not reach the student as stored: frames, alpha, deep or non-RGB colour."""
    if getattr(image, "n_frames", 1) > 1:
        raise SubmissionError(
            "image has several frames", where=where, why="one image is one picture", fix="save the first frame as PNG"
        )
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        raise SubmissionError(
            "image is transparent",
            where=where,
            why="what it looks like depends on the background, and alpha can carry hidden information",
            fix='flatten it yourself: paste it on the background you want, then image.convert("RGB").save(...)',
        )
    deep = encoded.startswith(PNG_MAGIC) and encoded[PNG_BIT_DEPTH_AT] > 8
    if deep or image.mode not in OPAQUE_MODES:
        raise SubmissionError(
            "image is not 8-bit grey or RGB",
            where=where,
            why=f"mode {image.mode}{', 16 bits a channel' if deep else ''}; there is more than one way to turn it into RGB",
            fix='convert it yourself: image.convert("RGB") and save as 8-bit PNG',
        )


@contextmanager
def _decoding(where: str) -> Iterator[None]:
    try:
        yield
    except SubmissionError:
        raise
    except (Exception, Image.DecompressionBombWarning) as reason:  # Pillow lets SyntaxError, struct.error ... escape
        raise SubmissionError(
            f"not a whole {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image",
            where=where,
            why=f"{type(reason).__name__}: {str(reason)[:200]}",
            fix="save the image again; truncated and foreign files are not repaired",
        ) from reason


def _webp_size(encoded: bytes) -> tuple[int, int] | None:
    """(width, height) from a WebP header (RFC 9649), or None for other formats: Pillow allocates the canvas on opening."""
    if encoded[:4] != b"RIFF" or encoded[8:12] != b"WEBP" or len(encoded) < 30:
        return None
    if encoded[12:16] == b"VP8X":
        return 1 + int.from_bytes(encoded[24:27], "little"), 1 + int.from_bytes(encoded[27:30], "little")
    if encoded[12:16] == b"VP8L":
        bits = int.from_bytes(encoded[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(encoded[26:28], "little") & 0x3FFF, int.from_bytes(encoded[28:30], "little") & 0x3FFF
