"""`hlbench dynamics`: record, list, verify."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli_options import APP_SETTINGS, Data, DatasetName, Device, Json, device_of
from harness.errors import HlbenchError, UsageError
from harness.paths import project_root

if TYPE_CHECKING:
    from harness.dynamics.record import Progress, Report
    from harness.protocols import Protocol
    from harness.teachers import PinnedTeacher

dynamics_app = typer.Typer(help="The training dynamics that score-based coresets are selected by.", **APP_SETTINGS)

Names = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]...", help="<dataset>/<name>, or a folder. Default: the project's.")
]


@dynamics_app.command("list", epilog="Example: hlbench dynamics list")
def dynamics_list(as_json: Json = False) -> None:
    """Every recording in the project and in the cache."""
    from harness import reports
    from harness.dynamics.places import summaries

    rows = summaries(project_root())
    if rows or as_json:
        reports.print_rows(rows, as_json)
    else:
        print("No training dynamics are recorded yet. To record some: hlbench dynamics record")


@dynamics_app.command(
    "record", epilog="Example: hlbench dynamics record --dataset digits --protocol digits/resnet18-hl/v1 --ipc 10"
)
def dynamics_record(
    dataset: DatasetName,
    protocol: Annotated[str, typer.Option("--protocol", help="Whose student is trained, and how: an hl or sl protocol.")],
    ipc: Annotated[
        int | None, typer.Option("--ipc", min=1, help="Match the compute of a set of this many images per class.")
    ] = None,
    epochs: Annotated[
        float | None, typer.Option("--epochs", help="K, in epochs of the whole split. Default: what --ipc says, else all.")
    ] = None,
    snapshots: Annotated[int | None, typer.Option("--snapshots", min=1, help="Default: max(8, K).")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    teacher: Annotated[str | None, typer.Option("--teacher", help="Record EL2N-SL at T = 1 and 20 against this one.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write. Default: one in the cache.")] = None,
    device: Device = "auto",
    threads: Annotated[int, typer.Option("--threads", min=1, help="Another number rounds otherwise.")] = 1,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Train a scoring model once on the whole training split and write down its dynamics. Run it again to resume."""
    import torch

    from harness.datasets import load_split
    from harness.dynamics.places import cache_folder
    from harness.dynamics.plan import Wish
    from harness.dynamics.record import plan_scoring, record_dynamics

    device = device_of(device)
    torch.set_num_threads(threads)
    described, teacher = _described(protocol, teacher)
    split = load_split(dataset, "train", data)
    scoring = plan_scoring(Wish(ipc, epochs, snapshots, seed), described, split, teacher)
    run = scoring.run
    folder = out or cache_folder(run, described)
    _say(
        f"{folder}: {run.images_seen:,} images, batches of {run.batch_size}, {run.snapshots} snapshots, {run.bytes / 1e6:.1f} MB"
    )
    try:
        found = record_dynamics(scoring, folder, device, _progress(run.epochs))
    except KeyboardInterrupt:
        _say("Interrupted: what is done is kept. To resume, run the same command again.")
        raise
    _print_card(found, as_json)


@dynamics_app.command("verify", epilog="Example: hlbench dynamics verify digits/resnet18-hl-v1-ipc10")
def dynamics_verify(
    names: Names = None,
    again: Annotated[bool, typer.Option("--again", help="Train the scoring run again, too, and compare every byte.")] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Hash recordings and look at every number in them."""
    from harness import reports
    from harness.dynamics.artifact import folders
    from harness.dynamics.places import facts, find_folder, places

    root = project_root()
    chosen = [find_folder(root, name) for name in names] if names else list(folders(places(root)[:1]))
    rows, errors = [], []
    for folder in chosen:
        try:
            rows.append({"folder": str(folder), **facts(_verified(folder, again, data).spec)})
        except HlbenchError as error:
            errors.append(error)
    reports.print_rows(rows, as_json)
    for error in errors:
        reports.print_error(error)
    raise typer.Exit(max((error.exit_code for error in errors), default=0))


def _verified(folder: Path, again: bool, data: Path | None):
    from harness.datasets import load_split
    from harness.dynamics.artifact import open_dynamics, read_spec

    spec = read_spec(folder)
    split = load_split(spec.dataset, "train", data)
    found = open_dynamics(folder, split.labels, split.fingerprint, verify=True)
    if again:
        from harness.dynamics.record import Scoring
        from harness.dynamics.verify import verify_again

        protocol, teacher = _described(spec.protocol, spec.teacher)
        verify_again(found, Scoring(spec.run, protocol, split, teacher), _progress(spec.epochs))
    return found


def _described(protocol_id: str, teacher_id: str | None) -> tuple[Protocol, PinnedTeacher | None]:
    """The frozen protocol and the teacher of EL2N-SL: the one named, or the one a soft-label protocol learns from."""
    from harness.freeze import read_lock
    from harness.protocols import find_protocol
    from harness.teachers import PinnedTeacher, find_teacher, read_card, read_weights

    root = project_root()
    protocol = find_protocol(root, protocol_id)
    entry = read_lock(root).get(protocol_id)
    if entry is None or entry.sha256 != protocol.sha256:
        raise UsageError(
            f"protocol {protocol_id} is not as it was frozen", where="protocols/LOCK.json",
            fix="see hlbench protocols verify; restore it from version control, or freeze it",
        )  # fmt: skip
    if teacher_id is None:
        return protocol, find_teacher(root, protocol)
    card = read_card(root, teacher_id)
    return protocol, PinnedTeacher(card, read_weights(root, card))


def _progress(epochs: float) -> Report:
    """Prints a line at every snapshot and every twentieth of the run, with the time left at the pace so far."""
    from harness.reports import readable_seconds

    started, first = time.monotonic(), None

    def report(progress: Progress) -> None:
        nonlocal first
        first = progress.done if first is None else first
        if progress.correct is None and progress.done not in (0, first) and progress.done % max(1, progress.total // 20):
            return
        line = f"{epochs * progress.done / progress.total:.2f} of {epochs:.2f} epochs"
        if progress.correct is not None:
            line += f", snapshot: {100 * progress.correct:.2f} % of the split correct"
        if first < progress.done < progress.total:
            left = (time.monotonic() - started) / (progress.done - first) * (progress.total - progress.done)
            line += f", {readable_seconds(left)} left"
        _say(line)

    return report


def _print_card(found, as_json: bool) -> None:
    from harness import reports
    from harness.dynamics.places import facts

    card = {"folder": str(found.folder), **facts(found.spec), "train_top1": round(100 * float(found.correct[-1].mean()), 2)}
    if as_json:
        reports.print_json(card | {"sha256": found.sha256})
    else:
        reports.print_rows([{"what": name.replace("_", " "), "": value} for name, value in card.items()], as_json=False)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
