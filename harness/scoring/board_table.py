"""One board as a Markdown table, a column for every regime that has rows, and the notes below it."""

from __future__ import annotations

from harness.scoring import cells
from harness.scoring.cells import NOTHING, REGIME_NAMES, listed
from harness.scoring.markdown import escape, file_link, table, web_link
from harness.scoring.places import Places
from harness.scoring.side_by_side import Board, BoardRow
from harness.scoring.stats import minimum_detectable_difference, replicates
from harness.scoring.tables import RankedRow, Table


def board_table(board: Board, places: Places) -> str:
    """Rank, top-5 and deviations are those of the main table (HL); accuracy, gap to Random and share of full of every regime."""
    main = board.main.regime
    headers = ["Rank", "Submission", "Kind", "Method", *(f"{REGIME_NAMES[regime]} top-1" for regime in board.regimes)]
    headers += [_header(board, main, name) for name in ("Top-5", "Draw sd", "Seed sd")]
    headers += [_header(board, regime, "Gap to Random") for regime in board.regimes]
    headers += [_header(board, one.regime, "Share of full") for one in _with_full(board)]
    return table([*headers, "Links"], [_cells(row, board, places) for row in board.rows])


def board_notes(board: Board, places: Places) -> str:
    """Protocol and hash of every column, what the table can find, what is missing from it."""
    rows = [(one, ranked.row) for one in board.tables for ranked in (*one.rows, *one.full_rows)]
    notes = [f"{_of(board, one)}{_protocol(one, places)}" for one in board.tables]
    splits = sorted(set().union(*(row.test_fingerprints for _, row in rows)))
    if len(splits) > 1:
        notes.append(f"**{len(splits)} different copies of the test split were used: these rows cannot be compared.**")
    notes += [f"{_of(board, one)}{_detectable(one)}" for one in board.tables]
    short = [
        f"{_of(board, one)}{row.submission.slug} ({len(row.records)} of {row.planned} runs)"
        for one, row in rows
        if len(row.records) < row.planned
    ]
    if short:
        notes.append(f"Not complete: {listed(short)}.")
    notes.append(f"Diverged students: {sum(row.count('diverged') for _, row in rows)}.")
    return "\n".join(f"- {note}" for note in notes)


def _header(board: Board, regime: str, name: str) -> str:
    """`Seed sd` for a board of one regime, `HL seed sd` for one of several."""
    return name if len(board.tables) == 1 else f"{REGIME_NAMES[regime]} {name[0].lower()}{name[1:]}"


def _of(board: Board, one: Table) -> str:
    return "" if len(board.tables) == 1 else f"{REGIME_NAMES[one.regime]}: "


def _with_full(board: Board) -> list[Table]:
    return [one for one in board.tables if one.full]


def _cells(row: BoardRow, board: Board, places: Places) -> list[str]:
    submission, measured = row.submission, row.by_regime
    hard, main = measured.get("hl"), measured.get(board.main.regime)
    return [
        cells.rank(hard.rank if hard else None),
        f"{file_link(submission.title, places.project(submission.relative_path))} ({submission.slug})",
        submission.kind,
        escape(submission.method),
        *(cells.accuracy(measured[regime]) if regime in measured else NOTHING for regime in board.regimes),
        cells.interval(main.top5 if main else None),
        cells.number(main.draw_sd if main else None),
        cells.number(main.seed_sd if main else None),
        *(_gap(measured.get(one.regime), one) for one in board.tables),
        *(_share(measured.get(one.regime), one) for one in _with_full(board)),
        _links(row, board, places),
    ]


def _gap(ranked: RankedRow | None, one: Table) -> str:
    if ranked is None:
        return NOTHING
    return "is Random" if ranked is one.baseline else cells.gap(ranked.gap)


def _share(ranked: RankedRow | None, one: Table) -> str:
    if ranked is None:
        return NOTHING
    return "is full dataset" if ranked in one.full_rows else cells.share(one.share_of_full(ranked))


def _links(row: BoardRow, board: Board, places: Places) -> str:
    submission = row.submission
    named = [("paper", submission.paper), ("code", submission.code)]
    links = [web_link(text, url) for text, url in named if url is not None]
    sources = list(dict.fromkeys((source.repo, source.revision, source.path) for source in submission.sets))
    for position, (repo, revision, path) in enumerate(sources, start=1):
        text = "data" if len(sources) == 1 else f"data {position}"
        on_hub = f"https://huggingface.co/datasets/{repo}/tree/{revision}"
        links.append(web_link(text, on_hub) if repo else file_link(text, places.project(str(path))))
    for regime, ranked in row.by_regime.items():
        links.append(file_link(_header(board, regime, "records"), places.records(ranked.row)))
    return " ".join(links)


def _protocol(one: Table, places: Places) -> str:
    protocol = one.protocol
    link = file_link(f"{protocol.id}, sha256 {protocol.sha256[:12]}", places.project(f"protocols/{protocol.id}.yaml"))
    return f"Protocol {link}; seeds {listed(protocol.seeds)}."


def _detectable(one: Table) -> str:
    if one.baseline is None:
        return "No Random row has a result here, so there is no gap to show."
    difference = minimum_detectable_difference(replicates(one.baseline.row.top1))
    if difference is None:
        return "The Random row has no spread to say how large a difference this table could find."
    return (
        "Smallest difference to Random that this table can be expected to find (80% power, one test, as many values and the same "
        f"spread as Random): about {cells.number(difference)} points."
    )
