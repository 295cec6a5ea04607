"""What the tests over selectors say of each loss, in words: the first lines of a page, and the last of `hlbench dcs`."""

from __future__ import annotations

from collections.abc import Sequence

from harness.dcs.statistic import Score
from harness.scoring.cells import listed
from harness.scoring.dcs import ObjectiveScore

ALPHA = 0.05  # p below it decides
ALIGNED, MISLEADING, PARTED, UNDECIDED = (
    "Aligned",
    "Misleading",
    "Decided by one of the two tests alone",
    "Not decided by this pool",
)
ORDER = (ALIGNED, MISLEADING, PARTED, UNDECIDED)
BOTH, WITH_TWINS = f"p < {ALPHA} with twins and without", f"p < {ALPHA} with twins; too few subsets to test without"
SUBSETS_ALONE = f"p < {ALPHA} of subsets alone: no twin counts yet"
PARTED_REASON = "trust the one without twins, and an interval that excludes 0 in neither case"
UNDECIDED_REASON = f"p >= {ALPHA}: such scores come up by chance; the column by chance says how large they get"


def verdict(found: Score) -> str | None:
    """One of the four; None without a test. With too few subsets for a test without twins the one with them decides alone."""
    if found.p_selectors is None:
        return None
    with_twins, without = _direction(found.primary, found.chance, found.p_selectors), _without_twins(found)
    if without is None:
        without = with_twins
    if with_twins != without:
        return PARTED
    return {1: ALIGNED, -1: MISLEADING, 0: UNDECIDED}[with_twins]


def verdict_lines(objectives: Sequence[ObjectiveScore], quote: str = "`") -> list[str]:
    """`Aligned (p < 0.05 with twins and without): dm.` and so on, of those that there are; [] where nothing is tested."""
    names: dict[tuple[str, str], list[str]] = {}
    for one in objectives:
        if (kind := verdict(one.score)) is not None:
            said = names.setdefault((kind, _reason(kind, one.score)), [])
            said.append(f"{quote}{one.objective}{quote}{_which(one.score) if kind == PARTED else ''}")
    ordered = sorted(names, key=lambda said: (ORDER.index(said[0]), said[1]))
    return [f"{kind} ({reason}): {listed(names[kind, reason])}." for kind, reason in ordered]


def _reason(kind: str, found: Score) -> str:
    if kind == UNDECIDED:
        return UNDECIDED_REASON
    if kind == PARTED:
        return PARTED_REASON
    if found.without_twins is not None and found.without_twins.m == found.m:
        return SUBSETS_ALONE
    return WITH_TWINS if _without_twins(found) is None else BOTH


def _which(found: Score) -> str:
    without = _without_twins(found) or 0
    value = without or _direction(found.primary, found.chance, found.p_selectors)
    return f" ({'aligned' if value > 0 else 'misleading'} {'without' if without else 'with'} twins)"


def _without_twins(found: Score) -> int | None:
    bases = found.without_twins
    if bases is None or bases.p_selectors is None:
        return None
    return _direction(bases.value, bases.chance, bases.p_selectors)


def _direction(value: float, chance: float, p: float) -> int:
    """1: aligned, -1: misleading, 0: not told apart from chance."""
    return 0 if p >= ALPHA else 1 if value > chance else -1
