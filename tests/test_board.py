"""Leaderboard pages from constructed records: what is printed, and what is left out and why."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml
from small_checkout import PROTOCOL, checkout, fill, image_hash, measure, publish, rebuild, record, submit, table_rows

from harness import canonical
from harness.protocols import find_protocol
from harness.scoring import cells
from harness.scoring.board import build_boards, write_boards
from harness.scoring.tables import Gap


@pytest.fixture
def root(tmp_path):
    return checkout(tmp_path / "checkout")


def test_the_golden_table_is_rebuilt_to_the_printed_digit(root):
    """By hand: t(2; .975) = 4.303, so seeds 40, 41, 42 give 4.303 / sqrt(3) = 2.48; t(1; .975) = 12.706 over the draw means 31
    and 35, sd 2.83, gives 25.41. Herding against Random: t = 10 / sqrt(2 / 3) = 12.25, df 4, p = 0.00026, twice that after Holm.
    """
    fill(root)
    hub = f"[data](https://huggingface.co/datasets/some-lab/sets/tree/{'0123456789' * 4})"
    headers, herding, k_center, random = table_rows(rebuild(root)["digits.md"])
    assert headers == [
        "Rank", "Submission", "Kind", "Method", "HL top-1", "Top-5", "Draw sd", "Seed sd", "Gap to Random", "Links",
    ]  # fmt: skip
    assert herding == [
        "1-2", "[Herding](../submissions/herding/digits-ipc1.yaml) (herding)", "coreset", "herding",
        "41.00 ± 2.48 (1 draw x 3 seeds)", "91.00 ± 2.48", "-", "1.00", "+10.00 (p<0.001)",
        f"[paper](https://example.org/a) {hub} [records](results/digits/herding/ipc1/resnet18-hl-v1)",
    ]  # fmt: skip
    assert k_center == [
        "1-3", "[K-Center](../submissions/k-center/digits-ipc1.yaml) (k-center)", "coreset", "k-center",
        "33.00 ± 25.41 (2 draws x 3 seeds)", "83.00 ± 25.41", "2.83", "1.00", "+2.00 (n.s.)",
        f"{hub} [records](results/digits/k-center/ipc1/resnet18-hl-v1)",
    ]  # fmt: skip
    assert random == [
        "2-3", "[Random](../submissions/random/digits-ipc1.yaml) (random)", "coreset", "random",
        "31.00 ± 2.48 (3 draws x 3 seeds)", "81.00 ± 2.48", "1.00", "0.00", "is Random",
        f"{hub} [records](results/digits/random/ipc1/resnet18-hl-v1)",
    ]  # fmt: skip


def test_the_first_sentence_says_what_the_tests_say(root):
    fill(root)
    counts = "1 significantly better, 0 significantly worse, 1 not told apart, 0 not testable."
    assert "1 table. 3 rows, of which 2 compared with Random" in rebuild(root)["digits.md"]
    assert counts in rebuild(root)["digits.md"]
    assert counts in rebuild(root)["README.md"]


def test_the_index_names_highest_row_random_and_the_table(root):
    fill(root)
    (_, row) = table_rows(rebuild(root)["README.md"])
    assert row == [
        f"[{PROTOCOL}](digits.md#resnet18-hl-v1-ipc-1)", "digits", "1", "3", "herding: 41.00 ± 2.48 (1 draw x 3 seeds)", "1-2",
        "31.00 ± 2.48 (3 draws x 3 seeds)", "+10.00 (p<0.001)",
    ]  # fmt: skip
    assert "### resnet18-hl-v1 IPC 1\n" in rebuild(root)["digits.md"]


def test_notes_name_protocol_hash_seeds_and_detectable_difference(root):
    fill(root)
    page = rebuild(root)["digits.md"]
    sha = find_protocol(root, PROTOCOL).sha256[:12]
    assert f"- Protocol [{PROTOCOL}, sha256 {sha}](../protocols/{PROTOCOL}.yaml); seeds 0, 1, 2." in page
    assert "about 3.07 points" in page
    assert "Diverged students: 0." in page
    assert "Not complete" not in page


def test_every_relative_link_leads_to_a_file(root):
    fill(root)
    publish(root)
    for page in (root / "leaderboards").glob("*.md"):
        targets = [part.split(")")[0].split("#")[0] for part in page.read_text().split("](")[1:]]
        assert targets
        assert [target for target in targets if not target.startswith("https://") and not (page.parent / target).exists()] == []


def test_links_of_a_board_elsewhere_start_from_where_it_lies(root):
    results = root / "runs/demo/results"
    measure(root, submit(root, "random", "random"), (30.0, 31.0, 32.0), results=results)
    write_boards(root, results, root / "runs/demo")
    page = (root / "runs/demo/digits.md").read_text()
    assert "](../../submissions/random/digits-ipc1.yaml)" in page
    assert "](results/digits/random/ipc1/resnet18-hl-v1)" in page
    assert build_boards(root, results)["digits.md"] == page


def test_one_seed_has_no_interval_and_no_test(root):
    measure(root, submit(root, "random", "random"), (30.0, 31.0, 32.0))
    measure(root, submit(root, "herding", "herding"), (40.0,))
    _, herding, _ = table_rows(rebuild(root)["digits.md"])
    assert (herding[0], herding[4], herding[7], herding[8]) == (
        "1-2",
        "40.00 ± n/a (1 draw x 1 seed)",
        "-",
        "+9.00 (not testable)",
    )
    assert "Not complete: herding (1 of 3 runs)." in rebuild(root)["digits.md"]


def test_copies_of_a_set_are_not_further_draws(root):
    measure(root, submit(root, "random", "random", draws=2), (30.0, 31.0, 32.0), (30.0, 31.0, 32.0))
    for seed in range(3):
        copy = root / f"leaderboards/results/digits/random/ipc1/resnet18-hl-v1/draw1-seed{seed}.json"
        relabel(copy, image_hash("random", 0))
    pages = rebuild(root)
    assert "(1 draw x 3 seeds)" in pages["digits.md"]
    assert "same as that of an earlier draw" in pages["README.md"]


def test_a_set_under_two_names_is_told(root):
    fill(root)
    assert "same images" not in rebuild(root)["digits.md"]
    relabel(root / "leaderboards/results/digits/k-center/ipc1/resnet18-hl-v1/draw1-seed2.json", image_hash("random", 2))
    assert "- The same images, byte for byte: k-center, random.\n" in rebuild(root)["digits.md"]


def relabel(path, set_sha256):
    """The record at `path` as that of other images."""
    described = json.loads(path.read_text())
    described["data"]["set_sha256"] = set_sha256
    del described["sha256"]
    path.write_text(json.dumps({**described, "sha256": canonical.digest(described)}))


def test_a_draft_that_does_not_parse_stops_no_board(root):
    fill(root)
    submit(root, "draft", "draft").write_text("title: [")
    assert "Herding" in rebuild(root)["digits.md"]


def test_nothing_is_tested_against_a_single_draw_of_random(root):
    measure(root, submit(root, "random", "random"), (30.0, 31.0, 32.0))
    measure(root, submit(root, "herding", "herding"), (60.0, 61.0, 62.0))
    _, herding, _ = table_rows(rebuild(root)["digits.md"])
    assert herding[8] == "+30.00 (not testable)"
    assert "0 significantly better, 0 significantly worse, 0 not told apart, 1 not testable" in rebuild(root)["digits.md"]


def test_two_seeds_and_constant_rows_are_printed_without_false_certainty(root):
    measure(root, submit(root, "random", "random"), (10.0, 10.0, 10.0))
    measure(root, submit(root, "herding", "herding"), (90.0, 90.0))
    _, herding, random = table_rows(rebuild(root)["digits.md"])
    assert (herding[4], herding[8]) == ("90.00 ± 0.00 (1 draw x 2 seeds)", "+80.00 (not testable)")
    assert (herding[0], random[0]) == ("1-2", "1-2")


def test_diverged_students_are_counted_and_not_averaged(root):
    measure(root, submit(root, "random", "random"), (30.0, None, 32.0))
    measure(root, submit(root, "broken", "broken"), (None, None, None))
    _, random, broken = table_rows(rebuild(root)["digits.md"])
    assert random[4] == "31.00 ± 12.71 (1 draw x 2 seeds, 1 diverged)"
    assert (broken[0], broken[4], broken[8]) == ("-", "no result (3 diverged)", "-")
    assert "Diverged students: 4." in rebuild(root)["digits.md"]


def test_a_draw_without_results_is_not_a_draw_of_zero(root):
    measure(root, submit(root, "random", "random", draws=2), (30.0, 31.0, 32.0), (None, None, None))
    _, random = table_rows(rebuild(root)["digits.md"])
    assert random[4] == "31.00 ± 2.48 (1 draw x 3 seeds, 3 diverged)"


def test_a_table_without_random_shows_no_gap(root):
    measure(root, submit(root, "herding", "herding"), (40.0, 41.0, 42.0))
    _, herding = table_rows(rebuild(root)["digits.md"])
    assert herding[8] == "-"
    assert "No Random row" in rebuild(root)["digits.md"]


def test_only_a_coreset_can_be_the_random_row(root):
    distilled = {"kind": "distilled", "images": {"pixel_space": "uint8", "resolution": 8}}
    path = submit(root, "aaa", "random", **distilled)
    described = json.loads(path.read_text())
    del described["split_fingerprint"]
    path.write_text(json.dumps(described))
    measure(root, path, (1.0, 1.5, 2.0))
    measure(root, submit(root, "random", "random", draws=3), (30.0,), (31.0,), (32.0,))
    _, random, impostor = table_rows(rebuild(root)["digits.md"])
    assert (random[8], impostor[8]) == ("is Random", "-29.50 (p<0.001)")


def test_equal_means_are_ordered_by_slug_and_not_by_the_order_of_files(root, tmp_path):
    second = checkout(tmp_path / "second")
    for place, order in ((root, ["b-b", "a-a", "random"]), (second, ["random", "a-a", "b-b"])):
        for slug in order:
            measure(place, submit(place, slug, slug), (30.0, 31.0, 32.0))
    assert [row[3] for row in table_rows(rebuild(root)["digits.md"])[1:]] == ["a-a", "b-b", "random"]
    assert rebuild(root) == rebuild(second)


def test_two_builds_in_different_places_give_the_same_bytes(root, tmp_path):
    fill(root)
    elsewhere = tmp_path / "a" / "longer" / "path"
    shutil.copytree(root, elsewhere)
    publish(root)
    publish(elsewhere)
    for name in ("README.md", "digits.md"):
        built = (root / "leaderboards" / name).read_bytes()
        assert built == (elsewhere / "leaderboards" / name).read_bytes()
        assert built.endswith(b"\n")
        assert not built.endswith(b"\n\n")


def test_hostile_titles_and_methods_stay_in_their_cell(root):
    evil = "x | <img src=x> [a](https://evil.example) `c` @admin"
    measure(root, submit(root, "random", "random|1e5", title=evil), (30.0, 31.0, 32.0))
    _, row = table_rows(rebuild(root)["digits.md"])
    assert len(row) == 10
    assert not any(part in "".join(row) for part in ("<img", "](https://evil", "@admin"))


def test_records_of_a_changed_or_removed_submission_are_listed_and_not_shown(root):
    fill(root)
    submit(root, "herding", "herding", split_fingerprint="cd" * 32)
    (root / "submissions/k-center/digits-ipc1.yaml").unlink()
    pages = rebuild(root)
    assert [row[3] for row in table_rows(pages["digits.md"])[1:]] == ["random"]
    assert "- digits/herding/ipc1/resnet18-hl-v1: 3 records: the submission file has changed since the run." in pages["README.md"]
    assert "- digits/k-center/ipc1/resnet18-hl-v1: 6 records: the submission file is gone." in pages["README.md"]
    assert "9 records of this dataset not shown: [reasons](README.md#records-not-shown)." in pages["digits.md"]


def test_a_mended_title_keeps_its_records(root):
    measure(root, submit(root, "random", "random"), (30.0, 31.0, 32.0))
    submit(root, "random", "random", title="A better title")
    assert "[A better title]" in rebuild(root)["digits.md"]


def test_numbers_of_two_versions_of_a_protocol_never_share_a_table(root):
    measure(root, submit(root, "random", "random"), (30.0, 31.0, 32.0))
    path = root / "protocols" / f"{PROTOCOL}.yaml"
    changed = yaml.safe_load(path.read_text())
    changed["optimizer"]["lr"]["value"] *= 2
    path.write_text(yaml.safe_dump(changed))
    measure(root, submit(root, "herding", "herding"), (40.0, 41.0, 42.0))
    pages = rebuild(root)
    assert [row[3] for row in table_rows(pages["digits.md"])[1:]] == ["herding"]
    assert "3 records: the protocol file has changed since the run." in pages["README.md"]


def test_records_under_a_protocol_for_another_dataset_are_not_shown(root):
    path = root / "protocols" / f"{PROTOCOL}.yaml"
    changed = yaml.safe_load(path.read_text())
    changed["dataset"]["name"]["value"] = "cifar10"
    path.write_text(yaml.safe_dump(changed))
    measure(root, submit(root, "random", "random"), (30.0, 31.0, 32.0))
    pages = rebuild(root)
    assert list(pages) == ["README.md"]
    assert "3 records: the protocol is for another dataset." in pages["README.md"]


def test_a_seed_or_draw_nobody_planned_is_not_averaged(root):
    path = submit(root, "random", "random")
    measure(root, path, (30.0, 31.0, 32.0))
    record(root, path, draw=0, seed=7, top1=99.0)
    record(root, path, draw=4, seed=0, top1=99.0)
    pages = rebuild(root)
    assert table_rows(pages["digits.md"])[1][4] == "31.00 ± 2.48 (1 draw x 3 seeds)"
    assert "1 record: the protocol does not list this seed." in pages["README.md"]
    assert "1 record: the submission has no such draw." in pages["README.md"]


def test_rows_measured_on_different_copies_of_the_test_split_are_marked_as_not_comparable(root):
    measure(root, submit(root, "random", "random"), (30.0, 31.0, 32.0))
    assert "different copies" not in rebuild(root)["digits.md"]
    record(root, submit(root, "herding", "herding"), draw=0, seed=0, top1=50.0, fingerprint="cd" * 32)
    assert "**2 different copies of the test split were used: these rows cannot be compared.**" in rebuild(root)["digits.md"]


def test_a_record_copied_into_another_folder_does_not_count_twice(root):
    path = submit(root, "random", "random")
    place = record(root, path, draw=0, seed=0, top1=31.0)
    copy = place.parent.with_name("convnet-hl-v1")
    shutil.copytree(place.parent, copy)
    assert "convnet-hl-v1: 1 record: the record lies in another protocol's folder." in rebuild(root)["README.md"]
    assert table_rows(rebuild(root)["digits.md"])[1][4] == "31.00 ± n/a (1 draw x 1 seed)"


def test_no_records_give_an_index_that_says_so(root):
    assert list(rebuild(root)) == ["README.md"]
    assert "No record yet." in rebuild(root)["README.md"]


def test_nothing_is_printed_as_minus_zero():
    assert cells.number(-0.001) == "0.00"
    assert cells.gap(Gap(-0.001, 0.9)) == "+0.00 (n.s.)"


def test_a_significant_difference_shows_its_p_value():
    assert cells.gap(Gap(3.2, 0.0041)) == "+3.20 (p=0.004)"
    assert cells.gap(Gap(-3.2, 0.0004)) == "-3.20 (p<0.001)"
    assert cells.gap(Gap(3.2, 0.05)) == "+3.20 (n.s.)"
