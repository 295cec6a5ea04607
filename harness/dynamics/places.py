"""Where recordings lie: small ones in the project at `dynamics/<dataset>/<name>/`, the others in the cache, likewise."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from harness.dynamics.artifact import folders, read_spec
from harness.dynamics.plan import run_name
from harness.dynamics.spec import DynamicsSpec, ScoringRun
from harness.errors import HlbenchError, UsageError
from harness.paths import cache_root
from harness.protocols import Protocol
from harness.reports import readable_bytes, readable_seconds

FOLDER = "dynamics"


def places(root: Path) -> list[Path]:
    """The project's folder of recordings, then the cache's."""
    return [root / FOLDER, cache_root() / FOLDER]


def cache_folder(run: ScoringRun, protocol: Protocol) -> Path:
    """Where a run is recorded unless a folder is named."""
    return cache_root() / FOLDER / run.dataset / run_name(run, protocol)


def find_folder(root: Path, named: str) -> Path:
    """A folder as it is named, or the recording `<dataset>/<name>` of the project or else of the cache. Raises UsageError."""
    known = list(folders(places(root)))
    candidates = [Path(named), *(folder for folder in known if f"{folder.parent.name}/{folder.name}" == named)]
    for folder in candidates:
        if folder.is_dir():
            return folder
    listed = ", ".join(sorted({f"{folder.parent.name}/{folder.name}" for folder in known}))
    raise UsageError(
        f"no training dynamics {named!r}", where=str(places(root)[0]),
        fix=f"choose one of: {listed}; or name a folder" if listed else "record some: hlbench dynamics record",
    )  # fmt: skip


def label_of(folder: Path) -> str:
    """`<dataset>/<name>`, whatever lies above."""
    whole = _whole(folder)
    return f"{whole.parent.name}/{whole.name}"


def name_in_commands(root: Path, folder: Path) -> str:
    """How a command names a recording wherever it is started: its label, if `find_folder` finds it by that; else its whole path.

    Raises UsageError for a name or path that no submission can hold.
    """
    label = label_of(folder)
    found = next((known for known in folders(places(root)) if label_of(known) == label), None)
    name = label if found is not None and found.samefile(folder) else str(_whole(folder))
    if not (name.isascii() and name.isprintable()):
        raise UsageError(
            "the recording has a name that a submission cannot hold", where=repr(name),
            why="its command is one line of plain letters (ASCII)", fix="rename the folder, or move it",
        )  # fmt: skip
    return name


def _whole(folder: Path) -> Path:
    return Path(os.path.abspath(folder))  # noqa: PTH100 - resolved, a link would lose its own name


def summaries(root: Path) -> list[dict[str, Any]]:
    """One row a recording, for `hlbench dynamics list`; a damaged one says so."""
    rows = []
    for folder in folders(places(root)):
        row = {"name": f"{folder.parent.name}/{folder.name}", "where": str(folder.parent.parent)}
        try:
            rows.append(row | facts(read_spec(folder)))
        except HlbenchError as error:
            rows.append(row | {"state": f"{error.what}: {error.why}"})
    return rows


def facts(spec: DynamicsSpec) -> dict[str, Any]:
    """The card of a recording: what was run, what came of it."""
    return {
        "protocol": spec.protocol,
        "matched_to_ipc": spec.ipc,
        "epochs": round(spec.epochs, 3),
        "snapshots": spec.snapshots,
        "seed": spec.seed,
        "el2n_sl": f"{spec.teacher}, T = {', '.join(f'{kept:g}' for kept in spec.temperatures)}" if spec.teacher else None,
        "size": readable_bytes(spec.bytes),
        "took": readable_seconds(spec.made.seconds),
        "sha256": spec.sha256[:12],
    }
