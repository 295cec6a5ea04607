"""Reported figures: read strictly, copied digit for digit, apart from what was measured, and compared with it."""

from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path

import pytest
from regime_rows import fill_regimes, row, single
from small_checkout import check, checkout, fill, publish, rebuild, table_rows

from harness.scoring.reported import COLUMNS, ReportedError, read_reported, reproductions
from harness.scoring.tables import build_tables

SHIPPED = Path(__file__).resolve().parent.parent / "leaderboards" / "reported"
ROW = {
    "source": "arXiv 2604.18811", "table": "Table 1", "page": "5", "dataset": "digits", "student": "resnet18", "regime": "hl",
    "method": "Random Real", "kind": "coreset", "ipc": "1", "mean": "31.5", "spread": "0.40", "note": "",
}  # fmt: skip


def write(folder: Path, *rows: dict[str, str], name: str = "paper.csv", columns=tuple(COLUMNS)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([{**ROW, **given}[column] for column in columns] for given in rows)
    return folder / name


@pytest.fixture
def root(tmp_path):
    return checkout(tmp_path / "checkout", ("hl", "sl", "sl-kd"))


def figures(table: str, method: str, regime: str, student: str = "resnet18") -> list[str]:
    shipped = read_reported(SHIPPED)
    found = [one for one in shipped if (one.table, one.method, one.regime, one.student) == (table, method, regime, student)]
    return [f"{one.ipc}: {one.mean}" + (f" ± {one.spread}" if one.spread is not None else "") for one in found]


def test_every_printed_table_is_there_in_full():
    counted: dict[str, int] = {}
    for entry in read_reported(SHIPPED):
        if entry.source == "arXiv 2604.18811":
            counted[entry.table] = counted.get(entry.table, 0) + 1
    assert counted == {
        "Table 1": 13 * 9 + 9, "Table 2": 6 * 4, "Table 3": 4 * 3, "Table 6": 5 * 4, "Table 7": 5 * 4, "Table 8": 6 * 4,
        "Table 9": 5, "Table 10": 4 * 3, "Table 11": 5 * 2, "Table 12": 5 * 4, "Table 13": 2 * 2, "Table 14": 3 * 2,
        "Text (OOD)": 2,
    }  # fmt: skip


def test_figures_are_copied_digit_for_digit_into_the_right_column():
    assert figures("Table 1", "SRe2L", "sl-kd") == ["10: 30.94 ± 0.24", "50: 52.58 ± 0.03", "100: 61.38 ± 0.15"]
    assert figures("Table 1", "EL2N-Best", "sl") == ["10: 22.82 ± 0.41", "50: 48.76 ± 0.56", "100: 56.05 ± 0.12"]
    assert figures("Table 1", "Full Dataset", "sl") == ["10: 41.86", "50: 62.50", "100: 65.91"]
    assert figures("Table 2", "Random Real", "sl", "convnet-d4") == ["10: 26.07 ± 0.48", "50: 36.87 ± 0.17"]
    assert figures("Table 6", "TM", "hl", "convnet-d3") == ["10: 38.18 ± 0.42", "50: 46.32 ± 0.26"]
    assert figures("Table 12", "CA2D", "hl", "resnet101") == ["50: 42.16", "100: 52.47"]
    assert figures("Table 14", "CAD-Prune (compute-aware run)", "hl") == ["50: 40.21 ± 0.15", "100: 47.40 ± 0.20"]


@pytest.mark.parametrize(
    ("table", "method", "ipc", "note"),
    [
        ("Table 1", "EL2N-Best", 50, "Table 3 prints 10.53 / 38.44 / 47.76"),
        ("Table 3", "EL2N-Best", 50, "Table 1 prints 10.33 / 38.06 / 47.18"),
        ("Table 9", "CA2D", 50, "print 41.72"),
        ("Table 10", "CA2D", 50, "Table 9 prints 41.56"),
        ("Table 3", "CAD-Prune", 100, "Below EL2N-Best"),
        ("Table 10", "CAD-Prune", 10, "Below DUAL"),
        ("Table 2", "Random Real", 10, "DC-BENCH"),
        ("Table 8", "DC", 50, "prints 4.42"),
        ("Table 14", "CAD-Prune (compute-aware run)", 100, "Below EL2N-Best"),
        ("Table 1", "Full Dataset", 10, "HL assumed"),
    ],
)
def test_known_inconsistencies_of_the_paper_are_noted(table, method, ipc, note):
    hard = [one for one in read_reported(SHIPPED) if (one.table, one.method, one.ipc, one.regime) == (table, method, ipc, "hl")]
    assert [note in one.note for one in hard] == [True]


def test_what_is_said_to_equal_the_dc_bench_leaderboard_does():
    shipped = read_reported(SHIPPED)
    names = {"Random Real": "Random", "K-centers": "K-Center"}
    leaderboard = {
        (one.dataset, one.student, one.ipc, one.method): one.mean for one in shipped if one.table == "Test Accuracy(Best)"
    }
    said = [one for one in shipped if one.note.startswith("The mean equals the DC-BENCH leaderboard's")]
    assert len(said) == 10 + 10 + 6
    for one in said:
        assert leaderboard[one.dataset, one.student, one.ipc, names.get(one.method, one.method)] == one.mean


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("regime", "HL"), ("regime", ""), ("ipc", "0"), ("ipc", "ten"), ("ipc", "1.0"), ("mean", ""), ("mean", "nan"),
        ("mean", "101"), ("mean", "1e1"), ("mean", "-3"), ("mean", "31,5"), ("spread", "±0.4"), ("spread", "200"),
        ("kind", "random"), ("page", "v"), ("dataset", "Digits"), ("dataset", "../x"), ("method", ""), ("method", " Random"),
        ("method", "a\x1b[31m"), ("note", "x" * 301), ("student", "a b"), ("source", ""), ("mean", "٣١"), ("ipc", "1\u00a0"),
    ],
)  # fmt: skip
def test_a_bad_cell_is_named_by_file_line_and_key(tmp_path, column, cell):
    path = write(tmp_path, {}, {"ipc": "5", column: cell})
    with pytest.raises(ReportedError) as failure:
        read_reported(tmp_path)
    assert failure.value.where == f"{path}:3: {column}"


