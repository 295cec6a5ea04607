"""Noise of every pixel and channel by itself: gaussian_noise, shot_noise, impulse_noise (arXiv 1903.12261, Section 4.1)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from harness.datasets.corruptions.severities import Parameters

Generators = Iterable[np.random.Generator]


def gaussian_noise(images: np.ndarray, parameters: Parameters, generators: Generators) -> np.ndarray:
    """Adds normal noise of this standard deviation, of a range of 1."""
    (deviation,) = parameters
    noise = [generator.standard_normal(images.shape[1:], dtype=np.float32) for generator in generators]
    return images + np.float32(deviation) * np.stack(noise)


def shot_noise(images: np.ndarray, parameters: Parameters, generators: Generators) -> np.ndarray:
    """Counts of a Poisson process that gives `photons` of them, on average, for full brightness."""
    (photons,) = parameters
    counts = [generator.poisson(image * photons) for image, generator in zip(images, generators, strict=True)]
    return np.stack(counts).astype(np.float32) / np.float32(photons)


def impulse_noise(images: np.ndarray, parameters: Parameters, generators: Generators) -> np.ndarray:
    """This share of the values becomes 0 or 1, as likely the one as the other (salt and pepper)."""
    (amount,) = parameters
    drawn = np.stack([generator.random(images.shape[1:], dtype=np.float32) for generator in generators])
    return np.where(drawn < amount / 2, np.float32(0), np.where(drawn < amount, np.float32(1), images))
