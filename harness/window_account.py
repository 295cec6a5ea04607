"""The account of EL2N-Best's search, `window-search.json` beside the draw: what was asked, reached and chosen.

Reading one costs no torch, so that `hlbench select --verify` can hold a submission to it.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Annotated, Literal

from pydantic import Field, model_validator

from harness import canonical
from harness.coresets.el2n_best import STEP, STEPS, hold_out, window_grid
from harness.datasets import load_split
from harness.errors import CheckFailed
from harness.records import Percent
from harness.strict_yaml import StrictModel, as_tuples, parse_model
from harness.submission_fields import Sha256
from harness.submissions import Submission

METHOD = "el2n-best"
ACCOUNT = "window-search.json"
MOST_BYTES = 1 << 20
RULE = "highest mean of top1; the smallest beta where several are highest"


class Question(StrictModel):
    """Everything that a student of a search follows from beside its beta and its seed; device and torch, because they round.

    `recording` is a name; what windows are ranked by is its array with `el2n_sha256`, the same wherever it was recorded.
    """

    dataset: str
    ipc: Annotated[int, Field(ge=1)]
    split_fingerprint: Sha256
    recording: str
    el2n_sha256: Sha256
    held_out: float
    held_out_seed: int
    protocol: str
    protocol_sha256: Sha256
    device: Literal["cpu", "cuda"]
    torch: str


class MeasuredWindow(StrictModel):
    """`top1`: percent of the held-out rows at the last epoch, one a seed in the account's order; `mean` to 9 decimals."""

    beta: float
    top1: Annotated[tuple[Percent, ...], Field(min_length=1)]
    mean: Percent


class Account(StrictModel):
    """Every window of the grid in order, and the one that `RULE` chooses."""

    question: Question
    held_out_rows: Annotated[int, Field(ge=1)]
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]
    windows: Annotated[tuple[MeasuredWindow, ...], Field(min_length=1)]
    rule: Literal["highest mean of top1; the smallest beta where several are highest"] = RULE
    chosen: float

    @model_validator(mode="after")
    def _chosen_by_the_rule(self):
        for position, window in enumerate(self.windows):
            if window.beta != round(position * self.step, 9) or len(window.top1) != len(self.seeds):
                raise ValueError(f"window {position} begins at {position * self.step:g} and has one top1 a seed")
            if window.mean != round(fmean(window.top1), 9):
                raise ValueError(f"the mean at beta {window.beta:g} is not that of its top1")
        best = max(self.windows, key=lambda window: window.mean)
        if self.chosen != best.beta:
            raise ValueError(f"the rule chooses {best.beta:g}, not {self.chosen:g}")
        return self

    @property
    def step(self) -> float:
        """How far the windows begin apart: one of `STEPS`, or `STEP` where no second window tells."""
        second = self.windows[1].beta if len(self.windows) > 1 else STEP
        return second if second in STEPS else STEP

    @cached_property
    def contents(self) -> bytes:
        """The file's bytes."""
        return json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"

    @property
    def sha256(self) -> str:
        return canonical.sha256_hex(self.contents)


def account_path(root: Path, submission: Submission) -> Path:
    return root / Path(submission.relative_path).with_suffix("") / ACCOUNT


def account_beside(folder: Path, sha256: str | None) -> Account | None:
    """The account of that hash in the folder of a set's draws; None where there is none."""
    path = folder / ACCOUNT
    return _read(path) if sha256 is not None and path.is_file() and canonical.file_sha256(path) == sha256 else None


def said_of(account: Account) -> str:
    """For the notes of a set: which windows were compared, by how many students, and whether the chosen one is the last."""
    betas = [window.beta for window in account.windows]
    grid = (
        f"{len(betas)} windows, beta = {betas[0]:g} to {betas[-1]:g}, {account.step:g} apart"
        if betas[1:]
        else "one window, beta = 0"
    )
    students = f"{len(account.seeds)} student{'s' if account.seeds[1:] else ''} each"
    text = f"Searched: {grid}, {students}; chosen: {account.chosen:g}."
    last = len(betas) > 1 and account.chosen == betas[-1]
    return f"{text} It is the last of the grid, so the best window may lie beyond it." if last else text


def check_account(root: Path, submission: Submission, data: Path | None = None) -> str:
    """Hold an EL2N-Best submission to the account it names; a clause for the report, "" for other methods.

    `data`: folder of real datasets. Raises CheckFailed when the account is missing, altered, not named, chooses another beta, is
    of another question, or looked at a part of the windows.
    """
    made_by = submission.made_by
    if made_by is None or submission.method != METHOD:
        return ""
    named = made_by.parameters.get("searched")
    path = account_path(root, submission)
    if named is None:
        raise _differs(path, "it names no search: whoever named its beta may have seen the test split")
    if not path.is_file() or canonical.file_sha256(path) != named:
        raise _differs(path, "its bytes are not those the submission names" if path.is_file() else "it is missing")
    account = _read(path)
    asked, given = account.question, made_by.parameters
    pairs = {
        "dataset": (asked.dataset, submission.dataset),
        "ipc": (asked.ipc, submission.ipc),
        "split_fingerprint": (asked.split_fingerprint, made_by.split_fingerprint),
        "el2n_sha256": (asked.el2n_sha256, made_by.inputs.get(f"dynamics/{asked.recording}/el2n.npy")),
        "held_out": (asked.held_out, given.get("held_out")),
        "held_out_seed": (asked.held_out_seed, given.get("held_out_seed")),
        "beta": (account.chosen, given.get("beta")),
    }
    for name, (searched, submitted) in pairs.items():
        if searched != submitted:
            raise _differs(path, f"{name}: {searched} in the search, {submitted} in the submission")
    labels = load_split(submission.dataset, "train", data).labels
    candidates, _ = hold_out(labels, asked.held_out, asked.held_out_seed)
    looked_at = [window.beta for window in account.windows]
    grid = window_grid(labels[candidates], asked.ipc, account.step)
    if looked_at != grid:
        raise _differs(path, f"it looked at {len(looked_at)} windows of {len(grid)}")
    return f"; {ACCOUNT} chooses beta {account.chosen:g} of {len(account.windows)} windows, {account.step:g} apart"


def _read(path: Path) -> Account:
    try:
        with path.open("rb") as file:
            raw = json.loads(file.read(MOST_BYTES))
    except (ValueError, RecursionError) as reason:
        raise _differs(path, f"it is no account: {reason}") from reason
    return parse_model(Account, as_tuples(raw), str(path), CheckFailed)


def _differs(path: Path, why: str) -> CheckFailed:
    return CheckFailed(
        "the submission is not what its search chose", where=str(path), why=why,
        fix="restore it from version control, or make it again: hlbench select el2n-best without --param beta=",
    )  # fmt: skip
