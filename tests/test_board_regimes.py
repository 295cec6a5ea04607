"""Boards with the regimes side by side, from records on disk; and the HL-only board as it was before them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from regime_rows import fill_regimes, three_draws
from small_checkout import (
    add_protocol,
    check,
    checkout,
    fill,
    measure,
    protocol_id,
    publish,
    rebuild,
    record,
    submit,
    table_rows,
)

from harness.protocols import find_protocol
from harness.scoring.export import board_json

GOLDEN = Path(__file__).parent / "golden"
MEANS = {"random": (30, 60, 70), "herding": (41, 63, 70.5), "worse": (20, 58, None)}


@pytest.fixture
def root(tmp_path):
    return checkout(tmp_path / "checkout", ("hl", "sl", "sl-kd"))


def section(page: str, heading: str) -> list[list[str]]:
    """Rows of the tables between a heading and the next."""
    return table_rows(page.split(f"# {heading}\n", 1)[1].split("\n#", 1)[0])


def side_by_side(page: str, heading: str) -> list[list[str]]:
    """Header and rows of the table of submissions below a heading."""
    return below(page, heading, "Rank")


def below(page: str, heading: str, first: str) -> list[list[str]]:
    """Header and rows of the table below a heading whose first column is called `first`."""
    tables = page.split(f"# {heading}\n", 1)[1].split("\n#", 1)[0].split("\n\n")
    (found,) = [rows for rows in map(table_rows, tables) if rows and rows[0][0] == first]
    return found


@pytest.mark.parametrize("regimes", [("hl",), ("hl", "sl", "sl-kd")])
def test_a_board_of_hl_records_alone_keeps_its_bytes(tmp_path, regimes):
    root = checkout(tmp_path / "checkout", regimes)
    fill(root)
    measure(root, submit(root, "random", "random", ipc=10), (60.0, 61.0, None))
    measure(root, submit(root, "herding", "herding", ipc=10), (70.0,))
    assert rebuild(root) == {name: (GOLDEN / f"hl-{name}").read_text() for name in ("README.md", "digits.md")}


def test_the_regimes_of_a_student_and_ipc_stand_in_one_table(root):
    fill_regimes(root, **MEANS)
    page = rebuild(root)["digits.md"]
    assert "\n## digits, ResNet-18\n\n### resnet18 IPC 1\n" in page
    headers, *rows = side_by_side(page, "resnet18 IPC 1")
    assert headers == [
        "Rank", "Submission", "Kind", "Method", "HL top-1", "SL top-1", "SL+KD top-1", "HL gap to Random", "SL gap to Random",
        "SL+KD gap to Random", "Links",
    ]  # fmt: skip
    assert [row[3] for row in rows] == ["herding", "random", "worse"]
    assert rows[0][4:7] == [f"{mean} ± 2.48 (1 draw x 3 seeds)" for mean in ("41.00", "63.00", "70.50")]
    assert rows[0][7:10] == ["+11.00 (p<0.001)", "+3.00 (p=0.043)", "+0.50 (n.s.)"]
    assert rows[2][6] == rows[2][9] == "-"
    assert rows[1][7:10] == ["is Random"] * 3
    for regime, name in (("hl", "HL"), ("sl", "SL"), ("sl-kd", "SL+KD")):
        sha = find_protocol(root, protocol_id(regime)).sha256[:12]
        assert f"- {name}: Protocol [{protocol_id(regime)}, sha256 {sha}]" in page
        assert f"[{name}](results/digits/random/ipc1/resnet18-{regime}-v1)" in rows[1][10]


def test_top_5_and_both_deviations_of_every_regime_stand_below(root):
    fill_regimes(root, **MEANS)
    headers, herding, random, worse = below(rebuild(root)["digits.md"], "resnet18 IPC 1", "Submission")
    assert headers == [
        "Submission", "HL top-5", "SL top-5", "SL+KD top-5", "HL draw sd", "SL draw sd", "SL+KD draw sd", "HL seed sd",
        "SL seed sd", "SL+KD seed sd",
    ]  # fmt: skip
    assert herding == ["herding", "91.00 ± 2.48", "100.00 ± 0.00", "100.00 ± 0.00", "-", "-", "-", "1.00", "1.00", "1.00"]
    assert random == ["random", "80.00 ± 2.48", "100.00 ± 0.00", "100.00 ± 0.00", "1.00", "1.00", "1.00", "1.00", "1.00", "1.00"]
    assert (worse[3], worse[6], worse[9]) == ("-", "-", "-")


def test_hl_decides_rank_and_order_whatever_the_other_regimes_say(root):
    fill_regimes(root, random=(30, 60), herding=(40, 20), late=(None, 99))
    _, *rows = side_by_side(rebuild(root)["digits.md"], "resnet18 IPC 1")
    assert [(row[3], row[0]) for row in rows] == [("herding", "1"), ("random", "2"), ("late", "-")]
    assert rows[2][4:6] == ["-", "99.00 ± 2.48 (1 draw x 3 seeds)"]


def test_a_board_opens_with_the_contrast_and_its_sentences(root):
    fill_regimes(root, random=(30, 60, 70), herding=(41, 63, 70.5))
    page = rebuild(root)["digits.md"]
    tables = section(page, "resnet18 IPC 1")
    assert [row[0] for row in tables[:4]] == ["Regime", "HL", "SL", "SL+KD"]
    assert page.index("| Regime") < page.index("The best and the worst of the 2 submissions") < page.index("| Rank")
    assert "What the contrast means" in rebuild(root)["README.md"]
    assert "HL 11.00, SL 3.00, SL+KD 0.50" in rebuild(root)["README.md"]


def test_only_soft_records_have_no_rank_and_no_contrast(root):
    fill_regimes(root, random=(None, 60, 70), herding=(None, 63, 70.5))
    page = rebuild(root)["digits.md"]
    assert "No contrast: HL, or every regime beside it, has no result here." in page
    assert [row[0] for row in side_by_side(page, "resnet18 IPC 1")] == ["Rank", "-", "-"]
    assert "| Regime" not in page
    assert table_rows(rebuild(root)["README.md"])[1][5] == "-"


def test_the_full_dataset_is_shown_last_without_rank_and_every_row_shows_its_share(root):
    fill_regimes(root, random=(30, 60), full_dataset=(80, 85), herding=(90, 63))
    page = rebuild(root)["digits.md"]
    _, *rows = side_by_side(page, "resnet18 IPC 1")
    assert [(row[3], row[0]) for row in rows] == [("herding", "1"), ("random", "2"), ("full-dataset", "-")]
    assert rows[2][2] == "full"
    assert rows[2][-1] == (
        "records: [HL](results/digits/full-dataset/ipc1/resnet18-hl-v1) [SL](results/digits/full-dataset/ipc1/resnet18-sl-v1)"
    )
    headers, *shares = below(page, "resnet18 IPC 1", "Submission")
    assert headers[1:3] == ["HL share of full", "SL share of full"]
    assert [row[:3] for row in shares] == [
        ["herding", "112.5%", "74.1%"], ["random", "37.5%", "70.6%"], ["full-dataset", "is full dataset", "is full dataset"],
    ]  # fmt: skip
    index = table_rows(rebuild(root)["README.md"])[1]
    assert index[3:5] == ["2", "herding: 90.00 ± 2.48 (1 draw x 3 seeds)"]


def test_a_board_of_one_regime_shows_the_share_of_the_full_dataset_too(root):
    fill_regimes(root, random=(30,), full_dataset=(80,))
    headers, random, full = side_by_side(rebuild(root)["digits.md"], "resnet18-hl-v1 IPC 1")
    assert headers[-3:] == ["Gap to Random", "Share of full", "Links"]
    assert (random[-2], full[-2], full[-1]) == (
        "37.5%", "is full dataset", "[records](results/digits/full-dataset/ipc1/resnet18-hl-v1)",
    )  # fmt: skip


def test_without_a_full_dataset_row_there_is_no_share_column(root):
    fill_regimes(root, **MEANS)
    assert "share of full |" not in rebuild(root)["digits.md"].lower()


def test_a_full_dataset_row_alone_is_a_board_without_a_winner(root):
    fill_regimes(root, full_dataset=(80,))
    assert table_rows(rebuild(root)["README.md"])[1][3:8] == ["0", "-", "-", "-", "-"]
    assert [row[3] for row in table_rows(rebuild(root)["digits.md"])[1:]] == ["full-dataset"]


def test_distilled_rows_show_their_gap_to_the_best_coreset_under_hl(root):
    fill_regimes(root, random=(30, 60), herding=(41, 40), k_center=(35, 70), dd_dm=(50, 61), dd_dc=(20, 61))
    page = rebuild(root)["digits.md"]
    headers, *rows = side_by_side(page, "resnet18 IPC 1")
    assert headers[-2] == "HL gap to best coreset"
    assert [(row[3], row[-2]) for row in rows] == [
        ("dd-dm", "+9.00 (p<0.001)"), ("herding", "is best coreset"), ("k-center", "-"), ("random", "-"),
        ("dd-dc", "-21.00 (p<0.001)"),
    ]  # fmt: skip
    assert "- HL: Best coreset: herding, the highest mean of 3 coresets; as such it is an optimistic estimate" in page


@pytest.mark.parametrize("means", [{"herding": (41,)}, {"dd_dm": (50,)}])
def test_without_a_distilled_row_or_a_coreset_beside_random_there_is_no_best_coreset(root, means):
    fill_regimes(root, random=(30,), **means)
    assert "est coreset" not in rebuild(root)["digits.md"]


def test_versions_of_a_regime_never_share_a_column(root):
    add_protocol(root, "hl", version=2)
    fill_regimes(root, random=(30, 60), herding=(41, 63))
    measure(root, submit(root, "random", "random", draws=3), *three_draws(35), protocol=protocol_id("hl", 2))
    page = rebuild(root)["digits.md"]
    assert [row[4] for row in side_by_side(page, "resnet18 IPC 1")[1:]] == ["35.00 ± 2.48 (3 draws x 3 seeds)", "-"]
    assert "## digits, ResNet-18, hard labels (v1, superseded)\n\n### resnet18-hl-v1 IPC 1\n" in page
    assert [row[3] for row in section(page, "resnet18-hl-v1 IPC 1")[1:]] == ["herding", "random"]
    (contrast,) = [row for row in section(page, "resnet18 IPC 1") if row[0] == "SL"]
    assert contrast[1] == "1"


def test_different_copies_of_the_test_split_under_two_regimes_are_marked(root):
    fill_regimes(root, random=(30, 60))
    record(root, submit(root, "other", "other"), 0, 0, 60.0, fingerprint="cd" * 32, protocol=protocol_id("sl"))
    assert "**2 different copies of the test split were used: these rows cannot be compared.**" in rebuild(root)["digits.md"]


def test_incomplete_and_diverged_rows_are_counted_over_all_regimes(root):
    fill_regimes(root, random=(30, 60))
    measure(root, submit(root, "other", "other"), (None, None), protocol=protocol_id("sl"))
    page = rebuild(root)["digits.md"]
    assert "- Not complete: SL: other (2 of 3 runs).\n- Diverged students: 2." in page


def test_verdicts_are_counted_for_each_regime(root):
    fill_regimes(root, random=(30, 60, None), herding=(41, 60, 70))
    page = rebuild(root)["digits.md"]
    assert (
        "1 table. Rows compared with Random under the same protocol and IPC (Welch's test, Holm-corrected within each table, 5%)"
        ": HL 1 of 2 rows: 1 significantly better, 0 significantly worse, 0 not told apart, 0 not testable. "
        "SL 1 of 2 rows: 0 significantly better, 0 significantly worse, 1 not told apart, 0 not testable. SL+KD 0 of 1 row.\n"
    ) in page


def test_a_stale_contrast_line_is_named_by_its_regime(root):
    fill_regimes(root, **MEANS)
    publish(root)
    assert check(root) == []
    page = root / "leaderboards/digits.md"
    page.write_text(page.read_text().replace("1 of 2 (50.0%)", "2 of 2 (100.0%)", 1))
    assert check(root) == [
        "leaderboards/digits.md: row HL (resnet18 IPC 1): Beat Random: 2 of 2 (100.0%) committed, 1 of 2 (50.0%) from records"
    ]


def test_a_stale_sentence_is_shown_with_its_line_and_what_the_records_say(root):
    fill_regimes(root, **MEANS)
    publish(root)
    page = root / "leaderboards/digits.md"
    page.write_text(page.read_text().replace("are 1 of 2 under HL", "are 2 of 2 under HL", 1))
    (message,) = check(root)
    line = (
        page.read_text().split("\n").index(next(line for line in page.read_text().split("\n") if "2 of 2 under HL" in line)) + 1
    )
    assert message.startswith(f"leaderboards/digits.md: rows agree, text differs, first in line {line}: ")
    assert "Random are 2 of 2 under HL" in message.split(" committed, ")[0]
    assert "Random are 1 of 2 under HL" in message.split(" committed, ")[1]


def test_a_row_of_the_second_table_that_was_edited_is_named(root):
    fill_regimes(root, random=(30, 60), herding=(41, 63), full_dataset=(80, 85))
    publish(root)
    page = root / "leaderboards/digits.md"
    page.write_text(page.read_text().replace("| 37.5%  ", "| 99.9%  "))
    assert check(root) == [
        "leaderboards/digits.md: row random (resnet18 IPC 1): HL share of full: 99.9% committed, 37.5% from records"
    ]


def test_exports_hold_the_full_dataset_and_the_shares(root):
    fill_regimes(root, random=(30,), full_dataset=(80,))
    random, full = json.loads(board_json(root, root / "leaderboards/results"))["rows"]
    assert (random["is_full_dataset"], random["share_of_full_dataset"]) == (False, 0.375)
    assert (full["is_full_dataset"], full["rank_best"], full["gap_to_random"]) == (True, None, None)


def test_exports_hold_the_gap_to_the_best_coreset(root):
    fill_regimes(root, random=(30,), herding=(41,), dd_dm=(50,))
    distilled, herding, random = json.loads(board_json(root, root / "leaderboards/results"))["rows"]
    assert (distilled["gap_to_best_coreset"], herding["is_best_coreset"], random["gap_to_best_coreset"]) == (9.0, True, None)
    assert 0 < distilled["gap_to_best_coreset_p"] < 0.05
