"""A small split with made-up training dynamics: what the tests of `harness/coresets` select from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from harness.coresets.selector import Source
from harness.datasets.base import Split

CLASSES, FEATURES, SNAPSHOTS, PASSES = 3, 5, 12, 6


@dataclass(frozen=True)
class FakeDynamics:
    """The attributes that selectors read of `harness.dynamics.artifact.Dynamics`."""

    labels: np.ndarray
    true_probability: np.ndarray
    el2n: np.ndarray
    presented: np.ndarray
    probabilities: np.ndarray
    features: np.ndarray
    folder: Path = Path("dynamics/fake")

    @property
    def correct(self) -> np.ndarray:
        return (self.true_probability > 0.5).astype(np.uint8)

    def el2n_sl(self, temperature: float) -> np.ndarray:
        return self.el2n[::-1] * np.float32(temperature)


def made_source(seed: int, sizes: tuple[int, ...] = (9, 12, 10), features: int = FEATURES, snapshots: int = SNAPSHOTS) -> Source:
    """A split whose class c has sizes[c] rows, in a shuffled order, and dynamics without ties."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.repeat(np.arange(len(sizes)), sizes))
    rows, classes = len(labels), len(sizes)
    images = generator.integers(0, 256, (rows, 3, 4, 4), dtype=np.uint8)
    logits = generator.normal(size=(rows, classes)) * 2
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    dynamics = FakeDynamics(
        labels,
        generator.uniform(size=(snapshots, rows)).astype(np.float32),
        generator.uniform(0, 2**0.5, (snapshots, rows)).astype(np.float32),
        generator.choice(np.array([0, 1, 255], np.uint8), (PASSES, rows), p=[0.4, 0.4, 0.2]),
        probabilities.astype(np.float16),
        generator.normal(size=(rows, features)).astype(np.float16),
    )
    return Source(Split("made-up", "train", images, labels.astype(np.int64), "0" * 64), dynamics)


@st.composite
def sources(draw) -> tuple[Source, int]:
    """(a source, an IPC its smallest class allows)."""
    sizes = tuple(draw(st.lists(st.integers(2, 9), min_size=1, max_size=4)))
    source = made_source(draw(st.integers(0, 2**32)), sizes, draw(st.integers(1, 14)), draw(st.integers(11, 14)))
    return source, draw(st.integers(1, min(sizes)))
