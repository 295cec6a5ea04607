"""Images too large to be committed, made again from the training split and the provenance file beside the submission.

A submission that names `made/<slug>/<dataset>-ipc<N>/...` has these. No observer and no training is needed: the provenance says
which pieces of which images they consist of. Sets without one are made by their method, when that needs the split alone.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from harness import canonical
from harness.datasets import dataset_spec, load_split
from harness.datasets.base import Split
from harness.distill.method import DistilledSet
from harness.errors import SubmissionError, UsageError
from harness.intake.expected import expected_of
from harness.submissions import MADE, Submission
from harness.write_submission import provenance_name, write_safetensors


def remake(submission: Submission, draw: int, root: Path, data: Path | None) -> None:
    """Write the draw's images to the place the submission names, if they hash to its content_sha256. Raises SubmissionError."""
    expected_of(submission, dataset_spec(submission.dataset))  # sizes are bounded before anything is made
    source = submission.sets[draw]
    target = root / source.path
    if not target.parent.resolve().is_relative_to(root.resolve() / MADE):
        raise SubmissionError(
            "images would be made outside the project", where=f"{submission.relative_path}: draw {draw}",
            why=f"{target.parent} leads to {target.parent.resolve()}", fix="remove the symbolic link",
        )  # fmt: skip
    try:
        made = _made(submission, draw, root, load_split(submission.dataset, "train", data))
    except UsageError as error:
        where = f"{submission.relative_path}: draw {draw}"
        raise SubmissionError(error.what, where=where, why=error.why, fix=error.fix) from error
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        fresh = Path(scratch) / target.name
        write_safetensors(fresh, made)
        found = canonical.content_sha256(fresh.parent, [fresh.name])
        if found != source.content_sha256:
            raise SubmissionError(
                "the images that were made again are not those of the submission",
                where=f"{submission.relative_path}: draw {draw}",
                why=f"content_sha256 {found}, the file says {source.content_sha256}",
                fix="restore the submission and its provenance from version control",
            )
        fresh.replace(target)  # whole or not at all, also when two processes make it


def _made(submission: Submission, draw: int, root: Path, train: Split) -> DistilledSet:
    from harness.distill.method import Source
    from harness.distill.patches import Layout
    from harness.distill.provenance import made_again

    beside = root / Path(submission.relative_path).with_suffix("") / provenance_name(draw)
    declared = submission.images
    if beside.is_file():
        layout = Layout(submission.ipc, declared.resolution, declared.patch_shuffle)
        return made_again(beside.read_bytes(), train, layout, str(beside))
    from harness.distill.registry import DISTILLERS  # costs the import of torch

    distiller = DISTILLERS.get(submission.method)
    if distiller is None or distiller.needs:
        raise SubmissionError(
            "the images are not here and cannot be made again",
            where=str(root / submission.sets[draw].path),
            why=f"{beside} is missing",
            fix="restore it from version control",
        )
    return distiller.run(Source(train), submission.ipc, draw, **(submission.made_by.parameters if submission.made_by else {}))
