"""brightness, contrast, elastic_transform, pixelate, jpeg_compression (arXiv 1903.12261, Section 4.1; severities.py)."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image
from scipy.ndimage import affine_transform, gaussian_filter1d, map_coordinates

from harness.datasets.corruptions.noise import Generators
from harness.datasets.corruptions.severities import Parameters


def brightness(images: np.ndarray, parameters: Parameters, generators: Generators) -> np.ndarray:
    """Raises V of HSV by this much, at most to 1; hue and saturation stay, so the three channels grow in proportion."""
    (raised,) = parameters
    value = images.max(axis=1, keepdims=True)
    brighter = np.minimum(value + np.float32(raised), 1)
    black = value == 0  # without hue, it becomes grey
    return np.where(black, brighter, images * (brighter / np.where(black, 1, value)))


def contrast(images: np.ndarray, parameters: Parameters, generators: Generators) -> np.ndarray:
    """Shrinks the distance to each channel's mean to this share."""
    (share,) = parameters
    means = images.mean(axis=(2, 3), keepdims=True)
    return (images - means) * np.float32(share) + means


def elastic_transform(images: np.ndarray, parameters: Parameters, generators: Generators) -> np.ndarray:
    """A random affine map, then random displacements. Parameters are shares of the side.

    `jolt`: how far each of three points moves at most in the affine map; `strength`: factor of a displacement field of uniform
    noise in -1..1 that was smoothed by a Gaussian of deviation `smoothness`.
    """
    side = images.shape[-1]
    strength, smoothness, jolt = (share * side for share in parameters)
    warped = []
    for image, generator in zip(images, generators, strict=True):
        corners, moved = _jolted(side, jolt, generator)
        matrix, offset = affine_between(moved, corners)
        image = np.stack([affine_transform(channel, matrix, offset, order=1, mode="mirror") for channel in image])
        if strength > 0:
            smooth = _smoother(side, smoothness)
            fields = strength * (smooth @ generator.uniform(-1, 1, (2, side, side)) @ smooth.T)
            places = np.mgrid[:side, :side] + fields
            image = np.stack([map_coordinates(channel, places, order=1, mode="reflect") for channel in image])
        warped.append(image)
    return np.stack(warped)


def _jolted(side: int, jolt: float, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Three corners of a square in the middle, and where they go: float64 [3, 2] each, in pixels."""
    middle, reach = side // 2, side // 3
    corners = middle + reach * np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    return corners, corners + generator.uniform(-jolt, jolt, (3, 2))


def affine_between(three: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The matrix [2, 2] and offset [2] that take the first three points [3, 2] to the others."""
    solved = np.linalg.solve(np.column_stack([three, np.ones(3)]), others)
    return solved[:2].T, solved[2]


@lru_cache(maxsize=16)
def _smoother(side: int, deviation: float) -> np.ndarray:
    """The Gaussian filter along one axis as a matrix [side, side]: its taps can outnumber the pixels by far."""
    return gaussian_filter1d(np.eye(side), deviation, axis=0, mode="reflect", truncate=3)


def pixelate(images: np.ndarray, parameters: Parameters, generators: Generators) -> np.ndarray:
    """Shrunk to this share of the side by averaging boxes, and back."""
    (share,) = parameters
    side = images.shape[-1]
    small = (int(side * share),) * 2

    def coarse(image: Image.Image) -> Image.Image:
        return image.resize(small, Image.Resampling.BOX).resize((side, side), Image.Resampling.BOX)

    return _by_pillow(images, coarse)


def jpeg_compression(images: np.ndarray, parameters: Parameters, generators: Generators) -> np.ndarray:
    """Encoded as JPEG of this quality, and decoded."""
    (quality,) = parameters

    def compressed(image: Image.Image) -> Image.Image:
        encoded = io.BytesIO()
        image.save(encoded, "JPEG", quality=round(quality))
        return Image.open(encoded)

    return _by_pillow(images, compressed)


def _by_pillow(images: np.ndarray, change) -> np.ndarray:
    """`change` of every image as Pillow sees it: 8 bits, channels last."""
    pixels = np.rint(images * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    changed = [np.asarray(change(Image.fromarray(one))) for one in np.ascontiguousarray(pixels)]
    return np.stack(changed).transpose(0, 3, 1, 2).astype(np.float32) / 255
