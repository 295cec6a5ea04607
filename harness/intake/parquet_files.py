"""Parquet files from strangers: columns by name, pages checked before they are unpacked, rows in bounded batches.

Only the columns asked for are read; a `path` beside image bytes never is (a reader that follows it opens local files).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness.errors import SubmissionError
from harness.intake.arrays import ArrayHeader
from harness.intake.files import SetFile, printable, reading
from harness.intake.limits import MIB, check_expansion
from harness.intake.parquet_pages import DELTA_BYTE_ARRAY, Pages, walk_pages

FORMAT = "parquet"
MOST_FOOTER = 16 * MIB
BATCH_BYTES = 256 * MIB
BATCH_ROWS = 512


@dataclass(frozen=True)
class ParquetColumn:
    """One column of one file. `leaf` is the path of its values inside the file: `label`, `image.bytes`, `image.list.element`."""

    file: SetFile
    name: str
    type: pa.DataType
    leaf: str
    rows: int


def column_headers(file: SetFile) -> dict[str, ArrayHeader]:
    """Types of all columns, from the footer; lists of a fixed length are dimensions. Raises SubmissionError for damaged files."""
    schema, rows, _ = _footer(file)
    headers = {}
    for field in schema:
        shape, stored = [rows], field.type
        while pa.types.is_fixed_size_list(stored):
            shape, stored = [*shape, stored.list_size], stored.value_type
        headers[field.name] = ArrayHeader(str(stored), tuple(shape))
    return headers


def find_column(file: SetFile, accepted: tuple[str, ...], fix: str = "") -> ParquetColumn:
    """The one column with an accepted name; `fix` says more about it.

    Raises SubmissionError when none or several are there, their names overlap with others, or the file is damaged.
    """
    schema, rows, leaves = _footer(file)
    found = [name for name in schema.names if name in accepted]
    if len(found) != 1:
        raise SubmissionError(
            f"{'several columns could be' if found else 'no column is'} the {accepted[0]} column",
            where=file.name,
            why=f"accepted: {', '.join(accepted)}; the file has {', '.join(map(printable, schema.names))[:200]}",
            fix=f"name exactly one column {accepted[0]!r}" + (f"; {fix}" if fix else ""),
        )
    name = found[0]
    return ParquetColumn(file, name, schema.field(name).type, _leaf(file, name, schema, leaves), rows)


def _footer(file: SetFile) -> tuple[pa.Schema, int, list[str]]:
    """(schema, rows, paths of the leaf columns), as the footer claims them."""
    with reading(file, FORMAT):
        _check_footer_size(file)
        with pq.ParquetFile(file.path) as opened:
            return opened.schema_arrow, opened.metadata.num_rows, [leaf.path for leaf in opened.schema]


def _leaf(file: SetFile, name: str, schema: pa.Schema, leaves: list[str]) -> str:
    """The path of the column's values. pyarrow selects columns by path, and a column may be named as if it lay in another."""
    if name in leaves:
        return name
    inside = f"{name}."
    if overlapping := [other for other in schema.names if other.startswith(inside)]:
        raise SubmissionError(
            "column names overlap",
            where=f"{file.name}: {printable(overlapping[0])}",
            why=f"its name reads as a part of the column {name!r}",
            fix="rename it without a dot",
        )
    with reading(file, FORMAT):
        own = [leaf for leaf in leaves if leaf.startswith(inside)]
        return f"{inside}bytes" if f"{inside}bytes" in own else own[0]


def check_pages(column: ParquetColumn, most_values: int, most_bytes: int) -> Pages:
    """Totals of the column's pages, none of them unpacked. Raises SubmissionError when they unpack to more than allowed."""
    file = column.file
    with reading(file, FORMAT), pq.ParquetFile(file.path) as opened:
        leaf = [leaf.path for leaf in opened.schema].index(column.leaf)
        pages = walk_pages(file.path, opened.metadata, leaf)
    if pages.values > most_values or pages.unpacked > most_bytes:
        raise SubmissionError(
            "the parquet file unpacks to more than the set may hold",
            where=f"{file.name}: {column.leaf}",
            why=f"{pages.values:,} values in {pages.unpacked:,} bytes; at most {most_values:,} in {most_bytes:,}",
            fix="store exactly classes x IPC rows",
        )
    if DELTA_BYTE_ARRAY in pages.encodings:
        raise SubmissionError(
            "parquet encoding DELTA_BYTE_ARRAY is not accepted", where=f"{file.name}: {column.leaf}",
            why="its unpacked size cannot be known beforehand", fix="write the file with the default encodings",
        )  # fmt: skip
    check_expansion(file.size, pages.unpacked, file.name)
    return pages


def iterate_column(column: ParquetColumn, batch_rows: int) -> Iterator[pa.Array]:
    """The column's values, at most `batch_rows` at a time. Raises SubmissionError on damage and on other rows than announced."""
    seen = 0
    with reading(column.file, FORMAT), pq.ParquetFile(column.file.path) as opened:
        for batch in opened.iter_batches(batch_rows, columns=[column.leaf], use_threads=False):
            seen += batch.num_rows
            if seen > column.rows:
                raise ValueError(f"more rows than the {column.rows:,} its footer claims")
            yield batch.column(0)
        if seen < column.rows:
            raise ValueError(f"{seen:,} rows instead of the {column.rows:,} its footer claims")


def encoded_batch_rows(pages: Pages) -> int:
    """Rows a batch of byte strings may have, so that it stays near BATCH_BYTES even if every row is the whole dictionary."""
    return max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, pages.largest_dictionary)))


def read_integers(column: ParquetColumn, fix: str = "store int64") -> np.ndarray:
    """The values of an integer column, int64 [rows]. Raises SubmissionError for other types (saying `fix`) and nulls."""
    where = f"{column.file.name}: {column.name}"
    if not pa.types.is_integer(column.type):
        raise SubmissionError(
            f"column {column.name!r} is {printable(str(column.type), 100)}", where=where, why="it must hold integers", fix=fix
        )
    check_pages(column, column.rows, 16 * column.rows + MIB)
    parts = [np.empty(0, np.int64)]
    for batch in iterate_column(column, 1 << 16):
        if batch.null_count:
            raise SubmissionError(f"column {column.name!r} has empty rows", where=where, why="every row needs a value")
        parts.append(batch.to_numpy().astype(np.int64))  # uint64 beyond int64 turns negative, and is refused as such
    return np.concatenate(parts)


def struct_bytes(values: pa.Array) -> pa.Array:
    """The `bytes` of a batch of structs {bytes, path}, or the batch itself if it holds bytes already."""
    return pc.struct_field(values, "bytes") if pa.types.is_struct(values.type) else values


def _check_footer_size(file: SetFile) -> None:
    """The last eight bytes are the footer's length and `PAR1`."""
    with file.path.open("rb") as opened:
        opened.seek(max(0, file.size - 8))
        tail = opened.read(8)
    if tail[4:] != b"PAR1" or int.from_bytes(tail[:4], "little") > min(MOST_FOOTER, file.size):
        raise ValueError("no parquet footer of a sensible size at its end")
