"""`hlbench teacher`: train, list, verify."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli_options import APP_SETTINGS, Data, Device, Json, device_of
from harness.paths import project_root

teachers_app = typer.Typer(help="The pinned networks that soft labels come from.", **APP_SETTINGS)

TeacherName = Annotated[str, typer.Argument(metavar="ID", help="As in teachers/<dataset>/<name>.")]
TeacherNames = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Default: every teacher that has weights.")]


@teachers_app.command("list", epilog="Example: hlbench teacher list")
def teachers_list(as_json: Json = False) -> None:
    """Every teacher: its network, where its weights lie, what it measures."""
    from harness import reports, teachers

    reports.print_rows(teachers.summaries(project_root()), as_json)


@teachers_app.command("train", epilog="Example: hlbench teacher train digits/convnet-d3 --out runs/teacher")
def teachers_train(
    teacher_id: TeacherName,
    device: Device = "auto",
    data: Data = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write. Default: the teacher's own.")] = None,
) -> None:
    """Train a teacher by its recipe on the whole training split; write its weights and its card."""
    from harness import teachers
    from harness.datasets import load_split
    from harness.training.train_teacher import refuse_existing, train_teacher

    def on_epoch(done: int, total: int) -> None:
        if done == total or done % max(1, total // 20) == 0:
            print(f"{teacher_id}: epoch {done}/{total}", file=sys.stderr, flush=True)

    root = project_root()
    recipe = teachers.read_recipe(root, teacher_id)
    folder = out or root / "teachers" / teacher_id
    refuse_existing(folder)
    train, test = (load_split(recipe.dataset.name, split, data) for split in ("train", "test"))
    card = train_teacher(recipe, train, test, folder, device_of(device), on_epoch)
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
