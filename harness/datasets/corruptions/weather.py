"""snow, frost, fog (arXiv 1903.12261, Section 4.1; parameters in severities.py). Brightness stands with the digital ones."""

from __future__ import annotations

import numpy as np

from harness.datasets.corruptions import sampling
from harness.datasets.corruptions.frost_texture import TEXTURES, frost_texture
from harness.datasets.corruptions.noise import Generators
from harness.datasets.corruptions.severities import Parameters

GREY = np.array([0.299, 0.587, 0.114], np.float32)[:, None, None]  # ITU-R BT.601, as OpenCV's RGB2GRAY
FIRST_WIBBLE = 100.0  # of the diamond-square heights; the scale drops out when they are brought to 0..1


def snow(images: np.ndarray, parameters: Parameters, generators: Generators) -> np.ndarray:
    """Whitened images under flakes that fall slantwise.

    Flakes: normal noise (mean, deviation), enlarged `zoom` times, dark below `threshold`, smeared over radius and `smear` in a
    direction of -135 to -45 degrees, added once as they are and once turned by 180 degrees. `kept`: weight of the image itself.
    """
    mean, deviation, zoom, threshold, radius, smear, kept = parameters
    side, layers = images.shape[-1], []
    for generator in generators:
        flakes = sampling.clipped_zoom(generator.normal(mean, deviation, (1, side, side)).astype(np.float32), zoom)
        flakes = np.where(flakes < threshold, np.float32(0), np.minimum(flakes, 1))
        layers.append(sampling.motion_blur(flakes, radius, smear, generator.uniform(-135, -45)))
    layer = np.stack(layers)
    grey = (images * GREY).sum(axis=1, keepdims=True)
    whitened = np.float32(kept) * images + np.float32(1 - kept) * np.maximum(images, grey * 1.5 + 0.5)
    return whitened + layer + layer[:, :, ::-1, ::-1]


def frost(images: np.ndarray, parameters: Parameters, generators: Generators) -> np.ndarray:
    """Weighted sum of the image and a random cut of a frosted pane.

    A stand-in: the authors cut from six photographs of frost, which this project does not have and has no licence to pass on; the
    panes here are drawn by `frost_texture.py`. The weights are the published ones, numbers are not comparable with theirs.
    """
    kept, added = parameters
    side, cuts = images.shape[-1], []
    for generator in generators:
        pane = frost_texture(int(generator.integers(TEXTURES)), side)
        top, left = generator.integers(0, pane.shape[1] - side + 1, 2)
        cuts.append(pane[:, top : top + side, left : left + side])
    return np.float32(kept) * images + np.float32(added) * np.stack(cuts)


def fog(images: np.ndarray, parameters: Parameters, generators: Generators) -> np.ndarray:
    """Adds `amount` times a cloud of 0..1, then dims so that the brightest value the image had stays the brightest possible."""
    amount, decay = (np.float32(value) for value in parameters)
    side = images.shape[-1]
    size = 1 << (side - 1).bit_length()
    drawn = np.stack([generator.uniform(-1, 1, size * size - 1) for generator in generators])
    clouds = plasma(drawn, size, float(decay))[:, None, :side, :side].astype(np.float32)
    brightest = images.max(axis=(1, 2, 3), keepdims=True)
    return (images + amount * clouds) * brightest / (brightest + amount)


def plasma(drawn: np.ndarray, size: int, decay: float) -> np.ndarray:
    """Diamond-square heights, wrapped around at the edges: float64 [B, size, size] from 0 to 1. `size` is a power of two.

    `drawn` float64 [B, size^2 - 1] in -1..1: one number per point in the order they are set. The height added at a level is
    wibble^2 times that number, with wibble divided by `decay` from level to level, as the authors' code has it.
    """
    batch = len(drawn)
    heights = np.zeros((batch, size, size))
    wibble, step, used = FIRST_WIBBLE, size, 0

    def added(cells: int) -> np.ndarray:
        nonlocal used
        used += cells * cells
        return wibble**2 * drawn[:, used - cells * cells : used].reshape(batch, cells, cells)

    while step >= 2:
        half, cells = step // 2, size // step
        corners = heights[:, ::step, ::step]
        over = corners + np.roll(corners, -1, 1)
        centres = (over + np.roll(over, -1, 2)) / 4 + added(cells)
        heights[:, half::step, half::step] = centres
        beside, above = corners + np.roll(corners, -1, 2), centres + np.roll(centres, 1, 1)
        heights[:, ::step, half::step] = (beside + above) / 4 + added(cells)
        below, aside = corners + np.roll(corners, -1, 1), centres + np.roll(centres, 1, 2)
        heights[:, half::step, ::step] = (below + aside) / 4 + added(cells)
        step, wibble = half, wibble / decay
    heights -= heights.min(axis=(1, 2), keepdims=True)
    return heights / heights.max(axis=(1, 2), keepdims=True)
