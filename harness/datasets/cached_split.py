"""A parquet split by way of its cache folder, which also holds `labels.npy` (int64 [N]) and `digests.npy` (uint8 [N, 32])."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL

from harness.datasets.base import DatasetSpec, Split, SplitName
from harness.datasets.cache import Recipe, cached_folder
from harness.datasets.decoded import build_decoded
from harness.datasets.encoded import BLOB, build_encoded, open_encoded
from harness.datasets.fingerprint import fingerprint
from harness.datasets.parquet import find_shards, iterate_rows, rows_expected

LAYOUT = 1  # raise when the files of a cache folder change their meaning


def load_parquet_split(spec: DatasetSpec, split: SplitName, folder: Path) -> Split:
    """The split whose parquet files lie in `folder` (the Hub's layout), from its cache if that was made from these very files.

    The cache is known by the shards' names, sizes and modification times, and by the Pillow version that decoded it. Decoded
    images are checked whole against their sha256 at every load; encoded ones row by row as they are read. The fingerprint is
    computed anew from the row digests.

    Raises EnvironmentProblem when files are missing or damaged, rows or labels differ from the spec, or the cache cannot be
    written.
    """
    shards = find_shards(spec, split, folder)
    recipe = _decoded_recipe(spec, split, shards) if spec.resolution else _encoded_recipe(spec, shards)
    cache = cached_folder(f"datasets/{spec.name}", split, recipe)
    labels, digests = np.load(cache / "labels.npy"), np.load(cache / "digests.npy")
    images = np.load(cache / "images.npy", mmap_mode="r") if spec.resolution else open_encoded(cache, labels, digests)
    return Split(dataset=spec.name, name=split, images=images, labels=labels, fingerprint=fingerprint(map(bytes, digests)))


def _decoded_recipe(spec: DatasetSpec, split: SplitName, shards: list[Path]) -> Recipe:
    count = rows_expected(spec, split)
    return Recipe(
        key={**_source_key(spec, shards), "resolution": spec.resolution, "pillow": PIL.__version__},
        build=lambda folder: build_decoded(spec, iterate_rows(spec, shards), count, folder),
        needed_bytes=count * 3 * spec.resolution**2,
    )


def _encoded_recipe(spec: DatasetSpec, shards: list[Path]) -> Recipe:
    return Recipe(
        key=_source_key(spec, shards),
        build=lambda folder: build_encoded(iterate_rows(spec, shards), folder),
        needed_bytes=sum(shard.stat().st_size for shard in shards),
        unhashed=BLOB,
    )


def _source_key(spec: DatasetSpec, shards: list[Path]) -> dict:
    facts = [shard.stat() for shard in shards]
    return {
        "layout": LAYOUT,
        "sources": [[shard.name, fact.st_size, fact.st_mtime_ns] for shard, fact in zip(shards, facts, strict=True)],
        "columns": [spec.image_column, spec.label_column],
        "classes": spec.classes,
    }
