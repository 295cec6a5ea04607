"""Options that several verbs of `hlbench` share, and how their text becomes values."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from harness.errors import CheckFailed, UsageError
from harness.paths import project_root

APP_SETTINGS = {"add_completion": False, "rich_markup_mode": None, "pretty_exceptions_enable": False, "no_args_is_help": True}

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
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Units trained side by side. Default: one per GPU, or core (up to 8)."),
]
Offline = Annotated[bool, typer.Option("--offline", help="Ask nothing of the network.")]
DatasetName = Annotated[str, typer.Option("--dataset", help="digits, cifar10, cifar100, tiny-imagenet or imagenet-1k.")]
Ipc = Annotated[int, typer.Option("--ipc", min=1, help="Images per class.")]
Student = Annotated[str, typer.Option("--student", help="As protocols name it: resnet18, convnet-d3, convnet-d4.")]
Slug = Annotated[str | None, typer.Option("--slug", help="Folder below submissions/. Default: the method's name.")]
DrawCount = Annotated[int, typer.Option("--draws", min=1, max=20, help="Independent repetitions.")]
Draws = Annotated[str | None, typer.Option("--draws", help="Some of the submission's draws, as 0,1. Default: all.")]


def places(results: Path | None) -> tuple[Path, Path]:
    """(checkout, folder of records)."""
    root = project_root()
    return root, results or root / "leaderboards" / "results"


def numbers(text: str, option: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{text!r} is not a list of numbers", where=option, fix="write them as 0,1,2") from None


def numbers_or_all(text: str | None, option: str) -> tuple[int, ...] | None:
    """None, which stands for all, or the numbers listed."""
    return None if text is None else numbers(text, option)


def shard_of(text: str) -> tuple[int, int]:
    index, slash, count = text.partition("/")
    if not slash or not index.isdecimal() or not count.isdecimal():
        raise UsageError(f"{text!r} is not a shard", where="--shard", fix="write i/N with 1 <= i <= N, for example 1/4")
    return int(index), int(count)


def device_of(text: str) -> str:
    kind, colon, number = text.partition(":")
    if text not in ("auto", "cpu", "cuda") and not (kind == "cuda" and colon and number.isdecimal()):
        raise UsageError(f"no device {text!r}", where="--device", fix="choose auto, cpu, cuda or cuda:<i>")
    return text


def set_offline(offline: bool) -> None:
    """The Hub client reads this when it is first imported, which is later."""
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"


def fail_on(problems: list[str], what: str, fix: str) -> None:
    if problems:
        raise CheckFailed(what, why="\n".join(problems), fix=fix)
