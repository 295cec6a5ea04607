"""Small real datasets in the Hub's parquet layout, made of digits."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from harness.datasets import DatasetSpec, load_split

SMALL = DatasetSpec(
    name="small",
    repo="someone/small",
    revision="0" * 40,
    train_files="data/train-*.parquet",
    test_files="data/valid-*.parquet",
    image_column="image",
    label_column="label",
    classes=10,
    train_rows=40,
    test_rows=20,
    resolution=8,
)
VARIED = replace(SMALL, name="varied", resolution=None, train_rows=8, classes=2)


def encode(pixels: np.ndarray, kind: str = "JPEG", mode: str = "RGB") -> bytes:
    target = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(target, kind)
    return target.getvalue()


def digit_rows(split: str = "train", count: int = 40) -> list[tuple[bytes | None, int | None]]:
    """(JPEG, label) of the first digits; every class occurs among them."""
    real = load_split("digits", split)
    return [(encode(real.images[row].transpose(1, 2, 0)), int(real.labels[row])) for row in range(count)]


def varied_rows() -> list[tuple[bytes, int]]:
    """What ImageNet-1K holds: sizes that vary, grey and CMYK JPEGs, a PNG among the JPEGs."""
    digit = load_split("digits", "train").images[0].transpose(1, 2, 0)
    large = np.asarray(Image.fromarray(digit).resize((90, 60), Image.Resampling.BICUBIC))
    shapes = [large, large[:, :70], large[:45], large[:, 1:], large[5:]]
    forms = [*map(encode, shapes), encode(large, mode="L"), encode(large, mode="CMYK"), encode(large, kind="PNG")]
    return [(form, row % 2) for row, form in enumerate(forms)]


def write_shards(folder: Path, rows: list, cuts: tuple[int, ...] = (), split: str = "train", row_group: int = 1000) -> Path:
    """`rows` as parquet below `folder`, one shard up to each cut; `path` holds what must be ignored."""
    edges = [0, *cuts, len(rows)]
    (folder / "data").mkdir(parents=True, exist_ok=True)
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    for shard, (start, stop) in enumerate(pairwise(edges)):
        images = pa.array([{"bytes": image, "path": f"cut{shard}.jpg"} for image, _ in rows[start:stop]], kind)
        labels = pa.array([label for _, label in rows[start:stop]], pa.int64())
        name = folder / "data" / f"{split}-{shard:05d}-of-{len(edges) - 1:05d}.parquet"
        pq.write_table(pa.table({"image": images, "label": labels}), name, row_group_size=row_group)
    return folder
