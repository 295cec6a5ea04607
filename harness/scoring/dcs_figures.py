"""Scatter plots of a pool: does a lower loss go with a lower error? One for each objective; the same points, the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, pairwise
from statistics import fmean
from typing import TYPE_CHECKING

from scipy.stats import rankdata

from harness import canonical
from harness.dcs.statistic import Point
from harness.scoring.figures import FOLDER, Figure
from harness.scoring.svg import COLOURS, svg_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

SIZE = (7.2, 4.4)  # inches
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p", "h", "d", "8", "H")
MARKER_SIZE = 5.5


def pool_figure(stem: str, objective: str, points: Sequence[Point]) -> Figure:
    """`stem`: the pool's, `digits-v1`. x: rank of the loss among all points, 1 the lowest; y: mean top-1 error in percent."""
    alt = (
        f"Rank of the {objective} loss against the test error of {len(points)} subsets and twins of pool {stem}; colour is IPC, "
        "marker is the selector, twins are hollow and joined to their subset."
    )
    text = svg_text(lambda: _canvas(stem, objective, points), _numbers(objective, points), bbox_inches="tight")
    return Figure(f"{FOLDER}/{stem}-dcs-{objective}.svg", stem, alt, text)


def _canvas(stem: str, objective: str, points: Sequence[Point]) -> Canvas:
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=SIZE)
    axes = canvas.add_subplot()
    places = _places(points)
    _join_twins(axes, points, places)
    colours = dict(zip(sorted({point.ipc for point in points}), cycle(COLOURS)))
    markers = dict(zip(sorted({point.method for point in points}), cycle(MARKERS)))
    for point in points:
        face = colours[point.ipc] if point.subset == point.cluster else "white"
        style = {"markerfacecolor": face, "markeredgecolor": colours[point.ipc], "markeredgewidth": 0.9}
        axes.plot(*places[point.subset], linestyle="none", marker=markers[point.method], markersize=MARKER_SIZE, **style)
    for ipc, colour in colours.items():
        axes.plot([], [], linestyle="none", marker="o", color=colour, label=f"IPC {ipc}")
    for method, marker in markers.items():
        axes.plot([], [], linestyle="none", marker=marker, color="0.4", label=method)
    axes.set_xlabel(f"rank of the {objective} loss (1: lowest)")
    axes.set_ylabel("top-1 error, %, mean over seeds")
    axes.set_title(f"{stem}, {objective}")
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8)
    return canvas


def _places(points: Sequence[Point]) -> dict[str, tuple[float, float]]:
    ranks = rankdata([point.loss for point in points])
    return {point.subset: (float(rank), fmean(point.errors)) for point, rank in zip(points, ranks, strict=True)}


def _join_twins(axes: Axes, points: Sequence[Point], places: dict[str, tuple[float, float]]) -> None:
    by_cluster: dict[str, list[str]] = {}
    for point in points:
        by_cluster.setdefault(point.cluster, []).append(point.subset)
    for members in by_cluster.values():
        for one, other in pairwise(members):
            axes.plot(*zip(places[one], places[other], strict=True), color="0.75", linewidth=0.6, zorder=1)


def _numbers(objective: str, points: Sequence[Point]) -> str:
    return canonical.digest([objective, [[point.subset, point.loss, list(point.errors)] for point in points]])
