"""The text of the leaderboard pages, from ranked tables."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from harness.scoring import cells
from harness.scoring.cells import listed, plural
from harness.scoring.markdown import escape, file_link, table, web_link
from harness.scoring.rows import NotShown, Row
from harness.scoring.stats import minimum_detectable_difference, replicates
from harness.scoring.tables import RankedRow, Table

GENERATED = "<!-- Made by `hlbench leaderboard` from the records. Edits are lost. -->"
NOT_SHOWN = "Records not shown"

MEANING = """\
## What the numbers mean

- Every number is the accuracy in percent of the last epoch on the whole test split. No epoch, seed or draw is chosen on it.
- `mean ± half-width (draws x seeds)`: a 95% Student-t interval. With two or more draws it is taken over the draw means, with one
  draw over its seeds; such a row says nothing about another draw of the same method. One value has no interval (`n/a`).
- *Draw sd* is the standard deviation of the draw means, *seed sd* that between students of the same draw.
- *Gap to Random* is the difference to the table's Random row in points, by Welch's test on the same values as the intervals;
  p-values are corrected (Holm) for the number of rows compared. `n.s.`: not significant at 5%, which does not mean equal.
  `not testable`: there is one draw of Random (one random set is not Random), a row has a single value, or neither row has any
  spread. A row of one draw speaks for that set, not for its method.
- *Rank* is an interval, from the same test on all pairs of the table, corrected together (Holm, 5%): from one plus the rows
  significantly better, to all but the rows significantly worse. Neighbours that are not told apart share ranks. The highest of
  several means is an optimistic estimate of that row.
- Students that diverged or failed have no accuracy: they are counted, and not averaged.
- A table holds one protocol at one IPC. Rows of different protocols, or versions of one, are never in the same table.
"""


@dataclass(frozen=True)
class Places:
    """Folders that links lead to, and `page`, the folder that the pages are read from."""

    root: Path
    results: Path
    page: Path

    def project(self, relative: str) -> str:
        """Path from a page to a file of the checkout."""
        return self._from_page(self.root / relative)

    def records(self, row: Row) -> str:
        """Path from a page to the folder of a row's records."""
        submission = row.submission
        folder = Path(submission.dataset, submission.slug, f"ipc{submission.ipc}", row.protocol.record_folder)
        return self._from_page(self.results / folder)

    def _from_page(self, target: Path) -> str:
        return Path(os.path.relpath(target.resolve(), self.page.resolve())).as_posix()


def index_page(tables: Sequence[Table], not_shown: Sequence[NotShown]) -> str:
    """README.md: one line per dataset, protocol and IPC."""
    datasets = len({one.protocol.dataset.name for one in tables})
    head = ["# Leaderboards", f"{plural(datasets, 'dataset')}, {plural(len(tables), 'table')}. {_verdict(tables)}"]
    headers = ["Table", "Dataset", "IPC", "Rows", "Highest mean", "its rank", "Random", "Gap to Random"]
    body = [table(headers, [_index_row(one) for one in tables])] if tables else ["No record yet."]
    return _page([*head, *body, MEANING.rstrip(), *_not_shown(not_shown)])


def dataset_page(dataset: str, tables: Sequence[Table], not_shown: Sequence[NotShown], places: Places) -> str:
    """<dataset>.md: a section per protocol, a table per IPC."""
    head = [
        f"# {dataset}",
        f"{plural(len(tables), 'table')}. {_verdict(tables)}",
        "[All datasets, and what the numbers mean](README.md)",
    ]
    hidden = sum(entry.records for entry in not_shown if entry.folder.startswith(f"{dataset}/"))
    if hidden:
        head.append(f"{plural(hidden, 'record')} of this dataset not shown: [reasons](README.md#{_anchor(NOT_SHOWN)}).")
    sections = []
    for _, group in groupby(tables, lambda one: one.protocol.id):
        of_protocol = list(group)
        sections.append(f"## {escape(of_protocol[0].protocol.title)}")
        for one in of_protocol:
            sections += [f"### {one.name}", _table(one, places), _notes(one, places)]
    return _page([*head, *sections])


def _page(parts: Sequence[str]) -> str:
    return "\n\n".join([GENERATED, *parts]) + "\n"


