"""A small real set (digits, 2 of each class) and its writers: what the tests of `harness/intake` read, damage and disguise."""

from __future__ import annotations

import csv
import io
import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from safetensors.numpy import save_file
from sklearn.datasets import load_digits

from harness.datasets.base import DatasetSpec, Split
from harness.errors import SubmissionError
from harness.imageset import ImageSet
from harness.intake import read_set
from harness.submissions import Submission

CLASSES, IPC, SIDE = 10, 2, 8
NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FOLDERS = [str(label) for label in range(CLASSES)]
FINGERPRINT = "a" * 64
SOFT = np.random.default_rng(0).normal(size=(20, 10)).astype(np.float32)  # soft labels of the set
IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@cache
def digits_train() -> Split:
    """898 real images; the channels differ, so that a wrong layout cannot pass unnoticed."""
    bundled = load_digits()
    grey = (bundled.images[:898] * 15).astype(np.uint8)
    images = np.stack([grey, grey // 2, 255 - grey], axis=1)
    return Split("digits", "train", images, bundled.target[:898].astype(np.int64), FINGERPRINT)


def spec(class_names: tuple[str, ...] = (), classes: int = CLASSES, resolution: int | None = SIDE) -> DatasetSpec:
    return DatasetSpec("digits", "", "", "", "", "", "", classes, 898, 899, resolution, class_names)


def rows() -> np.ndarray:
    """Two rows of every class, sorted by class."""
    labels = digits_train().labels
    return np.concatenate([np.flatnonzero(labels == label)[:IPC] for label in range(CLASSES)])


def images_and_labels() -> tuple[np.ndarray, np.ndarray]:
    """uint8 [20, 3, 8, 8], int64 [20], sorted by class."""
    return digits_train().images[rows()], digits_train().labels[rows()]


def plain_sha256() -> str:
    """Identity of the set with nothing beside it."""
    return ImageSet(*images_and_labels()).sha256


def floats() -> np.ndarray:
    """The same images, normalised: float32 [20, 3, 8, 8]."""
    return ((images_and_labels()[0] / 255 - 0.31) / 0.38).astype(np.float32)


def submission(kind: str = "distilled", ipc: int = IPC, resolution: int = SIDE, floating: bool = False, **changes) -> Submission:
    space = {"pixel_space": "float32", "normalization": "digits"} if floating else {"pixel_space": "uint8"}
    deciding = {"images": {**space, "resolution": resolution}} if kind == "distilled" else {"split_fingerprint": FINGERPRINT}
    described = {"title": "t", "authors": ("a",), "licence": "MIT", "contact": "c", "method": "m", "dataset": "digits"}
    sets = ({"path": "set", "content_sha256": "0" * 64},)
    return Submission.model_validate(
        {"slug": "small", "kind": kind, "ipc": ipc, "sets": sets, **described, **deciding, **changes}
    )


CORESET = submission("coreset")


def read(folder: Path, of: Submission | None = None, against: DatasetSpec | None = None) -> tuple[ImageSet, dict]:
    """`read_set` of every file below the folder."""
    names = tuple(sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()))
    return read_set(folder, names, of or submission(), against or spec(), digits_train)


def refusal(folder: Path, match: str, of: Submission | None = None, against: DatasetSpec | None = None) -> str:
    """The message of the SubmissionError that reading the folder's files raises."""
    with pytest.raises(SubmissionError, match=match) as caught:
        read(folder, of, against)
    return str(caught.value)


def png(image: np.ndarray, file_format: str = "PNG", **options) -> bytes:
    """uint8 [3, H, W] as an encoded image."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(buffer, file_format, **options)
    return buffer.getvalue()


def pngs() -> list[bytes]:
    return [png(image) for image in images_and_labels()[0]]


def write_parquet(path: Path, encoded: list, labels=None, image: str = "image", label: str = "label", **options) -> None:
    labels = images_and_labels()[1][: len(encoded)] if labels is None else labels
    rows = [{"bytes": each, "path": "x.png"} if isinstance(each, bytes) else each for each in encoded]
    pq.write_table(pa.table({image: pa.array(rows, IMAGE_TYPE), label: pa.array(labels)}), path, **options)


def write_nested(path: Path, images: np.ndarray, labels: np.ndarray, fixed: bool) -> None:
    """Images as three nested parquet lists."""
    column = pa.array(images.reshape(-1))
    for size in reversed(images.shape[1:]):
        offsets = pa.array(np.arange(0, len(column) + 1, size, dtype=np.int32))
        column = pa.FixedSizeListArray.from_arrays(column, size) if fixed else pa.ListArray.from_arrays(offsets, column)
    pq.write_table(pa.table({"image": column, "label": labels}), path)


def write_folders(root: Path, names: list[str], encoded: list[bytes] | None = None, suffix: str = ".png") -> None:
    """`<class>/<k>.png`; `names[label]` is the folder of a class."""
    for place, (contents, label) in enumerate(zip(encoded or pngs(), images_and_labels()[1], strict=True)):
        folder = root / names[label]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{place:03d}{suffix}").write_bytes(contents)


def write_tensors(path: Path, images: np.ndarray | None = None, labels: np.ndarray | None = None) -> None:
    """safetensors or npz, by the suffix of `path`."""
    arrays = {
        "images": np.ascontiguousarray(images_and_labels()[0] if images is None else images),
        "labels": images_and_labels()[1] if labels is None else labels,
    }
    if path.suffix == ".npz":
        np.savez_compressed(path, **arrays)
    else:
        save_file(arrays, path)


def write_with(folder: Path, suffix: str, brought: dict[str, np.ndarray], labels: np.ndarray | None = None) -> None:
    """The set in the format of `suffix` ("" for image folders), with `brought` arrays beside images and classes.

    Parquet holds them as columns of lists of a fixed length, image folders as a .npy file each.
    """
    images, classes = images_and_labels()
    if suffix == ".parquet":
        write_parquet(folder / "set.parquet", pngs(), labels)
        table = pq.read_table(folder / "set.parquet")
        for name, array in brought.items():
            table = table.append_column(name, _fixed_lists(array))
        pq.write_table(table, folder / "set.parquet")
    elif suffix == "":
        write_folders(folder, FOLDERS)
        for name, array in brought.items():
            np.save(folder / f"{name}.npy", array)
    else:
        arrays = {"images": images, "labels": classes if labels is None else labels, **brought}
        plain = {name: np.asarray(array, order="C") for name, array in arrays.items()}
        path = folder / f"set{suffix}"
        np.savez_compressed(path, **plain) if suffix == ".npz" else save_file(plain, path)


def _fixed_lists(array: np.ndarray) -> pa.Array:
    column = pa.array(array.reshape(-1))
    for size in reversed(array.shape[1:]):
        column = pa.FixedSizeListArray.from_arrays(column, size)
    return column


def write_index(path: Path, chosen: np.ndarray) -> None:
    """Row numbers in the format that the suffix of `path` names."""
    if path.suffix == ".json":
        path.write_text(json.dumps({"rows": chosen.tolist()}))
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([["row"], *([row] for row in chosen.tolist())])
    elif path.suffix == ".txt":
        path.write_text("\n".join(map(str, chosen.tolist())) + "\n")
    elif path.suffix == ".npy":
        np.save(path, chosen)
    elif path.suffix == ".parquet":
        pq.write_table(pa.table({"index": chosen}), path)
    else:
        save_file({"rows": chosen}, path)


def npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """The start of a .npy file that claims this array."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": dtype, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


@contextmanager
def little_memory() -> Iterator[None]:
    """Address space of this process may grow by 3 GiB only: unpacking a bomb gives a MemoryError, which no rule mentions."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (3 << 30), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
