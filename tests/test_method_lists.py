"""`hlbench select --list` and `hlbench distill --list` name every method that can be asked for, and its parameters."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.cli_sets import FROM_SCORES
from harness.coresets import SELECTORS
from harness.distill.registry import DISTILLERS
from harness.submissions import FULL_DATASET


def hlbench(*arguments: str):
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("│\n").split("│")]


@pytest.mark.parametrize(
    ("verb", "methods"), [("select", [*SELECTORS, FROM_SCORES, FULL_DATASET]), ("distill", list(DISTILLERS))], ids=str
)
def test_every_method_of_a_verb_is_listed(verb, methods):
    done = hlbench(verb, "--list")
    assert done.exit_code == 0
    assert [cells(line)[0] for line in done.stdout.splitlines() if line.startswith("│")] == methods


@pytest.mark.parametrize(
    ("verb", "method", "needs", "parameters"),
    [
        ("select", "cad-facility", "dynamics", "weights=cad, J=None, W=2"),
        ("select", FROM_SCORES, "FILE, --order", "--window=0"),
        ("distill", "rded", "pixels, observer", "factor=None, images_per_class=300, crops=5"),
        ("distill", "ca2d", "pixels, observer, dynamics", "factor=None, pool=None, crops=5"),
    ],
)
def test_the_list_tells_what_a_method_needs_and_its_parameters(verb, method, needs, parameters):
    rows = {cells(line)[0]: cells(line) for line in hlbench(verb, "--list").stdout.splitlines() if line.startswith("│")}
    assert (rows[method][2], rows[method][4]) == (needs, parameters)


def test_the_list_of_distillations_says_what_none_stands_for():
    said = hlbench("distill", "--list").stdout
    assert "factor=None is 2 where images have 128 pixels" in said
    assert "pool=None is 300 images a class, or 60% of the smallest class" in said


@pytest.mark.parametrize("verb", ["select", "distill"])
def test_the_help_of_a_verb_names_its_list(verb):
    assert f"`hlbench {verb} --list`" in hlbench(verb, "--help").stdout


@pytest.mark.parametrize("arguments", [(), ("rded",), ("rded", "--dataset", "digits"), ("rded", "--ipc", "1")], ids=str)
def test_a_distillation_without_its_three_arguments_is_refused_and_the_list_is_named(arguments):
    done = hlbench("distill", *arguments)
    assert done.exit_code != 0
    assert "needs METHOD, --dataset and --ipc" in str(done.exception)
    assert "--list" in done.exception.fix
