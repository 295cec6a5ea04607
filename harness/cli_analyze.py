"""`hlbench analyze`: figures and pages about what was recorded."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from harness.cli_options import APP_SETTINGS, Data, DatasetName, Json, fail_on
from harness.paths import project_root

analyze_app = typer.Typer(help="Figures and pages about what was recorded.", **APP_SETTINGS)

OUT = Path("leaderboards") / "analysis"


@analyze_app.command(
    epilog="Example: hlbench analyze scores --dataset digits --hl digits/resnet18-hl-v1-full --sl digits/resnet18-sl-v1-full"
)
def scores(
    dataset: DatasetName,
    hl: Annotated[str, typer.Option("--hl", help="A recording under an hl protocol, as `hlbench dynamics list` names it.")],
    sl: Annotated[str, typer.Option("--sl", help="One under an sl protocol, otherwise made with the same options.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write into. Default: leaderboards/analysis.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail when page or figure is not what the recordings give.")
    ] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """EL2N and EL2N-SL of an HL- and an SL-trained student: histograms, spread, rank correlations, as a page."""
    from harness import reports
    from harness.analysis.score_page import page_files, stale
    from harness.analysis.scores import compare, facts
    from harness.datasets import load_split
    from harness.dynamics.artifact import open_dynamics
    from harness.dynamics.places import find_folder

    root = project_root()
    folders = [find_folder(root, named) for named in (hl, sl)]
    split = load_split(dataset, "train", data)
    comparison = compare(*(open_dynamics(folder, split.labels, split.fingerprint, verify=True) for folder in folders))
    hl, sl = (recording_name(root, folder) for folder in folders)
    command = shlex.join(["hlbench", "analyze", "scores", "--dataset", dataset, "--hl", hl, "--sl", sl])
    files, out = page_files(comparison, command), out or root / OUT
    if check:
        fail_on(stale(files, out), "the page is not what the recordings give", f"make it again: {command}")
    else:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (out / name).write_text(text, encoding="utf-8")
    if as_json:
        reports.print_json(facts(comparison))
    else:
        print("The page is what the recordings give." if check else "\n".join(str(out / name) for name in files))


def recording_name(root: Path, folder: Path) -> str:
    """`<dataset>/<name>` where that is how to name the recording, else its folder."""
    from harness.dynamics.artifact import folders
    from harness.dynamics.places import places

    found = {known.resolve() for known in folders(places(root))}
    return f"{folder.resolve().parent.name}/{folder.resolve().name}" if folder.resolve() in found else str(folder)
