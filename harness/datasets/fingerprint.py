"""A name for a real split that depends on its rows and their order, and not on the parquet packing or the image decoder.

fingerprint = sha256( d_0 || d_1 || ... ), with d_i = sha256( label_i as 8 bytes, little-endian, signed || encoded image i ).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def row_digest(label: int, encoded: bytes) -> bytes:
    """32 bytes naming one labelled image. For digits, `encoded` is its uint8 RGB pixels in [H, W, 3] order."""
    hasher = hashlib.sha256(int(label).to_bytes(8, "little", signed=True))
    hasher.update(encoded)
    return hasher.digest()


def fingerprint(row_digests: Iterable[bytes]) -> str:
    """64 hex digits naming the split whose rows have these digests, in row order."""
    return hashlib.sha256(b"".join(row_digests)).hexdigest()
