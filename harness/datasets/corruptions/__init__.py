"""The 15 corruptions of Hendrycks & Dietterich (arXiv 1903.12261, Section 4.1) x 5 severities, made from stored test images.

Pure functions in numpy, scipy and Pillow. They follow the authors' code (hendrycks/robustness, ImageNet-C/create_c), but values
are rounded to 8 bits where the authors cut off, images are not stored as JPEG afterwards, ImageMagick's motion blur and OpenCV's
filters are rewritten, and the frost is drawn, not photographed (`weather.frost`). So these images resemble CIFAR-10-C,
Tiny-ImageNet-C and ImageNet-C and are not theirs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from harness.datasets.corruptions import blur, digital, noise, weather
from harness.datasets.corruptions.severities import SEVERITIES, SMALLEST_SIDE, parameters
from harness.errors import UsageError

__all__ = ["CORRUPTIONS", "SEVERITIES", "SMALLEST_SIDE", "VERSION", "corrupt"]

VERSION = 1  # raise when any image changes: cached images and records of another version are other images
CHUNK_VALUES = 1 << 19  # float32 values worked on at once (2 MB): chunks stay in the cache, and 224 px images in bounded memory

Corruption = Callable[[np.ndarray, tuple[float, ...], noise.Generators], np.ndarray]

# In the paper's order. Each takes float32 [B, 3, S, S] in 0..1, its parameters and one generator per image, and returns the
# same shape; values may leave 0..1.
CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "defocus_blur": blur.defocus_blur,
    "glass_blur": blur.glass_blur,
    "motion_blur": blur.motion_blur,
    "zoom_blur": blur.zoom_blur,
    "snow": weather.snow,
    "frost": weather.frost,
    "fog": weather.fog,
    "brightness": digital.brightness,
    "contrast": digital.contrast,
    "elastic_transform": digital.elastic_transform,
    "pixelate": digital.pixelate,
    "jpeg_compression": digital.jpeg_compression,
}


def corrupt(images: np.ndarray, rows: np.ndarray, name: str, severity: int) -> np.ndarray:
    """The images under one corruption: uint8 [B, 3, S, S] in 0..255 of S >= 32 pixels to the same shape and dtype.

    `rows` int [B]: the images' rows in their split. What is random follows from (name, severity, row) alone, so an image looks
    the same whatever batch it comes in. Raises UsageError for an unknown name or severity and for other shapes.
    """
    _require(images, rows, name, severity)
    chosen = parameters(name, severity, images.shape[-1])
    chunk = max(1, CHUNK_VALUES // images[0].size) if len(images) else 1
    corrupted = np.empty_like(images)
    for start in range(0, len(images), chunk):
        part = slice(start, start + chunk)
        generators = (_generator(name, severity, int(row)) for row in rows[part])
        changed = CORRUPTIONS[name](images[part].astype(np.float32) / 255, chosen, generators)
        corrupted[part] = np.rint(np.clip(changed, 0, 1) * 255)
    return corrupted


def _generator(name: str, severity: int, row: int) -> np.random.Generator:
    seed = hashlib.sha256(f"corruption {VERSION}/{name}/{severity}/{row}".encode()).digest()
    return np.random.default_rng(int.from_bytes(seed[:16], "big"))


def _require(images: np.ndarray, rows: np.ndarray, name: str, severity: int) -> None:
    if name not in CORRUPTIONS:
        raise UsageError(f"no corruption {name!r}", fix=f"choose one of: {', '.join(CORRUPTIONS)}")
    if severity not in SEVERITIES:
        raise UsageError(f"no severity {severity!r}", fix="choose 1 to 5")
    shape = images.shape
    square = images.dtype == np.uint8 and len(shape) == 4 and shape[1] == 3 and shape[2] == shape[3] >= SMALLEST_SIDE
    if not square or len(rows) != len(images):
        raise UsageError(
            "these images cannot be corrupted",
            why=f"{images.dtype} {list(shape)} with {len(rows)} row numbers; "
            f"uint8 [B, 3, S, S] of at least {SMALLEST_SIDE} pixels and one row each are needed",
        )
