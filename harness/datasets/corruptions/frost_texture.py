"""Frosted panes drawn from a fixed seed, in place of the photographs that ImageNet-C uses: our stand-in, see `weather.frost`.

A pane is a hazy base with fern-like crystals: stems with side branches at 60 degrees, as ice grows. It is drawn once, for images
of 224 pixels, and shrunk for smaller ones as the authors shrink their photographs, so that frost looks alike on all of them.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

TEXTURES = 5  # the authors draw among five of their photographs
SIDES = 3  # side of a pane, in sides of the image
DRAWN_FOR = 224  # pixels of the image's side
SIZE = SIDES * DRAWN_FOR
STEMS = 110
BRANCH_ANGLE = math.radians(60)
BRANCH_EVERY = 7.0  # pixels of a stem
ICE = np.array([0.82, 0.92, 1.0], np.float32)[:, None, None]  # the tint of frost in daylight


@lru_cache(maxsize=2 * TEXTURES)
def frost_texture(number: int, side: int) -> np.ndarray:
    """Pane `number` (0..TEXTURES - 1) for images of `side` pixels: float32 [3, SIDES * side, SIDES * side] in 0..1."""
    pane = Image.fromarray(_brightness(number)).resize((SIDES * side,) * 2, Image.Resampling.BILINEAR)
    return np.clip(np.asarray(pane) * ICE, 0, 1)


@lru_cache(maxsize=TEXTURES)
def _brightness(number: int) -> np.ndarray:
    """float32 [SIZE, SIZE], about 0..1.2."""
    generator = np.random.default_rng([1903, 12261, number])
    haze = sum(weight * _noise(generator, scale) for weight, scale in ((0.5, 90), (0.35, 25), (0.15, 6)))
    ferns = gaussian_filter(_ferns(generator), 0.7)
    return (0.05 + 0.75 * haze + 0.9 * ferns * (0.3 + haze)).astype(np.float32)


def _noise(generator: np.random.Generator, scale: int) -> np.ndarray:
    """Smooth noise with features of `scale` pixels, float32 [SIZE, SIZE]: 0..1 are its mean -+ 2 standard deviations."""
    coarse = generator.standard_normal((SIZE // scale + 2,) * 2, dtype=np.float32)
    smooth = np.asarray(Image.fromarray(coarse).resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    return np.clip(0.5 + (smooth - smooth.mean()) / (4 * smooth.std()), 0, 1)


def _ferns(generator: np.random.Generator) -> np.ndarray:
    """Crystals, float32 [SIZE, SIZE] in 0..1, the later ones over the earlier ones."""
    canvas = Image.new("L", (SIZE, SIZE))
    pen = ImageDraw.Draw(canvas)
    for _ in range(STEMS):
        _draw_stem(pen, generator)
    return np.asarray(canvas, np.float32) / 255


def _draw_stem(pen: ImageDraw.ImageDraw, generator: np.random.Generator) -> None:
    """A stem somewhere, and its side branches of uneven length, shorter towards the tip."""
    start, angle = generator.uniform(0, SIZE, 2), generator.uniform(0, 2 * math.pi)
    length, grey = generator.uniform(0.15, 0.8) * DRAWN_FOR, int(generator.integers(110, 256))
    way = _direction(angle)
    pen.line([*start, *(start + length * way)], fill=grey, width=2)
    for at in np.arange(0, length, BRANCH_EVERY):
        for turn in (BRANCH_ANGLE, -BRANCH_ANGLE):
            reach = 0.4 * (length - at) * generator.uniform(0.4, 1)
            foot = start + at * way
            pen.line([*foot, *(foot + reach * _direction(angle + turn))], fill=round(0.8 * grey), width=2)


def _direction(angle: float) -> np.ndarray:
    return np.array([math.cos(angle), math.sin(angle)])
