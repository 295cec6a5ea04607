"""Are the committed pages and figures those that the records give? If not: which files, which rows, which cells."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from harness.scoring.board import build_boards, generated_files
from harness.scoring.markdown import visible
from harness.scoring.svg import numbers_of

Rows = dict[tuple[str, str], dict[str, str]]

FIRST_LINK = re.compile(r"\]\(([^)]*)\)")
SUBMISSION_LINK = re.compile(r"submissions/([a-z0-9-]+)/[a-z0-9-]+-(ipc[0-9]+)\.yaml$")
EXCERPT = 80  # characters shown of a line that differs


def check_boards(root: Path, results: Path, out: Path) -> list[str]:
    """One sentence per difference between the files in `out` and those the records give; empty when the bytes are the same.

    Raises RecordError when a record was altered, SubmissionError, ProtocolError or ReportedError when a file is malformed.
    """
    files = build_boards(root, results, out)
    shown = out.resolve().relative_to(root.resolve()) if out.resolve().is_relative_to(root.resolve()) else out
    differences = []
    for name, text in files.items():
        path, place = out / name, (shown / name).as_posix()
        if not path.is_file():
            differences.append(f"{place}: missing")
        elif path.read_bytes() != text.encode():
            committed = path.read_bytes().decode("utf-8", errors="replace")
            compare = compare_pages if path.suffix == ".md" else compare_figures
            differences += compare(place, committed, text)
    extra = [name for path in generated_files(out) if (name := path.relative_to(out).as_posix()) not in files]
    return differences + [f"{(shown / name).as_posix()}: extra, no record belongs to it" for name in extra]


def compare_figures(place: str, committed: str, built: str) -> list[str]:
    """Stale numbers, or the same numbers in another drawing."""
    if numbers_of(committed) != numbers_of(built):
        return [f"{place}: drawn from other numbers than the records give"]
    return [f"{place}: the right numbers, drawn otherwise: edited, or by another matplotlib than constraints.txt names"]


def compare_pages(place: str, committed: str, built: str) -> list[str]:
    """Differences row by row and cell by cell; for pages whose rows agree, the first line that differs."""
    before, after = _rows(committed), _rows(built)
    differences = []
    for heading, key in sorted(before.keys() | after.keys()):
        row = f"{place}: row {_row_name(key)}{f' ({heading})' if heading else ''}"
        if (heading, key) not in before:
            differences.append(f"{row}: not committed, in the records")
        elif (heading, key) not in after:
            differences.append(f"{row}: committed, not in the records")
        else:
            old, new = before[heading, key], after[heading, key]
            changed = [column for column in {**new, **old} if old.get(column) != new.get(column)]
            differences += [
                f"{row}: {column}: {old.get(column, 'nothing')} committed, {new.get(column, 'nothing')} from records"
                for column in changed
            ]
    return differences or [f"{place}: rows agree, text differs, first in {_first_difference(committed, built)}"]


def _rows(page: str) -> Rows:
    """Cells of every table row, by (heading above it, first link in it, else first cell): escaping leaves no pipe inside a cell.

    A row without a link whose first cell stands higher up under the same heading is numbered: `random (2)`.
    """
    found: Rows = {}
    heading, headers = "", []
    for line in page.split("\n"):
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if not line.startswith("|"):
            headers = []
            heading = line.lstrip("# ") if line.startswith("#") else heading
        elif not headers:
            headers = cells
        elif not set(line) <= set("|- "):
            link = FIRST_LINK.search(line)
            key = link[1] if link else cells[0]
            again = sum(named == heading and other.split(" (")[0] == key for named, other in found)
            found[heading, f"{key} ({again + 1})" if again and not link else key] = dict(zip(headers, cells, strict=False))
    return found


def _row_name(key: str) -> str:
    named = SUBMISSION_LINK.search(key)
    return f"{named[1]} {named[2]}" if named else key


def _first_difference(committed: str, built: str) -> str:
    """`line 11: "... than Random are 2 of 2 under HL" committed, "... than Random are 1 of 2 under HL" from records`."""
    old, new = committed.split("\n"), built.split("\n")
    line = _shared(old, new)
    before, after = ("".join(lines[line : line + 1]) for lines in (old, new))
    start = before.rfind(" ", 0, max(0, _shared(before, after) - EXCERPT // 2)) + 1  # of a word that both lines have
    return f"line {line + 1}: {_excerpt(before, start)} committed, {_excerpt(after, start)} from records"


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of what both start with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, pair in pairs if pair[0] != pair[1]), min(len(one), len(other)))


def _excerpt(line: str, start: int) -> str:
    words = visible(line[start : start + EXCERPT])
    return f'"{"... " if start else ""}{words}{" ..." if line[start + EXCERPT :] else ""}"' if words else "nothing"
