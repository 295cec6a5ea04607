"""Where the pieces of a stitched set come from, as a small parquet file beside the submission; and the set made again from it."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.datasets.base import Split
from harness.datasets.decode import image_size
from harness.distill.method import DistilledSet
from harness.distill.patches import Layout, Patches, StitchedImages
from harness.errors import SubmissionError

BOX = ("top", "left", "height", "width")
SCHEMA = pa.schema(
    [
        ("image", pa.int32()),
        ("quadrant", pa.int32()),
        ("row", pa.int64()),
        *((name, pa.int32()) for name in BOX),
        ("cross_entropy", pa.float32()),
    ]
)


def provenance_bytes(patches: Patches) -> bytes:
    """A parquet file, one row a piece: image and quadrant it lies in, source row, box, cross-entropy. Same pieces, same bytes."""
    piece = np.arange(len(patches.rows))
    place = [piece // patches.layout.pieces, piece % patches.layout.pieces]
    columns = [*place, patches.rows, *patches.boxes.T, patches.cross_entropy]
    arrays = [pa.array(np.ascontiguousarray(column), type=field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    sink = io.BytesIO()
    pq.write_table(pa.table(arrays, schema=SCHEMA), sink, compression="zstd")
    return sink.getvalue()


def read_provenance(contents: bytes, split: Split, layout: Layout, where: str) -> Patches:
    """The pieces that a file names. Raises SubmissionError, naming `where`, unless they make a set of `layout` from `split`."""
    classes = int(split.labels.max()) + 1
    table = _read_table(contents, classes * layout.needed, where)
    columns = {name: table.column(name).to_numpy() for name in SCHEMA.names}
    piece, rows = np.arange(table.num_rows), columns["row"]
    in_order = (columns["image"] == piece // layout.pieces) & (columns["quadrant"] == piece % layout.pieces)
    exists = (rows >= 0) & (rows < len(split))
    fits = in_order & exists & (split.labels[np.where(exists, rows, 0)] == piece // layout.needed)
    if not fits.all():
        raise _wrong(
            where, f"line {int(fits.argmin())}: pieces stand class by class, image by image, and show their image's class"
        )
    boxes = np.stack([columns[name] for name in BOX], axis=1)
    _check_boxes(split, rows, boxes.astype(np.int64), where)
    return Patches(layout, rows, boxes, columns["cross_entropy"])


def made_again(contents: bytes, split: Split, layout: Layout, where: str) -> DistilledSet:
    """The set that a provenance file describes: needs no observer and takes seconds. Raises SubmissionError."""
    patches = read_provenance(contents, split, layout, where)
    return DistilledSet(StitchedImages(split.images, patches), patches.labels, layout.factor, patches)


def _read_table(contents: bytes, expected: int, where: str) -> pa.Table:
    """Row count and column types are held to what is expected before any column is read."""
    try:
        with pq.ParquetFile(io.BytesIO(contents)) as file:
            if file.metadata.num_rows != expected or not file.schema_arrow.equals(SCHEMA):
                raise _wrong(
                    where, f"{file.metadata.num_rows} lines of {', '.join(file.schema_arrow.names)}; {expected} are expected"
                )
            table = file.read()
    except (pa.ArrowException, OSError) as reason:
        raise _wrong(where, str(reason)[:200]) from reason
    if any(column.null_count for column in table.columns):
        raise _wrong(where, "some values are missing")
    return table


def _check_boxes(split: Split, rows: np.ndarray, boxes: np.ndarray, where: str) -> None:
    if isinstance(split.images, np.ndarray):
        sizes = np.broadcast_to(split.images.shape[2:], (len(rows), 2))
    else:
        sizes = np.array([image_size(split.images.read(int(row))) for row in rows])
    start, length = boxes[:, :2], boxes[:, 2:]
    inside = ((start >= 0) & (length > 0) & (start + length <= sizes)).all(axis=1)
    if not inside.all():
        at = int(inside.argmin())
        raise _wrong(where, f"line {at}: box {boxes[at].tolist()} leaves row {rows[at]}, {sizes[at].tolist()} pixels")


def _wrong(where: str, why: str) -> SubmissionError:
    return SubmissionError(
        "the provenance does not describe the set",
        where=where,
        why=why,
        fix="restore it from version control, or distil the set again",
    )
