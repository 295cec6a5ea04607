"""Image folders `<class>/<name>.png`: which class each folder is.

Folders sorted as text put 10 before 2, which silently permutes the labels of published sets (methods I.6); numbers are compared
as numbers here, names are looked up, and anything else is refused.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import PurePosixPath

import numpy as np

from harness.errors import SubmissionError
from harness.imageset import EncodedImages
from harness.intake.expected import Expected
from harness.intake.files import SetFile
from harness.intake.images import decode_set
from harness.intake.labels import SHOWN, check_count, check_labels
from harness.intake.limits import most_encoded_bytes

# 0, 00000 (RDED, FADRM), new000 (SRe2L).
NUMBERED = re.compile(r"(?:new)?([0-9]{1,9})")


def read_folder_set(files: list[SetFile], expected: Expected) -> tuple[np.ndarray | EncodedImages, np.ndarray]:
    """Images (uint8 [N, 3, R, R] or EncodedImages) and labels int64 [N], sorted by class and then by name.

    Raises SubmissionError for folders that are not classes, wrong counts, and images that cannot be used.
    """
    folders = {file.name: _class_folder(file) for file in files}
    _check_one_tree(files)
    label_of = class_labels(sorted(set(folders.values())), expected)
    ordered = sorted(files, key=lambda file: (label_of[folders[file.name]], file.name))
    check_count(len(ordered), expected.classes, expected.ipc, _tree(files[0]))
    labels = np.array([label_of[folders[file.name]] for file in ordered], np.int64)
    check_labels(labels, expected.classes, expected.ipc, _tree(files[0]))
    most = most_encoded_bytes(expected.resolution)

    def read(row: int) -> bytes:
        with ordered[row].path.open("rb") as opened:
            return opened.read(most + 1)  # one byte more than accepted is enough to be refused

    return decode_set(EncodedImages(len(ordered), read), lambda row: ordered[row].name, expected), labels


def class_labels(folders: list[str], expected: Expected) -> dict[str, int]:
    """Folder name to class index: all names are whole numbers 0..classes-1, or all are the dataset's class names.

    Raises SubmissionError saying which names are neither, repeat a number, or lie outside the range.
    """
    matches = [NUMBERED.fullmatch(folder) for folder in folders]
    if all(matches):
        return _numbered({folder: int(match[1]) for folder, match in zip(folders, matches, strict=True)}, expected)
    names = {name: label for label, name in enumerate(expected.class_names)}
    if unknown := [folder for folder in folders if folder not in names]:
        known = f", or all are class names such as {', '.join(expected.class_names[:3])}" if names else ""
        raise SubmissionError(
            f"class folders not understood: {', '.join(map(repr, unknown[:SHOWN]))}",
            where=unknown[0],
            why=f"either all folders are numbers 0 to {expected.classes - 1} (also 00000 or new000){known}",
            fix="rename the folders to the dataset's label numbers",
        )
    return {folder: names[folder] for folder in folders}


def _numbered(label_of: dict[str, int], expected: Expected) -> dict[str, int]:
    numbers = sorted(label_of.values())
    if repeated := {first for first, second in pairwise(numbers) if first == second}:
        same = [folder for folder, label in label_of.items() if label in repeated]
        raise SubmissionError(
            "several folders are the same class", where=", ".join(same[:SHOWN]), why=f"all mean class {label_of[same[0]]}",
            fix="keep one folder a class",
        )  # fmt: skip
    if outside := [folder for folder, label in label_of.items() if label >= expected.classes]:
        raise SubmissionError(
            f"folder {outside[0]!r} is not a class",
            where=outside[0],
            why=f"classes are numbered 0 to {expected.classes - 1}",
            fix="count classes from 0" if numbers[0] == 1 else "use the dataset's own label order",
        )
    return label_of


def _class_folder(file: SetFile) -> str:
    folder = PurePosixPath(file.name).parent.name
    if not folder:
        raise SubmissionError(
            "image lies in no class folder", where=file.name, why="an image set is <class>/<name>.png",
            fix="put every image into the folder of its class",
        )  # fmt: skip
    return folder


def _tree(file: SetFile) -> str:
    return PurePosixPath(file.name).parent.parent.as_posix()


def _check_one_tree(files: list[SetFile]) -> None:
    """`train/0/a.png` and `val/0/a.png` would fall into one class."""
    if other := [file for file in files if _tree(file) != _tree(files[0])]:
        raise SubmissionError(
            "class folders lie in different places",
            where=f"{files[0].name} and {other[0].name}",
            why="all class folders of a set lie side by side",
            fix="name one folder of class folders in `files`",
        )
