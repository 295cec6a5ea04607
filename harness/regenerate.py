"""Is a submission what its method writes? It is made again in a folder of its own, and what was written is compared.

Every data file byte by byte, and every key of the YAML but those that describe (`DESCRIPTIVE`): a title or an address that was
mended makes no other set. The digest of a submission, on which its records hang, leaves those out, too.
"""

from __future__ import annotations

import re
import shlex
import tempfile
from pathlib import Path
from typing import Any

from harness.canonical import file_sha256
from harness.coresets import SELECTORS
from harness.dynamics.artifact import folders, read_spec
from harness.dynamics.places import FOLDER, label_of, places
from harness.dynamics.spec import DynamicsSpec
from harness.errors import CheckFailed, EnvironmentProblem, HlbenchError, SubmissionError, UsageError
from harness.reference import FROM_SCORES, file_argument, make_coreset, make_distilled, make_from_scores, make_full
from harness.submissions import FULL_DATASET, MADE, Submission, check_place, read_submission

DESCRIPTIVE = ("title", "authors", "paper", "code", "licence", "contact", "notes")
LABEL = re.compile(r"[^/.][^/]*/[^/.][^/]*")  # of a recording; it becomes a path
OUTSIDE = re.compile(r"[^/]+/[^/]+")  # the same of a whole path, which has no '..' left
# Of `dynamics record`: they move rounding, and which arrays there are; both are settled by the hashes of those that were read.
NOT_THE_RUNS = re.compile(r" --(snapshots|teacher|device|threads) \S+")


def verify_submission(root: Path, path: Path, data: Path | None = None, scores: Path | None = None) -> str:
    """One sentence saying what was compared. `scores`: the file a from-scores submission was made from.

    Raises CheckFailed naming the first key or file that differs, EnvironmentProblem when the recording it was selected by is not
    here, UsageError for a submission that no method of this project wrote.
    """
    submission = read_submission(path)
    check_place(path, submission, root)
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "teachers").symlink_to(root / "teachers")
        made = _make_again(Path(scratch), root, submission, data, scores)
        if differing := first_difference(_compared(submission), _compared(made)):
            key, here, again = differing
            raise _differs(f"{path}: {key}", f"{_short(here)} here, {_short(again)} when it is made again")
        files = _files(Path(scratch), made)
        # Images that are not kept: their content_sha256 stands in the YAML, which is compared.
        absent = [name for name in files if name.startswith(f"{MADE}/") and not (root / name).is_file()]
        compared = [name for name in files if name not in absent]
        for name in compared:
            ours, again = root / name, Path(scratch) / name
            if not ours.is_file() or ours.read_bytes() != again.read_bytes():
                raise _differs(str(ours), "its bytes differ from those made again" if ours.is_file() else "it is missing")
    by_hash = f"; {len(absent)} image files that are not here, by their sha256" if absent else ""
    same = f"{len(compared)} files, every byte the same{by_hash}"
    return f"{submission.relative_path}: made again; {same}; its YAML in all but {', '.join(DESCRIPTIVE)}"


def _compared(submission: Submission) -> dict[str, Any]:
    """All keys that are held to what is made again.

    A recording is the one of these arrays wherever it lies, on whatever machine it was recorded: its path becomes its label, and
    of the command that records it the run remains.
    """
    keys = submission.model_dump(mode="json", exclude=set(DESCRIPTIVE))
    if made_by := keys["made_by"]:
        named = (_said(made_by["command"], "--dynamics") or [""])[-1]
        if Path(named).is_absolute():
            made_by["command"] = made_by["command"].replace(shlex.quote(named), shlex.quote(label_of(Path(named))))
        made_by["recorded_by"] = made_by["recorded_by"] and NOT_THE_RUNS.sub("", made_by["recorded_by"])
    return keys


def first_difference(here: dict[str, Any], again: dict[str, Any], above: str = "") -> tuple[str, Any, Any] | None:
    """(key, value here, value there) of the first key whose values differ, `made_by.version`; None where none does."""
    for key in [*here, *(key for key in again if key not in here)]:
        ours, theirs = here.get(key), again.get(key)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            if deeper := first_difference(ours, theirs, f"{above}{key}."):
                return deeper
        elif ours != theirs or type(ours) is not type(theirs):
            return f"{above}{key}", ours, theirs
    return None