def _verdict(tables: Sequence[Table]) -> str:
    """How the rows fare against Random, in counts: what the tests say and no more."""
    rows = [row for one in tables for row in one.rows]
    gaps = [row.gap for row in rows if row.gap is not None]
    better = sum(gap.significant and gap.points > 0 for gap in gaps)
    worse = sum(gap.significant and gap.points < 0 for gap in gaps)
    untested = sum(gap.p is None for gap in gaps)
    if not gaps:
        return f"{plural(len(rows), 'row')}; none can be compared with Random under the same protocol and IPC yet."
    return (
        f"{plural(len(rows), 'row')}, of which {len(gaps)} compared with Random under the same protocol and IPC (Welch's test, "
        f"Holm-corrected within each table, 5%): {better} significantly better, {worse} significantly worse, "
        f"{len(gaps) - better - worse - untested} not told apart, {untested} not testable."
    )


def _index_row(one: Table) -> list[str]:
    top = one.rows[0]
    dataset = one.protocol.dataset.name
    baseline = one.baseline
    return [
        file_link(one.protocol.id, f"{dataset}.md#{_anchor(one.name)}"),
        dataset,
        str(one.ipc),
        str(len(one.rows)),
        f"{top.row.submission.slug}: {cells.accuracy(top)}",
        cells.rank(top.rank),
        cells.accuracy(baseline) if baseline else cells.NOTHING,
        "is Random" if baseline is top else cells.gap(top.gap),
    ]


def _table(one: Table, places: Places) -> str:
    regime = one.protocol.regime.upper()
    headers = ["Rank", "Submission", "Kind", "Method", f"{regime} top-1", "Top-5", "Draw sd", "Seed sd", "Gap to Random", "Links"]
    return table(headers, [_cells(ranked, one, places) for ranked in one.rows])


def _cells(ranked: RankedRow, one: Table, places: Places) -> list[str]:
    submission = ranked.row.submission
    return [
        cells.rank(ranked.rank),
        f"{file_link(submission.title, places.project(submission.relative_path))} ({submission.slug})",
        submission.kind,
        escape(submission.method),
        cells.accuracy(ranked),
        cells.interval(ranked.top5),
        cells.number(ranked.draw_sd),
        cells.number(ranked.seed_sd),
        "is Random" if ranked is one.baseline else cells.gap(ranked.gap),
        _links(ranked.row, places),
    ]


def _links(row: Row, places: Places) -> str:
    submission = row.submission
    named = [("paper", submission.paper), ("code", submission.code)]
    links = [web_link(text, url) for text, url in named if url is not None]
    sources = list(dict.fromkeys((source.repo, source.revision, source.path) for source in submission.sets))
    for position, (repo, revision, path) in enumerate(sources, start=1):
        text = "data" if len(sources) == 1 else f"data {position}"
        on_hub = f"https://huggingface.co/datasets/{repo}/tree/{revision}"
        links.append(web_link(text, on_hub) if repo else file_link(text, places.project(str(path))))
    return " ".join([*links, file_link("records", places.records(row))])


def _notes(one: Table, places: Places) -> str:
    protocol = one.protocol
    link = file_link(f"{protocol.id}, sha256 {protocol.sha256[:12]}", places.project(f"protocols/{protocol.id}.yaml"))
    notes = [f"Protocol {link}; seeds {listed(protocol.seeds)}."]
    splits = sorted(set().union(*(ranked.row.test_fingerprints for ranked in one.rows)))
    if len(splits) > 1:
        notes.append(f"**{len(splits)} different copies of the test split were used: these rows cannot be compared.**")
    notes.append(_detectable(one))
    incomplete = [ranked.row for ranked in one.rows if len(ranked.row.records) < ranked.row.planned]
    if incomplete:
        short = [f"{row.submission.slug} ({len(row.records)} of {row.planned} runs)" for row in incomplete]
        notes.append(f"Not complete: {listed(short)}.")
    diverged = sum(ranked.row.count("diverged") for ranked in one.rows)
    notes.append(f"Diverged students: {diverged}.")
    return "\n".join(f"- {note}" for note in notes)


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


def _not_shown(entries: Sequence[NotShown]) -> list[str]:
    if not entries:
        return []
    lines = [f"- {escape(entry.folder)}: {plural(entry.records, 'record')}: {entry.reason}." for entry in entries]
    return [f"## {NOT_SHOWN}", "\n".join(lines)]


def _anchor(heading: str) -> str:
    """The id GitHub gives a heading of plain words."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
