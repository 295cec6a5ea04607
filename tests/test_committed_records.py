"""The records and pages this project publishes: made by committed code, complete, and in agreement."""

from __future__ import annotations

from pathlib import Path

from harness.protocols import find_protocol
from harness.records import read_records
from harness.scoring.check import check_boards

ROOT = Path(__file__).parent.parent
RECORDS = read_records(ROOT / "leaderboards" / "results")


def test_there_are_records():
    assert RECORDS


def test_every_record_was_made_by_code_as_it_was_committed():
    assert not [str(path) for path, record in RECORDS if record.environment["git_dirty"] or not record.environment["git_commit"]]


def test_every_record_belongs_to_the_protocol_it_names():
    wrong = [
        str(path) for path, record in RECORDS if find_protocol(ROOT, record.unit.protocol).sha256 != record.unit.protocol_sha256
    ]
    assert not wrong


def test_the_published_pages_are_what_the_records_give():
    assert check_boards(ROOT, ROOT / "leaderboards" / "results", ROOT / "leaderboards") == []


def test_random_on_tiny_imagenet_meets_the_published_anchor():
    # DC-Bench by way of the paper's Table 2: ConvNet-D4, hard labels, IPC 10: 6.88 +- 0.25; accepted within 1.0 (methods J).
    found = [
        record.result.top1
        for _, record in RECORDS
        if record.result
        and (record.unit.slug, record.unit.ipc, record.unit.protocol) == ("random", 10, "tiny-imagenet/convnet-d4-hl/v1")
    ]
    assert found
    assert abs(sum(found) / len(found) - 6.88) <= 1.0
