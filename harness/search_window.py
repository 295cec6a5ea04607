"""EL2N-Best's search: students of every window, measured on rows held out of the training split, and the account of it.

No function here takes the test split, and the one split that is loaded is `train`: the window cannot be chosen on test images.
What a student reached is written down at once in this user's cache, so a search that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from harness import canonical
from harness.coresets import SELECTORS
from harness.coresets.el2n_best import STEP, STEPS, choose_window, hold_out, window_grid
from harness.datasets import load_split
from harness.datasets.base import Split
from harness.dynamics.places import label_of
from harness.environment import package_version
from harness.errors import ProtocolError, UsageError
from harness.freeze import read_lock
from harness.imageset import EncodedImages, ImageSet
from harness.paths import cache_root
from harness.protocols import Protocol, find_protocol
from harness.reference import check_draws, make_coreset, open_recording, submission_folder
from harness.reports import readable_seconds
from harness.submissions import Submission
from harness.whole_files import write_in_one_step
from harness.window_account import METHOD, Account, MeasuredWindow, Question, account_path

if TYPE_CHECKING:
    from harness.training.evaluate_set import Outcome

SEEDS = 3  # students a window; SelMatch's code takes 5
TrainStudent = Callable[[Protocol, int, ImageSet, Split, int, str], "Outcome"]  # as `train_and_evaluate`
Measure = Callable[[ImageSet, Split, int], float]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Students:
    """Who is trained on every window. `protocol` None: the dataset's newest frozen one of `student` under hard labels.

    `seeds` None: the first three that the protocol does not list, so that no window is chosen by the very students it will be
    measured with. `device`: auto, cpu, cuda or cuda:<i>. `step`: how far windows begin apart, one of `STEPS`; a finer search
    remembers the students of a coarser one.
    """

    protocol: str | None = None
    student: str = "resnet18"
    seeds: tuple[int, ...] | None = None
    device: str = "auto"
    step: float = STEP


def make_best(
    root: Path,
    dataset: str,
    ipc: int,
    draws: int = 1,
    data: Path | None = None,
    slug: str | None = None,
    dynamics: str | None = None,
    parameters: Mapping[str, float | int | str | None] | None = None,
    students: Students | None = None,
    say: Say = print,
    train_student: TrainStudent | None = None,
) -> Submission:
    """As `reference.make_coreset` with the beta that a search finds; its account lies beside the draw as `window-search.json`.

    The submission names the account's sha256 as the parameter `searched` and beta as any other, so that making it again trains
    nothing. `say`: told one line a student. `train_student`: `train_and_evaluate`, or another in tests.

    Raises what `make_coreset` raises, UsageError for protocols and seeds that do not fit, ProtocolError for one that is not as it
    was frozen, and UsageError when a student diverges.
    """
    from harness.training.evaluate_set import train_and_evaluate  # costs the import of torch
    from harness.work import Machine, prepare_torch

    students, selector = students or Students(), SELECTORS[METHOD]
    _check_step(students.step)
    settled = selector.settle(parameters or {})
    check_draws(selector, draws)
    submission_folder(root, METHOD, slug)
    protocol = hard_label_protocol(root, dataset, students)
    seeds = search_seeds(protocol, students.seeds)
    train = load_split(dataset, "train", data)
    recording = open_recording(root, selector, train, dynamics)
    device = prepare_torch(Machine(root, data, students.device)).device
    question = Question(
        dataset=dataset, ipc=ipc, split_fingerprint=train.fingerprint,
        recording=label_of(recording.folder), el2n_sha256=recording.spec.files["el2n.npy"],
        held_out=settled["held_out"], held_out_seed=settled["held_out_seed"],
        protocol=protocol.id, protocol_sha256=protocol.sha256,
        device=device.partition(":")[0], torch=package_version("torch"),
    )  # fmt: skip
    top1 = _last_epoch_of(protocol, ipc, device, train_student or train_and_evaluate)
    account = find_window(question, train, recording.el2n, seeds, top1, say, students.step)
    found = {"beta": f"{account.chosen:g}", "searched": account.sha256}
    made = make_coreset(root, METHOD, dataset, ipc, draws, data, slug, dynamics, {**(parameters or {}), **found}, account)
    write_in_one_step(account_path(root, made), account.contents)
    return made


def _last_epoch_of(protocol: Protocol, ipc: int, device: str, train_student: TrainStudent) -> Measure:
    def top1(image_set: ImageSet, held_out: Split, seed: int) -> float:
        outcome = train_student(protocol, ipc, image_set, held_out, seed, device)
        if outcome.result is None:
            raise UsageError(
                f"a student of the search diverged, seed {seed}", where=protocol.id,
                why="a window without a student cannot be compared", fix="choose another --protocol or other --search-seeds",
            )  # fmt: skip
        return outcome.result.top1

    return top1


def find_window(
    question: Question,
    train: Split,
    scores: np.ndarray,
    seeds: tuple[int, ...],
    top1: Measure,
    say: Say = print,
    step: float = STEP,
) -> Account:
    """The account of a search: every window of the grid, one student a seed, the best mean (ties: the smallest beta).

    Args:
        question: what is searched for; `train` is its training split, never the test split.
        scores: float32 [snapshots, N], EL2N of the rows of `train`.
        top1: (images of a window, held-out rows as a split, seed) -> percent of them right at the last epoch; asked once a
            student, and not for those that the cache remembers.
        step: share of a class by which each window begins after the one before.

    Raises UsageError when `train` is no training split, and what `hold_out` and `choose_window` raise.
    """
    if train.name != "train":
        raise UsageError("a window is chosen on the training split", why=f"given: {train.name}", fix="give the training split")
    candidates, held = hold_out(train.labels, question.held_out, question.held_out_seed)
    held_out = Split(train.dataset, "train", _images(train, held), train.labels[held], train.fingerprint)
    grid = window_grid(train.labels[candidates], question.ipc, step)
    memory, windows = Memory(question), []
    pace = _Pace(len(grid) * len(seeds), say)

    def mean_top1(rows: np.ndarray) -> float:
        """`choose_window` asks in the order of the grid."""
        beta = grid[len(windows)]
        image_set = ImageSet(_images(train, rows), train.labels[rows], source_rows=rows)
        reached = []
        for seed in seeds:
            known = memory.recall(beta, seed)
            reached.append(memory.keep(beta, seed, top1(image_set, held_out, seed)) if known is None else known)
            pace.step(f"beta {beta:g}, seed {seed}: {reached[-1]:.2f} % of {len(held)} held-out rows", known is None)
        windows.append(MeasuredWindow(beta=beta, top1=tuple(reached), mean=round(fmean(reached), 9)))
        return windows[-1].mean

    chosen = choose_window(scores, train.labels, question.ipc, mean_top1, candidates, grid)
    say(f"beta {chosen.beta:g}: {chosen.accuracies[chosen.beta]:.2f} % of the held-out rows, the best of {len(grid)} windows")
    return Account(question=question, held_out_rows=len(held), seeds=seeds, windows=tuple(windows), chosen=chosen.beta)


def _check_step(step: float) -> None:
    if step not in STEPS:
        raise UsageError(
            f"windows cannot begin {step:g} apart", where="--search-step",
            why="every window must be one of SelMatch's grid", fix=f"choose from: {', '.join(f'{known:g}' for known in STEPS)}",
        )  # fmt: skip


def hard_label_protocol(root: Path, dataset: str, students: Students) -> Protocol:
    """The frozen protocol that the students of a search are trained under. Raises UsageError and ProtocolError."""
    locked = read_lock(root)
    prefix = f"{dataset}/{students.student}-hl/v"
    versions = [int(name.removeprefix(prefix)) for name in locked if name.startswith(prefix)]
    if students.protocol is None and not versions:
        known = ", ".join(name for name in locked if name.startswith(f"{dataset}/") and "-hl/" in name)
        raise UsageError(
            f"no frozen {students.student} protocol for {dataset} under hard labels",
            where="--student", fix=f"use --protocol with one of: {known}" if known else "see `hlbench protocols list`",
        )  # fmt: skip
    protocol = find_protocol(root, students.protocol or f"{prefix}{max(versions)}")
    if protocol.dataset.name != dataset or protocol.regime != "hl":
        raise UsageError(
            f"protocol {protocol.id} does not fit the search", where="--protocol",
            why=f"it is for {protocol.dataset.name} under {protocol.regime}; windows are compared under hard labels",
            fix=f"choose one that starts with {dataset}/ and ends in -hl/v<N>",
        )  # fmt: skip
    if protocol.id not in locked or locked[protocol.id].sha256 != protocol.sha256:
        raise ProtocolError(
            f"protocol {protocol.id} is not as it was frozen", where="protocols/LOCK.json",
            fix="see hlbench protocols verify; restore it from version control, or freeze it",
        )  # fmt: skip
    return protocol


def search_seeds(protocol: Protocol, seeds: tuple[int, ...] | None) -> tuple[int, ...]:
    """`seeds` in ascending order, or the default of `Students`. Raises UsageError for a repeated or negative one."""
    if seeds is None:
        return tuple([seed for seed in range(len(protocol.seeds) + SEEDS) if seed not in protocol.seeds][:SEEDS])
    if min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise UsageError(f"{list(seeds)} are no seeds", where="--search-seeds", fix="name each once, 0 or more, as 5,6,7")
    return tuple(sorted(seeds))


class Memory:
    """What the students of one question reached, in one JSON file of the cache; a file of another question is not looked at."""

    def __init__(self, question: Question):
        self.asked = question.model_dump(mode="json")
        self.path = cache_root() / "window-search" / f"{canonical.digest(self.asked)}.json"
        self.top1 = self._read()

    def recall(self, beta: float, seed: int) -> float | None:
        return self.top1.get(f"{beta:g} {seed}")

    def keep(self, beta: float, seed: int, top1: float) -> float:
        """`top1`, after the file was replaced in one step; what a search beside this one wrote meanwhile stays in it."""
        self.top1 = {**self.top1, **self._read(), f"{beta:g} {seed}": top1}
        text = json.dumps({"question": self.asked, "top1 of beta and seed": self.top1}, indent=1, allow_nan=False)
        write_in_one_step(self.path, text.encode() + b"\n")
        return top1

    def _read(self) -> dict[str, float]:
        """{} where there is nothing usable: a student costs seconds, a damaged file is no reason to stop."""
        try:
            found = json.loads(self.path.read_bytes())
            known = found["top1 of beta and seed"]
            return dict(known) if all(0 <= value <= 100 for value in known.values()) else {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}


class _Pace:
    """Says how far a search is and how long the rest takes at the pace of the students trained now."""

    def __init__(self, total: int, say: Say):
        self.total, self.say, self.done, self.trained, self.started = total, say, 0, 0, time.monotonic()

    def step(self, text: str, trained: bool) -> None:
        self.done, self.trained = self.done + 1, self.trained + trained
        pace = (time.monotonic() - self.started) / max(self.trained, 1)
        left = f", {readable_seconds(pace * (self.total - self.done))} left" if trained and self.done < self.total else ""
        self.say(f"[{self.done}/{self.total}] {text}{'' if trained else ', remembered'}{left}")


def _images(train: Split, rows: np.ndarray) -> np.ndarray | EncodedImages:
    """Copies of the rows' images, or a view that reads them when they are needed."""
    if isinstance(train.images, EncodedImages):
        return EncodedImages(len(rows), lambda position: train.images.read(int(rows[position])))
    return np.asarray(train.images)[rows]
