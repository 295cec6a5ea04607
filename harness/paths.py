"""Where the project's folders and this user's cache lie."""

from __future__ import annotations

import os
from pathlib import Path

from harness.errors import EnvironmentProblem

MARKER = Path("protocols") / "LOCK.json"


def project_root() -> Path:
    """The checkout that holds `protocols/LOCK.json`: the current folder or one above it, else the one this package lies in.

    Raises EnvironmentProblem when neither is a checkout.
    """
    here = Path.cwd()
    for folder in [here, *here.parents, Path(__file__).resolve().parent.parent]:
        if (folder / MARKER).is_file():
            return folder
    raise EnvironmentProblem(
        "no hlbench checkout found",
        where=str(here),
        why=f"neither this folder nor one above it holds {MARKER}",
        fix="run the command inside a clone of the project",
    )


def cache_root() -> Path:
    """Folder for decoded datasets and downloads: `HLBENCH_CACHE`, else `XDG_CACHE_HOME/hlbench`, else `~/.cache/hlbench`."""
    if chosen := os.environ.get("HLBENCH_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "hlbench"


def data_root(chosen: Path | None = None) -> Path | None:
    """Folder holding `<dataset>/` in the Hub's layout: `chosen` (--data), else `HLBENCH_DATA`, else None (use the Hub)."""
    if chosen is not None:
        return chosen
    named = os.environ.get("HLBENCH_DATA")
    return Path(named).expanduser() if named else None
