"""The road that data takes: a package imports only what lies before it, lazily or not."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

HARNESS = Path(__file__).resolve().parent.parent / "harness"
LATER = {
    "datasets": {"intake", "training", "scoring", "coresets", "distill", "dynamics", "dcs", "analysis", "runner", "work"},
    "intake": {"hub", "training", "scoring", "coresets", "distill", "dynamics", "dcs", "analysis", "runner", "work"},
    "training": {"hub", "intake", "scoring", "coresets", "distill", "dynamics", "dcs", "analysis", "runner", "work"},
    "dynamics": {"hub", "scoring", "coresets", "distill", "dcs", "analysis", "runner"},
    "coresets": {"hub", "training", "scoring", "distill", "dcs", "analysis", "runner", "work"},
    "distill": {"hub", "scoring", "dynamics", "dcs", "analysis", "runner", "work"},
    "dcs": {"hub", "scoring", "distill", "analysis"},
    "scoring": {"hub", "intake", "training", "coresets", "distill", "dynamics", "analysis", "runner", "work"},
    "analysis": {"hub", "intake", "training", "coresets", "distill", "dcs", "runner", "work"},
}


def imported(file: Path) -> set[str]:
    """Names below `harness` that a file imports: packages and modules."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "harness":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("harness."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("harness.")}
    return found


@pytest.mark.parametrize("package", LATER)
def test_a_package_imports_nothing_that_lies_after_it_on_the_road(package):
    files = sorted((HARNESS / package).rglob("*.py"))
    assert files
    assert {str(file.relative_to(HARNESS)): sorted(imported(file) & LATER[package]) for file in files} == {
        str(file.relative_to(HARNESS)): [] for file in files
    }
