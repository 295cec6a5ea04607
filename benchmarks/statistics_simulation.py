"""Do the boards' intervals cover, and how often do equal methods seem to differ? Simulated with the harness's own statistics.

    python benchmarks/statistics_simulation.py

Students are normal around their method's mean, which is what Student's t and Welch's test assume. Wanted: cover of 0.94 to 0.96,
and false wins in at most 5 of 100 tables. A table is ten equal methods and Random, or, for ranks, ten equal methods, or, for the
best coreset, five distilled sets and five coresets, all equal.
"""

from __future__ import annotations

import math
import sys
from types import SimpleNamespace

import numpy as np
from tabulate import tabulate

from harness.scoring import gaps, stats

INTERVALS = 40_000
TABLES = 3_000
RANKED_TABLES = 500
METHODS = 10
COVER = (0.94, 0.96)


def main() -> int:
    rows = [row for seeds in (3, 5) for row in measured(seeds)]
    print(tabulate(rows, headers=["what", "seeds", "simulated", "share", "± (95%)", "wanted", "holds"], disable_numparse=True))
    return 0 if all(row[-1] == "yes" for row in rows) else 1


def measured(seeds: int) -> list[list[str]]:
    """The table's lines for one number of seeds; each has a generator of its own."""
    low, high = COVER
    cover = interval_cover(seeds, np.random.default_rng([seeds, 0]))
    wins = false_wins(seeds, np.random.default_rng([seeds, 1]))
    ranks = false_ranks(seeds, np.random.default_rng([seeds, 2]))
    coreset = false_gaps_to_best_coreset(seeds, np.random.default_rng([seeds, 3]))
    limit = "at most 0.05"
    return [
        line("95% interval holds the mean", seeds, INTERVALS, cover, f"{low} to {high}", low <= cover <= high),
        line("some method seems to beat Random", seeds, TABLES, wins, limit, wins <= stats.ALPHA),
        line("some methods seem to differ in rank", seeds, RANKED_TABLES, ranks, limit, ranks <= stats.ALPHA),
        line("some distilled set seems to differ from the best coreset", seeds, TABLES, coreset, limit, coreset <= stats.ALPHA),
    ]


def line(what: str, seeds: int, simulated: int, share: float, wanted: str, holds: bool) -> list[str]:
    error = 1.96 * math.sqrt(share * (1 - share) / simulated)
    return [what, str(seeds), str(simulated), f"{share:.4f}", f"{error:.4f}", wanted, "yes" if holds else "no"]


def interval_cover(seeds: int, random: np.random.Generator) -> float:
    """Share of intervals that hold the true mean, 0."""
    estimates = (stats.mean_t95(students) for students in random.normal(size=(INTERVALS, seeds)).tolist())
    return sum(abs(estimate.mean) <= estimate.half_width for estimate in estimates) / INTERVALS


def false_wins(seeds: int, random: np.random.Generator) -> float:
    """Share of tables in which at least one of ten methods, equal to Random, is significantly better than it after Holm."""
    return sum(beats(table) for table in random.normal(size=(TABLES, METHODS + 1, seeds)).tolist()) / TABLES


def beats(table: list[list[float]]) -> bool:
    baseline, methods = table[0], table[1:]
    adjusted = stats.holm([stats.welch_p(students, baseline) for students in methods])
    return any(
        p is not None and p < stats.ALPHA and sum(students) > sum(baseline) for students, p in zip(methods, adjusted, strict=True)
    )


def false_ranks(seeds: int, random: np.random.Generator) -> float:
    """Share of tables of ten equal methods in which at least one is not given every rank."""
    tables = random.normal(size=(RANKED_TABLES, METHODS, seeds)).tolist()
    return sum(set(stats.rank_intervals(table)) != {(1, METHODS)} for table in tables) / RANKED_TABLES


def false_gaps_to_best_coreset(seeds: int, random: np.random.Generator) -> float:
    """Share of tables in which at least one of five distilled sets seems better or worse than the best of five equal coresets."""
    tables = random.normal(size=(TABLES, METHODS, seeds)).tolist()
    return sum(differs_from_best_coreset(table) for table in tables) / TABLES


def differs_from_best_coreset(table: list[list[float]]) -> bool:
    rows = [
        SimpleNamespace(
            submission=SimpleNamespace(slug=str(place), method="equal", kind="distilled" if place < METHODS // 2 else "coreset"),
            sample=students,
            mean=sum(students) / len(students),
        )
        for place, students in enumerate(table)
    ]
    found = gaps.gaps_to_best_coreset(rows, gaps.best_coreset(rows))
    return any(gap is not None and gap.significant for gap in found)


if __name__ == "__main__":
    sys.exit(main())
