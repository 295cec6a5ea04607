"""Row numbers of a coreset from one JSON, CSV, TXT, npy, parquet or safetensors file: whole numbers, as many as declared."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import numpy as np

from harness.errors import SubmissionError
from harness.intake.arrays import ArrayHeader, check_integer
from harness.intake.files import SetFile, reading
from harness.intake.numpy_files import load_npy, npy_header
from harness.intake.parquet_files import find_column, read_integers
from harness.intake.safetensors_files import load_tensor, tensor_headers

HEADINGS = ("row", "index")
INTEGER = re.compile(r"-?[0-9]{1,18}")

CheckCount = Callable[[int], None]


def read_json(file: SetFile, check_count: CheckCount) -> np.ndarray:
    """`[3, 17, ...]` or `{"rows": [3, 17, ...]}` as int64 [N]. Raises SubmissionError."""
    with reading(file, "json"):
        parsed = json.loads(file.path.read_bytes(), object_pairs_hook=_only_rows)
    rows = parsed["rows"] if isinstance(parsed, dict) else parsed
    if not isinstance(rows, list):
        raise _not_an_index(file, f"found {type(rows).__name__}")
    check_count(len(rows))
    for position, row in enumerate(rows):
        if type(row) is not int or abs(row) >= 1 << 62:
            raise _not_a_row(file, f"entry {position}", json.dumps(row)[:60])
    return np.array(rows, np.int64)


def read_lines(file: SetFile, check_count: CheckCount) -> np.ndarray:
    """One whole number a line, after an optional heading `row` or `index`, as int64 [N]. Raises SubmissionError."""
    with reading(file, "csv"):
        lines = file.path.read_bytes().decode("utf-8-sig").splitlines()
    heading = bool(lines) and lines[0].strip().strip('"').lower() in HEADINGS
    numbered = [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()][heading:]
    check_count(len(numbered))
    for number, line in numbered:
        if not INTEGER.fullmatch(line):
            raise _not_a_row(file, f"line {number}", repr(line[:60]))
    return np.array([int(line) for _, line in numbered], np.int64)


def read_npy(file: SetFile, check_count: CheckCount) -> np.ndarray:
    """A one-dimensional int64 or int32 array as int64 [N]. Raises SubmissionError."""
    _check_array(npy_header(file, "coreset"), file.name, check_count)
    return load_npy(file).astype(np.int64)


def read_safetensors(file: SetFile, check_count: CheckCount) -> np.ndarray:
    """The tensor `rows` (int64 or int32, one-dimensional) as int64 [N]. Raises SubmissionError."""
    headers = tensor_headers(file)
    if "rows" not in headers:
        raise _not_an_index(file, "it has no tensor `rows`")
    _check_array(headers["rows"], f"{file.name}: rows", check_count)
    return load_tensor(file, "rows").astype(np.int64)


def read_parquet(file: SetFile, check_count: CheckCount) -> np.ndarray:
    """The integer column `row` or `index` as int64 [N]. Raises SubmissionError."""
    column = find_column(file, HEADINGS)
    check_count(column.rows)
    return read_integers(column)


def _check_array(header: ArrayHeader, where: str, check_count: CheckCount) -> None:
    check_integer(header, 1, where, "row numbers", fix="store them as int64 [N]")
    if header.dtype not in ("int64", "int32"):
        raise SubmissionError(f"row numbers are {header.dtype}", where=where, why="they are int64 or int32", fix="store int64")
    check_count(header.shape[0])


def _only_rows(pairs: list[tuple[str, object]]) -> dict:
    if [key for key, _ in pairs] != ["rows"]:
        raise ValueError(f"keys {[key[:40] for key, _ in pairs[:5]]}; the only key is 'rows', once")
    return dict(pairs)


def _not_an_index(file: SetFile, why: str) -> SubmissionError:
    return SubmissionError(
        "not a coreset index", where=file.name, why=why, fix='write {"rows": [3, 17, ...]}: rows of the training split from 0'
    )


def _not_a_row(file: SetFile, place: str, found: str) -> SubmissionError:
    return SubmissionError(
        f"{found} is not a row number", where=f"{file.name}, {place}", why="row numbers are whole numbers, counted from 0",
        fix="write integers, not floats or text",
    )  # fmt: skip
