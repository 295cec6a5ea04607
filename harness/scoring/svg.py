"""A matplotlib drawing as SVG text: the same drawing, the same bytes. matplotlib is imported only when something is drawn."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from harness.scoring.markdown import GENERATED

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

# Colours of Okabe and Ito, told apart by colour-blind readers, without their yellow, which is faint on white; and a purple.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#5f4690")
NUMBERS = re.compile(r"<!-- numbers sha256 ([0-9a-f]{64}) -->")


def svg_text(draw: Callable[[], Canvas], numbers: str, generated: str = GENERATED, **saving: Any) -> str:
    """What `draw` returns, with nothing of the user's settings, the date or the version in it.

    `numbers`: digest of what it shows; `generated`: the comment that says who made it; `saving`: options of `savefig`.
    """
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"svg.hashsalt": "hlbench", "svg.fonttype": "path", "font.size": 9.0})
        text = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        draw().savefig(text, format="svg", metadata=nothing, facecolor="white", **saving)
    declaration, rest = text.getvalue().split("\n", 1)
    marks = [declaration, generated, f"<!-- numbers sha256 {numbers} -->"]
    return "\n".join([*marks, *(line.rstrip() for line in rest.rstrip().split("\n"))]) + "\n"


def numbers_of(svg: str) -> str | None:
    """The digest of the numbers that a figure says it was drawn from; None for an SVG without."""
    found = NUMBERS.search(svg)
    return found[1] if found else None
