"""Record the dynamics of a scoring run: train the student once on the whole training split and watch it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from harness.datasets.base import Split
from harness.dynamics.artifact import SPEC, Dynamics, open_dynamics, read_spec, write_spec
from harness.dynamics.plan import Wish, plan_run
from harness.dynamics.spec import ScoringRun
from harness.dynamics.unfinished import CHECKPOINT, arrays_of, discard, finish, held
from harness.dynamics.watch import FeaturesAndLogits, Watcher, feature_count
from harness.environment import describe_environment
from harness.errors import CheckFailed, UsageError
from harness.imageset import ImageSet
from harness.protocols import Protocol
from harness.teachers import Made, PinnedTeacher
from harness.training.checkpoint import Checkpoint, Setting, read_checkpoint, write_checkpoint
from harness.training.engine import Engine, choose_engine, make_deterministic, resolve_device
from harness.training.label_cache import image_logits
from harness.training.labels import supervise
from harness.training.made_by import commit_of, machine_facts
from harness.training.seeding import generator_for
from harness.training.state import TrainingState
from harness.training.students import build_student
from harness.training.trainer import TrainingRun, train
from harness.training.views import require_fit, training_views

SECONDS_BETWEEN_CHECKPOINTS = 60.0  # what an interruption costs at most, or the time since the last snapshot if that is less


@dataclass(frozen=True)
class Scoring:
    """A run with the protocol, split and teacher it was planned for; `teacher` is None where no EL2N-SL is recorded."""

    run: ScoringRun
    protocol: Protocol
    split: Split
    teacher: PinnedTeacher | None = None

    @property
    def image_set(self) -> ImageSet:
        return ImageSet(self.split.images, self.split.labels)


@dataclass(frozen=True)
class Progress:
    """After `done` of the `total` epochs of the student. `correct`: the share of the split at a snapshot, else None."""

    done: int
    total: int
    correct: float | None = None


Report = Callable[[Progress], None]


def plan_scoring(wish: Wish, protocol: Protocol, split: Split, teacher: PinnedTeacher | None = None) -> Scoring:
    """The run that fulfils `wish` for the protocol's student. Raises UsageError when there is none."""
    features = feature_count(build_student(protocol, torch.Generator()))
    return Scoring(plan_run(wish, protocol, split, features, teacher), protocol, split, teacher)


def record_dynamics(scoring: Scoring, folder: Path, device: str = "auto", report: Report = lambda progress: None) -> Dynamics:
    """Train and write the dynamics into `folder`, or go on where that was interrupted; what is there already is returned.

    Same arguments on the same machine give the same arrays. Raises UsageError when another recording lies there or another
    process makes this one, EnvironmentProblem when it was begun on another machine, CheckFailed when training diverges.
    """
    run, split = scoring.run, scoring.split
    if not is_recorded(run, folder):
        require_fit(scoring.image_set, scoring.protocol)
        with held(folder) as unfinished:
            if is_recorded(run, folder):
                discard(unfinished)  # another process finished it meanwhile
            else:
                made = _record(scoring, unfinished, resolve_device(device), report)
                write_spec(unfinished, run, made)
                finish(unfinished, folder)
    return open_dynamics(folder, split.labels, split.fingerprint)


def is_recorded(run: ScoringRun, folder: Path) -> bool:
    """Whether `folder` holds this very run. Raises UsageError when it holds anything else."""
    if not folder.exists():
        return False
    why = "it is no recording of training dynamics"
    if (folder / SPEC).exists():
        found, asked = read_spec(folder).run.model_dump(), run.model_dump()
        if found == asked:
            return True
        why = "; ".join(f"{name} is {found[name]}, asked for {asked[name]}" for name in asked if found[name] != asked[name])
    raise UsageError("the folder is taken", where=str(folder), why=why, fix="name another --out")


def _record(scoring: Scoring, unfinished: Path, device: str, report: Report) -> Made:
    """Fill the arrays in `unfinished`, from the beginning or from its checkpoint. Raises CheckFailed when training diverges."""
    run, path = scoring.run, unfinished / CHECKPOINT
    make_deterministic(scoring.protocol)
    engine, environment = choose_engine(scoring.protocol, run.images_seen, device), describe_environment(device)
    machine = machine_facts(engine, environment)
    described = {name: str(value) for name, value in run.model_dump().items()}
    setting: Setting = {**described, **machine, "micro_batch": engine.micro_batch}
    earlier = read_checkpoint(path, setting)
    seconds, code = (earlier.seconds, earlier.code) if earlier else (0.0, ())
    code = tuple(dict.fromkeys([*code, commit_of(environment)]))
    started = time.perf_counter()

    def keep(state: TrainingState) -> None:
        write_checkpoint(path, setting, Checkpoint(state, seconds + time.perf_counter() - started, code))

    trained = _train_watched(scoring, unfinished, engine, earlier.state if earlier else None, keep, report)
    if trained.diverged:
        discard(unfinished)
        why = f"a loss or a weight is not finite after {trained.images_seen:,} images"
        raise CheckFailed("the scoring run diverged", where=run.protocol, why=why, fix="choose another seed or length")
    return Made(**machine, seconds=round(seconds + time.perf_counter() - started, 1), code=code)


def _train_watched(
    scoring: Scoring,
    unfinished: Path,
    engine: Engine,
    resume: TrainingState | None,
    keep: Callable[[TrainingState], None],
    report: Report,
) -> TrainingRun:
    """Train from `resume` on, filling the arrays; `keep` gets the states worth a checkpoint, the arrays being on disk by then."""
    run, protocol, image_set = scoring.run, scoring.protocol, scoring.image_set
    model = engine.place(build_student(protocol, generator_for(run.seed, "init")))
    watcher = Watcher(
        run, protocol, scoring.split,
        arrays=arrays_of(unfinished, run, resumed=resume is not None),
        look=engine.inference(FeaturesAndLogits(model)),
        device=engine.device,
        teacher_logits=image_logits(scoring.teacher, image_set, engine) if scoring.teacher else None,
        images_presented=resume.epochs_done * run.images_per_epoch if resume else 0,
    )  # fmt: skip
    report(Progress(resume.epochs_done if resume else 0, run.recipe_epochs))
    kept_at = time.monotonic()

    def on_epoch(done: int, total: int) -> None:
        is_snapshot = done in run.snapshot_epochs
        report(Progress(done, total, watcher.snapshot(run.snapshot_epochs.index(done)) if is_snapshot else None))

    def on_state(state: TrainingState) -> None:
        nonlocal kept_at
        if state.epochs_done in run.snapshot_epochs or time.monotonic() - kept_at > SECONDS_BETWEEN_CHECKPOINTS:
            watcher.flush()
            keep(state)
            kept_at = time.monotonic()

    return train(
        model, training_views(image_set, protocol, engine.device), protocol, run.recipe_ipc, run.seed, engine,
        supervise(protocol, image_set, scoring.teacher, run.seed, engine),
        on_epoch=on_epoch, images_per_epoch=run.images_per_epoch, on_state=on_state, resume=resume, on_batch=watcher.present,
    )  # fmt: skip
