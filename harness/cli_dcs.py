"""`hlbench dcs`: the Distillation Correlation Score of objectives over a dataset's pool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli_options import APP_SETTINGS, Data, Device, Json, device_of
from harness.errors import UsageError
from harness.paths import project_root

dcs_app = typer.Typer(**APP_SETTINGS)


@dcs_app.command(epilog="Example: hlbench dcs sre2l_bn dm --dataset digits")
def dcs(
    objectives: Annotated[
        list[str] | None, typer.Argument(metavar="[OBJECTIVE]...", help="Default: those with losses. --list names all.")
    ] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", help="digits, tiny-imagenet, cifar100 or imagenet-1k.")] = None,
    student: Annotated[
        str | None, typer.Option("--student", help="Whose pool, where a dataset has several. Default: the first.")
    ] = None,
    losses: Annotated[
        Path | None, typer.Option("--losses", help="CSV of your own: subset,loss (ids: hlbench pool show).")
    ] = None,
    partial: Annotated[bool, typer.Option("--partial", help="With --losses: some subsets may be missing.")] = False,
    function: Annotated[
        str | None,
        typer.Option("--objective", help="module:function of your own; (uint8 [n,3,H,W], int64 [n]) -> float."),
    ] = None,
    save: Annotated[
        str | None, typer.Option("--save", help="Keep own losses under a name; boards go by the method of a submission.")
    ] = None,
    most: Annotated[int | None, typer.Option("--most-ipc", min=1, help="Compute losses of subsets up to this IPC.")] = None,
    ood: Annotated[bool, typer.Option("--ood", help="Against students' errors on corrupted test images.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="Name the objectives, and the methods that have none.")] = False,
    device: Device = "cpu",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Does a lower loss go with a lower test error? Computes the losses that are missing, then scores them.

    A function of your own sees one subset a call. It loads the full split itself, once (harness.datasets.load_split("digits",
    "train"): .images, .labels), and makes its random generator anew in every call, with a fixed seed, so that every subset meets
    the same draws; harness/dcs/custom.py shows one. Interrupted, the command goes on where it was when run again, as long as the
    function's file and what it imported from its folder or the working folder are unchanged; what it reads or imports while it
    runs, or imports from elsewhere, is not looked at.
    """
    from harness import dcs_scores, progress, reports
    from harness.dcs.lookup import frozen_pool

    root = project_root()
    if listed:
        reports.print_rows(dcs_scores.objective_rows(), as_json)
        return
    if dataset is None:
        raise UsageError("a score needs a pool", where="--dataset", fix="name a dataset that has one")
    if sum((losses is not None, function is not None, bool(objectives))) > 1:
        raise UsageError("losses come from one place", fix="name objectives, or --losses, or --objective")
    own = losses is not None or function is not None
    for option, given, used in (
        ("--save", save is not None, own),
        ("--partial", partial, losses is not None),
        ("--most-ipc", most is not None, function is not None or bool(objectives)),
    ):
        if given and not used:
            raise UsageError(f"{option} has nothing to act on", where=option, fix="see hlbench dcs --help")
    pool = frozen_pool(root, dataset, student)
    with progress.count("steps of this objective") as report:
        if losses is not None:
            found = dcs_scores.score_file(root, pool, losses, partial, save, ood)
        elif function is not None:
            found = dcs_scores.score_function(root, pool, function, data, most, save, report, ood)
        else:
            found = dcs_scores.score_objectives(root, pool, objectives or [], data, most, device_of(device), report, ood)
    if as_json:
        reports.print_json(dcs_scores.facts(pool, found, ood))
    else:
        images = ", corrupted test images" if ood else ""
        reports.print_rows(dcs_scores.score_rows(found, ood), as_json, title=f"{pool.id}{images}: DCS, positive = aligned")
        for line in dcs_scores.remarks(root, pool, found, ood):
            print(line)
