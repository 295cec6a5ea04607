"""How far the subsets of a pool are apart in their students' errors, and which of them the pool's rule leaves out."""

from __future__ import annotations

from statistics import fmean

from harness.dcs.lookup import limits
from harness.scoring import cells
from harness.scoring.dcs import PoolScores, spreads
from harness.scoring.markdown import table


def errors_section(scores: PoolScores) -> list[str]:
    if not scores.students:
        return []
    text = "How much the subsets that count differ in quality at the same size (top-1 error, %):"
    return ["### Errors of the subsets", text, _spread_table(scores), *_excluded(scores)]


def _spread_table(scores: PoolScores) -> str:
    headers = ["IPC", "Subsets and twins", "Lowest error", "of", "Random", "Highest error", "of", "Range, points"]
    rows = [
        [
            str(one.ipc),
            str(one.subsets),
            cells.number(one.lowest),
            one.lowest_subset,
            cells.number(one.random),
            cells.number(one.highest),
            one.highest_subset,
            cells.number(one.highest - one.lowest),
        ]
        for one in spreads(scores)
    ]
    return table(headers, rows)


def _excluded(scores: PoolScores) -> list[str]:
    """Errors in percent of what does not count, a line an IPC."""
    if not scores.excluded:
        return []
    rule = scores.pool.recipe.exclusion
    head = (
        f"Not counted, by the rule in the pool file (error above Random's at that IPC by more than {rule.points:g} points, or by "
        f"more than {100 * rule.relative:g}% of it where that is more):"
    )
    bounds = limits(scores.pool, scores.errors.measured)
    lines = []
    for ipc in scores.pool.recipe.ipc:
        left_out = [one.id for one in scores.pool.subsets if one.ipc == ipc and one.id in scores.excluded]
        if left_out and ipc in bounds:
            errors = [f"{name} {cells.number(fmean(scores.errors.measured[name]))}" for name in left_out]
            random, limit = map(cells.number, bounds[ipc])
            lines.append(f"- IPC {ipc}, above {limit} (Random {random}): {cells.listed(errors)}.")
        elif left_out:
            subsets = cells.plural(len(left_out), "subset")
            lines.append(f"- IPC {ipc}: {subsets}; Random is not measured, so that the rule cannot be applied.")
    return [head, "\n".join(lines)]
