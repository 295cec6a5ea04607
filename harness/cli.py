"""The verbs of `hlbench`. Each parses its options, calls the module that does the work, and prints; imports happen inside,
so that `--help` stays instant and only verbs that train import torch.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli_analyze import analyze_app
from harness.cli_dcs import dcs_app
from harness.cli_dynamics import dynamics_app
from harness.cli_options import (
    APP_SETTINGS,
    Data,
    Device,
    Draws,
    Json,
    Offline,
    ProtocolId,
    Regime,
    Results,
    Seeds,
    Student,
    Submissions,
    Workers,
    device_of,
    fail_on,
    numbers,
    numbers_or_all,
    places,
    set_offline,
    shard_of,
)
from harness.cli_pool import pool_app
from harness.cli_protocols import protocols_app
from harness.cli_sets import sets_app
from harness.cli_teachers import teachers_app
from harness.errors import HlbenchError, UsageError, from_os_error
from harness.paths import project_root

app = typer.Typer(
    help="The referee for dataset distillation and coresets: students trained under hard labels, from frozen protocols.",
    epilog="Exit codes: 0 fine, 1 a submission or check fails, 2 usage, 3 environment. --debug with any verb shows tracebacks.",
    **APP_SETTINGS,
)
app.add_typer(protocols_app, name="protocols")
app.add_typer(pool_app, name="pool")
app.add_typer(teachers_app, name="teacher")
app.add_typer(dynamics_app, name="dynamics")
app.add_typer(analyze_app, name="analyze")
app.add_typer(sets_app)
app.add_typer(dcs_app)


@app.command(epilog="Example: hlbench demo --ipc 1,5,10")
def demo(
    ipc: Annotated[str, typer.Option("--ipc", help="Images per class: some of 1,5,10.")] = "1,5",
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete the records of earlier demos first.")] = False,
    workers: Workers = None,
    device: Device = "auto",
) -> None:
    """Evaluate shipped digits sets under HL, SL and SL+KD on a processor, in minutes; print their boards."""
    from harness import demo, progress, reports
    from harness.runner import default_workers
    from harness.scoring.board import write_boards
    from harness.work import Machine

    root = project_root()
    folder = root / "runs" / "demo"
    units = demo.demo_units(root, numbers(ipc, "--ipc"), folder / "results")
    if fresh:
        demo.forget(folder)
    machine = Machine(root, device=device_of(device))
    summary = progress.run_with_progress(units, machine, workers or default_workers(device), reports.console())
    written = write_boards(root, folder / "results", folder)
    reports.print_boards(root, folder / "results")
    print("The same as Markdown:", *[path.relative_to(root) for path in written])
    raise typer.Exit(summary.exit_code)


@app.command(epilog="Example: hlbench validate submissions/random/digits-ipc1.yaml --fetch")
def validate(
    submissions: Submissions,
    fetch: Annotated[bool, typer.Option("--fetch", help="Download the sets, check every image, print audit facts.")] = False,
    offline: Offline = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Check submission files and what their sets consist of."""
    from harness import plan, reports, validation

    set_offline(offline)
    findings = validation.validate(plan.submission_files(submissions), project_root(), fetch, offline, data)
    if as_json:
        errors = [str(error) for error in findings.errors]
        reports.print_json({"checks": findings.checks, "audits": findings.audits, "errors": errors})
    else:
        reports.print_rows(findings.checks, as_json)
        if findings.audits:
            reports.print_rows(reports.audit_rows(findings.audits), as_json, title="Audit")
        for error in findings.errors:
            reports.print_error(error)
    raise typer.Exit(findings.exit_code)


@app.command("hash", epilog="Example: hlbench hash submissions/random/digits-ipc1/draw0.json")
def hash_paths(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="The set's files, or the folder that holds them.")],
    root: Annotated[Path | None, typer.Option("--root", help="Folder that is the Hub repo; names count from it.")] = None,
) -> None:
    """Print the content_sha256 of a set's files."""
    from harness import validation

    print(validation.local_content_sha256(paths, root))


@app.command(epilog="Example: hlbench fingerprint digits")
def fingerprint(dataset: Annotated[str, typer.Argument(metavar="DATASET")], data: Data = None) -> None:
    """Print the training split's fingerprint, which a coreset's row numbers refer to."""
    from harness.datasets import load_split

    print(load_split(dataset, "train", data).fingerprint)


