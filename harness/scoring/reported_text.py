"""Reported figures on a page: in a section of their own, and beside ours where both exist."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.scoring import cells
from harness.scoring.cells import NOTHING, REGIME_NAMES, joined, listed
from harness.scoring.markdown import escape, table, web_link
from harness.scoring.reported import TOLERANCE, Reported, Reproduction
from harness.scoring.side_by_side import REGIMES

HEADING = "Reported, not run here"
REPRODUCED = "Published against reproduced"
ARXIV = re.compile(r"arXiv (?P<number>[0-9]{4}\.[0-9]{5})")

INTRODUCTION = (
    "Top-1 accuracies as printed by their sources, trained by others under their own protocols. They are in no rank and no test "
    "of this page."
)


def reported_section(entries: Sequence[Reported]) -> list[str]:
    """The section of one dataset: a table for every printed table and student; [] without entries."""
    if not entries:
        return []
    parts = [f"## {HEADING}", INTRODUCTION]
    tables: dict[tuple[str, str, str], list[Reported]] = {}
    for entry in entries:
        tables.setdefault((entry.source, entry.table, entry.student), []).append(entry)
    for (source, printed, student), of_table in tables.items():
        parts += [f"### {escape(source)}, {escape(printed)}: {student}", _printed(of_table)]
    return parts


def reproduced_section(found: Sequence[Reproduction]) -> list[str]:
    if not found:
        return []
    headers = [
        "Submission",
        "Student",
        "Regime",
        "IPC",
        "Published",
        "Source",
        "Reproduced",
        "Difference",
        "Published inside our 95%",
    ]
    headers.append(f"Within {cells.number(TOLERANCE)}")
    outside = sum(one.inside_interval is False for one in found)
    unknown = sum(one.inside_interval is None for one in found)
    inside = len(found) - outside - unknown
    verdict = (
        f"{cells.plural(len(found), 'published figure')} with a measured row of ours: {inside} inside our 95% interval, "
        f"{outside} outside, {unknown} without an interval to judge by; "
        f"{sum(one.within_tolerance for one in found)} within {cells.number(TOLERANCE)} points."
    )
    return [
        f"## {REPRODUCED}",
        verdict,
        table(headers, [_reproduced(one) for one in found]),
        _notes([one.reported for one in found]),
    ]


def _printed(entries: Sequence[Reported]) -> str:
    columns = sorted({(entry.regime, entry.ipc) for entry in entries}, key=lambda one: (REGIMES.index(one[0]), one[1]))
    methods = dict.fromkeys((entry.method, entry.kind) for entry in entries)
    figures = {(entry.method, entry.kind, entry.regime, entry.ipc): _figure(entry) for entry in entries}
    rows = [
        [escape(method), kind, *(figures.get((method, kind, *column), NOTHING) for column in columns)] for method, kind in methods
    ]
    headers = ["Method", "Kind", *(f"{REGIME_NAMES[regime]} IPC {ipc}" for regime, ipc in columns)]
    pages = sorted({entry.page for entry in entries if entry.page is not None})
    source = f"- Source: {_link(entries[0].source)}{f', page {listed(pages)}' if pages else ''}."
    return "\n\n".join([table(headers, rows), "\n".join(filter(None, [source, _notes(entries)]))])


def _notes(entries: Sequence[Reported]) -> str:
    """One line per distinct note, naming the methods and regimes it is about."""
    about: dict[str, list[Reported]] = {}
    for entry in entries:
        if entry.note:
            about.setdefault(entry.note, []).append(entry)
    return "\n".join(f"- {_about(noted)}: {escape(note)}" for note, noted in about.items())


def _about(entries: Sequence[Reported]) -> str:
    """`Random Real, K-centers under HL`."""
    methods = list(dict.fromkeys(entry.method for entry in entries))
    regimes = [REGIME_NAMES[regime] for regime in dict.fromkeys(entry.regime for entry in entries)]
    return f"{escape(listed(methods))} under {joined(regimes)}"


def _figure(entry: Reported) -> str:
    return f"{entry.mean}" if entry.spread is None else f"{entry.mean} ± {entry.spread}"


def _reproduced(one: Reproduction) -> list[str]:
    reported = one.reported
    inside = {True: "yes", False: "no", None: "no interval"}[one.inside_interval]
    return [
        one.ours.row.submission.slug,
        reported.student,
        f"{REGIME_NAMES[reported.regime]} ({one.table.protocol.id.rsplit('/', 1)[1]})",
        str(reported.ipc),
        _figure(reported),
        f"{escape(reported.source)}, {escape(reported.table)}",
        cells.accuracy(one.ours),
        f"{one.points:+z.2f}",
        inside,
        "yes" if one.within_tolerance else "no",
    ]


def _link(source: str) -> str:
    named = ARXIV.fullmatch(source)
    return web_link(source, f"https://arxiv.org/abs/{named['number']}") if named else escape(source)
