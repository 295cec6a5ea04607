"""Geometry that several corruptions share: a zoom into the middle, and a smear along a line."""

from __future__ import annotations

import math

import numpy as np

NEGLIGIBLE = 1e-5  # weight of a tap: below a hundredth of a grey level


def clipped_zoom(images: np.ndarray, factor: float) -> np.ndarray:
    """The middle of float32 [..., S, S] images, enlarged `factor` >= 1 times to the same size, bilinear.

    Positions are those of the authors' `clipped_zoom`: ceil(S / factor) pixels are cut out, stretched corner on corner to
    round(that * factor), and trimmed to S.
    """
    side = images.shape[-1]
    kept = math.ceil(side / factor)
    stretched = round(kept * factor)
    top, trimmed = (side - kept) // 2, (stretched - side) // 2
    at = top + (trimmed + np.arange(side)) * ((kept - 1) / max(1, stretched - 1))
    low = np.floor(at).astype(int)
    high, share = np.minimum(low + 1, side - 1), (at - low).astype(np.float32)
    rows = images[..., low, :] * (1 - share)[:, None] + images[..., high, :] * share[:, None]
    return rows[..., low] * (1 - share) + rows[..., high] * share


def motion_blur(image: np.ndarray, radius: float, deviation: float, degrees: float) -> np.ndarray:
    """float32 [C, H, W] smeared to one side along a line: weights are half a Gaussian over 2 * radius + 1 pixels.

    As ImageMagick's MotionBlurImage, which the authors call: whole pixels, the edge repeated beyond the edge.
    """
    steps = np.arange(2 * round(radius) + 1)
    weights = np.exp(-(steps**2) / (2 * deviation**2))
    weights = (weights / weights.sum()).astype(np.float32)
    down, right = (np.ceil(steps * way - 0.5).astype(int) for way in _direction(degrees))
    reach = int(max(abs(down).max(), abs(right).max()))
    height, width = image.shape[1:]
    padded = np.pad(image, ((0, 0), (reach, reach), (reach, reach)), mode="edge")
    blurred = np.zeros_like(image)
    for weight, y, x in zip(weights, down + reach, right + reach, strict=True):
        if weight > NEGLIGIBLE:
            blurred += weight * padded[:, y : y + height, x : x + width]
    return blurred


def _direction(degrees: float) -> tuple[float, float]:
    """(rows, columns) of a step of one pixel."""
    return math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
