"""The real train and test splits a protocol names, in a fixed row order, each with its fingerprint. Never imports torch."""

from __future__ import annotations

from pathlib import Path

from harness.datasets.base import DatasetSpec, Split, SplitName
from harness.datasets.cached_split import load_parquet_split
from harness.datasets.digits import load_digits_split
from harness.datasets.source import find_folder
from harness.datasets.specs import DATASETS
from harness.errors import UsageError

__all__ = ["DATASETS", "DatasetSpec", "Split", "dataset_spec", "load_parquet_split", "load_split"]


def dataset_spec(name: str) -> DatasetSpec:
    """The pinned description of a dataset. Raises UsageError listing the known names."""
    if name not in DATASETS:
        raise UsageError(f"no dataset {name!r}", fix=f"choose one of: {', '.join(DATASETS)}")
    return DATASETS[name]


def load_split(name: str, split: SplitName, data: Path | None = None) -> Split:
    """A real split: images uint8 [N, 3, R, R] in 0..255 (ImageNet-1K: EncodedImages), labels int64 [N], fingerprint.

    Files come from `<data>/<name>/`, else `HLBENCH_DATA/<name>/`, else the Hub at the pinned commit; digits from scikit-learn.
    Raises UsageError for unknown names and EnvironmentProblem when the data is missing, damaged or not that dataset.
    """
    spec = dataset_spec(name)
    if split not in ("train", "test"):
        raise UsageError(f"no split {split!r}", fix="choose train or test")
    if name == "digits":
        return load_digits_split(spec, split)
    return load_parquet_split(spec, split, find_folder(spec, split, data))
