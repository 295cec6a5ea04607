"""Losses of somebody's own function, kept in this user's cache until the command that computes them has come to its end.

They count while the function is what it was: its name, its file, and every file of the same folder or of the working folder, and
below, that it had imported when it was found. What it reads or imports later is not seen, nor is code of this project or of
installed packages.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path

import harness
from harness.canonical import digest, file_sha256
from harness.dcs.pool import Pool
from harness.paths import cache_root
from harness.whole_files import write_in_one_step

ELSEWHERE = tuple(Path(folder).resolve() for folder in (sys.prefix, sys.base_prefix, Path(harness.__file__).parent))


def sources_of(spec: str) -> dict[str, str]:
    """{path: sha256} of the module that `module:function` names and of what was imported beside it; {} where it has no file.

    Paths are from the module's folder, or from the working folder where a file lies below that alone. The module is imported.
    """
    file = getattr(sys.modules[spec.partition(":")[0]], "__file__", None)
    if file is None or _is_elsewhere(Path(file)):
        return {}
    folders = (Path(file).resolve().parent, Path.cwd().resolve())
    loaded = {Path(path).resolve() for module in list(sys.modules.values()) if (path := getattr(module, "__file__", None))}
    found = {}
    for path in sorted(loaded):
        folder = next((folder for folder in folders if path.is_relative_to(folder)), None)
        if folder and path.is_file() and not _is_elsewhere(path):
            found[path.relative_to(folder).as_posix()] = file_sha256(path)
    return found


def kept_path(pool: Pool, spec: str, sources: Mapping[str, str]) -> Path:
    identity = digest({"function": spec, "sources": dict(sources), "split": pool.split_fingerprint})
    return cache_root() / "dcs-own" / f"{identity}.json"


def read_kept(path: Path) -> dict[str, float]:
    """{sha256 of a subset's index: loss}; {} where nothing is kept or it cannot be read: then it is computed again."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return {subset: float(loss) for subset, loss in kept.items() if math.isfinite(float(loss))}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def write_kept(path: Path, losses: Mapping[str, float]) -> None:
    write_in_one_step(path, json.dumps(dict(losses)).encode())


def _is_elsewhere(path: Path) -> bool:
    return any(path.resolve().is_relative_to(folder) for folder in ELSEWHERE)
