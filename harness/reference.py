"""The reference submissions this project ships: made by which method, of what, written where. Same arguments, same bytes.

Every one says in `made_by` what it was made by and from, so that `regenerate.py` can make it again.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.canonical import file_sha256
from harness.coresets import SELECTORS, Selector, Source
from harness.coresets.cad import cad_scores
from harness.coresets.from_scores import select_from_scores
from harness.coresets.score_files import read_scores
from harness.datasets import load_split
from harness.datasets.base import Split
from harness.dynamics.artifact import Dynamics, open_dynamics
from harness.dynamics.describe import record_command, scored_by, windows_in_epochs
from harness.dynamics.places import find_folder, label_of, name_in_commands
from harness.errors import UsageError
from harness.submissions import FULL_DATASET, SLUG, Submission
from harness.window_account import METHOD as EL2N_BEST
from harness.window_account import account_beside, said_of
from harness.write_submission import write_coreset, write_distilled, write_full

if TYPE_CHECKING:
    from harness.distill import method as distillation
    from harness.distill.method import Distiller
    from harness.window_account import Account

FROM_SCORES = "from-scores"
DISTILLED = ("kmeans-centroids", "rded", "ca2d")  # as `harness.distill.registry` has them, which costs the import of torch
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
    account: Account | None = None,
) -> Submission:
    """Write `submissions/<slug>/<dataset>-ipc<N>.yaml` and one index a draw below `root`; same arguments, same bytes.

    `slug` None means the method's name. `dynamics`: a recording, as `find_folder` names it. `account`: of the search that found
    EL2N-Best's beta, which the notes tell of; None: the one beside the set, if it is the one that `parameters` name.

    Raises UsageError for an unknown method, dataset, recording or parameter, an IPC larger than the smallest class, an unfit
    slug, several draws of a method that has one, and when another submission lies there already.
    """
    if method not in SELECTORS:
        known = ", ".join([*SELECTORS, FROM_SCORES, FULL_DATASET])
        raise UsageError(f"no selector {method!r}", fix=f"choose one of: {known}")
    selector, folder = SELECTORS[method], submission_folder(root, method, slug)
    settled = selector.settle(parameters or {})
    check_draws(selector, draws)
    train = load_split(dataset, "train", data)
    recording = open_recording(root, selector, train, dynamics)
    rows = [selector.run(Source(train, recording), ipc, draw, **settled) for draw in range(draws)]
    used = selector.used(Source(train, recording), settled)
    if account is None and method == EL2N_BEST:
        account = account_beside(folder / f"{dataset}-ipc{ipc}", used["searched"])
    notes = _notes(selector, recording, ipc, used) + (f" {said_of(account)}" if account else "")
    command = f"hlbench select {_given(method, dataset, ipc, draws, slug, parameters or {})}"
    made_by = _made_by(root, command, selector.version, train, used, {}, recording, selector.files(used))
    header = _header(method, selector.title, notes, "CC0-1.0")
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

    Raises UsageError for a file that does not fit the split, and for its name or an author's that no submission can hold.
    """
    folder = submission_folder(root, FROM_SCORES, slug)
    _check_names(scores, authors)
    train = load_split(dataset, "train", data)
    rows = select_from_scores(read_scores(scores, train.labels), train.labels, ipc, order, window)
    notes = f"The {order} scores of each class{f', after the first {window:g} of it' if window else ''}, from a file of scores."
    header = _header(FROM_SCORES, f"From scores: {slug}", notes, "CC0-1.0", authors)
    options = f"--dataset {dataset} --ipc {ipc} --order {order} --window {_shortest(window)}"
    command = f"hlbench select {FROM_SCORES} {file_argument(scores.name)} {options} --slug {slug}"
    command += "".join(f" --author {shlex.quote(author)}" for author in authors)
    inputs = {scores.name: file_sha256(scores)}
    made_by = _made_by(root, command, FROM_SCORES_VERSION, train, {"order": order, "window": window}, inputs)
    return write_coreset(folder, header, train, ipc, [rows], made_by)


