"""Numbers to the text of a table cell: two decimals, and never a bare ± without what it was computed from."""

from __future__ import annotations

from collections.abc import Sequence

from harness.scoring.gaps import Gap
from harness.scoring.rows import Row
from harness.scoring.stats import Estimate
from harness.scoring.tables import RankedRow

NOTHING = "-"
REGIME_NAMES = {"hl": "HL", "sl": "SL", "sl-kd": "SL+KD"}


def number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:z.2f}"


def interval(estimate: Estimate | None) -> str:
    """`31.40 ± 0.52`; `31.40 ± n/a` for a single value."""
    if estimate is None:
        return NOTHING
    half_width = "n/a" if estimate.half_width is None else number(estimate.half_width)
    return f"{number(estimate.mean)} ± {half_width}"


def accuracy(ranked: RankedRow) -> str:
    """`31.40 ± 0.52 (3 draws x 5 seeds, 1 diverged)`; `no result (5 diverged)`."""
    lost = [f"{count} {status}" for status in ("diverged", "failed") if (count := ranked.row.count(status))]
    if ranked.top1 is None:
        return f"no result ({', '.join(lost)})"
    return f"{interval(ranked.top1)} ({', '.join([replication(ranked.row), *lost])})"


def replication(row: Row) -> str:
    """`3 draws x 5 seeds`, or `3 draws x 4-5 seeds` when some students have no result."""
    sizes = [len(seeds) for seeds in row.top1]
    fewest, most = min(sizes), max(sizes)
    seeds = plural(most, "seed") if fewest == most else f"{fewest}-{most} seeds"
    return f"{plural(len(sizes), 'draw')} x {seeds}"


def rank(interval: tuple[int, int] | None) -> str:
    """`2`, or `1-3` when the row is not told apart from its neighbours."""
    if interval is None:
        return NOTHING
    best, worst = interval
    return str(best) if best == worst else f"{best}-{worst}"


def gap(difference: Gap | None) -> str:
    """`+3.20 (p=0.004)`, `+0.31 (n.s.)`, or `+0.31 (not testable)`."""
    if difference is None:
        return NOTHING
    if difference.p is None:
        verdict = "not testable"
    elif not difference.significant:
        verdict = "n.s."
    else:
        verdict = "p<0.001" if difference.p < 0.001 else f"p={difference.p:.3f}"
    return f"{difference.points:+z.2f} ({verdict})"


def share(fraction: float | None) -> str:
    """`61.3%`."""
    return NOTHING if fraction is None else f"{100 * fraction:.1f}%"


def signed(value: float) -> str:
    """`+0.41`, `-0.12`, `+0.00`."""
    return f"{value:+z.2f}"


def signed_range(interval: tuple[float, float]) -> str:
    """`[+0.20, +0.58]`."""
    return f"[{signed(interval[0])}, {signed(interval[1])}]"


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listed(items: Sequence[object]) -> str:
    return ", ".join(map(str, items))


def joined(items: Sequence[str]) -> str:
    """`HL, SL and SL+KD`."""
    return " and ".join([*([", ".join(items[:-1])] if items[1:] else []), *items[-1:]])
