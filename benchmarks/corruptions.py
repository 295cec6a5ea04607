"""Images/s of every corruption on one core, by side of the image, and hours for a whole test split under all 75.

    python benchmarks/corruptions.py [--sides 32,64,224] [--seconds 0.3]

Smoothed noise stands in for images: only JPEG's speed depends, a little, on what is shown.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from scipy.ndimage import gaussian_filter

from harness.datasets.corruptions import CORRUPTIONS, SEVERITIES, corrupt

IMAGES = {32: 128, 64: 64, 224: 8}  # per call; other sides: 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", default="32,64,224")
    parser.add_argument("--seconds", type=float, default=0.3, help="at least, for each corruption and severity")
    arguments = parser.parse_args()
    sides = [int(side) for side in arguments.sides.split(",")]
    print(f"{'images/s, mean of 5 severities':32}" + "".join(f"{f'{side} px':>10}" for side in sides))
    cost = dict.fromkeys(sides, 0.0)  # seconds for one image under all 75
    for name in CORRUPTIONS:
        speeds = []
        for side in sides:
            images = some_images(IMAGES.get(side, 16), side)
            seconds = [seconds_per_image(images, name, severity, arguments.seconds) for severity in SEVERITIES]
            cost[side] += sum(seconds)
            speeds.append(len(seconds) / sum(seconds))
        print(f"{name:32}" + "".join(f"{speed:10.0f}" for speed in speeds), flush=True)
    print(f"{'all 75, hours for 10,000 images':32}" + "".join(f"{10_000 * cost[side] / 3600:10.2f}" for side in sides))


def some_images(count: int, side: int) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal((count, 3, side, side))
    smooth = gaussian_filter(noise, (0, 0, side / 20, side / 20))
    return np.clip(128 + 50 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def seconds_per_image(images: np.ndarray, name: str, severity: int, at_least: float) -> float:
    """Mean of as many calls as fill the time, after one to warm up."""
    rows = np.arange(len(images))
    corrupt(images, rows, name, severity)
    calls, started = 0, time.perf_counter()
    while calls == 0 or time.perf_counter() - started < at_least:
        corrupt(images, rows, name, severity)
        calls += 1
    return (time.perf_counter() - started) / (calls * len(images))


if __name__ == "__main__":
    main()
