"""Tensors in safetensors files: the library checks that header, offsets and file size agree, before any tensor is loaded."""

from __future__ import annotations

import numpy as np
from safetensors import safe_open

from harness.errors import SubmissionError
from harness.intake.arrays import ArrayHeader
from harness.intake.files import SetFile, reading
from harness.intake.limits import MIB

MOST_HEADER = MIB  # the library would parse up to 100 MB of JSON
DTYPES = {"U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64"}
DTYPES |= {"I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64", "F16": "float16", "F32": "float32", "F64": "float64"}


def tensor_headers(file: SetFile) -> dict[str, ArrayHeader]:
    """Headers of all tensors. Raises SubmissionError for damaged files and oversized headers."""
    with reading(file, "safetensors"):
        _check_header_size(file)
        with safe_open(file.path, framework="numpy") as opened:
            return {name: _header(opened.get_slice(name)) for name in opened.keys()}  # noqa: SIM118 - not a mapping


def load_tensor(file: SetFile, name: str) -> np.ndarray:
    """A tensor whose header was checked."""
    with reading(file, "safetensors"), safe_open(file.path, framework="numpy") as opened:
        return opened.get_tensor(name)


def _header(part) -> ArrayHeader:
    return ArrayHeader(DTYPES.get(part.get_dtype(), part.get_dtype()), tuple(part.get_shape()))


def _check_header_size(file: SetFile) -> None:
    with file.path.open("rb") as opened:
        size = int.from_bytes(opened.read(8), "little")
    if size > min(MOST_HEADER, file.size):
        raise SubmissionError(
            "safetensors header is too large",
            where=file.name,
            why=f"it claims {size:,} bytes; at most {MOST_HEADER:,} and not more than the file has",
            fix="write the file again with safetensors, holding `images` and `labels` only",
        )
