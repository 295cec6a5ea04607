"""A stale page is noticed and named; the tables as JSON, CSV and HTML."""

from __future__ import annotations

import csv
import io
import json

import pytest
from small_checkout import alter, check, checkout, fill, measure, publish, submit

from harness.errors import RecordError
from harness.scoring.export import board_csv, board_html, board_json
from harness.scoring.stats import welch_p


@pytest.fixture
def root(tmp_path):
    return checkout(tmp_path / "checkout")


def test_an_edited_record_stops_the_check(root):
    fill(root)
    publish(root)
    alter(root / "leaderboards/results/digits/random/ipc1/resnet18-hl-v1/draw0-seed0.json", 99.0, seal=False)
    with pytest.raises(RecordError, match="altered"):
        check(root)


def test_check_names_file_row_column_and_both_numbers(root):
    fill(root)
    publish(root)
    assert check(root) == []
    alter(root / "leaderboards/results/digits/random/ipc1/resnet18-hl-v1/draw0-seed0.json", 30.6, seal=True)
    differences = check(root)
    assert (
        "leaderboards/digits.md: row random ipc1 (resnet18-hl-v1 IPC 1): HL top-1: 31.00 ± 2.48 (3 draws x 3 seeds) committed, "
        "31.07 ± 2.24 (3 draws x 3 seeds) from records"
    ) in differences
    assert any(line.startswith("leaderboards/README.md: row digits.md#resnet18-hl-v1-ipc-1") for line in differences)


def test_check_notices_a_row_added_or_removed_by_hand(root):
    fill(root)
    publish(root)
    page = root / "leaderboards/digits.md"
    text = page.read_text()
    line = next(line for line in text.splitlines() if "herding/digits" in line)
    page.write_text(text.replace(line, line.replace("herding", "invented")))
    assert check(root) == [
        "leaderboards/digits.md: row herding ipc1 (resnet18-hl-v1 IPC 1): not committed, in the records",
        "leaderboards/digits.md: row invented ipc1 (resnet18-hl-v1 IPC 1): committed, not in the records",
    ]


def test_check_notices_edited_words_outside_the_rows(root):
    fill(root)
    publish(root)
    page = root / "leaderboards/digits.md"
    page.write_text(page.read_text().replace("0 significantly worse", "9 significantly worse"))
    assert check(root) == [
        "leaderboards/digits.md: rows agree, text differs, first in line 5: "
        '"... each table, 5%): 1 significantly better, 9 significantly worse, 1 not told apart ..." committed, '
        '"... each table, 5%): 1 significantly better, 0 significantly worse, 1 not told apart ..." from records'
    ]


@pytest.mark.parametrize("control", ["\x1b[31m", "\u202e"])
def test_check_prints_no_control_characters_of_a_committed_page(root, control):
    fill(root)
    publish(root)
    page = root / "leaderboards/digits.md"
    page.write_text(page.read_text().replace("All datasets", f"{control}No datasets"))
    (message,) = check(root)
    assert "No datasets" in message
    assert control[0] not in message


def test_check_says_what_is_missing_at_the_end_of_a_page(root):
    fill(root)
    publish(root)
    page = root / "leaderboards/digits.md"
    text = page.read_text()
    page.write_text(text.removesuffix("- Diverged students: 0.\n"))
    assert check(root) == [
        f"leaderboards/digits.md: rows agree, text differs, first in line {text.count(chr(10))}: "
        'nothing committed, "- Diverged students: 0." from records'
    ]


def test_check_names_missing_and_extra_pages_and_leaves_other_files_alone(root):
    fill(root)
    publish(root)
    folder = root / "leaderboards"
    (folder / "NOTES.md").write_text("# Somebody's own page\n")
    (folder / "digits.md").rename(folder / "old.md")
    assert check(root) == ["leaderboards/digits.md: missing", "leaderboards/old.md: extra, no record belongs to it"]
    publish(root)
    assert check(root) == []
    assert sorted(path.name for path in folder.glob("*.md")) == ["NOTES.md", "README.md", "digits.md"]


def test_json_holds_every_seed_and_the_same_numbers(root):
    fill(root)
    board = json.loads(board_json(root, root / "leaderboards/results"))
    assert board["not_shown"] == []
    herding, k_center, random = board["rows"]
    assert (herding["top1"], herding["top1_half_width"], herding["interval_over"]) == (41.0, 2.4841, "seeds")
    assert (k_center["top1_by_draw"], k_center["interval_over"]) == ([[30.0, 31.0, 32.0], [34.0, 35.0, 36.0]], "draws")
    assert (random["is_random"], random["gap_to_random"]) == (True, None)


def test_p_values_of_a_table_are_corrected_together(root):
    fill(root)
    herding = json.loads(board_json(root, root / "leaderboards/results"))["rows"][0]
    assert herding["gap_p"] == pytest.approx(2 * welch_p((40.0, 41.0, 42.0), (30.0, 31.0, 32.0)), rel=1e-3)


def test_csv_reads_back_and_holds_no_formula(root):
    measure(root, submit(root, "random", "random", title='=HYPERLINK("http://evil"),"x"'), (30.0, 31.0, 32.0))
    measure(root, submit(root, "worse", "+cmd|' /C calc'!A0"), (10.0, 11.0, 12.0))
    random, worse = csv.DictReader(io.StringIO(board_csv(root, root / "leaderboards/results")))
    assert random["title"] == '\'=HYPERLINK("http://evil"),"x"'
    assert worse["method"].startswith("'+cmd")
    assert float(worse["gap_to_random"]) == -20.0


def test_html_is_escaped(root):
    measure(root, submit(root, "random", "random", title="<script>alert(1)</script>"), (30.0, 31.0, 32.0))
    page = board_html(root, root / "leaderboards/results")
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_exports_of_no_records_are_empty(root):
    results = root / "leaderboards/results"
    assert json.loads(board_json(root, results)) == {"rows": [], "not_shown": []}
    assert board_csv(root, results).strip() == ""
    assert "<td" not in board_html(root, results)
