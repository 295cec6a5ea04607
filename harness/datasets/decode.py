"""Encoded images of the real datasets to pixels, as torchvision's transforms of PIL images would give them.

Pillow's shortcuts for shrinking (`draft`, `reducing_gap`) are not used: they average pixels with another filter than the
antialiased bilinear one a protocol names, so results would differ by more than rounding.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP")

Box = tuple[int, int, int, int]  # top, left, height, width in pixels, as torchvision's crop


def decode_rgb(encoded: bytes) -> np.ndarray:
    """uint8 [H, W, 3] in 0..255; grey, palette and CMYK become RGB as Pillow's `convert` does. Raises ValueError."""
    return np.asarray(_decoded(encoded))


def image_size(encoded: bytes) -> tuple[int, int]:
    """(height, width) in pixels, from the header alone. Raises ValueError."""
    with _opened(encoded) as image:
        return image.height, image.width


def decode_view(encoded: bytes, box: Box, size: int) -> np.ndarray:
    """uint8 [3, size, size]: the box cut out, then resized with the antialiased bilinear filter (torchvision `resized_crop`).

    Raises ValueError when the bytes do not decode or the box leaves the image.
    """
    top, left, height, width = box
    image = _decoded(encoded)
    if min(top, left) < 0 or min(height, width) < 1 or top + height > image.height or left + width > image.width:
        raise ValueError(f"box {box} (top, left, height, width) leaves the image of {image.height} x {image.width} pixels")
    # Cut first: Pillow's resize(box=...) would let the filter reach pixels outside the box.
    return resize_view(np.asarray(image), box, size)


def resize_view(pixels: np.ndarray, box: Box, size: int) -> np.ndarray:
    """As `decode_view`, of pixels already decoded (uint8 [H, W, 3])."""
    top, left, height, width = box
    cut = Image.fromarray(pixels[top : top + height, left : left + width])
    return _channels_first(cut.resize((size, size), Image.Resampling.BILINEAR))


def eval_view(encoded: bytes, resize_short_side: int, center_crop: int) -> np.ndarray:
    """uint8 [3, H, W]: short side resized to `resize_short_side` pixels (0: kept), then the central square (0: no crop).

    Rounding follows torchvision `Resize` (long side truncated) and `CenterCrop` (offsets rounded half to even).
    Raises ValueError when the bytes do not decode or the image is smaller than the crop.
    """
    image = _decoded(encoded)
    if resize_short_side:
        short = min(image.size)
        width, height = (int(resize_short_side * side / short) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    if center_crop:
        if min(image.size) < center_crop:
            raise ValueError(f"central crop of {center_crop} does not fit an image of {image.height} x {image.width} pixels")
        left, top = (round((side - center_crop) / 2) for side in image.size)
        image = image.crop((left, top, left + center_crop, top + center_crop))
    return _channels_first(image)


def _decoded(encoded: bytes) -> Image.Image:
    with _opened(encoded) as image:
        return image.convert("RGB")


@contextmanager
def _opened(encoded: bytes) -> Iterator[Image.Image]:
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            yield image
    except Exception as reason:  # on damaged files Pillow also lets SyntaxError, EOFError, struct.error ... escape
        raise ValueError(f"not an image that decodes as {', '.join(FORMATS)}: {reason}") from reason


def _channels_first(image: Image.Image) -> np.ndarray:
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
