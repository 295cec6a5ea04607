"""defocus_blur, glass_blur, motion_blur, zoom_blur (arXiv 1903.12261, Section 4.1; parameters in severities.py)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.ndimage import correlate1d, gaussian_filter
from scipy.signal import fftconvolve

from harness.datasets.corruptions import sampling
from harness.datasets.corruptions.noise import Generators
from harness.datasets.corruptions.severities import Parameters

SMALL_DISK = 8  # radius up to which the authors smooth the disk's rim over 3 pixels instead of 5


def defocus_blur(images: np.ndarray, parameters: Parameters, generators: Generators) -> np.ndarray:
    """Every point becomes a disk of this radius in pixels, its rim smoothed by a Gaussian of this deviation."""
    kernel = disk(*parameters)
    reach = kernel.shape[0] // 2
    padded = np.pad(images, ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="reflect")
    # Image by image: the FFT of several at once may round otherwise, and a batch must not change an image.
    return np.stack([fftconvolve(image, kernel[None], mode="valid", axes=(1, 2)) for image in padded])


@lru_cache(maxsize=32)
def disk(radius: float, rim: float) -> np.ndarray:
    """float64 [2r + 1, 2r + 1], sum 1, without the empty border."""
    reach = SMALL_DISK if radius <= SMALL_DISK else int(radius)
    distances = np.arange(-reach, reach + 1)
    kernel = (distances[:, None] ** 2 + distances**2 <= radius**2).astype(float)
    taps = np.arange(-1, 2) if radius <= SMALL_DISK else np.arange(-2, 3)
    weights = np.exp(-(taps**2) / (2 * rim**2))
    for axis in (0, 1):
        kernel = correlate1d(kernel, weights, axis=axis, mode="mirror")
    used = np.flatnonzero(kernel.max(axis=0) > 1e-12)
    return kernel[used[0] : used[-1] + 1, used[0] : used[-1] + 1] / kernel.sum()


def glass_blur(images: np.ndarray, parameters: Parameters, generators: Generators) -> np.ndarray:
    """Smoothed by a Gaussian of deviation p[0], pixels moved by up to p[1] pixels p[2] times, smoothed again.

    The authors' loop is meant to swap neighbours, but numpy's views make it copy one over the other; the published images are
    what it does, so this copies too.
    """
    deviation, reach, rounds = parameters[0], round(parameters[1]), round(parameters[2])
    blurred = _smoothed(images, deviation).reshape(*images.shape[:2], -1)
    side, places = images.shape[-1], []
    for generator in generators:
        offsets = generator.integers(-reach, reach, (rounds, 2, side - 2 * reach, side - 2 * reach))
        places.append(sources(offsets, side, reach))
    shuffled = np.take_along_axis(blurred, np.stack(places)[:, None], axis=2)
    return _smoothed(shuffled.reshape(images.shape), deviation)


def sources(offsets: np.ndarray, side: int, reach: int) -> np.ndarray:
    """For every pixel, row by row, the pixel it shows in the end: int64 [side * side].

    `offsets` int [rounds, 2, side - 2 reach, side - 2 reach]: (down, right) of what each inner pixel copies, inner pixels from
    `reach + 1` to `side - reach`. In each round pixels copy one after the other, the last one first, so what they copy may itself
    have been replaced already: that chain is followed to its end by doubling, without a loop over pixels.
    """
    own = np.arange(side * side).reshape(side, side)
    inner = slice(reach + 1, side - reach + 1)
    shown = own.ravel()
    for down, right in offsets:
        copied = own.copy()
        rows, columns = np.mgrid[inner, inner]
        copied[inner, inner] = own[rows + down, columns + right]
        copied = copied.ravel()
        replaced = np.zeros((side, side), bool)
        replaced[inner, inner] = True
        # Only pixels behind have been replaced when a pixel copies; a pixel that copies itself or one ahead gets the old value.
        unfinished = replaced.ravel()[copied] & (copied > own.ravel())
        while unfinished.any():
            copied, unfinished = (
                np.where(unfinished, copied[copied], copied),
                unfinished & unfinished[copied],
            )
        shown = shown[copied]
    return shown


def motion_blur(images: np.ndarray, parameters: Parameters, generators: Generators) -> np.ndarray:
    """Smeared over radius and deviation in pixels, in a direction of -45 to 45 degrees."""
    drawn = (generator.uniform(-45, 45) for generator in generators)
    return np.stack([sampling.motion_blur(image, *parameters, degrees) for image, degrees in zip(images, drawn, strict=True)])


def zoom_blur(images: np.ndarray, parameters: Parameters, generators: Generators) -> np.ndarray:
    """Mean of the image and of `count` zooms into its middle, from 1 to `largest` times."""
    largest, count = parameters
    factors = np.linspace(1, largest, round(count))
    total = images.copy()
    for factor in factors:
        total += sampling.clipped_zoom(images, factor)
    return total / np.float32(len(factors) + 1)


def _smoothed(images: np.ndarray, deviation: float) -> np.ndarray:
    return gaussian_filter(images, (0, 0, deviation, deviation), mode="nearest")
