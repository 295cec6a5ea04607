"""The tables as JSON, CSV and HTML, for programs and spreadsheets: one flat entry per row."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tabulate

from harness.scoring.gaps import Gap
from harness.scoring.markdown import visible
from harness.scoring.rows import read_rows
from harness.scoring.tables import RankedRow, Table, build_tables

FORMULA_START = ("=", "+", "-", "@", "＝", "＋", "－", "＠")


def board_json(root: Path, results: Path) -> str:
    """`{"rows": [...], "not_shown": [...]}`; a row also holds `top1_by_draw` and `top5_by_draw`, one list of seeds per draw.

    Raises as `build_boards`.
    """
    rows, not_shown = read_rows(root, results)
    entries = [
        {**_entry(table, ranked), "top1_by_draw": ranked.row.top1, "top5_by_draw": ranked.row.top5}
        for table in build_tables(rows)
        for ranked in table.all_rows
    ]
    return json.dumps({"rows": entries, "not_shown": [asdict(entry) for entry in not_shown]}, indent=1, ensure_ascii=False) + "\n"


def board_csv(root: Path, results: Path) -> str:
    """A header line and one line per row. Text that a spreadsheet would run as a formula starts with an apostrophe."""
    entries = _entries(root, results)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_columns(entries))
    writer.writerows([_csv_cell(value) for value in entry.values()] for entry in entries)
    return text.getvalue()


def board_html(root: Path, results: Path) -> str:
    """A page with one table, every cell escaped."""
    entries = _entries(root, results)
    cells = [["" if value is None else visible(str(value)) for value in entry.values()] for entry in entries]
    table = tabulate.tabulate(cells, headers=_columns(entries), tablefmt="html", disable_numparse=True)
    return f'<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">\n<title>hlbench leaderboards</title>\n{table}\n</html>\n'


def _entries(root: Path, results: Path) -> list[dict[str, Any]]:
    tables = build_tables(read_rows(root, results)[0])
    return [_entry(table, ranked) for table in tables for ranked in table.all_rows]


def _entry(table: Table, ranked: RankedRow) -> dict[str, Any]:
    """Accuracies in percent and gaps in points to four decimals, p to four significant digits; None where there is no number."""
    row, protocol = ranked.row, table.protocol
    top1, top5, gap, to_coreset = ranked.top1, ranked.top5, ranked.gap, ranked.gap_to_coreset
    rank_best, rank_worst = ranked.rank or (None, None)
    return {
        "dataset": row.submission.dataset,
        "protocol": protocol.id,
        "protocol_sha256": protocol.sha256,
        "regime": protocol.regime,
        "ipc": table.ipc,
        "rank_best": rank_best,
        "rank_worst": rank_worst,
        "slug": row.submission.slug,
        "submission_sha256": row.submission.digest,
        "title": row.submission.title,
        "kind": row.submission.kind,
        "method": row.submission.method,
        "top1": _rounded(top1 and top1.mean),
        "top1_half_width": _rounded(top1 and top1.half_width),
        "top5": _rounded(top5 and top5.mean),
        "top5_half_width": _rounded(top5 and top5.half_width),
        "interval_over": None if top1 is None else "draws" if len(row.top1) > 1 else "seeds",
        "interval_n": top1 and top1.n,
        "draw_sd": _rounded(ranked.draw_sd),
        "seed_sd": _rounded(ranked.seed_sd),
        "gap_to_random": _rounded(gap and gap.points),
        "gap_p": _p(gap),
        "is_random": ranked is table.baseline,
        "gap_to_best_coreset": _rounded(to_coreset and to_coreset.points),
        "gap_to_best_coreset_p": _p(to_coreset),
        "is_best_coreset": ranked is table.best_coreset,
        "is_full_dataset": ranked is table.full_row,
        "share_of_full_dataset": _rounded(table.share_of_full(ranked)),
        "runs": len(row.records),
        "runs_planned": row.planned,
        "diverged": row.count("diverged"),
        "failed": row.count("failed"),
        "paper": row.submission.paper,
        "code": row.submission.code,
    }


def _columns(entries: list[dict[str, Any]]) -> list[str]:
    return list(entries[0]) if entries else []


def _p(gap: Gap | None) -> float | None:
    return None if gap is None or gap.p is None else float(f"{gap.p:.4g}")


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _csv_cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = visible(value)
    return f"'{text}" if text.startswith(FORMULA_START) else text
