"""Is a submission what its method writes? It is made again in a folder of its own, and every file is compared byte by byte."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path

from harness.canonical import file_sha256
from harness.coresets import SELECTORS
from harness.dynamics.artifact import folders, read_spec
from harness.dynamics.places import places
from harness.errors import CheckFailed, EnvironmentProblem, HlbenchError, SubmissionError, UsageError
from harness.reference import FROM_SCORES, make_coreset, make_distilled, make_from_scores, make_full
from harness.submissions import FULL_DATASET, MADE, Submission, check_place, read_submission


def verify_submission(root: Path, path: Path, data: Path | None = None, scores: Path | None = None) -> str:
    """One sentence saying what was compared. `scores`: the file a from-scores submission was made from.

    Raises CheckFailed naming the first file that differs, EnvironmentProblem when the recording it was selected by is not here,
    UsageError for a submission that no method of this project wrote.
    """
    submission = read_submission(path)
    check_place(path, submission, root)
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "teachers").symlink_to(root / "teachers")
        made = _make_again(Path(scratch), root, submission, data, scores)
        files = [made.relative_path, *_files(Path(scratch), made)]
        # Images that are not kept: their content_sha256 stands in the YAML, which is compared.
        absent = [name for name in files if name.startswith(f"{MADE}/") and not (root / name).is_file()]
        compared = [name for name in files if name not in absent]
        for name in compared:
            ours, again = root / name, Path(scratch) / name
            if not ours.is_file() or ours.read_bytes() != again.read_bytes():
                raise CheckFailed(
                    "the submission is not what its method writes",
                    where=str(ours),
                    why="it is missing" if not ours.is_file() else "its bytes differ from those made again",
                    fix="restore it from version control; another machine's k-means or observer may also round otherwise",
                )
    by_hash = f"; {len(absent)} image files that are not here, by their sha256" if absent else ""
    return f"{submission.relative_path}: made again, {len(compared)} files, every byte the same{by_hash}"


def _make_again(scratch: Path, root: Path, submission: Submission, data: Path | None, scores: Path | None) -> Submission:
    method, common = submission.method, (submission.dataset, submission.ipc)
    made_by = submission.made_by
    parameters = dict(made_by.parameters) if made_by else {}
    slug = None if submission.slug == method else submission.slug
    if submission.kind == "full":
        return make_full(scratch, *common, data)
    if method == FROM_SCORES and made_by:
        _check_scores(scores, _only(made_by.inputs, "file of scores", submission))
        order, window = parameters.get("order"), parameters.get("window")
        if not isinstance(order, str) or not isinstance(window, int | float):
            raise _misfit(submission, "order and window are needed")
        return make_from_scores(scratch, scores, *common, order, float(window), submission.slug, data)
    inputs = made_by.inputs if made_by else {}
    recordings = {name: digest for name, digest in inputs.items() if name.startswith("dynamics/")}
    dynamics = _recording(root, _only(recordings, "recording", submission)) if recordings else None
    given = {"data": data, "slug": slug, "dynamics": dynamics, "parameters": _said(made_by.command) if made_by else {}}
    if submission.kind == "coreset" and method in SELECTORS:
        return make_coreset(scratch, method, *common, submission.draws, **given)
    if submission.kind == "distilled":
        observer = next((name.removeprefix("teachers/") for name in inputs if name.startswith("teachers/")), None)
        return make_distilled(scratch, method, *common, submission.draws, observer=observer, device="cpu", **given)
    raise UsageError(
        f"no method of this project wrote {submission.relative_path}", why=f"method {method}",
        fix=f"verify sets of: {', '.join([*SELECTORS, FULL_DATASET])}, or of `hlbench distill`",
    )  # fmt: skip


def _said(command: str) -> dict[str, str]:
    """The parameters that were given on the command line: defaults are not repeated there."""
    words = shlex.split(command)
    given = [words[position + 1] for position, word in enumerate(words[:-1]) if word == "--param"]
    return dict(text.partition("=")[::2] for text in given)


def _only(inputs: dict[str, str], what: str, submission: Submission) -> tuple[str, str]:
    """(name, sha256) of the one input. Raises SubmissionError when there are none or several."""
    if len(inputs) != 1:
        raise _misfit(submission, f"{len(inputs)} inputs in the place of one {what}")
    return next(iter(inputs.items()))


def _misfit(submission: Submission, why: str) -> SubmissionError:
    where = f"{submission.relative_path}: made_by"
    return SubmissionError("made_by does not say how to make the set again", where=where, why=why, fix="restore the file")


def _recording(root: Path, wanted: tuple[str, str]) -> str:
    """The folder of the recording with the sha256 that the submission names. Raises EnvironmentProblem when it is not here."""
    name, digest = wanted
    for folder in folders(places(root)):
        try:
            if read_spec(folder).sha256 == digest:
                return str(folder)
        except HlbenchError:
            continue  # a damaged recording is not the one
    raise EnvironmentProblem(
        "the recording this set was selected by is not here", where=name, why=f"sha256 {digest[:12]}",
        fix="record it again (hlbench dynamics record); `hlbench dynamics list` shows what is here",
    )  # fmt: skip


def _check_scores(scores: Path | None, wanted: tuple[str, str]) -> None:
    name, digest = wanted
    if scores is None or not scores.is_file() or scores.name != name or file_sha256(scores) != digest:
        raise UsageError(
            "the scores this set was selected by are needed", where=str(scores or name), why=f"sha256 {digest[:12]}",
            fix=f"name the file: hlbench select {FROM_SCORES} {name} --verify SUBMISSION",
        )  # fmt: skip


def _files(scratch: Path, made: Submission) -> list[str]:
    """Every file that was written beside the YAML, as paths from the project's root."""
    below = [scratch / Path(made.relative_path).with_suffix(""), scratch / MADE / made.slug]
    return sorted(path.relative_to(scratch).as_posix() for folder in below for path in folder.rglob("*") if path.is_file())
