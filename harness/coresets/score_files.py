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
from typing import NamedTuple

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


class Columns(NamedTuple):
    """What the columns or tensors of a file are, by their names."""

    score: str
    row: str | None  # row numbers of the split
    labels: tuple[str, ...]  # classes, which must be the split's


def read_scores(path: Path, labels: np.ndarray) -> np.ndarray:
    """The scores as stored, any float or integer type, [N], all finite, for the training split with these labels (int64 [N]).

    npy: one dimension. safetensors: one tensor, or the one named `score`. csv and parquet: one column, or `score` beside `row`
    (0 .. N-1, each once, in any order). Class numbers beside them must be the split's: a table out of row order is found out.
    Raises UsageError for everything else.
    """
    rows = len(labels)
    file = _find(path)
    try:
        refuse_dangerous([file], "coreset")
        _check_size(file, rows)
        scores = READERS[file.suffix](file, labels)
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


def _read_npy(file: SetFile, labels: np.ndarray) -> np.ndarray:
    header = npy_header(file, "coreset")
    _check_array(header.dtype, header.shape, len(labels), file.name)
    return load_npy(file)


def _read_safetensors(file: SetFile, labels: np.ndarray) -> np.ndarray:
    headers = tensor_headers(file)

    def tensor(name: str) -> np.ndarray:
        _check_array(headers[name].dtype, headers[name].shape, len(labels), f"{file.name}: {name}")
        return load_tensor(file, name)

    return _in_row_order(_choose(list(headers), file.name, "tensors", with_rows=False), tensor, labels, file.name)


def _read_parquet(file: SetFile, labels: np.ndarray) -> np.ndarray:
    chosen = _choose(list(column_headers(file)), file.name, "columns")
    _check_range_index(file)
    return _in_row_order(chosen, lambda name: _parquet_column(file, name, len(labels)), labels, file.name)


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


def _read_csv(file: SetFile, labels: np.ndarray) -> np.ndarray:
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
    chosen = _choose(names, file.name, "columns")
    _check_array("float64", (len(cells) - headed,), len(labels), file.name)

    def column(name: str) -> np.ndarray:
        bare = [_bare(cell) for cell in cells[names.index(name)].tolist()[headed:]]
        return _numbers(bare, f"{file.name}: {name}", headed)

    return _in_row_order(chosen, column, labels, file.name)


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


def _choose(names: list[str], where: str, what: str, with_rows: bool = True) -> Columns:
    """Which of the columns or tensors of a file are what. Raises SubmissionError where that is not clear."""
    if len(names) == 1:
        return Columns(names[0], None, ())
    scores = [name for name in names if name.lower() in SCORE_NAMES]
    row_names = [name for name in names if name.lower() in ROW_NAMES and with_rows]
    if len(scores) != 1 or len(row_names) > 1 or len(names) != len(set(names)):
        listed = ", ".join(repr(name[:30]) for name in names[:8])
        beside = "; or name it `score`, beside `row` that counts the training rows from 0" if with_rows else ""
        why = f"it holds {len(names)} {what}: {listed}. A score file holds one{beside}"
        raise SubmissionError(f"which of the {what} are the scores is not clear", where=where, why=why)
    labels = tuple(name for name in names if name.lower() in LABEL_NAMES)
    unknown = [name for name in names if name not in (scores[0], *labels)]
    if unknown and not row_names:
        why = f"{', '.join(repr(name[:30]) for name in unknown[:8])}: it may say which row a score belongs to"
        raise SubmissionError(f"{what} beside the scores that are not known", where=where, why=why)
    return Columns(scores[0], row_names[0] if row_names else None, labels)


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


def _in_row_order(chosen: Columns, column: Callable[[str], np.ndarray], labels: np.ndarray, where: str) -> np.ndarray:
    """The scores in the split's row order: that of the row numbers beside them, and none that their labels contradict.

    `column`: the numbers of that name, [N]; it raises SubmissionError where there are no such numbers.
    """
    scores = column(chosen.score)
    order = slice(None) if chosen.row is None else _order(column(chosen.row), f"{where}: {chosen.row}")
    for name in chosen.labels:
        try:
            found = column(name)
        except SubmissionError as error:
            if chosen.row is not None:
                continue  # names of classes, mostly: row numbers say where a score belongs
            why = "so that they cannot tell whether the scores are in row order; store class numbers, or row numbers, or neither"
            raise SubmissionError(
                "the labels beside the scores are no class numbers", where=f"{where}: {name}", why=why
            ) from error
        _check_labels(found[order], labels, f"{where}: {name}")
    return scores[order]


def _check_labels(found: np.ndarray, labels: np.ndarray, where: str) -> None:
    if len(wrong := np.flatnonzero(found != labels)):
        row = wrong[0]
        raise UsageError(
            f"row {row} is of class {labels[row]} in the training split, and of class {found[row]:g} in the file", where=where,
            why=f"{len(wrong):,} of {len(labels):,} rows differ: the scores are in another order, or of another split",
            fix="bring the scores into the order of the split's rows, or store `row`, which counts them from 0, beside each; "
            "where the order is right and classes are numbered otherwise, leave the labels out",
        )  # fmt: skip


def _order(row_numbers: np.ndarray, where: str) -> np.ndarray:
    """Where rows 0 .. N-1 are found. Raises SubmissionError unless the row numbers are these, each once."""
    order = np.argsort(row_numbers, kind="stable")
    if len(wrong := np.flatnonzero(row_numbers[order] != np.arange(len(row_numbers)))):
        found = row_numbers[order][wrong[0]]
        why = f"they count the training rows from 0, each once; where {wrong[0]} should be there is {found:g}"
        raise SubmissionError("these are not the row numbers of the split", where=where, why=why)
    return order


def _check_finite(scores: np.ndarray, where: str) -> None:
    if len(wrong := np.flatnonzero(~np.isfinite(scores))):
        raise UsageError(
            f"the score of row {wrong[0]} is {scores[wrong[0]]}",
            where=where,
            why=f"{len(wrong):,} score(s) are not finite, and could be ranked neither high nor low",
            fix="give those rows a number; a row never learned may get the largest one",
        )


READERS: dict[str, Callable[[SetFile, np.ndarray], np.ndarray]] = {
    ".npy": _read_npy,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".safetensors": _read_safetensors,
}
