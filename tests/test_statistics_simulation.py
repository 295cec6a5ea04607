"""The simulation of the statistics, in small: it passes on ours and notices intervals and tests that are too sure."""

from __future__ import annotations

import importlib.util
import statistics
from pathlib import Path

import pytest

from harness.scoring import stats

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
    assert printed.count("yes") == 6
    assert "no" not in [line.split()[-1] for line in printed.splitlines()]


def test_an_interval_of_two_standard_errors_does_not_cover(simulation, monkeypatch):
    def narrow(values):
        return stats.Estimate(sum(values) / len(values), 1.96 * statistics.stdev(values) / len(values) ** 0.5, len(values))

    monkeypatch.setattr(simulation.stats, "mean_t95", narrow)
    assert [row[-1] for row in simulation.measured(3)] == ["no", "yes", "yes"]


def test_tests_without_holm_find_winners_among_equals(simulation, monkeypatch):
    monkeypatch.setattr(simulation.stats, "holm", lambda p_values: list(p_values))
    assert [row[-1] for row in simulation.measured(5)] == ["yes", "no", "no"]
