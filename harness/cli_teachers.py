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
from harness.paths import project_root

if TYPE_CHECKING:
    from harness.training.state import TrainingState

teachers_app = typer.Typer(help="The pinned networks that soft labels come from.", **APP_SETTINGS)

TeacherName = Annotated[str, typer.Argument(metavar="ID", help="As in teachers/<dataset>/<name>.")]
TeacherNames = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Default: every teacher that has weights.")]


@teachers_app.command("list", epilog="Example: hlbench teacher list")
def teachers_list(as_json: Json = False) -> None:
    """Every teacher: its network, where its weights lie, what it measures."""
    from harness import reports, teachers

    rows = teachers.summaries(project_root())
    for row in rows if not as_json else []:
        if row["sha256"]:
            row |= {"sha256": row["sha256"][:12], "top1": f"{row['top1']:.2f}"}
    reports.print_rows(rows, as_json)


@teachers_app.command("train", epilog="Example: hlbench teacher train digits/convnet-d3 --out runs/teacher")
def teachers_train(
    teacher_id: TeacherName,
    device: Device = "auto",
    data: Data = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write. Default: the teacher's own.")] = None,
) -> None:
    """Train a teacher by its recipe on the whole training split; write its weights and its card. Run it again to resume."""
    from harness import teachers
    from harness.datasets import load_split
    from harness.training.train_teacher import images_per_class, refuse_existing, train_teacher

    root = project_root()
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
    """Load teachers, hash their weights, and measure their accuracy again."""
    from harness import reports
    from harness.training.verify_teacher import verify_teachers

    rows, errors = verify_teachers(project_root(), teacher_ids, device_of(device), data)
    reports.print_rows(rows, as_json)
    for error in errors:
        reports.print_error(error)
    raise typer.Exit(min((error.exit_code for error in errors), default=0))


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