def test_columns_are_fixed(tmp_path):
    for columns in (tuple(COLUMNS)[:-1], (*list(COLUMNS)[1:], "source")):
        path = write(tmp_path, {}, columns=columns)
        with pytest.raises(ReportedError, match="columns") as failure:
            read_reported(tmp_path)
        assert failure.value.where == f"{path}:1"


@pytest.mark.parametrize(
    ("text", "line"),
    [("a,b\n", 2), ('"open\n', 2), ("\n", 2), (",".join(ROW.values()) + ",more\n", 2)],
)
def test_a_row_that_is_no_row_is_named_by_line(tmp_path, text, line):
    path = write(tmp_path)
    path.write_text(path.read_text() + text)
    with pytest.raises(ReportedError) as failure:
        read_reported(tmp_path)
    assert failure.value.where == f"{path}:{line}"


def test_files_that_are_not_text_too_large_or_empty_are_refused(tmp_path):
    path = write(tmp_path)
    for contents in (b"\xff\xfe", b"x" * ((1 << 20) + 1), b""):
        path.write_bytes(contents)
        with pytest.raises(ReportedError):
            read_reported(tmp_path)


def test_the_same_figure_twice_is_refused(tmp_path):
    write(tmp_path, {}, {"ipc": "5"}, {"mean": "32"})
    with pytest.raises(ReportedError, match="twice") as failure:
        read_reported(tmp_path)
    assert failure.value.where.endswith("paper.csv:4: method")
    assert "line 2" in failure.value.why


def test_a_file_holds_one_source(tmp_path):
    write(tmp_path, {}, {"ipc": "5", "source": "another"})
    with pytest.raises(ReportedError, match="one source"):
        read_reported(tmp_path)


def test_reported_figures_have_a_section_of_their_own_and_are_in_no_rank_or_count(root):
    fill(root)
    before = rebuild(root)
    write(root / "leaderboards/reported", {}, {"method": "RDED", "kind": "distilled", "mean": "99.00", "note": "Look | here"})
    after = rebuild(root)
    measured, reported = after["digits.md"].split("## Published against reproduced")
    assert measured.rstrip() == before["digits.md"].rstrip()
    tables = table_rows(reported.split("## Reported, not run here")[1])
    assert tables == [
        ["Method", "Kind", "HL IPC 1"], ["Random Real", "coreset", "31.5 ± 0.40"], ["RDED", "distilled", "99.00 ± 0.40"],
    ]  # fmt: skip
    assert "- Source: [arXiv 2604.18811](https://arxiv.org/abs/2604.18811), page 5.\n" in reported
    assert "- RDED under HL: Look &#124; here" in reported


def test_a_dataset_with_reported_figures_alone_has_a_page_and_a_line_in_the_index(root):
    write(root / "leaderboards/reported", {"dataset": "imagenet-1k"})
    pages = rebuild(root)
    assert list(pages) == ["README.md", "imagenet-1k.md"]
    assert "No record yet." in pages["imagenet-1k.md"]
    assert "Reported, not run here: [imagenet-1k](imagenet-1k.md#reported-not-run-here)." in pages["README.md"]
    publish(root)
    assert check(root) == []


