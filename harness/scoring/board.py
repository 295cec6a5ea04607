"""The leaderboard pages of a checkout, rebuilt from its records: the same files give the same bytes on every machine."""

from __future__ import annotations

from pathlib import Path

from harness.errors import UsageError
from harness.scoring.dcs import read_pool_scores
from harness.scoring.dcs_figures import pool_figure
from harness.scoring.dcs_page import dcs_page
from harness.scoring.dcs_reported import REPORTED, read_reported_scores
from harness.scoring.figures import FOLDER, board_figures
from harness.scoring.markdown import GENERATED
from harness.scoring.pages import dataset_page, index_page
from harness.scoring.places import Places
from harness.scoring.reported import read_reported, reported_folder
from harness.scoring.rows import read_rows
from harness.scoring.side_by_side import boards_of
from harness.scoring.tables import build_tables

RESULTS = Path("leaderboards") / "results"


def build_boards(root: Path, results: Path, out: Path | None = None) -> dict[str, str]:
    """File name to text: Markdown pages (`README.md`, `digits.md`), then the figures they embed (`figures/....svg`).

    Args:
        root: the checkout, for submissions and protocols.
        results: the folder of records, `leaderboards/results` or that of a demo; reported figures lie beside it.
        out: the folder the pages will lie in, which links start from; None means the one that holds `results`.

    Raises RecordError, SubmissionError, ProtocolError or ReportedError when a file is malformed or a record was altered, and
    UsageError when there is no folder `results`.
    """
    if not results.is_dir():
        raise UsageError(
            "there is no such folder of records", where=str(results), fix="name the folder that `hlbench run` wrote to"
        )
    rows, not_shown = read_rows(root, results)
    boards = boards_of(build_tables(rows))
    reported = read_reported(reported_folder(results))
    places = Places(root, results, results.resolve().parent if out is None else out)
    # Beside the records, as reported figures are, lie the tables of losses and errors; a demo has neither.
    pools = read_pool_scores(root) if is_the_projects(root, results) else ()
    pages = {"README.md": index_page(boards, not_shown, reported, [scores.pool.recipe.dataset for scores in pools])}
    figures = {}
    scored = {scores.pool.recipe.dataset for scores in pools}
    for dataset in sorted({board.dataset for board in boards} | {entry.dataset for entry in reported} | scored):
        of_dataset = [board for board in boards if board.dataset == dataset]
        drawn = [figure for board in of_dataset for figure in board_figures(board)]
        printed = [entry for entry in reported if entry.dataset == dataset]
        of_pools = [scores for scores in pools if scores.pool.recipe.dataset == dataset]
        pages[f"{dataset}.md"] = dataset_page(dataset, of_dataset, not_shown, places, drawn, printed, of_pools)
        if of_pools:
            scattered = [
                pool_figure(one.pool.stem, each.objective, each.points)
                for one in of_pools
                for each in one.objectives
                if each.points
            ]
            printed_scores = read_reported_scores(results.parent / REPORTED)
            pages[f"{dataset}-dcs.md"] = dcs_page(dataset, of_pools, places, scattered, printed_scores)
            drawn += scattered
        figures |= {figure.name: figure.svg for figure in drawn}
    return pages | figures


def is_the_projects(root: Path, results: Path) -> bool:
    return results.resolve() == (root / RESULTS).resolve()


def write_boards(root: Path, results: Path, out: Path) -> list[Path]:
    """Write every page and figure into `out`, remove those made earlier that no record belongs to, and return their paths.

    Raises as `build_boards`, and UsageError when a page would replace a file of somebody's own; then writes nothing.
    """
    files = build_boards(root, results, out)
    own = [out / name for name in files if (out / name).exists() and not is_generated(out / name)]
    if own:
        raise UsageError(
            "a file that is no leaderboard page is in the way", where=str(own[0]), fix="choose another folder with --out"
        )
    extra = [path for path in generated_files(out) if path.relative_to(out).as_posix() not in files]
    if extra and not read_rows(root, results)[0]:
        raise UsageError("no record to show, and pages that would be lost", where=str(results), fix="check --results and --out")
    out.mkdir(parents=True, exist_ok=True)
    for path in extra:
        path.unlink()
    for name, text in files.items():
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(text.encode())
    return [out / name for name in files]


def generated_files(out: Path) -> list[Path]:
    """Pages and figures in `out` that this module once wrote, sorted; other files there are somebody's own."""
    return [path for path in (*sorted(out.glob("*.md")), *sorted((out / FOLDER).glob("*.svg"))) if is_generated(path)]


def is_generated(path: Path) -> bool:
    """A page starts with the mark, a figure has it behind its XML declaration."""
    return GENERATED.encode() in path.read_bytes()[:500]
