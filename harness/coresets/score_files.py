"""A per-sample score from a file its author has: npy, csv, parquet or safetensors, one number for each row of the training split.

The bytes may come from strangers: sizes are bounded by the number of rows before anything is read, and the readers are those of
`intake/`. Never pickle.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from harness.errors import SubmissionError, UsageError
from harness.intake.files import SetFile, reading
from harness.intake.limits import MIB
from harness.intake.numpy_files import load_npy, npy_header
from harness.intake.parquet_files import check_pages, column_headers, find_column, iterate_column
from harness.intake.refuse import refuse_dangerous
from harness.intake.safetensors_files import load_tensor, tensor_headers

SCORE_NAMES, ROW_NAMES = ("score", "scores"), ("row", "rows", "index", "id", "", "__index_level_0__")
LABEL_NAMES = ("label", "labels", "class", "classes", "target", "targets")
NUMBERS = tuple(f"{kind}{bits}" for kind in ("float", "int", "uint") for bits in (8, 16, 32, 64) if (kind, bits) != ("float", 8))
TEXT_ROW_BYTES, ROW_BYTES = 128, 32  # most a row may take: a score, a row number and a file name as text; numbers
MOST_COLUMNS = 16  # of a CSV; a parser asked for millions takes a thousand times the file's size
NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan|inf(inity)?)", re.ASCII | re.IGNORECASE)
HOW = 'store one number for each training row, in row order: numpy.save("scores.npy", scores.astype("float32"))'


def read_scores(path: Path, rows: int) -> np.ndarray:
    """The scores as stored, any float or integer type, [rows], all finite.

    npy: one dimension. safetensors: one tensor, or the one named `score`. csv and parquet: one column, or `score` beside `row`
    (0 .. rows-1, each once, in any order). Raises UsageError for everything else.
    """
    file = _find(path)
    try:
        refuse_dangerous([file], "coreset")
        _check_size(file, rows)
        scores = READERS[file.suffix](file, rows)
    except SubmissionError as error:
        raise UsageError(error.what, where=error.where, why=error.why, fix=HOW) from error
    _check_finite(scores, file.name)
    return scores


def _find(path: Path) -> SetFile:
    if not path.is_file():
        raise UsageError("no such score file", where=str(path), why="it is not there, or is no regular file", fix="name a file")
    file = SetFile(path.name, path, path.stat().st_size)
    if file.suffix not in READERS:
        what = f"{file.suffix or 'a file without extension'} is not a format of scores"
        raise UsageError(what, where=str(path), why=f"accepted: {', '.join(READERS)}", fix=HOW)
    return file


def _check_size(file: SetFile, rows: int) -> None:
    most = rows * (TEXT_ROW_BYTES if file.suffix == ".csv" else ROW_BYTES) + MIB
    if file.size > most:
        why = f"{file.size:,} bytes; at most {most:,} for {rows:,} rows"
        raise SubmissionError("the file is larger than one score a row can be", where=file.name, why=why)


def _read_npy(file: SetFile, rows: int) -> np.ndarray:
    header = npy_header(file, "coreset")
    _check_array(header.dtype, header.shape, rows, file.name)
    return load_npy(file)


def _read_safetensors(file: SetFile, rows: int) -> np.ndarray:
    headers = tensor_headers(file)
    name, _ = _choose(list(headers), file.name, "tensors", with_rows=False)
    _check_array(headers[name].dtype, headers[name].shape, rows, f"{file.name}: {name}")
    return load_tensor(file, name)


def _read_parquet(file: SetFile, rows: int) -> np.ndarray:
    name, row_name = _choose(list(column_headers(file)), file.name, "columns")
    _check_range_index(file)
    scores = _parquet_column(file, name, rows)
    return scores if row_name is None else _in_place(scores, _parquet_column(file, row_name, rows), f"{file.name}: {row_name}")


def _check_range_index(file: SetFile) -> None:
    """pandas keeps the order of a table with a plain index in the file's metadata only: turned around, no column tells."""
    with reading(file, "parquet"):
        described = json.loads((pq.read_schema(file.path).metadata or {}).get(b"pandas", b"{}"))
        ranges = [index for index in described.get("index_columns", []) if isinstance(index, dict)]
    if any((index.get("start"), index.get("step")) != (0, 1) for index in ranges):
        why = "its index does not count the rows from 0; sort it and store it with index=False"
        raise SubmissionError("the scores are not in row order", where=file.name, why=why)


def _parquet_column(file: SetFile, name: str, rows: int) -> np.ndarray:
    column, where = find_column(file, (name,)), f"{file.name}: {name}"
    stored = {"float": "float32", "double": "float64", "halffloat": "float16"}.get(str(column.type), str(column.type))
    _check_array(stored, (column.rows,), rows, where)
    check_pages(column, rows, 16 * rows + MIB)
    parts = list(iterate_column(column, 1 << 16))
    if any(part.null_count for part in parts):
        raise SubmissionError("a row has no value", where=where, why="the column holds nulls")
    return np.concatenate([part.to_numpy() for part in parts])


