"""The figures of a board as SVG text: the same rows give the same bytes.

Accuracy by regime for every row is the shape of the paper's Fig. 1c; the second figure sets the order under HL against that under
SL+KD (SL where SL+KD has no result). Rows are named by their slugs, which hold nothing that matplotlib or SVG could act on.
"""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any

from scipy.stats import rankdata

from harness import canonical
from harness.scoring.cells import REGIME_NAMES, joined
from harness.scoring.side_by_side import Board
from harness.scoring.stats import mean_t95, rank_intervals, replicates
from harness.scoring.svg import COLOURS, svg_text
from harness.scoring.tables import RankedRow, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

FOLDER = "figures"
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SIZE = (7.2, 4.0)  # inches; higher with many rows, as the legend is
ROW_HEIGHT = 0.17
LABEL = 32  # letters of a row's name on one line of the legend


@dataclass(frozen=True)
class Figure:
    """`name`: path from the page. `board`: the name of the board it belongs to. `alt`: what it shows, in words."""

    name: str
    board: str
    alt: str
    svg: str


def board_figures(board: Board) -> list[Figure]:
    """Accuracy by regime, and HL rank against SL+KD rank when two rows have both; [] unless two regimes have results."""
    measured = [table for table in board.tables if _results(table)]
    if len(measured) < 2:
        return []
    figures = [_accuracy_figure(board, measured)]
    soft = measured[-1]
    shared = [slug for slug in _results(measured[0]) if slug in _results(soft)]
    if measured[0].regime == "hl" and len(shared) > 1:
        figures.append(_rank_figure(board, measured[0], soft, shared))
    return figures


def _accuracy_figure(board: Board, measured: Sequence[Table]) -> Figure:
    names = [REGIME_NAMES[table.regime] for table in measured]

    def draw(axes: Axes) -> None:
        slugs = list(dict.fromkeys(slug for table in measured for slug in _results(table)))
        for (slug, style), place in zip(_styles(slugs).items(), _dodge(len(slugs)), strict=True):
            found = [(at, table_rows[slug]) for at, table_rows in enumerate(map(_results, measured)) if slug in table_rows]
            _line(axes, [at + place for at, _ in found], [ranked for _, ranked in found], label=row_label(slug), **style)
        full = [(at, table.full.mean) for at, table in enumerate(measured) if table.full]
        if full:
            axes.plot(*zip(*full, strict=True), color="black", linestyle="--", marker="_", markersize=14, label="full dataset")
        axes.set_xticks(range(len(names)), names)
        axes.set_xlim(-0.4, len(names) - 0.6)
        low, high = axes.get_ylim()
        room = 0.03 * (high - low)  # for markers at 0 and 100, which would be cut
        axes.set_ylim(max(low, -room), min(high, 100 + room))
        axes.set_ylabel("top-1 accuracy, % (mean and 95% interval)")
        axes.set_title(_title(board))

    alt = f"Top-1 accuracy of every row of {board.student} at IPC {board.ipc} under {joined(names)}, with 95% intervals."
    return Figure(_name(board, "regimes"), board.name, alt, _svg(draw, board))


def _rank_figure(board: Board, hard: Table, soft: Table, shared: Sequence[str]) -> Figure:
    soft_name = REGIME_NAMES[soft.regime]

    def draw(axes: Axes) -> None:
        across, up = _ranks(hard, shared), _ranks(soft, shared)
        axes.plot([0.5, len(shared) + 0.5], [0.5, len(shared) + 0.5], color="0.7", linewidth=1, linestyle=":")
        for slug, style in _styles(list(_results(hard))).items():
            if slug in shared:
                (x, x_bars), (y, y_bars) = across[slug], up[slug]
                axes.errorbar(
                    x, y, xerr=x_bars, yerr=y_bars, label=row_label(slug), linestyle="none", elinewidth=1, alpha=0.9, **style
                )
        axes.set_xlim(len(shared) + 0.5, 0.5)
        axes.set_ylim(len(shared) + 0.5, 0.5)
        axes.locator_params(integer=True)
        axes.set_xlabel("rank under HL (bars: ranks the tests leave open)")
        axes.set_ylabel(f"rank under {soft_name}")
        axes.set_title(_title(board))

    alt = (
        f"Rank under HL against rank under {soft_name} of the {len(shared)} rows of {board.student} at IPC {board.ipc} with both."
    )
    return Figure(_name(board, "ranks"), board.name, alt, _svg(draw, board))


def _ranks(table: Table, slugs: Sequence[str]) -> dict[str, tuple[float, list[list[float]]]]:
    """Rank by mean among `slugs` (equal means share the middle), and the way down and up to the ranks the tests leave open."""
    samples = [replicates(_results(table)[slug].row.top1) for slug in slugs]
    ranks = rankdata([-round(statistics.fmean(sample), 9) for sample in samples])
    bars = [[[rank - best], [worst - rank]] for rank, (best, worst) in zip(ranks, rank_intervals(samples), strict=True)]
    return dict(zip(slugs, zip(map(float, ranks), bars, strict=True), strict=True))


def _line(axes: Axes, places: Sequence[float], rows: Sequence[RankedRow], label: str, **style: Any) -> None:
    """A row's means, joined, with their intervals; a mean of one value has none."""
    estimates = [mean_t95(replicates(ranked.row.top1)) for ranked in rows]
    bars = [estimate.half_width or 0.0 for estimate in estimates]
    means = [estimate.mean for estimate in estimates]
    axes.errorbar(places, means, yerr=bars, label=label, linewidth=1.4, elinewidth=0.8, capsize=2, alpha=0.9, **style)


def _results(table: Table) -> dict[str, RankedRow]:
    return {ranked.row.submission.slug: ranked for ranked in table.rows if ranked.top1}


def _styles(slugs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour and marker by position; 49 rows differ in one of them."""
    markers = [marker for marker in MARKERS for _ in COLOURS]
    drawn = zip(slugs, cycle(COLOURS), cycle(markers))
    return {slug: {"color": colour, "marker": marker, "markersize": 5} for slug, colour, marker in drawn}


def _dodge(rows: int) -> list[float]:
    """Small shifts to the side, so that intervals do not hide each other."""
    width = min(0.3, 0.05 * (rows - 1))
    return [0.0] if rows == 1 else [width * (position / (rows - 1) - 0.5) for position in range(rows)]


def row_label(slug: str) -> str:
    """Slugs of up to 64 letters, on lines that leave the axes their room."""
    return "\n".join(textwrap.wrap(slug, LABEL))


def _title(board: Board) -> str:
    return f"{board.dataset}, {board.student}, IPC {board.ipc}"


def _name(board: Board, what: str) -> str:
    return f"{FOLDER}/{board.dataset}-{board.student}-ipc{board.ipc}-{what}.svg"


def _numbers(board: Board) -> str:
    """Digest of every accuracy of a board, by regime, row, draw and seed: what its figures are drawn from."""
    return canonical.digest(
        [[table.regime, [[ranked.row.submission.slug, ranked.row.top1] for ranked in table.all_rows]] for table in board.tables]
    )


def _svg(draw: Any, board: Board) -> str:
    """What `draw` puts on one pair of axes, with a legend beside it."""

    def canvas() -> Canvas:
        from matplotlib.figure import Figure as Canvas

        width, height = SIZE
        drawn = Canvas(figsize=(width, max(height, ROW_HEIGHT * len(board.rows))))
        axes = drawn.add_subplot()
        draw(axes)
        axes.grid(color="0.92")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8)
        return drawn

    return svg_text(canvas, _numbers(board), bbox_inches="tight")
