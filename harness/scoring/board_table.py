"""One board as Markdown tables, a column for every regime that has rows, and the notes below them.

A board of one regime is one table. With several regimes there are two, so that each can be read: who is where and by how much,
and below it the same rows again with their shares of the full dataset, top-5 and deviations.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import PurePosixPath

from harness.errors import EnvironmentProblem
from harness.protocols import Protocol
from harness.scoring import cells
from harness.scoring.cells import NOTHING, REGIME_NAMES, listed
from harness.scoring.dcs import PoolScores
from harness.scoring.dcs_boards import board_note, dcs_column
from harness.scoring.markdown import escape, file_link, table, web_link
from harness.scoring.places import Places
from harness.scoring.side_by_side import Board, BoardRow
from harness.scoring.stats import minimum_detectable_difference
from harness.scoring.tables import RankedRow, Table
from harness.submissions import SetSource, Submission
from harness.teachers import CARD, read_card

Column = tuple[str, list[str]]  # header, one cell per row of the board


def board_table(board: Board, places: Places, scores: PoolScores | None = None) -> str:
    """Rank and gap to the best coreset are those of the main table (HL), everything else is of every regime."""
    dcs = [dcs_column([row.submission for row in board.rows], scores)] if scores else []
    links = ("Links", [_links(row, board, places) for row in board.rows])
    accuracies = [_accuracies(board, one) for one in board.tables]
    gaps = [_gaps(board, one) for one in board.tables] + _gaps_to_best_coreset(board)
    if len(board.tables) == 1:
        return _table([*_who(board, places), *accuracies, *_details(board), *gaps, *_shares(board), *dcs, links])
    slugs = ("Submission", [row.submission.slug for row in board.rows])
    return "\n\n".join(
        [
            _table([*_who(board, places), *accuracies, *gaps, *dcs, links]),
            f"{'Share of the full dataset, top-5' if _shares(board) else 'Top-5'} and deviations of the same rows:",
            _table([slugs, *_shares(board), *_details(board)]),
        ]
    )


def board_notes(board: Board, places: Places, scores: PoolScores | None = None) -> str:
    """Protocol and hash of every column, what the table can find, what is missing from it."""
    rows = [(one, ranked.row) for one in board.tables for ranked in one.all_rows]
    notes = [f"{_of(board, one)}{_protocol(one, places)}" for one in board.tables]
    splits = sorted(set().union(*(row.test_fingerprints for _, row in rows)))
    if len(splits) > 1:
        notes.append(f"**{len(splits)} different copies of the test split were used: these rows cannot be compared.**")
    notes += [f"{_of(board, one)}{_detectable(one)}" for one in board.tables]
    if board.main.best_coreset:
        notes.append(f"{_of(board, board.main)}{_best_coreset(board.main)}")
    notes += [board_note(scores)] if scores else []
    short = [
        f"{_of(board, one)}{row.submission.slug} ({len(row.records)} of {row.planned} runs)"
        for one, row in rows
        if len(row.records) < row.planned
    ]
    if short:
        notes.append(f"Not complete: {listed(short)}.")
    notes += [f"The same images, byte for byte: {listed(slugs)}." for slugs in _of_the_same_images(board)]
    notes.append(f"Diverged students: {sum(row.count('diverged') for _, row in rows)}.")
    return "\n".join(f"- {note}" for note in notes)


def _of_the_same_images(board: Board) -> list[tuple[str, ...]]:
    """Slugs, sorted, of submissions that share a measured draw to the byte: rows that say one thing twice."""
    found = defaultdict(set)
    for ranked in (ranked for one in board.tables for ranked in one.all_rows):
        for record in ranked.row.records:
            if record.data:
                found[record.data.set_sha256].add(ranked.row.submission.slug)
    return sorted({tuple(sorted(slugs)) for slugs in found.values() if len(slugs) > 1})


def _table(columns: list[Column]) -> str:
    return table([header for header, _ in columns], list(zip(*(of_column for _, of_column in columns), strict=True)))


def _header(board: Board, one: Table, name: str) -> str:
    """`Seed sd` for a board of one regime, `HL seed sd` for one of several."""
    return name if len(board.tables) == 1 else f"{REGIME_NAMES[one.regime]} {name[0].lower()}{name[1:]}"


def _of(board: Board, one: Table) -> str:
    return "" if len(board.tables) == 1 else f"{REGIME_NAMES[one.regime]}: "


def _measured(board: Board, one: Table) -> list[RankedRow | None]:
    """What each row of the board has under the regime of one of its tables."""
    return [row.by_regime.get(one.regime) for row in board.rows]


def _who(board: Board, places: Places) -> list[Column]:
    hard = [row.by_regime.get("hl") for row in board.rows]
    submissions = [row.submission for row in board.rows]
    return [
        ("Rank", [cells.rank(ranked.rank if ranked else None) for ranked in hard]),
        ("Submission", [f"{file_link(one.title, places.project(one.relative_path))} ({one.slug})" for one in submissions]),
        ("Kind", [one.kind for one in submissions]),
        ("Method", [escape(one.method) for one in submissions]),
    ]


def _accuracies(board: Board, one: Table) -> Column:
    found = [cells.accuracy(ranked) if ranked else NOTHING for ranked in _measured(board, one)]
    return f"{REGIME_NAMES[one.regime]} top-1", found


def _details(board: Board) -> list[Column]:
    def of_tables(name: str, cell: Callable[[RankedRow], str]) -> list[Column]:
        return [
            (_header(board, one, name), [cell(ranked) if ranked else NOTHING for ranked in _measured(board, one)])
            for one in board.tables
        ]

    return [
        *of_tables("Top-5", lambda ranked: cells.interval(ranked.top5)),
        *of_tables("Draw sd", lambda ranked: cells.number(ranked.draw_sd)),
        *of_tables("Seed sd", lambda ranked: cells.number(ranked.seed_sd)),
    ]


def _gaps(board: Board, one: Table) -> Column:
    def cell(ranked: RankedRow | None) -> str:
        if ranked is None:
            return NOTHING
        return "is Random" if ranked is one.baseline else cells.gap(ranked.gap)

    return _header(board, one, "Gap to Random"), [cell(ranked) for ranked in _measured(board, one)]


def _gaps_to_best_coreset(board: Board) -> list[Column]:
    main = board.main
    if main.best_coreset is None:
        return []

    def cell(ranked: RankedRow | None) -> str:
        if ranked is None:
            return NOTHING
        return "is best coreset" if ranked is main.best_coreset else cells.gap(ranked.gap_to_coreset)

    return [(_header(board, main, "Gap to best coreset"), [cell(ranked) for ranked in _measured(board, main)])]


def _shares(board: Board) -> list[Column]:
    def cell(ranked: RankedRow | None, one: Table) -> str:
        if ranked is None:
            return NOTHING
        return "is full dataset" if ranked is one.full_row else cells.share(one.share_of_full(ranked))

    return [
        (_header(board, one, "Share of full"), [cell(ranked, one) for ranked in _measured(board, one)])
        for one in board.tables
        if one.full
    ]


def _links(row: BoardRow, board: Board, places: Places) -> str:
    submission = row.submission
    named = [("paper", submission.paper), ("code", submission.code)]
    links = [web_link(text, url) for text, url in named if url is not None] + _data_links(submission, places)
    if (places.root / submission.sheet_path).is_file():
        links.append(file_link("sheet", places.project(submission.sheet_path)))
    if len(board.tables) == 1:
        return " ".join([*links, *(file_link("records", places.records(ranked.row)) for ranked in row.by_regime.values())])
    records = [file_link(REGIME_NAMES[regime], places.records(ranked.row)) for regime, ranked in row.by_regime.items()]
    return " ".join([*links, "records:", *records])


def _data_links(submission: Submission, places: Places) -> list[str]:
    """One for every Hub commit that holds draws, file of this project, or folder of several; none for the full dataset."""
    targets = list(dict.fromkeys(_data(source, submission.draws > 1, places) for source in submission.sets))
    names = ["data"] if len(targets) == 1 else [f"data {position}" for position in range(1, len(targets) + 1)]
    return [
        web_link(name, target) if target.startswith("https://") else file_link(name, target)
        for name, target in zip(names, targets, strict=True)
    ]


def _data(source: SetSource, one_of_several: bool, places: Places) -> str:
    if source.on_hub:
        return f"https://huggingface.co/datasets/{source.repo}/tree/{source.revision}"
    path = PurePosixPath(source.path)
    return places.project(str(path.parent if one_of_several else path))


def _protocol(one: Table, places: Places) -> str:
    protocol = one.protocol
    link = file_link(f"{protocol.id}, sha256 {protocol.sha256[:12]}", places.project(f"protocols/{protocol.id}.yaml"))
    return f"Protocol {link}; seeds {listed(protocol.seeds)}.{_teacher(protocol, places)}"


def _teacher(protocol: Protocol, places: Places) -> str:
    """Who gives the soft labels and how good it is: students of a weak teacher are alike because it teaches them little."""
    if protocol.regime == "hl":
        return ""
    name = protocol.labels.teacher
    try:
        card = read_card(places.root, name)
    except EnvironmentProblem:
        return f" Teacher {name}, which this checkout lacks."
    if card.weights.sha256 != protocol.labels.teacher_sha256:
        return f" Teacher {name}; the card in this checkout is of other weights."
    source = "measured" if card.accuracy.source == "measured" else "as published"
    link = file_link(name, places.project(f"teachers/{name}/{CARD}"))
    return f" Teacher {link}: {cells.number(card.accuracy.test_top1)}% on the test split ({source})."


def _detectable(one: Table) -> str:
    if one.baseline is None:
        return "No Random row has a result here, so there is no gap to show."
    random = one.baseline.row
    if len(random.top1) < 2:
        return "There is one draw of Random, and one random set is not Random: nothing is tested against it."
    difference = minimum_detectable_difference(random.sample)
    if difference is None:
        return "The Random row has no spread to say how large a difference this table could find."
    return (
        "Smallest difference to Random that this table can be expected to find (80% power, one test, as many values and the same "
        f"spread as Random): about {cells.number(difference)} points."
    )


def _best_coreset(one: Table) -> str:
    """The highest of several means is too high on average."""
    coresets = sum(ranked.row.submission.kind == "coreset" and ranked.top1 is not None for ranked in one.rows)
    return (
        f"Best coreset: {one.best_coreset.row.submission.slug}, the highest mean of {coresets} coresets; as such it is an "
        "optimistic estimate, and the gaps to it lean towards the coreset."
    )
