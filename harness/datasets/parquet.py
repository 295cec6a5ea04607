"""Rows of a dataset in the Hub's parquet layout: shards in sorted name order, rows in order, image bytes and labels only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from harness.datasets.base import DatasetSpec, SplitName
from harness.errors import EnvironmentProblem

CHUNK_ROWS = 512


@dataclass(frozen=True)
class Rows:
    """Consecutive rows. `first` is the number, in the whole split, of the first of them; labels are int64."""

    first: int
    encoded: list[bytes]
    labels: np.ndarray


def rows_expected(spec: DatasetSpec, split: SplitName) -> int:
    return spec.train_rows if split == "train" else spec.test_rows


def files_expected(spec: DatasetSpec, split: SplitName) -> str:
    """Glob pattern of the split's shards below the dataset's folder."""
    return spec.train_files if split == "train" else spec.test_files


def restore_hint(spec: DatasetSpec) -> str:
    """What to do about wrong or damaged files."""
    return f"restore exactly the files of {spec.repo}@{spec.revision[:12]}"


def find_shards(spec: DatasetSpec, split: SplitName, folder: Path) -> list[Path]:
    """The split's parquet files below `folder`, sorted by name.

    Raises EnvironmentProblem when there are none, one is not parquet or lacks a column, or they do not have the spec's row count.
    """
    pattern = files_expected(spec, split)
    shards = sorted(folder.glob(pattern))
    if not shards:
        raise EnvironmentProblem(
            f"no {split} files of {spec.name}",
            where=str(folder / pattern),
            why="no file matches the pattern",
            fix=f"copy the files {pattern} of {spec.repo}@{spec.revision[:12]} there, or remove the folder to use the Hub",
        )
    found, expected = sum(_row_count(spec, shard) for shard in shards), rows_expected(spec, split)
    if found != expected:
        raise EnvironmentProblem(
            f"{spec.name} {split} has {found:,} rows instead of {expected:,} ({found - expected:+,})",
            where=str(folder / pattern),
            why=f"{len(shards)} file(s) match; some are missing, cut short, doubled or of another dataset",
            fix=restore_hint(spec),
        )
    return shards


def iterate_rows(spec: DatasetSpec, shards: list[Path]) -> Iterator[Rows]:
    """Every row of the shards in order, at most CHUNK_ROWS at a time, so that memory stays bounded.

    Raises EnvironmentProblem on unreadable files, null or empty image bytes, labels outside 0..classes-1, and absent classes.
    """
    first = 0
    seen = np.zeros(spec.classes, dtype=bool)
    for shard in shards:
        try:
            with pq.ParquetFile(shard) as file:
                for batch in file.iter_batches(CHUNK_ROWS, columns=_columns(spec)):
                    rows = _checked_rows(spec, shard, first, batch)
                    seen[rows.labels] = True
                    yield rows
                    first += batch.num_rows
        except (pa.ArrowException, OSError) as reason:
            raise _unreadable(spec, shard, reason) from reason
    if not seen.all():
        absent = ", ".join(map(str, np.flatnonzero(~seen)[:10]))
        raise EnvironmentProblem(
            f"{spec.name} has only {seen.sum()} of its {spec.classes} classes",
            where=str(shards[0].parent),
            why=f"no row is labelled {absent}",
            fix=restore_hint(spec),
        )


def _columns(spec: DatasetSpec) -> list[str]:
    """The `path` beside the bytes is left out: nothing may depend on where an image once lay."""
    return [f"{spec.image_column}.bytes", spec.label_column]


def _row_count(spec: DatasetSpec, shard: Path) -> int:
    try:
        with pq.ParquetFile(shard) as file:
            present = {column.path for column in file.schema}
            rows = file.metadata.num_rows
    except (pa.ArrowException, OSError) as reason:
        raise _unreadable(spec, shard, reason) from reason
    if missing := set(_columns(spec)) - present:
        raise EnvironmentProblem(
            f"parquet file lacks {', '.join(sorted(missing))}",
            where=str(shard),
            why=f"its columns are {', '.join(sorted(present))}",
            fix=restore_hint(spec),
        )
    return rows


def _checked_rows(spec: DatasetSpec, shard: Path, first: int, batch: pa.RecordBatch) -> Rows:
    encoded = pa.compute.struct_field(batch.column(spec.image_column), "bytes").to_pylist()
    labels = batch.column(spec.label_column).to_pylist()
    for row, (image, label) in enumerate(zip(encoded, labels, strict=True), start=first):
        if not isinstance(image, bytes) or not image:
            raise _bad_row(spec, shard, row, f"{spec.image_column}.bytes is {image!r}")
        if not isinstance(label, int) or not 0 <= label < spec.classes:
            raise _bad_row(spec, shard, row, f"{spec.label_column} is {label!r}; classes are 0 to {spec.classes - 1}")
    return Rows(first, encoded, np.array(labels, dtype=np.int64))


def _bad_row(spec: DatasetSpec, shard: Path, row: int, why: str) -> EnvironmentProblem:
    return EnvironmentProblem(f"row {row} of {spec.name} cannot be used", where=str(shard), why=why, fix=restore_hint(spec))


def _unreadable(spec: DatasetSpec, shard: Path, reason: Exception) -> EnvironmentProblem:
    return EnvironmentProblem("cannot read parquet file", where=str(shard), why=str(reason), fix=restore_hint(spec))
