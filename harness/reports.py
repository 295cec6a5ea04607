"""What verbs print: tables for people, the same rows as JSON for programs, and errors."""

from __future__ import annotations

import functools
import json
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HlbenchError

if TYPE_CHECKING:
    from rich.console import Console

    from harness.freeze import Difference
    from harness.plan import Unit
    from harness.protocols import Protocol
    from harness.runner import Summary
    from harness.scoring.side_by_side import Board, BoardRow

PIPED_WIDTH = 200  # columns of a table that no terminal bounds


def console(stderr: bool = False) -> Console:
    """Where text goes: standard output, or standard error while JSON has the other."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else PIPED_WIDTH)


def print_rows(rows: list[dict[str, Any]], as_json: bool, title: str = "") -> None:
    """A table whose columns are the rows' keys, or the rows as a JSON list."""
    if as_json:
        print_json(rows)
        return
    from rich.table import Table
    from rich.text import Text

    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(title=Text(title) if title else None, title_justify="left")
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*[Text(_cell(row.get(column))) for column in columns])
    console().print(table)


def print_json(value: object) -> None:
    print(json.dumps(value, indent=1, ensure_ascii=False))


def print_error(error: Exception) -> None:
    """On standard error: an expected failure in full, an unexpected one in a line, with its traceback under --debug."""
    if isinstance(error, HlbenchError):
        print(f"Error: {error}", file=sys.stderr)
    else:
        hint = "" if debugging() else "\n  fix: this is a fault of hlbench; run it again with --debug and report what it prints"
        print(f"Unexpected {type(error).__name__}: {error}{hint}", file=sys.stderr)
    if debugging():
        traceback.print_exception(error)


def debugging() -> bool:
    """Whether --debug was given; an environment variable, so that worker processes know it too."""
    return bool(os.environ.get("HLBENCH_DEBUG"))


def audit_rows(audits: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per fact: a draw has too many of them for one line of a terminal."""
    return [
        {"draw": f"{facts['submission']} draw {facts['draw']}", "fact": name.replace("_", " "), "value": value}
        for facts in audits
        for name, value in facts.items()
        if name not in ("submission", "draw")
    ]


def unit_row(unit: Unit, state: str) -> dict[str, Any]:
    return {
        "submission": f"{unit.submission.slug}/{unit.submission.dataset}-ipc{unit.submission.ipc}",
        "draw": unit.draw,
        "protocol": unit.protocol.id,
        "seed": unit.seed,
        "state": state,
        "id": unit.id[:12],
    }


def summary_facts(summary: Summary) -> dict[str, Any]:
    return {
        "units": summary.total,
        "done_before": summary.done_before,
        "done_now": summary.finished,
        "claimed_by_another_run": summary.claimed,
        "errors": [{"unit": event.unit, "error": event.text} for event in summary.failures],
    }


def plan_line(states: list[str], bytes_to_download: int | None, seconds_to_train: float | None) -> str:
    """`9 units: 3 done, 6 missing; download 1.2 MB; about 4 min of training`, saying so where a cost is not known."""
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    download = "unknown, the Hub does not answer" if bytes_to_download is None else f"{readable_bytes(bytes_to_download)} at most"
    unknown = "unknown, no earlier record of such a student on this machine"
    training = unknown if seconds_to_train is None else f"about {readable_seconds(seconds_to_train)} one after the other"
    return f"{len(states)} units: {counts}. Sets to download: {download}. Training: {training}."


def protocol_rows(protocol: Protocol) -> list[dict[str, Any]]:
    """One row per leaf of the protocol's file."""
    return [
        {"key": key, "value": str(_value_at(protocol, key)), "from": word, "why": why}
        for key, (word, why) in protocol.provenance.items()
    ]


def difference_rows(differences: list[Difference], a: str, b: str) -> list[dict[str, Any]]:
    return [
        {
            "key": difference.key,
            a: _sourced(difference.value_a, difference.provenance_a),
            b: _sourced(difference.value_b, difference.provenance_b),
        }
        for difference in differences
    ]


def print_boards(root: Path, results: Path) -> None:
    """The leaderboard's boards, one below the other: the rows, then what the contrast of regimes says, as the pages word it."""
    from harness.scoring.contrast import contrasts
    from harness.scoring.contrast_text import sentences
    from harness.scoring.rows import read_rows
    from harness.scoring.side_by_side import boards_of
    from harness.scoring.tables import build_tables

    for board in boards_of(build_tables(read_rows(root, results)[0])):
        print_rows(board_rows(board), as_json=False, title=f"{board.dataset}, {board.student}, IPC {board.ipc}")
        for contrast in contrasts(board):
            console().print(sentences(contrast), markup=False)


def board_rows(board: Board) -> list[dict[str, str]]:
    """One per row of a board: accuracy in percent under every regime, and the gap to Random under the first (HL)."""
    from harness.scoring import cells

    def row(entry: BoardRow) -> dict[str, str]:
        main = entry.by_regime.get(board.main.regime)
        accuracies = {
            f"{cells.REGIME_NAMES[regime]} top-1 %": cells.accuracy(entry.by_regime[regime]) if regime in entry.by_regime else "-"
            for regime in board.regimes
        }
        name = {"rank": cells.rank(main.rank if main else None), "submission": entry.submission.title}
        return {
            **name,
            **accuracies,
            f"{cells.REGIME_NAMES[board.main.regime]} gap to Random": cells.gap(main.gap if main else None),
        }

    return [row(entry) for entry in board.rows]


def readable_bytes(count: float) -> str:
    """`12.3 MB`, in powers of 1000 as the Hub shows sizes."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def readable_seconds(seconds: float) -> str:
    """`45 s`, `12 min`, `3.4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _value_at(protocol: Protocol, key: str) -> Any:
    return functools.reduce(getattr, key.split("."), protocol)


def _sourced(value: Any, provenance: tuple[str, str] | None) -> str | None:
    return None if provenance is None else f"{value} ({provenance[0]})"


def _cell(value: object) -> str:
    return "-" if value is None else str(value)
