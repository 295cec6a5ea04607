"""The benchmark of selection, in small: its made-up recording has all that selectors read, so that it cannot rot unseen."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from harness.coresets.registry import SELECTORS

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "selection.py"
MEASURED = [name for name, selector in SELECTORS.items() if selector.needs != "pixels"]


@pytest.fixture
def benchmark(monkeypatch):
    described = importlib.util.spec_from_file_location("selection_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(described)
    monkeypatch.setitem(sys.modules, described.name, module)  # where a dataclass looks its own module up
    described.loader.exec_module(module)
    monkeypatch.setitem(module.SIZES, "tiny-imagenet", (60, 200, 32))
    monkeypatch.setattr(module, "measured", module.select)  # in this process: starting one a selector takes most of the time
    return module


def test_every_selector_that_reads_no_pixels_is_measured(benchmark, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["selection.py", "tiny-imagenet", "--classes", "2", "--steps", "2", "--ipc", "5"])
    benchmark.main()
    printed = capsys.readouterr().out
    heads = "| selector | s, 60 rows | s, 120 rows | peak MB | s, 12,000 by proportion | CPU s, 12,000 by proportion |"
    assert heads in [" ".join(line.split()) for line in printed.splitlines()]
    assert [line.split()[1] for line in printed.splitlines() if line.startswith("| ")][1:] == MEASURED


def test_a_selector_is_measured_in_a_process_of_its_own():
    asked = [sys.executable, SCRIPT, "tiny-imagenet", "--classes", "1", "--steps", "1", "--only", "forgetting-hard"]
    ran = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "| forgetting-hard |" in ran.stdout
