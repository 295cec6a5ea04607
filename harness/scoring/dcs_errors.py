"""How far the subsets of a pool are apart in their students' errors, and which of them the pool's rule leaves out."""

from __future__ import annotations

from harness.scoring import cells
from harness.scoring.dcs import PoolScores, spreads
from harness.scoring.markdown import escape, table


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
    if not scores.excluded:
        return []
    rule = scores.pool.recipe.exclusion
    head = (
        f"Not counted, by the rule in the pool file (error above Random's at that IPC by more than {rule.points:g} points, or by "
        f"more than {100 * rule.relative:g}% of it where that is more):"
    )
    return [head, "\n".join(f"- {name}: {escape(reason)}." for name, reason in scores.excluded.items())]
