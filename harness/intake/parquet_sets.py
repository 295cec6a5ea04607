"""Distilled sets in parquet: image bytes (the Hub's struct {bytes, path} or plain binary) or nested arrays, and labels."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.errors import SubmissionError
from harness.imageset import EncodedImages
from harness.intake.arrays import ArrayHeader, channels_last, place_block
from harness.intake.expected import Expected
from harness.intake.files import SetFile, printable, reading
from harness.intake.images import decode_set
from harness.intake.labels import HOW_TO_CLASSES, check_count, check_labels
from harness.intake.limits import FILE_OVERHEAD, MIB, check_array_bytes, check_expansion, most_encoded_bytes
from harness.intake.parquet_files import (
    FORMAT,
    ParquetColumn,
    check_pages,
    encoded_batch_rows,
    find_column,
    iterate_column,
    read_integers,
    struct_bytes,
)

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "class_id", "fine_label")
ARRAY_BATCH_BYTES = 16 * MIB
# A value of a nested list may take a dictionary or delta slot and two levels beside itself.
BYTES_PER_VALUE = 16


def read_parquet_set(files: list[SetFile], expected: Expected) -> tuple[np.ndarray | EncodedImages, np.ndarray]:
    """Images ([N, 3, R, R] of the declared dtype, or EncodedImages) and labels int64 [N]; shards are joined in sorted order.

    Raises SubmissionError for missing columns, wrong counts or labels, bombs, and images that cannot be used.
    """
    names = ", ".join(file.name for file in files[:3])
    label_columns = [find_column(file, LABEL_COLUMNS, HOW_TO_CLASSES) for file in files]
    check_count(sum(column.rows for column in label_columns), expected.classes, expected.ipc, names)
    labels = np.concatenate([read_integers(column, HOW_TO_CLASSES) for column in label_columns])
    labels = check_labels(labels, expected.classes, expected.ipc, names)
    columns = [find_column(file, IMAGE_COLUMNS) for file in files]
    read = _read_encoded if _is_encoded(columns[0]) else _read_arrays
    return read(columns, expected), labels


def _is_encoded(column: ParquetColumn) -> bool:
    return pa.types.is_struct(column.type) or _is_bytes(column.type)


def _is_bytes(stored: pa.DataType) -> bool:
    return pa.types.is_binary(stored) or pa.types.is_large_binary(stored)


def _read_encoded(columns: list[ParquetColumn], expected: Expected) -> np.ndarray | EncodedImages:
    encoded: list[bytes] = []
    places: list[str] = []
    for column in columns:
        rows = _encoded_rows(column, expected)
        encoded += rows
        places += [f"{column.file.name}, row {row}" for row in range(len(rows))]
    return decode_set(EncodedImages(len(encoded), encoded.__getitem__), places.__getitem__, expected)


def _encoded_rows(column: ParquetColumn, expected: Expected) -> list[bytes]:
    """Image bytes of one file, stopped as soon as they exceed what the file may unpack to."""
    where = f"{column.file.name}: {column.name}"
    _check_bytes_column(column, expected, where)
    most = column.rows * most_encoded_bytes(expected.resolution) + FILE_OVERHEAD
    pages = check_pages(column, column.rows, most)
    rows: list[bytes] = []
    total = 0
    for batch in iterate_column(column, encoded_batch_rows(pages)):
        values = struct_bytes(batch)
        total += pc.sum(pc.binary_length(values)).as_py() or 0
        check_expansion(column.file.size, total, where)
        if total > most:
            raise SubmissionError(
                "images are larger than the set may hold", where=where, why=f"more than {most:,} bytes by row {len(rows)}"
            )
        if values.null_count:
            row = len(rows) + values.is_null().to_pylist().index(True)
            raise SubmissionError(
                f"row {row} has no image bytes",
                where=f"{where}.bytes",
                why="bytes is null; a `path` beside it is never followed",
                fix="embed the images: with `datasets`, load them and push_to_hub with embed_external_files=True",
            )
        rows += values.to_pylist()
    return rows


def _check_bytes_column(column: ParquetColumn, expected: Expected, where: str) -> None:
    stored = column.type
    if pa.types.is_struct(stored) and stored.get_field_index("bytes") >= 0:
        stored = stored.field("bytes").type
    if not _is_bytes(stored):
        raise SubmissionError(
            f"image column is {printable(str(stored), 200)}",
            where=where,
            why="all shards store images alike: struct {bytes, path}, binary, or nested lists",
            fix="write struct {bytes: binary, path: string}, as `datasets` does for Image()",
        )
    if expected.dtype != np.uint8:
        raise SubmissionError(
            "encoded images hold 8-bit pixels", where=where, why="the submission declares images.pixel_space: float32",
            fix="declare uint8, or store the floats as nested lists or safetensors",
        )  # fmt: skip


def _read_arrays(columns: list[ParquetColumn], expected: Expected) -> np.ndarray:
    total = expected.count * expected.image_bytes
    check_array_bytes(total, columns[0].file.name)
    values_per_image = expected.image_bytes // expected.dtype.itemsize
    for column in columns:
        _check_array_column(column, expected)
        values = column.rows * values_per_image
        check_pages(column, values, values * BYTES_PER_VALUE + FILE_OVERHEAD)
    images = np.empty((expected.count, *expected.image_shape), expected.dtype)
    first = 0
    for column in columns:
        where = f"{column.file.name}: {column.name}"
        for batch in iterate_column(column, max(1, ARRAY_BATCH_BYTES // expected.image_bytes)):
            with reading(column.file, FORMAT):
                block = _dense(batch, where)
            last = channels_last(ArrayHeader(block.dtype.name, block.shape), expected, where)
            place_block(images, first, block, last, where)
            first += len(block)
    return images


def _check_array_column(column: ParquetColumn, expected: Expected) -> None:
    """Three nested lists of uint8 or float32. A flat list is refused: it does not say whether channels come first."""
    stored, depth = column.type, 0
    while pa.types.is_list(stored) or pa.types.is_large_list(stored) or pa.types.is_fixed_size_list(stored):
        stored, depth = stored.value_type, depth + 1
    wanted = pa.from_numpy_dtype(expected.dtype)
    if depth != 3 or stored != wanted:
        raise SubmissionError(
            f"image column is {printable(str(column.type), 200)}",
            where=f"{column.file.name}: {column.name}",
            why=f"the submission declares {wanted} pixels; arrays are three nested lists of them, [3, H, W]",
            fix="store encoded images as struct {bytes, path}, or nest the lists",
        )


def _dense(batch: pa.Array, where: str) -> np.ndarray:
    """Nested lists of one batch as an array [n, a, b, c]. Raises SubmissionError when lists are ragged or hold nulls."""
    shape, level = [len(batch)], batch
    for _ in range(3):
        lengths = pc.list_value_length(level)
        if level.null_count or pc.count_distinct(lengths).as_py() != 1:
            raise SubmissionError(
                "images differ in shape or hold empty values", where=where, why="every image is one dense [3, H, W] array"
            )
        shape.append(lengths[0].as_py())
        level = level.flatten()
    if level.null_count:
        raise SubmissionError("images hold empty values", where=where, why="every image is one dense [3, H, W] array")
    return level.to_numpy().reshape(shape)
