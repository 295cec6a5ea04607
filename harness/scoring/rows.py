"""Records to rows: one row per (submission, protocol, IPC), and a reason for every record that is in no row.

A record counts only if it was made from what the checkout holds now: this submission file, this protocol file, one of its seeds.
Diverged and failed students have no accuracy; they are counted beside the row and never averaged into it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.protocols import Protocol, find_protocol, protocol_ids
from harness.records import Record, read_records, record_path
from harness.scoring import stats
from harness.submissions import Submission, read_submission


@dataclass(frozen=True)
class Row:
    """What was measured of one submission under one protocol; the protocol's id names dataset, student and regime.

    `records` are sorted by draw, then seed. Accuracies are in percent. `sample` and `mean` need a result.
    """

    submission: Submission
    protocol: Protocol
    records: tuple[Record, ...]

    @property
    def top1(self) -> tuple[tuple[float, ...], ...]:
        """Per draw that has a result: one accuracy per seed. Empty when no student of the row has one."""
        return self._by_draw("top1")

    @property
    def top5(self) -> tuple[tuple[float, ...], ...]:
        """As `top1`, for the five most likely classes."""
        return self._by_draw("top5")

    @property
    def sample(self) -> tuple[float, ...]:
        """The independent numbers that means, intervals, ranks and tests of `top1` work on: see `stats.replicates`."""
        return stats.replicates(self.top1)

    @property
    def mean(self) -> float:
        return stats.mean_t95(self.sample).mean

    def count(self, status: str) -> int:
        return sum(record.status == status for record in self.records)

    @property
    def planned(self) -> int:
        """Draws of the submission x seeds of the protocol: the records of a complete row."""
        return self.submission.draws * len(self.protocol.seeds)

    @property
    def test_fingerprints(self) -> set[str]:
        return {record.data.test_fingerprint for record in self.records if record.data}

    def _by_draw(self, metric: str) -> tuple[tuple[float, ...], ...]:
        seeds = defaultdict(list)
        for record in self.records:
            if record.result is not None:
                seeds[record.unit.draw].append(getattr(record.result, metric))
        return tuple(tuple(seeds[draw]) for draw in sorted(seeds))


@dataclass(frozen=True, order=True)
class NotShown:
    """`records` files below `folder` (relative to the results folder) that are in no row, for one reason."""

    folder: str
    reason: str
    records: int


def read_rows(root: Path, results: Path) -> tuple[list[Row], list[NotShown]]:
    """Rows sorted by dataset, protocol, IPC and slug, from the records below `results` and the files of the checkout at `root`.

    Raises RecordError, SubmissionError or ProtocolError when a file is malformed or a record was altered.
    """
    records = read_records(results)
    # Only submissions that have records are read: a draft that does not parse yet is nobody else's concern.
    named = sorted({(record.unit.dataset, record.unit.slug, record.unit.ipc) for _, record in records})
    submissions = {key: found for key in named if (found := _read_if_there(root, *key))}
    protocols = {name: find_protocol(root, name) for name in protocol_ids(root)}
    groups: dict[tuple[str, str, int, str], list[Record]] = defaultdict(list)
    refused: Counter[tuple[str, str]] = Counter()
    first_draws = _first_draws(record for _, record in records)
    for path, record in records:
        unit = record.unit
        submission, protocol = submissions.get((unit.dataset, unit.slug, unit.ipc)), protocols.get(unit.protocol)
        reason = _why_not_shown(record, path, results, submission, protocol)
        if reason is None and record.data and first_draws[unit.submission_sha256, record.data.set_sha256] != unit.draw:
            reason = "its set is the same as that of an earlier draw"
        if reason:
            refused[path.parent.relative_to(results).as_posix(), reason] += 1
        else:
            groups[unit.dataset, unit.protocol, unit.ipc, unit.slug].append(record)
    rows = [
        Row(submissions[dataset, slug, ipc], protocols[protocol], _sorted(groups[dataset, protocol, ipc, slug]))
        for dataset, protocol, ipc, slug in sorted(groups)
    ]
    return rows, sorted(NotShown(folder, reason, number) for (folder, reason), number in refused.items())


def _why_not_shown(
    record: Record, path: Path, results: Path, submission: Submission | None, protocol: Protocol | None
) -> str | None:
    unit = record.unit
    if submission is None:
        return "the submission file is gone"
    if protocol is None:
        return "the protocol file is gone"
    if unit.submission_sha256 != submission.digest:
        return "the submission file has changed since the run"
    if unit.protocol_sha256 != protocol.sha256:
        return "the protocol file has changed since the run"
    if protocol.dataset.name != submission.dataset:
        return "the protocol is for another dataset"
    if unit.seed not in protocol.seeds:
        return "the protocol does not list this seed"
    if unit.draw not in range(submission.draws):
        return "the submission has no such draw"
    if path != record_path(results, submission, protocol, unit.draw, unit.seed):
        return "the record lies in another protocol's folder"
    return None


def _read_if_there(root: Path, dataset: str, slug: str, ipc: int) -> Submission | None:
    path = root / "submissions" / slug / f"{dataset}-ipc{ipc}.yaml"
    return read_submission(path) if path.is_file() else None


def _first_draws(records: Iterable[Record]) -> dict[tuple[str, str], int]:
    """(submission, set) -> the lowest draw that holds that set: copies of a set are not further draws."""
    first: dict[tuple[str, str], int] = {}
    for record in records:
        if record.data:
            key = record.unit.submission_sha256, record.data.set_sha256
            first[key] = min(record.unit.draw, first.get(key, record.unit.draw))
    return first


def _sorted(records: Iterable[Record]) -> tuple[Record, ...]:
    return tuple(sorted(records, key=lambda record: (record.unit.draw, record.unit.seed)))
