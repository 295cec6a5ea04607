"""The leaderboard pages of a checkout, rebuilt from its records: the same files give the same bytes on every machine."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from harness.errors import UsageError
from harness.scoring.pages import GENERATED, Places, dataset_page, index_page
from harness.scoring.rows import read_rows
from harness.scoring.tables import build_tables


def build_boards(root: Path, results: Path, out: Path | None = None) -> dict[str, str]:
    """Page name (`README.md`, `digits.md`) to Markdown text.

    Args:
        root: the checkout, for submissions and protocols.
        results: the folder of records, `leaderboards/results` or that of a demo.
        out: the folder the pages will lie in, which links start from; None means the one that holds `results`.

    Raises RecordError, SubmissionError or ProtocolError when a file is malformed or a record was altered, and UsageError when
    there is no folder `results`.
    """
    if not results.is_dir():
        raise UsageError(
            "there is no such folder of records", where=str(results), fix="name the folder that `hlbench run` wrote to"
        )
    rows, not_shown = read_rows(root, results)
    tables = build_tables(rows)
    places = Places(root, results, results.resolve().parent if out is None else out)
    pages = {"README.md": index_page(tables, not_shown)}
    for dataset, group in groupby(tables, lambda table: table.protocol.dataset.name):
        pages[f"{dataset}.md"] = dataset_page(dataset, list(group), not_shown, places)
    return pages


def write_boards(root: Path, results: Path, out: Path) -> list[Path]:
    """Write every page into `out`, remove pages made earlier that no record belongs to, and return the paths of the pages.

    Raises as `build_boards`, and UsageError when a page would replace a file of somebody's own; then writes nothing.
    """
    pages = build_boards(root, results, out)
    own = [out / name for name in pages if (out / name).exists() and not _is_generated(out / name)]
    if own:
        raise UsageError(
            "a file that is no leaderboard page is in the way", where=str(own[0]), fix="choose another folder with --out"
        )
    if len(pages) == 1 and len(generated_pages(out)) > 1:
        raise UsageError("no record to show, and pages that would be lost", where=str(results), fix="check --results and --out")
    out.mkdir(parents=True, exist_ok=True)
    for path in generated_pages(out):
        if path.name not in pages:
            path.unlink()
    for name, text in pages.items():
        (out / name).write_bytes(text.encode())
    return [out / name for name in pages]


def generated_pages(out: Path) -> list[Path]:
    """Pages in `out` that this module once wrote, sorted; other Markdown files there are somebody's own."""
    return sorted(path for path in out.glob("*.md") if _is_generated(path))


def _is_generated(path: Path) -> bool:
    return path.read_bytes().startswith(GENERATED.encode())
