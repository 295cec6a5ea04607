"""Rows of a pool's subsets from where they are: index files of the workspace, rows stored in the project, or else selection."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection
from pathlib import Path

import numpy as np

from harness.canonical import file_sha256
from harness.dcs.make_pool import fitting_rows
from harness.dcs.pool import Pool, Subset, index_path, workspace
from harness.dcs.stored_rows import stored_ids, stored_rows
from harness.errors import UsageError
from harness.submissions import index_bytes
from harness.whole_files import write_in_one_step


def kept_rows(root: Path, pool: Pool, data: Path | None = None, only: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """As `harness.dcs.pool.pool_rows`. Where some subsets come out otherwise here, the others are kept before it says so."""
    chosen = [subset for subset in pool.subsets if only is None or subset.id in only]
    paths = {subset.id: workspace(root, pool) / index_path(pool, subset) for subset in chosen}
    absent = [subset for subset in chosen if not _is_kept(paths[subset.id], subset)]
    found = stored_rows(root, pool, absent) if absent else {}
    failure = None
    if lacking := [subset.id for subset in absent if subset.id not in found]:
        fitting, failure = fitting_rows(root, pool, data, lacking)
        found |= fitting
    for name, rows in found.items():
        write_in_one_step(paths[name], index_bytes(rows))  # shards may write the same file at once
    if failure:
        raise failure
    return {name: np.array(json.loads(path.read_bytes())["rows"], np.int64) for name, path in paths.items()}


def rows_at_hand(root: Path, pool: Pool, data: Path | None, only: Collection[str]) -> dict[str, np.ndarray]:
    """As `kept_rows`; where a recording is needed that is not here, of the other subsets, and a line on standard error says so.

    Raises as `harness.dcs.pool.pool_rows` where there is none of them.
    """
    try:
        return kept_rows(root, pool, data, only)
    except UsageError as reason:
        here = ids_kept(root, pool, only)
        if not here:
            raise
        print(f"{len(only) - len(here)} of {len(only)} subsets are passed over: {reason.why}", file=sys.stderr)
        return kept_rows(root, pool, data, here)


def export_rows(root: Path, pool: Pool, data: Path | None, folder: Path) -> int:
    """Write the index file of every subset at hand into `folder`, as <id>.json; how many.

    Raises as `rows_at_hand`, and UsageError when nothing can be written there.
    """
    found = rows_at_hand(root, pool, data, [subset.id for subset in pool.subsets])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in found.items():
            write_in_one_step(folder / f"{name}.json", index_bytes(rows))
    except OSError as reason:
        why = reason.strerror or str(reason)
        raise UsageError("cannot write the index files", where=str(folder), why=why, fix="name a folder of yours") from reason
    return len(found)


def ids_kept(root: Path, pool: Pool, only: Collection[str]) -> list[str]:
    """Of the subsets `only` those whose rows are stored or lie in the workspace: they need neither split nor recording."""
    stored, folder = stored_ids(root, pool), workspace(root, pool)
    chosen = [subset for subset in pool.subsets if subset.id in only]
    return [subset.id for subset in chosen if subset.id in stored or _is_kept(folder / index_path(pool, subset), subset)]


def _is_kept(path: Path, subset: Subset) -> bool:
    return path.is_file() and path.stat().st_size == subset.bytes and file_sha256(path) == subset.sha256
