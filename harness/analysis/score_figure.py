"""Histograms of the scores of an HL- and an SL-trained student as SVG text (the paper's Fig. 2b): same numbers, same bytes.

Upper row: the time-averaged scores. Lower row: the same in units of each run's mean at its first snapshot (methods F.3).
matplotlib is imported only when the figure is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness import canonical
from harness.analysis.scores import REGIMES, SCORES, Comparison
from harness.scoring.svg import COLOURS, svg_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GENERATED = "<!-- Made by `hlbench analyze scores` from recordings of training dynamics. Edits are lost. -->"
SIZE = (9.0, 5.4)  # inches
BINS = 40
SHOWN = 0.99  # share of each run's images within the bins; a few far ones would squeeze the others into a corner
LINES = {"HL": "-", "SL": "--"}  # told apart without colour, too
ROWS = (("scores", "score, mean over snapshots"), ("normalised", "score / mean at the first snapshot"))


def score_figure(comparison: Comparison) -> str:
    """SVG text: two rows of three panels."""

    def draw() -> Figure:
        from matplotlib.figure import Figure

        canvas = Figure(figsize=SIZE, layout="constrained")
        grid = canvas.subplots(len(ROWS), len(SCORES))
        for (attribute, label), axes_row in zip(ROWS, grid, strict=True):
            for score, axes in zip(SCORES, axes_row, strict=True):
                draw_panel(axes, {regime: getattr(comparison.distributions[score, regime], attribute) for regime in REGIMES})
                axes.set_xlabel(label)
            axes_row[0].set_ylabel("share of the images, %")
        for score, axes in zip(SCORES, grid[0], strict=True):
            axes.set_title(score)
        canvas.legend(*grid[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
        return canvas

    return svg_text(draw, numbers_sha256(comparison), GENERATED)


def numbers_sha256(comparison: Comparison) -> str:
    """Digest of what the figure is drawn from: the two recordings, in their roles."""
    return canonical.digest({regime: run.sha256 for regime, run in comparison.runs.items()})


def draw_panel(axes: Axes, values: dict[str, np.ndarray]) -> None:
    """Both runs' histograms over the same bins, and their means as vertical lines. `values`: regime -> float64 [N], >= 0."""
    for (regime, shares), colour in zip(histograms(values).items(), COLOURS, strict=False):
        style = {"color": colour, "linestyle": LINES[regime]}
        axes.stairs(shares, bin_edges(values), fill=True, color=colour, alpha=0.25)
        axes.stairs(shares, bin_edges(values), label=f"{regime}-trained", linewidth=1.3, **style)
        axes.axvline(float(np.mean(values[regime])), label=f"its mean ({regime})", linewidth=0.8, **style)
    axes.set_xlim(0, bin_edges(values)[-1])
    axes.set_ylim(bottom=0)
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def bin_edges(values: dict[str, np.ndarray]) -> np.ndarray:
    """float64 [BINS + 1], evenly from 0 to the larger of the runs' 99th percentiles (their largest value where those are 0)."""
    last = max(float(np.quantile(found, SHOWN)) for found in values.values())
    return np.linspace(0, last or max(float(found.max()) for found in values.values()), BINS + 1)


def histograms(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Regime -> float64 [BINS]: percent of the rows in each bin; the last bin holds everything beyond it, too."""
    edges = bin_edges(values)
    return {regime: 100 * np.histogram(np.minimum(found, edges[-1]), edges)[0] / len(found) for regime, found in values.items()}
