"""One byte form for every parsed file, so that a hash names content and not formatting.

Canonical JSON here: keys sorted, no white space, UTF-8, NaN and infinity refused (as RFC 8785, except that numbers are
written as Python writes them; every hash in this project is made and checked by this one function).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def canonical_json(value: object) -> bytes:
    """UTF-8 bytes of `value` as JSON with sorted keys and no spaces. Raises ValueError on NaN or infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256_hex(data: bytes) -> str:
    """64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def digest(value: object) -> str:
    """sha256 (64 hex digits) of the canonical JSON of `value`."""
    return sha256_hex(canonical_json(value))


def file_sha256(path: Path) -> str:
    """sha256 (64 hex digits) of a file's bytes, read in bounded memory. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_sha256(root: Path, names: list[str]) -> str:
    """sha256 (64 hex digits) naming a set of files: of the canonical JSON of [{path, sha256, size}] sorted by path.

    `names` are POSIX paths relative to `root`; each must be a regular file. Raises OSError.
    """
    entries = [{"path": name, "sha256": file_sha256(root / name), "size": (root / name).stat().st_size} for name in sorted(names)]
    return digest(entries)