def _read_csv(file: SetFile, rows: int) -> np.ndarray:
    """Cells are read as text first, so that a heading, an empty cell and a word can be told apart and named."""
    with reading(file, "csv"):
        text = file.path.read_bytes().decode("utf-8-sig")
        if (columns := 1 + max(line.count(",") for line in re.split("[\r\n]", text))) > MOST_COLUMNS:
            why = f"{columns:,} columns in one line; at most {MOST_COLUMNS}"
            raise SubmissionError("more columns than a score file has", where=file.name, why=why)
        # Without quoting a line is a row, whatever it holds; quotes around a cell are taken off below.
        cells = pd.read_csv(io.StringIO(text), header=None, dtype=str, keep_default_na=False, quoting=csv.QUOTE_NONE)
    first = [_bare(cell).lower() for cell in cells.iloc[0]]
    headed = any(not _is_number(cell) and (not cell or re.search(r"[^\W\d_]", cell)) for cell in first)
    names = first if headed else [f"column {number}" for number in range(1, len(first) + 1)]
    name, row_name = _choose(names, file.name, "columns")
    _check_array("float64", (len(cells) - headed,), rows, file.name)
    scores, row_numbers = (
        None
        if wanted is None
        else _numbers([_bare(cell) for cell in cells[names.index(wanted)].tolist()[headed:]], f"{file.name}: {wanted}", headed)
        for wanted in (name, row_name)
    )
    return scores if row_numbers is None else _in_place(scores, row_numbers, f"{file.name}: {row_name}")


def _bare(cell: str) -> str:
    return cell.strip().strip('"')


def _is_number(cell: str) -> bool:
    """Python would also read `1_0` as 10, and digits of every script; other programs would not."""
    return NUMBER.fullmatch(cell) is not None


def _numbers(cells: list[str], where: str, headed: int) -> np.ndarray:
    wrong = next((place for place, cell in enumerate(cells) if not _is_number(cell)), None)
    if wrong is not None:
        why = f"line {wrong + 1 + headed}, blank lines not counted"
        raise SubmissionError(f"{cells[wrong][:40]!r} is not a number", where=where, why=why)
    return np.array(cells, np.float64)  # as Python reads a float: correctly rounded


def _choose(names: list[str], where: str, what: str, with_rows: bool = True) -> tuple[str, str | None]:
    """(the name of the scores, the name of the row numbers or None) among the columns or tensors of a file."""
    if len(names) == 1:
        return names[0], None
    scores = [name for name in names if name.lower() in SCORE_NAMES]
    row_names = [name for name in names if name.lower() in ROW_NAMES and with_rows]
    if len(scores) != 1 or len(row_names) > 1 or len(names) != len(set(names)):
        listed = ", ".join(repr(name[:30]) for name in names[:8])
        beside = "; or name it `score`, beside `row` that counts the training rows from 0" if with_rows else ""
        why = f"it holds {len(names)} {what}: {listed}. A score file holds one{beside}"
        raise SubmissionError(f"which of the {what} are the scores is not clear", where=where, why=why)
    unknown = [name for name in names if name != scores[0] and name.lower() not in LABEL_NAMES]
    if unknown and not row_names:
        why = f"{', '.join(repr(name[:30]) for name in unknown[:8])}: it may say which row a score belongs to"
        raise SubmissionError(f"{what} beside the scores that are not known", where=where, why=why)
    return scores[0], row_names[0] if row_names else None


def _check_array(dtype: str, shape: tuple[int, ...], rows: int, where: str) -> None:
    """From the header alone, before anything is read."""
    if dtype not in NUMBERS:
        why = "float16 to float64 and whole numbers, in this machine's byte order, are accepted"
        raise SubmissionError(f"scores are {dtype[:60]}", where=where, why=why)
    if len(shape) != 1:
        raise SubmissionError(f"scores have shape {list(shape)}", where=where, why=f"they are one number a row: shape [{rows}]")
    if shape[0] != rows:
        why = "the training split has that many rows; a score of another split, or of a part, cannot be matched to its images"
        raise SubmissionError(f"{shape[0]:,} scores instead of {rows:,}", where=where, why=why)


def _in_place(scores: np.ndarray, row_numbers: np.ndarray, where: str) -> np.ndarray:
    """Scores in the order of the row numbers beside them. Raises SubmissionError unless these are 0 .. N-1, each once."""
    order = np.argsort(row_numbers, kind="stable")
    if len(wrong := np.flatnonzero(row_numbers[order] != np.arange(len(scores)))):
        found = row_numbers[order][wrong[0]]
        why = f"they count the training rows from 0, each once; where {wrong[0]} should be there is {found:g}"
        raise SubmissionError("these are not the row numbers of the split", where=where, why=why)
    return scores[order]


def _check_finite(scores: np.ndarray, where: str) -> None:
    if len(wrong := np.flatnonzero(~np.isfinite(scores))):
        raise UsageError(
            f"the score of row {wrong[0]} is {scores[wrong[0]]}",
            where=where,
            why=f"{len(wrong):,} score(s) are not finite, and could be ranked neither high nor low",
            fix="give those rows a number; a row never learned may get the largest one",
        )


READERS: dict[str, Callable[[SetFile, int], np.ndarray]] = {
    ".npy": _read_npy,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".safetensors": _read_safetensors,
}
