"""The verbs of `hlbench`. Each parses its options, calls the module that does the work, and prints; imports happen inside,
so that `--help` stays instant and only verbs that train import torch.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.errors import CheckFailed, HlbenchError, UsageError
from harness.paths import project_root

OPTIONS = {"add_completion": False, "rich_markup_mode": None, "pretty_exceptions_enable": False, "no_args_is_help": True}

app = typer.Typer(
    help="The referee for dataset distillation and coresets: students trained under hard labels, from frozen protocols.",
    epilog="Exit codes: 0 fine, 1 a submission or check fails, 2 usage, 3 environment. --debug with any verb shows tracebacks.",
    **OPTIONS,
)
protocols_app = typer.Typer(help="The frozen recipes that students are trained with.", **OPTIONS)
app.add_typer(protocols_app, name="protocols")

Submissions = Annotated[list[Path], typer.Argument(metavar="SUBMISSION", help="Submission files, or folders of them.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Data = Annotated[
    Path | None, typer.Option("--data", help="Folder holding <dataset>/ as parquet. Default: HLBENCH_DATA, else the Hub.")
]
Results = Annotated[Path | None, typer.Option("--results", help="Folder of records. Default: leaderboards/results.")]
Regime = Annotated[str, typer.Option("--regime", help="hl, sl, sl-kd, or all.")]
ProtocolId = Annotated[str | None, typer.Option("--protocol", help="Protocol id. Default: <dataset>/resnet18-<regime>, newest.")]
Seeds = Annotated[str | None, typer.Option("--seeds", help="Some of the protocol's seeds, as 0,1,2. Default: all.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:<i>.")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes that share the units (and the cores).")]
Offline = Annotated[bool, typer.Option("--offline", help="Ask nothing of the network.")]


@app.command(epilog="Example: hlbench demo --ipc 1,10")
def demo(
    ipc: Annotated[str, typer.Option("--ipc", help="Images per class: some of 1,5,10.")] = "1,5,10",
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete the records of earlier demos first.")] = False,
    workers: Workers = 1,
    device: Device = "auto",
) -> None:
    """Evaluate shipped digits sets on a processor, in minutes; print their board."""
    from harness import demo, progress, reports
    from harness.scoring.board import write_boards
    from harness.work import Machine

    root = project_root()
    folder = root / "runs" / "demo"
    units = demo.demo_units(root, _numbers(ipc, "--ipc"), folder / "results")
    if fresh:
        demo.forget(folder)
    summary = progress.run_with_progress(units, Machine(root, device=_device(device)), workers, reports.console())
    written = write_boards(root, folder / "results", folder)
    reports.print_rows(reports.board_rows(root, folder / "results"), as_json=False, title="digits, ResNet-18, hard labels")
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

    _set_offline(offline)
    findings = validation.validate(plan.submission_files(submissions), project_root(), fetch, offline, data)
    if as_json:
        errors = [str(error) for error in findings.errors]
        reports.print_json({"checks": findings.checks, "audits": findings.audits, "errors": errors})
    else:
        reports.print_rows(findings.checks, as_json)
        if findings.audits:
            reports.print_rows(findings.audits, as_json, title="Audit")
        for error in findings.errors:
            reports.print_error(error)
    raise typer.Exit(findings.exit_code)


@app.command("hash", epilog="Example: hlbench hash submissions/random/digits-ipc1/draw0.json")
def hash_path(path: Annotated[Path, typer.Argument(help="A file, or the folder that holds a set.")]) -> None:
    """Print the content_sha256 of a file or folder."""
    from harness import validation

    print(validation.local_content_sha256(path))


@app.command(epilog="Example: hlbench plan submissions/random --regime hl")
def plan(
    submissions: Submissions,
    regime: Regime = "hl",
    protocol: ProtocolId = None,
    seeds: Seeds = None,
    results: Results = None,
    device: Device = "auto",
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Show what `run` would do and cost; trains and downloads nothing."""
    from harness import forecast, plan, reports

    _set_offline(offline)
    root, results = _places(results)
    units = plan.plan_units(root, submissions, protocol, regime, _seeds(seeds), results)
    states = {unit.id: plan.unit_state(unit) for unit in units}
    to_do = [unit for unit in units if states[unit.id] == "missing"]
    costs = {
        "bytes_to_download": forecast.bytes_to_download(to_do, root),
        "seconds_to_train": forecast.estimate_seconds(to_do, results, forecast.gpu_for(_device(device))),
    }
    rows = [reports.unit_row(unit, states[unit.id]) for unit in units]
    if as_json:
        reports.print_json({"units": rows, **costs})
    else:
        reports.print_rows(rows, as_json)
        print(reports.plan_line(list(states.values()), **costs))