def test_published_stands_against_reproduced_where_both_exist(root):
    fill_regimes(root, random=(31, 60), herding=(41, 63))
    write(
        root / "leaderboards/reported",
        {}, {"regime": "sl", "mean": "57.40"}, {"method": "Herding", "mean": "43.49", "spread": ""}, {"ipc": "5"},
        {"student": "convnet-d3", "mean": "31"}, {"regime": "sl-kd"}, {"method": "RDED"},
    )  # fmt: skip
    headers, *rows = table_rows(rebuild(root)["digits.md"].split("## Published against reproduced")[1].split("\n##")[0])
    assert headers == [
        "Submission", "Student", "Regime", "IPC", "Published", "Source", "Reproduced", "Difference", "Published inside our 95%",
        "Within 1.00",
    ]  # fmt: skip
    source = "arXiv 2604.18811, Table 1"
    assert rows == [
        ["random", "resnet18", "HL (v1)", "1", "31.5 ± 0.40", source, "31.00 ± 2.48 (3 draws x 3 seeds)", "-0.50", "yes", "yes"],
        ["random", "resnet18", "SL (v1)", "1", "57.40 ± 0.40", source, "60.00 ± 2.48 (3 draws x 3 seeds)", "+2.60", "no", "no"],
        ["herding", "resnet18", "HL (v1)", "1", "43.49", source, "41.00 ± 2.48 (1 draw x 3 seeds)", "-2.49", "no", "no"],
    ]
    verdict = "3 published figures with a measured row of ours: 1 inside our 95% interval, 2 outside, 0 without an interval"
    assert verdict in rebuild(root)["digits.md"]


def test_nothing_published_or_nothing_reproduced_gives_no_such_table(root):
    fill(root)
    write(root / "leaderboards/reported", {"ipc": "10"})
    assert "Published against reproduced" not in rebuild(root)["digits.md"]


@pytest.mark.parametrize(("published", "inside", "within"), [("33.48", True, False), ("33.49", False, False), ("32", True, True)])
def test_inside_is_our_interval_and_within_is_the_tolerance(tmp_path, published, inside, within):
    write(tmp_path, {"mean": published})
    (found,) = reproductions(read_reported(tmp_path), build_tables([row("random", single(30.0, 31.0, 32.0), "hl")]))
    assert (found.inside_interval, found.within_tolerance) == (inside, within)
    assert found.points == pytest.approx(31 - float(Decimal(published)))


def test_one_seed_reproduces_without_an_interval_and_a_diverged_row_not_at_all(tmp_path):
    write(tmp_path, {})
    (found,) = reproductions(read_reported(tmp_path), build_tables([row("random", single(31.0), "hl")]))
    assert found.inside_interval is None
    assert reproductions(read_reported(tmp_path), build_tables([row("random", single(None), "hl")])) == []


def test_names_of_the_literature_map_to_methods_and_kinds_must_agree(tmp_path):
    write(tmp_path, {}, {"method": "Random"}, {"method": "EL2N-Best"}, {"method": "Full Dataset", "kind": "full"})
    assert [one.our_method for one in read_reported(tmp_path)] == ["random", "random", "el2n-best", "full-dataset"]
    impostor = row("impostor", single(31.0, 32.0), "hl", kind="distilled", method="random")
    assert reproductions(read_reported(tmp_path), build_tables([impostor])) == []
    full, bold = row("full-dataset", single(31.0, 32.0), "hl"), row("bold", single(31.0), "hl", method="full-dataset")
    assert [one.reported.method for one in reproductions(read_reported(tmp_path), build_tables([full]))] == ["Full Dataset"]
    assert reproductions(read_reported(tmp_path), build_tables([bold])) == []


def test_hostile_words_in_a_reported_file_stay_words(root):
    evil = "x | <img src=x> [a](https://evil.example) @admin"
    write(root / "leaderboards/reported", {"source": evil, "table": evil, "method": evil, "note": evil})
    page = rebuild(root)["digits.md"]
    assert not any(part in page for part in ("<img", "](https://evil", "@admin", "x | <"))


def test_a_bad_reported_file_stops_the_boards_before_anything_is_written(root):
    fill(root)
    write(root / "leaderboards/reported", {"mean": "x"})
    with pytest.raises(ReportedError):
        publish(root)
    assert not (root / "leaderboards/digits.md").exists()