@app.command(epilog="Example: hlbench plan submissions/random --regime hl")
def plan(
    submissions: Submissions,
    regime: Regime = "hl",
    student: Student = "resnet18",
    protocol: ProtocolId = None,
    seeds: Seeds = None,
    draws: Draws = None,
    results: Results = None,
    device: Device = "auto",
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Show what `run` would do and cost; trains and downloads nothing."""
    from harness import forecast, plan, reports

    set_offline(offline)
    root, results = places(results)
    chosen = numbers_or_all(seeds, "--seeds"), results, numbers_or_all(draws, "--draws"), student
    units = plan.plan_units(root, submissions, protocol, regime, *chosen)
    states = {unit.id: plan.unit_state(unit) for unit in units}
    to_do = [unit for unit in units if states[unit.id] == "missing"]
    costs = {
        "bytes_to_download": forecast.bytes_to_download(to_do, root),
        "seconds_to_train": forecast.estimate_seconds(to_do, results, forecast.gpu_for(device_of(device))),
    }
    rows = [reports.unit_row(unit, states[unit.id]) for unit in units]
    if as_json:
        reports.print_json({"units": rows, **costs})
    else:
        reports.print_rows(rows, as_json)
        print(reports.plan_line(list(states.values()), **costs))


@app.command(epilog="Example: hlbench run submissions/random/digits-ipc1.yaml --regime all --seeds 0,1 --workers 2")
def run(
    submissions: Submissions,
    regime: Regime = "hl",
    student: Student = "resnet18",
    protocol: ProtocolId = None,
    seeds: Seeds = None,
    draws: Draws = None,
    workers: Workers = None,
    shard: Annotated[str | None, typer.Option("--shard", help="i/N: the i-th of N parts of the units, 1-based.")] = None,
    ood: Annotated[
        bool, typer.Option("--ood", help="Measure also on test images under 15 corruptions x 5 severities. Trains again.")
    ] = False,
    device: Device = "auto",
    data: Data = None,
    results: Results = None,
    as_json: Json = False,
) -> None:
    """Train and measure what is not done yet, one record per unit. Run it again to resume."""
    from harness import plan, progress, reports
    from harness.runner import default_workers
    from harness.work import Machine

    root, results = places(results)
    chosen = numbers_or_all(seeds, "--seeds"), results, numbers_or_all(draws, "--draws"), student
    units = plan.plan_units(root, submissions, protocol, regime, *chosen)
    if ood:
        units = plan.with_ood(units)
    if shard is not None:
        units = plan.take_shard(units, *shard_of(shard))
    machine = Machine(root, data, device_of(device))
    summary = progress.run_with_progress(units, machine, workers or default_workers(device), reports.console(stderr=as_json))
    if as_json:
        reports.print_json(reports.summary_facts(summary))
    raise typer.Exit(summary.exit_code)


@app.command(epilog="Example: hlbench leaderboard --check")
def leaderboard(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail when the pages are not what the records give.")
    ] = False,
    form: Annotated[str, typer.Option("--format", help="md writes the pages; json, csv and html are printed.")] = "md",
    results: Results = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the pages. Default: the one that holds the records.")
    ] = None,
) -> None:
    """Rebuild the leaderboard pages from the records."""
    from harness import freeze
    from harness.scoring import board, export
    from harness.scoring.check import check_boards

    root, results = places(results)
    # Records made under a protocol that was changed or lost would silently drop out of the pages.
    fail_on(freeze.verify(root), "the protocols are not as they were frozen", "restore them from version control")
    pages = out or results.parent
    exports = {"json": export.board_json, "csv": export.board_csv, "html": export.board_html}
    if form != "md" and form not in exports:
        raise UsageError(f"no format {form!r}", where="--format", fix="choose one of: md, json, csv, html")
    if check:
        fix = "after new records or losses: `hlbench leaderboard`; if none are new, restore leaderboards/ from version control"
        fail_on(check_boards(root, results, pages), "the pages are not what the records give", fix)
        print("The pages are what the records give.")
    elif form == "md":
        print("\n".join(str(path) for path in board.write_boards(root, results, pages)))
    else:
        print(exports[form](root, results), end="")


@app.command(epilog="Example: hlbench doctor --offline")
def doctor(offline: Offline = False, as_json: Json = False) -> None:
    """What this machine has, what is missing, and how to get it."""
    from dataclasses import asdict

    from harness import doctor, reports

    findings = doctor.examine(offline)
    reports.print_rows([asdict(finding) for finding in findings], as_json)
    raise typer.Exit(3 if any(finding.status == "MISSING" for finding in findings) else 0)


def main() -> None:
    """Entry point: an HlbenchError becomes its text and exit code, any other error one line (a traceback under --debug)."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    if len(arguments) < len(sys.argv) - 1:
        os.environ["HLBENCH_DEBUG"] = "1"
    try:
        app(args=arguments, prog_name="hlbench")
    except Exception as error:
        from harness.reports import print_error

        error = from_os_error(error) if isinstance(error, OSError) else error
        print_error(error)
        sys.exit(error.exit_code if isinstance(error, HlbenchError) else 1)
