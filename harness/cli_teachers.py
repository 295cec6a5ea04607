"""`hlbench teacher`: train, list, verify."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli_options import APP_SETTINGS, Data, Device, Json, device_of
from harness.errors import HlbenchError, UsageError
from harness.paths import project_root

if TYPE_CHECKING:
    from harness.training.state import TrainingState

teachers_app = typer.Typer(
    help="The pinned networks that soft labels come from, and the trajectories of experts.", **APP_SETTINGS
)

TeacherName = Annotated[str, typer.Argument(metavar="ID", help="As in teachers/<dataset>/<name>.")]
TeacherNames = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID]...", help="Default: every teacher that has weights, all trajectories in the cache."),
]


@teachers_app.command("list", epilog="Example: hlbench teacher list")
def teachers_list(as_json: Json = False) -> None:
    """Every teacher: its network, where its weights lie, what it measures; and every set of expert trajectories."""
    from harness import experts, reports, teachers

    rows = teachers.summaries(project_root()) + experts.summaries(project_root())
    for row in rows if not as_json else []:
        if row["sha256"]:
            row["sha256"] = row["sha256"][:12]
        if row["top1"] is not None:
            row["top1"] = f"{row['top1']:.2f}"
    reports.print_rows(rows, as_json)


@teachers_app.command("train", epilog="Example: hlbench teacher train digits/convnet-d3 --out runs/teacher")
def teachers_train(
    teacher_id: TeacherName,
    device: Device = "auto",
    data: Data = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to write. Default: the teacher's own; of trajectories, one in the cache.")
    ] = None,
    trajectories: Annotated[
        bool, typer.Option("--trajectories", help="Make the expert trajectories of teachers/ID/experts-recipe.yaml.")
    ] = False,
) -> None:
    """Train a teacher by its recipe on the whole training split; write its weights and its card. Run it again to resume."""
    from harness import teachers
    from harness.datasets import load_split
    from harness.experts import experts_ids, make_command
    from harness.training.train_teacher import images_per_class, refuse_existing, train_teacher

    root = project_root()
    if trajectories:
        make_trajectories(root, teacher_id, device_of(device), data, out)
        return
    if teacher_id in experts_ids(root):
        raise UsageError(f"{teacher_id} is a set of experts", where="ID", fix=make_command(teacher_id))
    recipe = teachers.read_recipe(root, teacher_id)
    folder = out or root / "teachers" / teacher_id
    refuse_existing(folder)
    train, test = (load_split(recipe.dataset.name, split, data) for split in ("train", "test"))
    on_state = progress_lines(recipe.id, recipe.epochs(images_per_class(recipe, train)))
    try:
        card = train_teacher(recipe, train, test, folder, device_of(device), on_state)
    except KeyboardInterrupt:
        print("Interrupted: the epochs that were done are kept. To resume, run the same command again.", file=sys.stderr)
        raise
    print(f"{card.id}: top-1 {card.accuracy.train_top1:.2f} % on train, {card.accuracy.test_top1:.2f} % on test")
    print(f"{folder / card.weights.file}: {card.weights.bytes:,} bytes, sha256 {card.weights.sha256}")


@teachers_app.command("verify", epilog="Example: hlbench teacher verify digits/convnet-d3")
def teachers_verify(teacher_ids: TeacherNames = None, device: Device = "auto", data: Data = None, as_json: Json = False) -> None:
    """Load teachers, hash their weights, and measure their accuracy again. Of experts: the trajectories in the cache."""
    from harness import reports
    from harness.experts import CARD, default_folder, experts_ids
    from harness.training.verify_teacher import verify_teachers

    root, on = project_root(), device_of(device)
    known = experts_ids(root)
    networks = None if teacher_ids is None else [asked for asked in teacher_ids if asked not in known]
    made = [experts for experts in known if (default_folder(experts) / CARD).is_file()]
    rows, errors = ([], []) if networks == [] else verify_teachers(root, networks, on, data)
    for experts_id in made if teacher_ids is None else [asked for asked in teacher_ids if asked in known]:
        try:
            rows.append(verified_trajectories(root, experts_id, on, data))
        except HlbenchError as error:
            errors.append(error)
    reports.print_rows(rows, as_json)
    for error in errors:
        reports.print_error(error)
    raise typer.Exit(min((error.exit_code for error in errors), default=0))


def make_trajectories(root: Path, experts_id: str, device: str, data: Path | None, out: Path | None) -> None:
    """Make what is missing of a set of experts; pin it in the checkout if it is the first in the default place.

    With `out` the set has an identity of its own: it need not be the pinned one.
    """
    from harness import experts
    from harness.datasets import load_split
    from harness.environment import describe_environment, processor_of
    from harness.training.engine import resolve_device
    from harness.training.train_experts import train_experts

    recipe = experts.read_experts_recipe(root, experts_id)
    folder, home = out or experts.default_folder(experts_id), root / "teachers" / experts_id
    pinned = None if out else experts.read_experts_card(home)
    here = processor_of(describe_environment(resolve_device(device)))
    if pinned is not None and pinned.made.processor != here:
        told = f"the pinned experts were made on {pinned.made.processor}, this is {here}: they may come out otherwise"
        print(f"{told}, which the first of them will show", file=sys.stderr)
    shows = {seed: progress_lines(f"{experts_id} {seed + 1}/{len(recipe.seeds)}", recipe.epochs_trained) for seed in recipe.seeds}
    try:
        card = train_experts(
            recipe, load_split(recipe.dataset.name, "train", data), folder, device, pinned,
            lambda seed, state: shows[seed](state),
        )  # fmt: skip
    except KeyboardInterrupt:
        print("Interrupted: the experts that were done are kept. To resume, run the same command again.", file=sys.stderr)
        raise
    if not out and pinned is None:
        experts.write_experts_card(home, card)
        print(f"{home / experts.CARD}: pinned now; commit it")
    print(f"{experts_id}: {', '.join(f'{top1:.2f}' for top1 in card.train_top1.values())} % on train")
    print(f"{folder}: {len(card.files)} experts, sha256 {card.sha256}")


def verified_trajectories(root: Path, experts_id: str, device: str, data: Path | None) -> dict[str, str]:
    """A row of `teacher verify`. Raises what `find_experts` and `verify_experts` raise."""
    from harness.datasets import load_split
    from harness.experts import find_experts, read_experts_recipe
    from harness.training.train_experts import verify_experts

    recipe = read_experts_recipe(root, experts_id)
    return verify_experts(find_experts(root, experts_id), load_split(recipe.dataset.name, "train", data), device)


def progress_lines(teacher_id: str, epochs: int) -> Callable[[TrainingState], None]:
    """A function of the state after an epoch that prints how far training is, on standard error."""
    last = time.monotonic()

    def show(state: TrainingState) -> None:
        nonlocal last
        seconds, last = time.monotonic() - last, time.monotonic()
        print(
            epoch_line(teacher_id, state.epochs_done, epochs, state.train_loss, seconds, datetime.now()),
            file=sys.stderr,
            flush=True,
        )

    return show


def epoch_line(teacher_id: str, done: int, epochs: int, loss: float, seconds: float, now: datetime) -> str:
    """`digits/convnet-d3: epoch 3/60, loss 0.4312, 2 s, the last one ends about Wed 14:05`, if all take `seconds` as it did."""
    from harness.reports import readable_seconds

    end = f", the last one ends about {now + timedelta(seconds=seconds * (epochs - done)):%a %H:%M}" if done < epochs else ""
    return f"{teacher_id}: epoch {done}/{epochs}, loss {loss:.4f}, {readable_seconds(seconds)}{end}"