def make_full(root: Path, dataset: str, ipc: int, data: Path | None = None) -> Submission:
    """As `make_coreset`, of the full dataset, which has no files of its own."""
    notes = "The whole training split, seen for as many images as a set of this IPC. A yardstick, in no rank and no test."
    header = _header(FULL_DATASET, "Full dataset", notes, "CC0-1.0")
    train = load_split(dataset, "train", data)
    made_by = _made_by(root, f"hlbench select {FULL_DATASET} --dataset {dataset} --ipc {ipc}", FULL_VERSION, train, {}, {})
    return write_full(submission_folder(root, FULL_DATASET, None), header, train, ipc, made_by)


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
    distiller, folder = DISTILLERS[method], submission_folder(root, method, slug)
    settled = distiller.settle(parameters or {})
    for option, given, need in (("--observer", observer, "observer"), ("--dynamics", dynamics, "cad")):
        if given is not None and need not in distiller.needs:
            raise UsageError(f"{method} uses no {option}", where=option, fix="leave it out")
    train = load_split(dataset, "train", data)
    judge = load_observer(root, dataset, len(train), observer, device) if "observer" in distiller.needs else None
    scorer = SELECTORS["cad-prune"] if "cad" in distiller.needs else None
    recording = open_recording(root, scorer, train, dynamics) if scorer else None
    scored = scorer.used(Source(train, recording), {}) if scorer else {}
    cad = cad_scores(recording.el2n, **scored) if scorer else None
    source = distillation.Source(train, judge, cad, on_class, recall)
    made = [distiller.run(source, ipc, draw, **settled) for draw in range(draws)]
    used = {**_used_in_distilling(settled, source, ipc, made[0].patch_shuffle), **scored}
    inputs = {f"teachers/{judge.teacher}": judge.sha256} if judge else {}
    command = f"hlbench distill {_given(method, dataset, ipc, draws, slug, parameters or {})}"
    command += f" --observer {judge.teacher}" if judge else ""
    header = _header(method, distiller.title, _notes(distiller, recording, ipc, used), "CC-BY-4.0")
    made_by = _made_by(root, command, distiller.version, train, used, inputs, recording, scorer.files(scored) if scorer else ())
    return write_distilled(folder, header, train, ipc, made, made_by)


def _used_in_distilling(settled: Parameters, source: distillation.Source, ipc: int, factor: int) -> dict:
    """`settled`, and in the place of a None the value that it stands for: RDED's factor, CA2D's pool."""
    from harness.distill.ca2d import default_pool
    from harness.distill.rded import layout_for

    used = dict(settled)
    if "factor" in used:
        used["factor"] = factor
    if "pool" in used and used["pool"] is None:
        used["pool"] = default_pool(int(np.bincount(source.split.labels).min()), layout_for(source, ipc, factor))
    return used


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
    read: Sequence[str] = (),
) -> dict:
    """As `submissions.MadeBy` has it. `command`: still without the recording. `read`: its files that were read."""
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
        made_by["inputs"] |= {f"dynamics/{label_of(recording.folder)}/{name}": spec.files[name] for name in read}
        made_by["protocol"] = f"{spec.protocol} sha256:{spec.protocol_sha256}"
        made_by["recorded_by"] = record_command(spec)
    return made_by


def _notes(method: Selector | Distiller, recording: Dynamics | None, ipc: int, used: Parameters) -> str:
    if recording is None:
        return method.notes
    notes = f"{method.notes} {scored_by(recording.spec, ipc)}"
    # Dyn-Unc and DUAL, whose papers count windows in epochs.
    windowed = isinstance(method, Selector) and "true_probability" in method.reads
    return f"{notes} {windows_in_epochs(recording.spec, used['J'], used.get('T'))}" if windowed else notes


def file_argument(name: str) -> str:
    """A file of the current folder on a command line, where a name that begins with '-' would be an option."""
    return shlex.quote(f"./{name}" if name.startswith("-") else name)


def _check_names(scores: Path, authors: Sequence[str]) -> None:
    if not (scores.name.isascii() and scores.name.isprintable()):
        raise UsageError(
            "the score file has a name that a submission cannot hold", where=repr(scores.name),
            why="the submission names it, and the command, in plain letters (ASCII)", fix="rename it, for example scores.npy",
        )  # fmt: skip
    if odd := [author for author in authors if not author.isprintable()]:
        raise UsageError(
            "an author has a name that a submission's command cannot hold", where=repr(odd[0]),
            why="it is one line, without characters that cannot be seen",
            fix="leave them out; the authors of the submission file may be mended afterwards",
        )  # fmt: skip


def _given(method: str, dataset: str, ipc: int, draws: int, slug: str | None, parameters: Parameters) -> str:
    """The arguments that both verbs share, as a command line; a slug only where it is not the method's name."""
    options = [f"--slug {slug}"] if slug not in (None, method) else []
    options += [f"--param {shlex.quote(f'{name}={value}')}" for name, value in parameters.items()]
    return " ".join([f"{method} --dataset {dataset} --ipc {ipc} --draws {draws}", *options])


def submission_folder(root: Path, method: str, slug: str | None) -> Path:
    """Of a set that `method` makes; `slug` None means its name. Raises UsageError for a slug that is none, or another's name."""
    slug = method if slug is None else slug
    if not SLUG.fullmatch(slug):
        raise UsageError(f"{slug!r} is not a slug", where="--slug", fix="use 1 to 64 of a-z, 0-9 and '-'")
    if slug != method and slug in (*SELECTORS, *DISTILLED, FROM_SCORES, FULL_DATASET):
        raise UsageError(
            f"{slug} is the name of another method of this project", where="--slug",
            why=f"boards would show a set of {method} as its", fix="choose another slug, for example with your name in it",
        )  # fmt: skip
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