def _make_again(scratch: Path, root: Path, submission: Submission, data: Path | None, scores: Path | None) -> Submission:
    method, common = submission.method, (submission.dataset, submission.ipc)
    made_by = submission.made_by
    parameters = dict(made_by.parameters) if made_by else {}
    if submission.kind == "full":
        return make_full(scratch, *common, data)
    if method == FROM_SCORES and made_by:
        _check_scores(scores, _only(made_by.inputs, "file of scores", submission))
        order, window = parameters.get("order"), parameters.get("window")
        if not isinstance(order, str) or not isinstance(window, int | float):
            raise _misfit(submission, "order and window are needed")
        authors = _said(made_by.command, "--author") or submission.authors
        return make_from_scores(scratch, scores, *common, order, float(window), submission.slug, authors, data)
    inputs = made_by.inputs if made_by else {}
    arrays = {name.rpartition("/")[2]: digest for name, digest in inputs.items() if name.startswith(f"{FOLDER}/")}
    dynamics = _recording(scratch, root, submission, arrays) if arrays else None
    said = _said(made_by.command, "--param") if made_by else []
    given = {"data": data, "slug": submission.slug, "dynamics": dynamics}
    given["parameters"] = dict(text.partition("=")[::2] for text in said)
    if submission.kind == "coreset" and method in SELECTORS:
        return make_coreset(scratch, method, *common, submission.draws, **given)
    if submission.kind == "distilled":
        observer = next((name.removeprefix("teachers/") for name in inputs if name.startswith("teachers/")), None)
        return make_distilled(scratch, method, *common, submission.draws, observer=observer, device="cpu", **given)
    raise UsageError(
        f"no method of this project wrote {submission.relative_path}", why=f"method {method}",
        fix=f"verify sets of: {', '.join([*SELECTORS, FULL_DATASET])}, or of `hlbench distill`",
    )  # fmt: skip


def _said(command: str, option: str) -> list[str]:
    """The values of an option on the command line; defaults are not repeated there."""
    try:
        words = shlex.split(command)
    except ValueError:  # a quotation without an end: it will differ from what is written again
        return []
    return [words[position + 1] for position, word in enumerate(words[:-1]) if word == option]


def _only(inputs: dict[str, str], what: str, submission: Submission) -> tuple[str, str]:
    """(name, sha256) of the one input. Raises SubmissionError when there are none or several."""
    if len(inputs) != 1:
        raise _misfit(submission, f"{len(inputs)} inputs in the place of one {what}")
    return next(iter(inputs.items()))


def _misfit(submission: Submission, why: str) -> SubmissionError:
    where = f"{submission.relative_path}: made_by"
    return SubmissionError("made_by does not say how to make the set again", where=where, why=why, fix="restore the file")


def _recording(scratch: Path, root: Path, submission: Submission, arrays: dict[str, str]) -> str:
    """A folder with a recording of these arrays (file name -> sha256), under the name that the command has for it.

    The one of that name, or else any other of project and cache is linked into `scratch`. Raises EnvironmentProblem when there is
    none, with the command that records it again.
    """
    named = (_said(submission.made_by.command, "--dynamics") or [""])[-1]
    outside = Path(named).is_absolute()
    label = label_of(Path(named)) if outside else named
    if not (OUTSIDE if outside else LABEL).fullmatch(label):
        raise _misfit(submission, "its command names no recording")
    here = list(folders(places(root)))
    of_that_name = [folder for folder in here if label_of(folder) == label]
    again = submission.made_by.recorded_by
    found = [
        (folder, spec)
        for folder in ([Path(named)] if outside else []) + of_that_name + here
        if (spec := _spec_of(folder)) and arrays.items() <= spec.files.items()
    ]
    if not found:
        place = f" --out {shlex.quote(named)}" if outside else ""
        raise EnvironmentProblem(
            "the recording this set was selected by is not here", where=named,
            why=f"no recording has {', '.join(f'{name} of sha256 {digest[:12]}' for name, digest in arrays.items())}; "
            "a processor that rounds otherwise gives another",
            fix=f"record it again: {again}{place}" if again else "record it again (hlbench dynamics record)",
        )  # fmt: skip
    link = scratch / FOLDER / label
    link.parent.mkdir(parents=True)
    link.symlink_to(found[0][0].resolve())
    return str(link)


def _spec_of(folder: Path) -> DynamicsSpec | None:
    try:
        return read_spec(folder)
    except HlbenchError:
        return None  # none there, or a damaged one


def _check_scores(scores: Path | None, wanted: tuple[str, str]) -> None:
    name, digest = wanted
    if scores is None or not scores.is_file() or scores.name != name or file_sha256(scores) != digest:
        raise UsageError(
            "the scores this set was selected by are needed", where=str(scores or name), why=f"sha256 {digest[:12]}",
            fix=f"name the file: hlbench select {FROM_SCORES} {file_argument(name)} --verify SUBMISSION",
        )  # fmt: skip


def _files(scratch: Path, made: Submission) -> list[str]:
    """Every file that was written beside the YAML, as paths from the project's root."""
    below = [scratch / Path(made.relative_path).with_suffix(""), scratch / MADE / made.slug]
    return sorted(path.relative_to(scratch).as_posix() for folder in below for path in folder.rglob("*") if path.is_file())


def _differs(where: str, why: str) -> CheckFailed:
    return CheckFailed(
        "the submission is not what its method writes", where=where, why=why,
        fix="restore it from version control; another machine's k-means or observer may also round otherwise",
    )  # fmt: skip


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 300 else f"{text[:297]}..."