@app.command(epilog="Example: hlbench run submissions/random/digits-ipc1.yaml --seeds 0,1 --workers 2")
def run(
    submissions: Submissions,
    regime: Regime = "hl",
    protocol: ProtocolId = None,
    seeds: Seeds = None,
    workers: Workers = 1,
    shard: Annotated[str | None, typer.Option("--shard", help="i/N: the i-th of N parts of the units, 1-based.")] = None,
    device: Device = "auto",
    data: Data = None,
    results: Results = None,
    as_json: Json = False,
) -> None:
    """Train and measure what is not done yet, one record per unit. Run it again to resume."""
    from harness import plan, progress, reports
    from harness.work import Machine

    root, results = _places(results)
    units = plan.plan_units(root, submissions, protocol, regime, _seeds(seeds), results)
    if shard is not None:
        units = plan.take_shard(units, *_shard(shard))
    machine = Machine(root, data, _device(device))
    summary = progress.run_with_progress(units, machine, workers, reports.console(stderr=as_json))
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
    from harness.scoring import board, export
    from harness.scoring.check import check_boards

    root, results = _places(results)
    pages = out or results.parent
    exports = {"json": export.board_json, "csv": export.board_csv, "html": export.board_html}
    if form != "md" and form not in exports:
        raise UsageError(f"no format {form!r}", where="--format", fix="choose one of: md, json, csv, html")
    if check:
        _fail_on(check_boards(root, results, pages), "the pages are not what the records give", "run `hlbench leaderboard`")
        print("The pages are what the records give.")
    elif form == "md":
        print("\n".join(str(path) for path in board.write_boards(root, results, pages)))
    else:
        print(exports[form](root, results), end="")


@protocols_app.command("list", epilog="Example: hlbench protocols list")
def protocols_list(as_json: Json = False) -> None:
    """Every protocol, its epochs at IPC 10, and whether it is frozen."""
    from harness import freeze, reports

    reports.print_rows([summary._asdict() for summary in freeze.summaries(project_root())], as_json)


@protocols_app.command("show", epilog="Example: hlbench protocols show digits/resnet18-hl/v1")
def protocols_show(protocol_id: Annotated[str, typer.Argument(metavar="ID")], as_json: Json = False) -> None:
    """Every value of a protocol, and where it comes from."""
    from harness import reports
    from harness.protocols import find_protocol

    protocol = find_protocol(project_root(), protocol_id)
    reports.print_rows(
        reports.protocol_rows(protocol), as_json, title=f"{protocol.id}: {protocol.title} ({protocol.sha256[:12]})"
    )


@protocols_app.command("verify", epilog="Example: hlbench protocols verify")
def protocols_verify() -> None:
    """Fail when a frozen protocol, or the lock itself, was changed."""
    from harness import freeze

    _fail_on(freeze.verify(project_root()), "the protocols are not as they were frozen", "see each problem above")
    print("Every protocol is as it was frozen.")


@protocols_app.command("freeze", epilog="Example: hlbench protocols freeze cifar10/resnet18-hl/v2")
def protocols_freeze(protocol_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Freeze a new protocol for good: its hash goes into protocols/LOCK.json."""
    from datetime import UTC, datetime

    from harness import freeze

    entry = freeze.freeze(project_root(), protocol_id, datetime.now(UTC).date().isoformat())
    print(f"{protocol_id} frozen on {entry.frozen_on} as {entry.sha256}")


@protocols_app.command("diff", epilog="Example: hlbench protocols diff cifar10/resnet18-hl/v1 cifar100/resnet18-hl/v1")
def protocols_diff(
    a: Annotated[str, typer.Argument(metavar="A")], b: Annotated[str, typer.Argument(metavar="B")], as_json: Json = False
) -> None:
    """The values on which two protocols differ."""
    from harness import freeze, reports
    from harness.protocols import find_protocol

    root = project_root()
    reports.print_rows(reports.difference_rows(freeze.differences(find_protocol(root, a), find_protocol(root, b)), a, b), as_json)


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

        print_error(error)
        sys.exit(error.exit_code if isinstance(error, HlbenchError) else 1)


def _places(results: Path | None) -> tuple[Path, Path]:
    """(checkout, folder of records)."""
    root = project_root()
    return root, results or root / "leaderboards" / "results"


def _numbers(text: str, option: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{text!r} is not a list of numbers", where=option, fix="write them as 0,1,2") from None


def _seeds(text: str | None) -> tuple[int, ...] | None:
    return None if text is None else _numbers(text, "--seeds")


def _shard(text: str) -> tuple[int, int]:
    index, slash, count = text.partition("/")
    if not slash or not index.isdecimal() or not count.isdecimal():
        raise UsageError(f"{text!r} is not a shard", where="--shard", fix="write i/N with 1 <= i <= N, for example 1/4")
    return int(index), int(count)


def _device(text: str) -> str:
    kind, colon, number = text.partition(":")
    if text not in ("auto", "cpu", "cuda") and not (kind == "cuda" and colon and number.isdecimal()):
        raise UsageError(f"no device {text!r}", where="--device", fix="choose auto, cpu, cuda or cuda:<i>")
    return text


def _set_offline(offline: bool) -> None:
    """The Hub client reads this when it is first imported, which is later."""
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"


def _fail_on(problems: list[str], what: str, fix: str) -> None:
    if problems:
        raise CheckFailed(what, why="\n".join(problems), fix=fix)
