"""The text of the leaderboard pages, from boards."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby, takewhile

from harness.scoring import cells
from harness.scoring.board_table import board_notes, board_table
from harness.scoring.cells import REGIME_NAMES, plural
from harness.scoring.contrast import contrasts
from harness.scoring.contrast_text import MEANING as CONTRAST_MEANING
from harness.scoring.contrast_text import contrast_section
from harness.scoring.dcs import PoolScores
from harness.scoring.figures import Figure
from harness.scoring.markdown import GENERATED, escape, file_link, table
from harness.scoring.places import Places
from harness.scoring.reported import Reported, reproductions
from harness.scoring.reported_text import HEADING as REPORTED
from harness.scoring.reported_text import reported_section, reproduced_section
from harness.scoring.rows import NotShown
from harness.scoring.side_by_side import REGIMES, Board
from harness.scoring.tables import Table

NOT_SHOWN = "Records not shown"
COMPARED = "compared with Random under the same protocol and IPC (Welch's test, Holm-corrected within each table, 5%)"

MEANING = """\
## What the numbers mean

- Every number is the accuracy in percent of the last epoch on the whole test split. No epoch, seed or draw is chosen on it.
- `mean ± half-width (draws x seeds)`: a 95% Student-t interval. With two or more draws it is taken over the draw means, with one
  draw over its seeds; such a row says nothing about another draw of the same method. One value has no interval (`n/a`).
- *Draw sd* is the standard deviation of the draw means, which holds a share of the students' luck; *seed sd* is that between
  students of the same draw.
- *Gap to Random* is the difference to the table's Random row in points, by Welch's test on the same values as the intervals;
  p-values are corrected (Holm) for the number of rows compared. `n.s.`: not significant at 5%, which does not mean equal.
  `not testable`: there is one draw of Random (one random set is not Random), a row has a single value, or neither row has any
  spread. A row of one draw speaks for that set, not for its method.
- *Gap to best coreset*, of distilled rows, is the difference to the coreset with the highest mean, Random among them. The highest
  of several means is an optimistic estimate, so these gaps lean towards the coreset; their p-values are corrected (Holm) for
  every pair of a distilled row and a coreset of the table, whichever coreset comes out best.
- *Share of full* is a row's accuracy as a share of what a student reaches that was trained on the whole training set for as many
  images seen, under the same protocol. That yardstick has no rank and is in no test.
- *Rank* is an interval, by accuracy under HL, from the same test on all pairs of the table, corrected together (Holm, 5%): from
  one plus the rows significantly better, to all but the rows significantly worse. Neighbours that are not told apart share ranks.
  The highest of several means is an optimistic estimate of that row.
- Students that diverged or failed have no accuracy: they are counted, and not averaged.
- A column holds one protocol at one IPC. Numbers of different protocols, or versions of one, are never in the same column.
"""


def index_page(
    boards: Sequence[Board], not_shown: Sequence[NotShown], reported: Sequence[Reported] = (), scored: Sequence[str] = ()
) -> str:
    """README.md: one line per dataset, student and IPC. `scored`: datasets with a DCS page."""
    datasets = len({board.dataset for board in boards})
    head = ["# Leaderboards", f"{plural(datasets, 'dataset')}, {plural(len(boards), 'table')}. {_verdict(boards)}"]
    headers = ["Table", "Dataset", "IPC", "Rows", "Highest mean", "its rank", "Random", "Gap to Random"]
    spreads = [_spreads(board) for board in boards]
    contrasted = any(spreads)
    body = [
        [*_index_row(board), *([spread or cells.NOTHING] if contrasted else [])]
        for board, spread in zip(boards, spreads, strict=True)
    ]
    parts = [table([*headers, *(["Spread, seed sigmas"] if contrasted else [])], body)] if boards else ["No record yet."]
    if scored:
        links = [file_link(name, f"{name}-dcs.md") for name in dict.fromkeys(scored)]
        parts.append(f"Does a method's loss track what students learn (DCS): {cells.listed(links)}.")
    parts += [_reported_pages(reported)] if reported else []
    meanings = [MEANING.rstrip(), *([CONTRAST_MEANING.rstrip()] if contrasted else [])]
    return _page([*head, *parts, *meanings, *_not_shown(not_shown)])


def dataset_page(
    dataset: str,
    boards: Sequence[Board],
    not_shown: Sequence[NotShown],
    places: Places,
    figures: Sequence[Figure] = (),
    reported: Sequence[Reported] = (),
    pools: Sequence[PoolScores] = (),
) -> str:
    """<dataset>.md: a section per student, a board per IPC; then what others reported. `figures` are those of the boards."""
    head = [
        f"# {dataset}",
        f"{plural(len(boards), 'table')}. {_verdict(boards)}" if boards else "No record yet.",
        "[All datasets, and what the numbers mean](README.md)",
    ]
    hidden = sum(entry.records for entry in not_shown if entry.folder.startswith(f"{dataset}/"))
    if hidden:
        head.append(f"{plural(hidden, 'record')} of this dataset not shown: [reasons](README.md#{_anchor(NOT_SHOWN)}).")
    sections = []
    for _, group in groupby(boards, _section):
        of_section = list(group)
        sections.append(f"## {_section_title(of_section)}")
        for board in of_section:
            of_student = [one for one in pools if one.student == board.student and one.students and one.objectives]
            scores = max(of_student, key=lambda one: one.pool.version, default=None)
            sections += _board(board, places, [figure for figure in figures if figure.board == board.name], scores)
    found = reproductions(reported, [one for board in boards for one in board.tables])
    return _page([*head, *sections, *reproduced_section(found), *reported_section(reported)])


def _board(board: Board, places: Places, figures: Sequence[Figure], scores: PoolScores | None) -> list[str]:
    """Contrast first, then the rows, then the figures."""
    contrast = [contrast_section(one) for one in contrasts(board)]
    if not contrast and len(board.tables) > 1:
        contrast = ["No contrast: HL, or every regime beside it, has no result here."]
    images = [f"![{figure.alt}]({figure.name})" for figure in figures]
    return [f"### {board.name}", *contrast, board_table(board, places, scores), board_notes(board, places, scores), *images]


def _section(board: Board) -> tuple[str, str]:
    """A student's current boards are one section; those of each older version of a protocol are another."""
    return board.student, board.main.protocol.id if board.superseded else ""


