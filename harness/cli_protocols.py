"""`hlbench protocols`: list, show, verify, freeze, diff."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli_options import APP_SETTINGS, Json, fail_on
from harness.paths import project_root

protocols_app = typer.Typer(help="The frozen recipes that students are trained with.", **APP_SETTINGS)


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

    fail_on(freeze.verify(project_root()), "the protocols are not as they were frozen", "see each problem above")
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
