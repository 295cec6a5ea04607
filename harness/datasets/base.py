"""What every real dataset of the harness is: a pinned place on the Hub, class count, sizes; and what a loaded split is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.imageset import EncodedImages

SplitName = Literal["train", "test"]


@dataclass(frozen=True)
class DatasetSpec:
    """Where a dataset lies and what it must contain.

    Attributes:
        name: `tiny-imagenet`; also the folder below `--data` / `HLBENCH_DATA`.
        repo, revision: Hub dataset repo and 40-hex commit ("" for digits, which ships inside scikit-learn).
        train_files, test_files: glob patterns of the parquet shards inside the repo; students are measured on the test files.
        image_column, label_column: parquet column names.
        classes, train_rows, test_rows: checked when a split is loaded.
        resolution: side in pixels of every (square) image, or None when images vary (ImageNet-1K) and stay encoded.
        gated: whether the Hub asks for accepted terms and a token.
        class_names: names in label order if the project knows them, else ().
    """

    name: str
    repo: str
    revision: str
    train_files: str
    test_files: str
    image_column: str
    label_column: str
    classes: int
    train_rows: int
    test_rows: int
    resolution: int | None
    class_names: tuple[str, ...] = ()
    gated: bool = False


@dataclass(frozen=True)
class Split:
    """A real split in its fixed row order.

    Attributes:
        images: uint8 [N, 3, H, W] (memory-mapped), or EncodedImages when the dataset stays encoded.
        labels: int64 [N].
        fingerprint: 64 hex digits naming rows, labels and encoded bytes in order, not the parquet packing (`fingerprint.py`).
    """

    dataset: str
    name: SplitName
    images: np.ndarray | EncodedImages
    labels: np.ndarray
    fingerprint: str

    def __len__(self) -> int:
        return len(self.labels)