def _section_title(boards: Sequence[Board]) -> str:
    """The protocol's title when there is one protocol, else the words that all the titles start with, up to a comma."""
    protocols = {one.protocol.id: one.protocol for board in boards for one in board.tables}
    titles = [protocol.title.split(", ") for protocol in protocols.values()]
    shared = [parts[0] for parts in takewhile(lambda parts: len(set(parts)) == 1, zip(*titles, strict=False))]
    version = f" ({boards[0].main.protocol.id.rsplit('/', 1)[1]}, superseded)" if boards[0].superseded else ""
    return escape(", ".join(shared) or boards[0].student) + version


def _page(parts: Sequence[str]) -> str:
    return "\n\n".join([GENERATED, *parts]) + "\n"


def _verdict(boards: Sequence[Board]) -> str:
    """How the rows fare against Random, in counts by regime: what the tests say and no more."""
    tables = [one for board in boards for one in board.tables]
    by_regime = {regime: [one for one in tables if one.regime == regime] for regime in REGIMES}
    measured = {regime: of_regime for regime, of_regime in by_regime.items() if of_regime}
    if len(measured) < 2:
        rows, compared, counts = _counts(tables)
        if not compared:
            return f"{plural(rows, 'row')}; none can be compared with Random under the same protocol and IPC yet."
        return f"{plural(rows, 'row')}, of which {compared} {COMPARED}: {counts}."
    parts = []
    for regime, of_regime in measured.items():
        rows, compared, counts = _counts(of_regime)
        parts.append(f"{REGIME_NAMES[regime]} {compared} of {plural(rows, 'row')}{f': {counts}' if compared else ''}.")
    return f"Rows {COMPARED}: {' '.join(parts)}"


def _counts(tables: Sequence[Table]) -> tuple[int, int, str]:
    """Rows, rows compared with Random, and how those fare."""
    rows = [row for one in tables for row in one.rows]
    gaps = [row.gap for row in rows if row.gap is not None]
    better = sum(gap.significant and gap.points > 0 for gap in gaps)
    worse = sum(gap.significant and gap.points < 0 for gap in gaps)
    untested = sum(gap.p is None for gap in gaps)
    counts = (
        f"{better} significantly better, {worse} significantly worse, {len(gaps) - better - worse - untested} not told apart, "
        f"{untested} not testable"
    )
    return len(rows), len(gaps), counts


def _index_row(board: Board) -> list[str]:
    """Accuracies and gap are those of the board's main table, HL where it was measured."""
    main, dataset = board.main, board.dataset
    top, baseline = next(iter(main.rows), None), main.baseline
    name = main.protocol.id if len(board.tables) == 1 else f"{dataset}/{board.student}"
    gap = cells.gap(top.gap) if top else cells.NOTHING
    return [
        file_link(name, f"{dataset}.md#{_anchor(board.name)}"),
        dataset,
        str(board.ipc),
        str(len(board.ranked_rows)),
        f"{top.row.submission.slug}: {cells.accuracy(top)}" if top else cells.NOTHING,
        cells.rank(top.rank) if top and main.regime == "hl" else cells.NOTHING,
        cells.accuracy(baseline) if baseline else cells.NOTHING,
        "is Random" if baseline and baseline is top else gap,
    ]


def _spreads(board: Board) -> str:
    """`HL 12.34, SL 3.10` for every contrast of a board; empty without one."""
    return "; ".join(
        ", ".join(f"{REGIME_NAMES[one.regime]} {cells.number(one.sigmas)}" for one in contrast.regimes)
        for contrast in contrasts(board)
    )


def _reported_pages(reported: Sequence[Reported]) -> str:
    links = [file_link(name, f"{name}.md#{_anchor(REPORTED)}") for name in sorted({entry.dataset for entry in reported})]
    return f"{REPORTED}: {cells.listed(links)}."


def _not_shown(entries: Sequence[NotShown]) -> list[str]:
    if not entries:
        return []
    lines = [f"- {escape(entry.folder)}: {plural(entry.records, 'record')}: {entry.reason}." for entry in entries]
    return [f"## {NOT_SHOWN}", "\n".join(lines)]


def _anchor(heading: str) -> str:
    """The id GitHub gives a heading of plain words."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
