"""Scatter plots of a pool: does a lower loss go with a lower error? One for each objective; the same points, the same bytes.

Both axes are ranks within an IPC, which is what the DCS correlates: over all sizes together, size would settle most of both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import cycle, pairwise
from typing import TYPE_CHECKING

from scipy.stats import rankdata

from harness import canonical
from harness.dcs.points import DECIMALS
from harness.dcs.statistic import Point
from harness.scoring.figures import FOLDER, Figure
from harness.scoring.svg import COLOURS, svg_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

SIZE = (8.0, 5.0)  # inches
MARKER_SIZE = 6.0
UPRIGHT, LYING = ([(x, y), (-x, y), (-x, -y), (x, -y), (x, y)] for x, y in ((0.4, 1), (1, 0.4)))
HOURGLASS, BOW_TIE = [(-1, 1), (1, 1), (-1, -1), (1, -1), (-1, 1)], [(1, -1), (1, 1), (-1, -1), (-1, 1), (1, -1)]
TEE = [(-1, 1), (1, 1), (1, 0.3), (0.35, 0.3), (0.35, -1), (-0.35, -1), (-0.35, 0.3), (-1, 0.3), (-1, 1)]
ELL = [(-0.9, 1), (-0.2, 1), (-0.2, -0.3), (0.9, -0.3), (0.9, -1), (-0.9, -1), (-0.9, 1)]
# Told apart at this size, filled and hollow: no hexagon or octagon beside the circle, no star of four rays beside the cross.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p", "d", UPRIGHT, LYING, HOURGLASS, BOW_TIE, TEE, ELL)


def pool_figure(stem: str, objective: str, points: Sequence[Point]) -> Figure:
    """`stem`: the pool's, `digits-v1`. x, y: rank of the loss and of the mean top-1 error within the point's IPC, 0 to 1."""
    alt = (
        f"Rank of the {objective} loss within IPC against the rank of the test error, of {len(points)} subsets and twins of pool "
        f"{stem}; colour is IPC, marker is the selector, twins are hollow and joined to their subset."
    )
    text = svg_text(lambda: _canvas(stem, objective, points), _numbers(objective, points), bbox_inches="tight")
    return Figure(f"{FOLDER}/{stem}-dcs-{objective}.svg", stem, alt, text)


def _canvas(stem: str, objective: str, points: Sequence[Point]) -> Canvas:
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=SIZE)
    axes = canvas.add_subplot()
    places = places_of(points)
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
    axes.set_xlabel(f"rank of the {objective} loss within its IPC (0: lowest, 1: highest)")
    axes.set_ylabel("rank of the test error within its IPC")
    axes.set_title(f"{stem}, {objective}")
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8)
    return canvas


def places_of(points: Sequence[Point]) -> dict[str, tuple[float, float]]:
    """Subset id -> (rank of its loss, of its mean error), (r - 1/2) / n with the mid-rank r among the n points of its IPC."""
    by_ipc: dict[int, list[Point]] = defaultdict(list)
    for point in points:
        by_ipc[point.ipc].append(point)
    places = {}
    for of_one in by_ipc.values():
        errors = [round(sum(point.errors) / len(point.errors), DECIMALS) for point in of_one]
        ranks = [(rankdata(values) - 0.5) / len(of_one) for values in ([point.loss for point in of_one], errors)]
        places |= {point.subset: (float(x), float(y)) for point, x, y in zip(of_one, *ranks, strict=True)}
    return places


def _join_twins(axes: Axes, points: Sequence[Point], places: dict[str, tuple[float, float]]) -> None:
    by_cluster: dict[str, list[str]] = {}
    for point in points:
        by_cluster.setdefault(point.cluster, []).append(point.subset)
    for members in by_cluster.values():
        for one, other in pairwise(members):
            axes.plot(*zip(places[one], places[other], strict=True), color="0.85", linewidth=0.6, zorder=1)


def _numbers(objective: str, points: Sequence[Point]) -> str:
    return canonical.digest([objective, [[point.subset, point.loss, list(point.errors)] for point in points]])
