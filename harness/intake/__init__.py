"""Untrusted bytes to a checked `ImageSet`: the one place of the harness where files from strangers are decoded.

Order of the checks (anchors, section 8): names and sizes, magic bytes, headers, labels, and only then pixels; every cap follows
from the submission's own declaration (classes x IPC images of R x R pixels), so nothing is allocated on a file's word alone.
Pickle is never read. Never imports torch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.datasets.base import DatasetSpec, Split
from harness.imageset import ImageSet
from harness.intake.audit import audit
from harness.intake.coreset import read_coreset
from harness.intake.distilled import read_distilled
from harness.intake.files import find_files
from harness.intake.refuse import refuse_dangerous
from harness.submissions import Submission

__all__ = ["read_set"]


def read_set(
    fetched_root: Path, files: tuple[str, ...], submission: Submission, spec: DatasetSpec, load_train: Callable[[], Split]
) -> tuple[ImageSet, dict]:
    """The checked set of one draw, and audit facts about it (flat: numbers, strings, truth values).

    Args:
        fetched_root: folder the files lie in, fetched and hashed already.
        files: POSIX names relative to it.
        submission: says what the files are declared to be; `kind` decides whether they hold images or row numbers.
        spec: the dataset; its classes and resolution bound what is accepted.
        load_train: gives the training split a coreset's rows refer to; called only for coresets, after all cheap checks.

    Images are uint8 or float32 [N, 3, R, R], or EncodedImages where decoded ones would exceed 2 GiB; labels int64 [N];
    N = classes x IPC, exactly IPC of each class. The same images and labels in any format give the same ImageSet, whatever soft
    labels lie beside them: those are named in the audit facts and used nowhere.

    Raises SubmissionError naming file, row or class, the rule that was broken and what the author can do.
    """
    found = find_files(fetched_root, files)
    refuse_dangerous(found, submission.kind)
    if submission.kind == "coreset":
        image_set, of_files = read_coreset(found, submission, spec, load_train)
    else:
        image_set, of_files = read_distilled(found, submission, spec)
    return image_set, audit(image_set, found, of_files, submission.images)
