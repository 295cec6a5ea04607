"""The reference submissions this project ships: made by which method, of what, written where. Same arguments, same bytes.

Every one says in `made_by` what it was made by and from, so that `regenerate.py` can make it again.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness.canonical import file_sha256
from harness.coresets import SELECTORS, Selector, Source
from harness.coresets.from_scores import select_from_scores
from harness.coresets.score_files import read_scores
from harness.datasets import load_split
from harness.datasets.base import Split
from harness.dynamics.artifact import Dynamics, open_dynamics
from harness.dynamics.describe import record_command, scored_by
from harness.dynamics.places import find_folder, label_of, name_in_commands
from harness.errors import UsageError
from harness.submissions import FULL_DATASET, SLUG, Submission
from harness.write_submission import write_coreset, write_distilled, write_full

FROM_SCORES = "from-scores"
FROM_SCORES_VERSION, FULL_VERSION = 1, 1  # as `Selector.version`
MAINTAINERS = ("hlbench maintainers",)

Parameters = Mapping[str, float | int | str | None]


def make_coreset(
    root: Path,
    method: str,
    dataset: str,
    ipc: int,
    draws: int = 1,
    data: Path | None = None,
    slug: str | None = None,
    dynamics: str | None = None,
    parameters: Parameters | None = None,
) -> Submission:
    """Write `submissions/<slug>/<dataset>-ipc<N>.yaml` and one index a draw below `root`; same arguments, same bytes.

    `slug` None means the method's name. `dynamics`: a recording, as `find_folder` names it. Raises UsageError for an unknown
    method, dataset, recording or parameter, an IPC larger than the smallest class, an unfit slug, several draws of a method that
    has one, and when another submission lies there already.
    """
    if method not in SELECTORS:
        known = ", ".join([*SELECTORS, FROM_SCORES, FULL_DATASET])
        raise UsageError(f"no selector {method!r}", fix=f"choose one of: {known}")
    selector, folder = SELECTORS[method], submission_folder(root, method if slug is None else slug)
    settled = selector.settle(parameters or {})
    check_draws(selector, draws)
    train = load_split(dataset, "train", data)
    recording = open_recording(root, selector, train, dynamics)
    rows = [selector.run(Source(train, recording), ipc, draw, **settled) for draw in range(draws)]
    header = _header(method, selector.title, _notes(selector.notes, recording, ipc), "CC0-1.0")
    command = f"hlbench select {_given(method, dataset, ipc, draws, slug, parameters or {})}"
    made_by = _made_by(root, command, selector.version, train, settled, {}, recording)
    return write_coreset(folder, header, train, ipc, rows, made_by)


def _shortest(number: float) -> str:
    """As few digits as read back as the same number."""
    return f"{number:g}" if float(f"{number:g}") == number else repr(number)


def make_from_scores(
    root: Path,
    scores: Path,
    dataset: str,
    ipc: int,
    order: str,
    window: float,
    slug: str,
    authors: Sequence[str],
    data: Path | None = None,
) -> Submission:
    """As `make_coreset`, from a file of one score a training row, submitted by `authors`.

    Raises UsageError for a file that does not fit the split, or whose name no submission can hold.
    """
    folder = submission_folder(root, slug)
    _check_name(scores)
    train = load_split(dataset, "train", data)
    rows = select_from_scores(read_scores(scores, train.labels), train.labels, ipc, order, window)
    notes = f"The {order} scores of each class{f', after the first {window:g} of it' if window else ''}, from a file of scores."
    header = _header(FROM_SCORES, f"From scores: {slug}", notes, "CC0-1.0", authors)
    options = f"--dataset {dataset} --ipc {ipc} --order {order} --window {_shortest(window)}"
    command = f"hlbench select {FROM_SCORES} {shlex.quote(scores.name)} {options} --slug {slug}"
    inputs = {scores.name: file_sha256(scores)}
    made_by = _made_by(root, command, FROM_SCORES_VERSION, train, {"order": order, "window": window}, inputs)
    return write_coreset(folder, header, train, ipc, [rows], made_by)


def make_full(root: Path, dataset: str, ipc: int, data: Path | None = None) -> Submission:
    """As `make_coreset`, of the full dataset, which has no files of its own."""
    notes = "The whole training split, seen for as many images as a set of this IPC. A yardstick, in no rank and no test."
    header = _header(FULL_DATASET, "Full dataset", notes, "CC0-1.0")
    train = load_split(dataset, "train", data)
    made_by = _made_by(root, f"hlbench select {FULL_DATASET} --dataset {dataset} --ipc {ipc}", FULL_VERSION, train, {}, {})
    return write_full(submission_folder(root, FULL_DATASET), header, train, ipc, made_by)


def make_distilled(
    root: Path,
    method: str,
    dataset: str,
    ipc: int,
    draws: int = 1,
    data: Path | None = None,
    slug: str | None = None,
    dynamics: str | None = None,
    parameters: Mapping[str, int | str | None] | None = None,
    observer: str | None = None,
    device: str = "cpu",
    on_class: Callable[[int, int], None] | None = None,
    recall: bool = False,
) -> Submission:
    """As `make_coreset`, of a distilled set.

    `observer`: a teacher's id, None for the one this project pins. `dynamics`: the recording whose CAD scores CA2D selects by.
    `on_class`: told (classes done, classes) of each draw. `recall`: go on where an interrupted call of it stopped.
    """
    from harness.distill import method as distillation  # costs the import of torch
    from harness.distill.observer import load_observer
    from harness.distill.registry import DISTILLERS

    if method not in DISTILLERS:
        raise UsageError(f"no distillation method {method!r}", fix=f"choose one of: {', '.join(DISTILLERS)}")
    distiller, folder = DISTILLERS[method], submission_folder(root, method if slug is None else slug)
    settled = distiller.settle(parameters or {})
    for option, given, need in (("--observer", observer, "observer"), ("--dynamics", dynamics, "cad")):
        if given is not None and need not in distiller.needs:
            raise UsageError(f"{method} uses no {option}", where=option, fix="leave it out")
    train = load_split(dataset, "train", data)
    judge = load_observer(root, dataset, len(train), observer, device) if "observer" in distiller.needs else None
    recording = open_recording(root, SELECTORS["cad-prune"], train, dynamics) if "cad" in distiller.needs else None
    source = distillation.Source(train, judge, _cad(recording), on_class, recall)
    made = [distiller.run(source, ipc, draw, **settled) for draw in range(draws)]
    inputs = {f"teachers/{judge.teacher}": judge.sha256} if judge else {}
    command = f"hlbench distill {_given(method, dataset, ipc, draws, slug, parameters or {})}"
    command += f" --observer {judge.teacher}" if judge else ""
    header = _header(method, distiller.title, _notes(distiller.notes, recording, ipc), "CC-BY-4.0")
    made_by = _made_by(root, command, distiller.version, train, settled, inputs, recording)
    return write_distilled(folder, header, train, ipc, made, made_by)


def _cad(recording: Dynamics | None):
    from harness.coresets.cad import cad_scores

    return None if recording is None else cad_scores(recording.el2n)


def check_draws(selector: Selector, draws: int) -> None:
    """Raises UsageError for several draws of a method in which nothing is random."""
    if draws > 1 and not selector.randomised:
        raise UsageError(f"{selector.name} has one draw", why="nothing in it is random", fix="leave --draws at 1")


def open_recording(root: Path, selector: Selector, train: Split, named: str | None) -> Dynamics | None:
    """The recording named, checked against the split; None where the selector needs none."""
    if selector.needs != "dynamics":
        if named is not None:
            raise UsageError(f"{selector.name} needs no dynamics", where="--dynamics", fix="leave it out")
        return None
    if named is None:
        raise UsageError(
            f"{selector.name} selects by the dynamics of a training run", where="--dynamics",
            fix="name one of `hlbench dynamics list`, or record one: hlbench dynamics record",
        )  # fmt: skip
    return open_dynamics(find_folder(root, named), train.labels, train.fingerprint)


def _made_by(
    root: Path,
    command: str,
    version: int,
    train: Split,
    parameters: Parameters,
    inputs: Mapping[str, str],
    recording: Dynamics | None = None,
) -> dict:
    """As `submissions.MadeBy` has it. `command`: still without the recording."""
    made_by = {
        "command": command,
        "version": version,
        "split_fingerprint": train.fingerprint,
        "parameters": dict(parameters),
        "inputs": dict(inputs),
    }
    if recording is not None:
        spec = recording.spec
        made_by["command"] += f" --dynamics {shlex.quote(name_in_commands(root, recording.folder))}"
        made_by["inputs"][f"dynamics/{label_of(recording.folder)}"] = recording.sha256
        made_by["protocol"] = f"{spec.protocol} sha256:{spec.protocol_sha256}"
        made_by["recorded_by"] = record_command(spec)
    return made_by


def _notes(notes: str, recording: Dynamics | None, ipc: int) -> str:
    return notes if recording is None else f"{notes} {scored_by(recording.spec, ipc)}"


def _check_name(scores: Path) -> None:
    if not (scores.name.isascii() and scores.name.isprintable()):
        raise UsageError(
            "the score file has a name that a submission cannot hold", where=repr(scores.name),
            why="the submission names it, and the command, in plain letters (ASCII)", fix="rename it, for example scores.npy",
        )  # fmt: skip


def _given(method: str, dataset: str, ipc: int, draws: int, slug: str | None, parameters: Parameters) -> str:
    """The arguments that both verbs share, as a command line; a slug only where it is not the method's name."""
    options = [f"--slug {slug}"] if slug not in (None, method) else []
    options += [f"--param {shlex.quote(f'{name}={value}')}" for name, value in parameters.items()]
    return " ".join([f"{method} --dataset {dataset} --ipc {ipc} --draws {draws}", *options])


def submission_folder(root: Path, slug: str) -> Path:
    if not SLUG.fullmatch(slug):
        raise UsageError(f"{slug!r} is not a slug", where="--slug", fix="use 1 to 64 of a-z, 0-9 and '-'")
    return root / "submissions" / slug


def _header(method: str, title: str, notes: str, licence: str, authors: Sequence[str] = MAINTAINERS) -> dict:
    return {
        "title": title,
        "authors": list(authors),
        "licence": licence,
        "contact": "open an issue in this repository",
        "notes": notes,
        "method": method,
    }
