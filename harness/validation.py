"""Check a submission before anything is trained: its file, the listing of its sets, and (on request) the sets themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import canonical
from harness.errors import HlbenchError, SubmissionError, UsageError
from harness.set_files import Limits, check_listing, list_folder
from harness.submissions import SetSource, Submission, check_place, read_submission

if TYPE_CHECKING:
    from harness.imageset import ImageSet


@dataclass
class Findings:
    """`checks`: one row per check of a file. `audits`: facts about each fetched draw. `errors`: in the order they were met."""

    checks: list[dict[str, Any]] = field(default_factory=list)
    audits: list[dict[str, Any]] = field(default_factory=list)
    errors: list[HlbenchError] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 when all is well; 1 when a submission breaks a rule; 3 when only the machine or the network is at fault."""
        return min((error.exit_code for error in self.errors), default=0)


def validate(paths: list[Path], root: Path, fetch: bool, offline: bool, data: Path | None) -> Findings:
    """Every check of every file; a broken file does not keep the others from being checked."""
    findings = Findings()
    for path in paths:
        try:
            for check, detail in _checks(path, root, fetch, offline, data, findings.audits):
                findings.checks.append({"submission": str(path), "check": check, "result": "ok", "detail": detail})
        except HlbenchError as error:
            findings.errors.append(error)
            findings.checks.append({"submission": str(path), "check": "stopped", "result": "FAILED", "detail": error.what})
    return findings


def local_content_sha256(paths: list[Path], root: Path | None = None) -> str:
    """content_sha256 (64 hex digits) of files and folders, as an author writes it.

    File names count from `root`, the folder that is (or will be) the Hub repo. Without it, a lone file counts by its name and a
    lone folder's files from that folder, as for a set inside this project. Raises SubmissionError for refused files.
    """
    if root is None and len(paths) > 1:
        raise UsageError("several paths need --root", fix="name the folder that will be the Hub repo: --root DIR")
    names = []
    for path in paths:
        if not path.exists():
            raise SubmissionError("there is nothing to hash", where=str(path), fix="name a file or folder that exists")
        listing = list_folder(path, str(path))
        check_listing(listing, Limits())
        base = path if path.is_dir() else path.parent
        if root is not None and not base.resolve().is_relative_to(root.resolve()):
            raise UsageError("the path lies outside --root", where=str(path))
        prefix = "" if root is None else base.resolve().relative_to(root.resolve())
        names += [(Path(prefix) / name).as_posix() for name in listing.names]
        root_of_names = base if root is None else root
    return canonical.content_sha256(root_of_names, names)


def _checks(
    path: Path, root: Path, fetch: bool, offline: bool, data: Path | None, audits: list[dict]
) -> Iterator[tuple[str, str]]:
    """(check, detail) of each check passed. Raises HlbenchError at the first that is not."""
    submission = read_submission(path)
    yield "schema", f"{submission.kind}, {submission.dataset}, IPC {submission.ipc}, {submission.draws} draws"
    check_place(path, submission, root)
    yield "place", submission.relative_path
    yield "dataset", _known_dataset(submission)
    if fetch and submission.kind == "full":
        _load(submission, 0, root, data)
        yield "training split", f"its fingerprint is {submission.split_fingerprint[:12]}, as the file says"
    for draw, source in enumerate(submission.sets):
        if fetch and source.is_missing(root):
            from harness.remake import remake  # costs the import of numpy

            remake(submission, draw, root, data)
        yield f"draw {draw}", _check_source(source, root, fetch, offline)
        if fetch:
            _, facts = _load(submission, draw, root, data)
            audits.append({"submission": submission.relative_path, "draw": draw, **facts})
            yield f"draw {draw} images", f"{facts['images']} images, {facts['duplicate_images']} duplicates"
            if "labels_not_used" in facts:
                yield f"draw {draw} labels", facts["labels_not_used"]


def _known_dataset(submission: Submission) -> str:
    from harness.datasets import dataset_spec

    try:
        spec = dataset_spec(submission.dataset)
    except UsageError as error:
        raise SubmissionError(error.what, where=f"{submission.relative_path}: dataset", fix=error.fix) from error
    if submission.kind == "full":
        return f"{spec.classes} classes, {spec.train_rows:,} training images"
    return f"{spec.classes} classes, so {spec.classes * submission.ipc} images a draw"


def _check_source(source: SetSource, root: Path, fetch: bool, offline: bool) -> str:
    """On the Hub: the listing alone, or with `fetch` the bytes. Inside the project: the bytes, which cost nothing to hash."""
    from harness.hub import fetch_set, list_set

    if source.is_missing(root):
        return f"{source.described}: not here; `hlbench run` makes it again and verifies it"
    if source.on_hub and not fetch:
        if offline:
            return f"{source.described}: not looked at (--offline)"
        listing = list_set(source, root)
        return f"{source.described}: {len(listing.files)} files, {listing.bytes:,} bytes listed"
    fetched = fetch_set(source, root)
    return f"{source.described}: {len(fetched.files)} files, {fetched.bytes:,} bytes, content_sha256 agrees"


def _load(submission: Submission, draw: int, root: Path, data: Path | None) -> tuple[ImageSet, dict[str, Any]]:
    from harness.work import Machine, load_set

    return load_set(submission, draw, Machine(root, data))
