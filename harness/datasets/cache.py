"""Folders that are built once, found valid or rebuilt, and shared by every process of this machine.

A folder is built under a lock, beside its final place, and renamed as the last step: an interrupted build leaves nothing that
could be taken for valid, and of two processes the second waits and uses what the first has built. `meta.json` holds the key
(what the contents were made from, and by what) and the size and sha256 of every file, checked each time the folder is opened.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock

from harness import canonical
from harness.errors import EnvironmentProblem
from harness.paths import cache_root

META = "meta.json"
BLOCK = 8 << 20


@dataclass(frozen=True)
class Recipe:
    """How a cache folder comes about.

    Attributes:
        key: JSON-able facts the contents follow from; another key is another folder.
        build: fills the empty folder it is given.
        needed_bytes: free disk space asked for before building.
        unhashed: name of a file too large to hash at every start; only its size is checked then.
    """

    key: dict
    build: Callable[[Path], None]
    needed_bytes: int
    unhashed: str = ""


def cached_folder(parent: str, stem: str, recipe: Recipe) -> Path:
    """The valid folder `<cache>/<parent>/<stem>-<16 hex digits of the key>`, built first if it is absent or damaged.

    Raises EnvironmentProblem when the disk is full or cannot be written; whatever `recipe.build` raises passes through.
    """
    home = cache_root() / parent
    folder = home / f"{stem}-{canonical.digest(recipe.key)[:16]}"
    if _is_valid(folder, recipe.key):
        return folder
    try:
        home.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not _is_valid(folder, recipe.key):
                _build(folder, recipe)
    except OSError as reason:
        raise EnvironmentProblem(
            "cannot write the dataset cache",
            where=str(home),
            why=str(reason),
            fix="set HLBENCH_CACHE to a folder on a disk with space that you may write to",
        ) from reason
    return folder


def _build(folder: Path, recipe: Recipe) -> None:
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    for stale in (folder, unfinished):  # damaged, or left by a killed build: whoever holds the lock may remove them
        if stale.exists():
            shutil.rmtree(stale)
    _require_space(folder.parent, recipe.needed_bytes)
    unfinished.mkdir()
    try:
        recipe.build(unfinished)
        _seal(unfinished, recipe)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _require_space(folder: Path, needed_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise EnvironmentProblem(
            "not enough disk space for the dataset cache",
            where=str(folder),
            why=f"{needed_bytes / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free",
            fix="free some space, or set HLBENCH_CACHE to a folder on a larger disk",
        )


def _seal(folder: Path, recipe: Recipe) -> None:
    files = {
        path.name: {"size": path.stat().st_size, "sha256": None if path.name == recipe.unhashed else _blocks_sha256(path)}
        for path in sorted(folder.iterdir())
    }
    (folder / META).write_text(json.dumps({"key": recipe.key, "files": files}, indent=1) + "\n", encoding="utf-8")


def _is_valid(folder: Path, key: dict) -> bool:
    try:
        meta = json.loads((folder / META).read_bytes())
        return meta["key"] == key and all(_fits(folder / name, facts) for name, facts in meta["files"].items())
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # absent, cut short, or not our JSON
        return False


def _fits(path: Path, facts: dict) -> bool:
    return path.stat().st_size == facts["size"] and (facts["sha256"] is None or facts["sha256"] == _blocks_sha256(path))


def _blocks_sha256(path: Path) -> str:
    """sha256 of the sha256 of each 8 MiB block: hashed on all cores, 1.2 GB of TinyImageNet are checked in under a second."""
    contents = np.memmap(path, np.uint8, mode="r")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        blocks = pool.map(lambda at: hashlib.sha256(contents[at : at + BLOCK]).digest(), range(0, len(contents), BLOCK))
        return hashlib.sha256(b"".join(blocks)).hexdigest()
