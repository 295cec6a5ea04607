"""Rows of a pool's subsets that lie in the project, where the recording that selectors chose them by is too large to lie there.

`protocols/<dataset>/dcs-pool/rows.safetensors`, one file for all pools of a dataset: of each subset that is no twin its rows,
int32 [classes * IPC], named by the sha256 of its index file, so that an entry proves itself. A twin follows from its base.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from harness.canonical import sha256_hex
from harness.dcs.pool import Pool, Subset, twin_rows
from harness.errors import CheckFailed, UsageError
from harness.protocols import POOL
from harness.submissions import index_bytes
from harness.whole_files import write_in_one_step

NAME = re.compile(r"[0-9a-f]{64}")
MOST_BYTES, MOST_ENTRIES = 16 << 20, 4000  # twenty pools as large as any here


def stored_path(root: Path, dataset: str) -> Path:
    return root / "protocols" / dataset / POOL / "rows.safetensors"


def stored_ids(root: Path, pool: Pool) -> set[str]:
    """Ids of the pool's subsets, twins too, whose rows are stored. Raises CheckFailed: no such file as `store_rows` writes."""
    stored, of_id = _read(stored_path(root, pool.recipe.dataset)), _hashes(pool)
    return {subset.id for subset in pool.subsets if of_id[subset.base] in stored}


def stored_rows(root: Path, pool: Pool, subsets: Collection[Subset]) -> dict[str, np.ndarray]:
    """{subset id: int64 rows [classes * IPC]} of those of `subsets` that are stored; {} where there is no file.

    Raises CheckFailed when the file is damaged or the rows of a subset do not have the hash that the pool states.
    """
    path, of_id = stored_path(root, pool.recipe.dataset), _hashes(pool)
    stored, found = _read(path), {}
    for subset in subsets:
        if (rows := stored.get(of_id[subset.base])) is None:
            continue
        if sha256_hex(index_bytes(rows)) != of_id[subset.base]:
            raise _damaged(path, f"the rows of {subset.base} have another hash than the pool states")
        found[subset.id] = rows.astype(np.int64) if subset.twin_of is None else twin_rows(rows.astype(np.int64), subset.ipc)
        if sha256_hex(index_bytes(found[subset.id])) != subset.sha256:
            raise _damaged(path, f"what follows for {subset.id} has another hash than the pool states")
    return found


def check_entries(root: Path, dataset: str) -> int:
    """Entries stored for a dataset's pools, of no pool too. Raises CheckFailed where one has not the hash that it is named by."""
    path = stored_path(root, dataset)
    entries = _read(path)
    for name, rows in entries.items():
        if sha256_hex(index_bytes(rows)) != name:
            raise _damaged(path, f"the rows named {name[:12]} have another hash")
    return len(entries)


def store_rows(root: Path, pool: Pool, rows: Mapping[str, np.ndarray]) -> int:
    """Add the rows {subset id: int64 [classes * IPC]} of a pool's subsets, twins left out; how many entries the file then holds.

    Entries of other pools stay. The same entries give the same bytes. Raises CheckFailed as `stored_ids`, and UsageError when
    they are more than a file may hold: what is there stays.
    """
    path, bases = stored_path(root, pool.recipe.dataset), [subset for subset in pool.subsets if subset.twin_of is None]
    new = {subset.sha256: rows[subset.id].astype(np.int32) for subset in bases if subset.id in rows}
    entries = _read(path) | new
    data = save(dict(sorted(entries.items())))
    if len(data) > MOST_BYTES or len(entries) > MOST_ENTRIES:
        raise UsageError(
            "there are too many rows to store", where=str(path), why=f"{len(entries):,} entries, {len(data):,} bytes",
            fix=f"keep to {MOST_ENTRIES:,} entries and {MOST_BYTES:,} bytes: leave the largest sizes out of the pool",
        )  # fmt: skip
    write_in_one_step(path, data)
    return len(entries)


def _hashes(pool: Pool) -> dict[str, str]:
    return {subset.id: subset.sha256 for subset in pool.subsets}


def _read(path: Path) -> dict[str, np.ndarray]:
    """Every entry by its name; whether its rows have that hash is not checked yet."""
    if not (path.exists() or path.is_symlink()):
        return {}
    try:
        if not path.is_file():
            raise ValueError("it is no file")
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES:,} bytes")
        entries = load(data)
    except KeyError as reason:
        raise _damaged(path, f"an entry is of type {reason}") from reason
    except (SafetensorError, OSError, ValueError, TypeError) as reason:
        raise _damaged(path, str(reason)) from reason
    if len(entries) > MOST_ENTRIES:
        raise _damaged(path, f"it has more than {MOST_ENTRIES:,} entries")
    for name, rows in entries.items():
        if not NAME.fullmatch(name) or rows.dtype != np.int32 or rows.ndim != 1:
            raise _damaged(path, f"{name[:12]!r} is no sha256 of a line of int32")
    return entries


def _damaged(path: Path, why: str) -> CheckFailed:
    return CheckFailed(
        "stored rows of a pool are not as they were written", where=str(path), why=why,
        fix="restore the file from version control; or delete it, record again (hlbench dynamics record), and: hlbench pool rows",
    )  # fmt: skip
