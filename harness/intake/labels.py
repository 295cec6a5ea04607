"""Labels of a set: integers in range, classes x IPC of them, exactly IPC of every class."""

from __future__ import annotations

import numpy as np

from harness.errors import SubmissionError

SHOWN = 10  # classes or rows named in a message
# Which class a soft label means is the author's to say: learned ones need not peak at the class an image was made for.
HOW_TO_CLASSES = """hard labels (HL) need one integer class an image: store the one each image was made for, as int64 [N];
    where only soft labels or one-hot rows are left: numpy.argmax(soft_labels, axis=1).astype("int64")
    soft labels may stay under another name; no regime uses them"""


def check_count(found: int, classes: int, ipc: int, where: str, what: str = "images") -> None:
    """Raises SubmissionError unless there are exactly classes x IPC."""
    if found != classes * ipc:
        raise SubmissionError(
            f"{found:,} {what} instead of {classes * ipc:,}",
            where=where,
            why=f"the submission declares IPC {ipc}, and the dataset has {classes} classes",
            fix="give exactly IPC of every class, or mend ipc in the submission and its file name",
        )


def check_labels(labels: np.ndarray, classes: int, ipc: int, where: str) -> np.ndarray:
    """`labels` (int64 [N]) as they are.

    Raises SubmissionError naming the first rows outside 0..classes-1, or the classes that do not have exactly `ipc` rows.
    """
    outside = np.flatnonzero((labels < 0) | (labels >= classes))
    if outside.size:
        row = outside[0]
        one_based = labels.min() == 1 and labels.max() == classes
        raise SubmissionError(
            f"label {labels[row]} in row {row} is not a class",
            where=where,
            why=f"classes are 0 to {classes - 1}; {outside.size:,} row(s) lie outside",
            fix="count classes from 0: subtract 1 from every label" if one_based else "use the dataset's own label order",
        )
    check_count(len(labels), classes, ipc, where)
    check_balance(labels, classes, ipc, where)
    return labels


def check_balance(labels: np.ndarray, classes: int, ipc: int, where: str) -> None:
    """Raises SubmissionError listing the classes that do not have exactly `ipc` rows, with their counts."""
    counts = np.bincount(labels, minlength=classes)
    wrong = np.flatnonzero(counts != ipc)
    if wrong.size:
        listed = ", ".join(f"class {label} has {counts[label]}" for label in wrong[:SHOWN])
        raise SubmissionError(
            f"{wrong.size} of {classes} classes do not have exactly {ipc} images",
            where=where,
            why=listed + (" ..." if wrong.size > SHOWN else ""),
            fix="a set at IPC n holds exactly n images of every class",
        )
