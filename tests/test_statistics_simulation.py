"""The simulation of the statistics, in small: it passes on ours and notices intervals and tests that are too sure."""

from __future__ import annotations

import importlib.util
import statistics
from pathlib import Path

import numpy as np
import pytest

from harness.scoring import gaps, stats

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "statistics_simulation.py"


@pytest.fixture
def simulation(monkeypatch):
    described = importlib.util.spec_from_file_location("statistics_simulation", SCRIPT)
    module = importlib.util.module_from_spec(described)
    described.loader.exec_module(module)
    for name, count in (("INTERVALS", 4000), ("TABLES", 150), ("RANKED_TABLES", 20)):
        monkeypatch.setattr(module, name, count)
    return module


def test_intervals_cover_and_equal_methods_rarely_win(simulation, capsys):
    assert simulation.main() == 0
    printed = capsys.readouterr().out
    assert printed.count("yes") == 8
    assert "no" not in [line.split()[-1] for line in printed.splitlines()]


def test_an_interval_of_two_standard_errors_does_not_cover(simulation, monkeypatch):
    def narrow(values):
        return stats.Estimate(sum(values) / len(values), 1.96 * statistics.stdev(values) / len(values) ** 0.5, len(values))

    monkeypatch.setattr(simulation.stats, "mean_t95", narrow)
    assert [row[-1] for row in simulation.measured(3)] == ["no", "yes", "yes", "yes"]


def test_tests_without_holm_find_winners_among_equals(simulation, monkeypatch):
    monkeypatch.setattr(simulation.stats, "holm", lambda p_values: list(p_values))
    assert [row[-1] for row in simulation.measured(5)] == ["yes", "no", "no", "no"]


def test_tests_against_the_best_coreset_alone_find_differences_among_equals(simulation, monkeypatch):
    """The best coreset is picked by the numbers it is compared in: as one family of five tests it would not do."""

    def best_alone(rows, best):
        distilled = [row for row in rows if row.submission.kind == "distilled"]
        adjusted = stats.holm([stats.welch_p(row.sample, best.sample) for row in distilled])
        return [gaps.Gap(row.mean - best.mean, p) for row, p in zip(distilled, adjusted, strict=True)]

    monkeypatch.setattr(simulation, "TABLES", 1500)
    ours = simulation.false_gaps_to_best_coreset(5, np.random.default_rng(0))
    monkeypatch.setattr(simulation.gaps, "gaps_to_best_coreset", best_alone)
    assert ours <= 0.05 < simulation.false_gaps_to_best_coreset(5, np.random.default_rng(0))
