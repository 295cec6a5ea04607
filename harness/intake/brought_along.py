"""What a set brings along beside images and classes: soft labels above all, and a learned rate, ids, scores.

None of it is decoded and no regime uses it: HL trains on the set's classes, SL and SL+KD on the pinned teacher's labels (methods
A.1: learned soft labels shipped with a set are discarded). It is listed from headers, so that the audit says it was there.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

from harness.intake.arrays import ArrayHeader
from harness.intake.files import IMAGE_SUFFIXES, SetFile, printable
from harness.intake.numpy_files import npy_header, npz_headers
from harness.intake.parquet_files import column_headers
from harness.intake.safetensors_files import tensor_headers

LABEL_NAME = re.compile("label|logit|soft|prob|target", re.IGNORECASE)
ARRAY_SUFFIXES = (".parquet", ".safetensors", ".npz")
LABEL_FILE_SUFFIXES = (*ARRAY_SUFFIXES, ".npy", ".json", ".csv", ".txt")

HEADERS: dict[str, Callable[[SetFile], dict[str, ArrayHeader]]] = {
    ".parquet": column_headers,
    ".safetensors": tensor_headers,
    ".npz": npz_headers,
    ".npy": lambda file: {"": npy_header(file, "distilled")},
}
SHOWN, MOST_CHARACTERS = 8, 100

Listed = Iterable[tuple[str, ArrayHeader]]


def set_aside_label_files(files: list[SetFile]) -> tuple[list[SetFile], list[SetFile]]:
    """(files of the set, label files beside them), such as `soft_labels.npy` beside class folders or a parquet file.

    A label file has "label", "logit", "soft", "prob" or "target" in its name and a format that the set itself does not have: no
    image beside images, and beside anything else only what no set is stored in (npy, json, csv, txt).
    """
    folders = any(file.suffix in IMAGE_SUFFIXES for file in files)
    possible = LABEL_FILE_SUFFIXES if folders else tuple(set(LABEL_FILE_SUFFIXES) - set(ARRAY_SUFFIXES))
    own: list[SetFile] = []
    beside: list[SetFile] = []
    for file in files:
        named_so = file.suffix in possible and LABEL_NAME.search(PurePosixPath(file.name).stem)
        (beside if named_so else own).append(file)
    return own, beside


def brought_along(files: list[SetFile], beside: list[SetFile], used: tuple[str, ...], classes: int) -> dict[str, str]:
    """Audit facts about what is not used: `labels_not_used` and `also_not_used`, each only if there is any.

    `used`: names of the arrays or columns that are read. Shapes are what headers claim. Raises SubmissionError for damaged
    headers and for object arrays, which are pickles: a file that holds one is refused even if nobody reads it.
    """
    labels: list[str] = []
    others: list[str] = []
    own = _joined((name, header) for file in files for name, header in _headers(file).items() if name not in used)
    for name, header in own:
        looks_like_labels = LABEL_NAME.search(name) or header.shape[1:] == (classes,)
        (labels if looks_like_labels else others).append(_described(name, header))
    labels += [_described_file(file) for file in beside]
    facts = {}
    if labels:
        facts["labels_not_used"] = f"{_first(labels)}: brought along, used by no regime"
    if others:
        facts["also_not_used"] = _first(others)
    return facts


def _headers(file: SetFile) -> dict[str, ArrayHeader]:
    """Every array or column of the file; none for images and text."""
    return HEADERS[file.suffix](file) if file.suffix in HEADERS else {}


def _joined(listed: Listed) -> Listed:
    """Arrays of the same name, type and row shape are the shards of one."""
    rows: dict[tuple, int] = defaultdict(int)
    for name, header in listed:
        rows[name, header.dtype, header.shape[1:], len(header.shape)] += header.shape[0] if header.shape else 0
    return [
        (name, ArrayHeader(dtype, (count, *row_shape) if dimensions else ()))
        for (name, dtype, row_shape, dimensions), count in rows.items()
    ]


def _described_file(file: SetFile) -> str:
    listed = [_described(name, header) for name, header in _headers(file).items()]
    return f"file {printable(file.name)} ({', '.join(listed[:SHOWN]).strip() or f'{file.size:,} bytes'})"


def _described(name: str, header: ArrayHeader) -> str:
    """`soft_labels float32 [20, 10]`, cut short: all three parts are a stranger's words."""
    return printable(f"{printable(name)} {printable(header.dtype, 40)} {list(header.shape)}", MOST_CHARACTERS)


def _first(listed: list[str]) -> str:
    return ", ".join(listed[:SHOWN]) + (f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else "")
