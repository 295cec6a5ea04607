"""From losses to the DCS page: tables that are kept, losses of one's own, and numbers that agree wherever they stand."""

from __future__ import annotations

import json
import re
import shutil
import sys
from contextlib import contextmanager
from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest
from command_line import caller
from looked_up_pool import ROOT, by_size_and_quality, pool_checkout, write_table
from small_checkout import submit

from harness import dcs_scores
from harness.datasets import load_split
from harness.dcs import losses as losses_module
from harness.dcs.custom import find_function, read_custom_losses
from harness.dcs.lookup import frozen_pool, table_path
from harness.dcs.loss_table import LossRow, losses_path, put_losses, read_losses, subset_hashes, write_losses
from harness.dcs.losses import SETS_BETWEEN_WRITES, identity_of, update_losses
from harness.dcs.objective import Objective, Scene
from harness.dcs.objectives import NOT_EXPRESSIBLE, OBJECTIVE_OF_METHOD, OBJECTIVES, find_objective, objective_titles
from harness.dcs.pool import find_pool, pool_ids, pool_rows, workspace
from harness.dcs.statistic import primary_of, score
from harness.errors import CheckFailed, UsageError
from harness.scoring.board import build_boards
from harness.scoring.dcs import points_of, pool_scores, read_pool_scores, spreads
from harness.scoring.dcs_boards import dcs_column
from harness.scoring.dcs_cells import dcs_cell
from harness.scoring.dcs_reported import read_reported_scores
from harness.submissions import read_submission
from harness.teachers import read_card


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path / "cache"))
    pool_checkout(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("mine", None)  # an author's module, which the next test writes anew


@pytest.fixture
def pool(root):
    return frozen_pool(root, "digits", None)


@pytest.fixture
def hlbench(root, monkeypatch, capsys):
    return caller(monkeypatch, capsys)


def aligned(subset) -> float:
    return fmean(by_size_and_quality(subset))


def loss_file(path, pool, loss=aligned):
    path.write_text("subset,loss\n" + "".join(f"{subset.id},{loss(subset)!r}\n" for subset in pool.subsets))
    return path


def losses_here(root, pool, objective):
    """A loss for every subset, under the identity that the objective has now."""
    identity, hashes = identity_of(root, pool, find_objective(objective)), subset_hashes(pool)
    return [LossRow(objective, identity, one.id, hashes[one.id], aligned(one), None, 1) for one in pool.subsets]


@pytest.mark.parametrize(("loss", "value"), [(aligned, 1.0), (lambda subset: -aligned(subset), -1.0)])
def test_a_loss_that_is_the_error_scores_1_and_its_negative_minus_1(root, pool, tmp_path, loss, value):
    (found,) = dcs_scores.score_file(root, pool, loss_file(tmp_path / "own.csv", pool, loss), partial=False, save=None)
    assert found.score.primary == pytest.approx(value)
    assert found.score.m == len(pool.subsets) - len(pool_scores(root, pool).excluded)


def test_a_loss_of_size_alone_and_a_constant_one_are_undefined_and_not_0(root, pool, tmp_path):
    for loss in (lambda subset: 1 / subset.ipc, lambda subset: 0.999):
        (found,) = dcs_scores.score_file(root, pool, loss_file(tmp_path / "own.csv", pool, loss), partial=False, save=None)
        assert found.score.primary is None
        assert "constant loss" in found.score.reason


def test_only_missing_losses_are_computed_and_a_changed_identity_computes_them_all(root, pool):
    asked = []

    def losses(sets, scene, settings):
        asked.extend(len(rows) for rows in sets)
        return np.array([[float(rows.sum()), float(rows.sum()) + settings["shift"]] for rows in sets])

    objective = Objective("toy", "Toy", "none", ("backbone",), {"shift": 2.0}, losses)
    train = load_split("digits", "train")
    scene, path = Scene(train, read_card(root, "digits/convnet-d3")), losses_path(root, pool)
    rows = pool_rows(root, pool)
    few = dict(list(rows.items())[:5])
    found = update_losses(objective, "a" * 12, pool, few, scene, path)
    assert [found[name].loss for name in few] == [few[name].sum() + 1.0 for name in few]
    assert {line.standard_error for line in found.values()} == {1.0}  # of n and n + 2: sd sqrt 2, over sqrt 2
    asked.clear()
    update_losses(objective, "a" * 12, pool, rows, scene, path)
    assert len(asked) == len(rows) - 5
    asked.clear()
    update_losses(objective, "a" * 12, pool, rows, scene, path)
    assert asked == []
    update_losses(objective, "b" * 12, pool, rows, scene, path)
    assert len(asked) == len(rows) == len(read_losses(path))


def test_losses_computed_set_by_set_are_kept_when_a_later_one_fails(root, pool):
    def losses(sets, scene, settings):
        return np.array([[np.nan if len(rows) > 10 else 1.0] for rows in sets])

    objective = Objective("toy", "Toy", "none", ("backbone",), {}, losses, together=False)
    scene, path = Scene(load_split("digits", "train"), read_card(root, "digits/convnet-d3")), losses_path(root, pool)
    with pytest.raises(CheckFailed, match="no finite loss"):
        update_losses(objective, "a" * 12, pool, pool_rows(root, pool), scene, path)
    assert {line.subset for line in read_losses(path)} == {subset.id for subset in pool.subsets[:SETS_BETWEEN_WRITES]}


def test_a_table_of_losses_survives_writing_and_refuses_damage(tmp_path):
    rows = [
        LossRow("dm", "a" * 12, "ipc1-random-d0", "b" * 12, 0.1 + 0.2, None, 1),
        LossRow("dc", "c" * 12, "x", "d" * 12, 1e-30, 0.5, 9),
    ]
    path = tmp_path / "losses.csv"
    write_losses(path, rows)
    assert set(read_losses(path)) == set(rows)
    before = path.read_bytes()
    write_losses(path, reversed(rows))
    assert path.read_bytes() == before
    damages = [b"objective,loss\n", before.replace(b"1e-30", b"nan"), before.replace(b",9\n", b"\n"), before + b"\xff\n"]
    damages += [before + b'"', before + b"x" * (4 << 20)]
    for damage in damages:
        path.write_bytes(damage)
        with pytest.raises(CheckFailed, match="not as it was written"):
            read_losses(path)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("loss,subset\n", "first line"),
        ("", "first line"),
        ("subset,loss\na,1\nb,2\nz,3\n", "no subset z"),
        ("subset,loss\na,1\n", "no loss for b"),
        ("subset,loss\n", "it holds no loss"),
        ("subset,loss\na,1\nz,2\n", "no subset z, and 1 of the pool's have no loss"),
        ("subset,loss\nb,1\na,1\na,2\n", "line 4 gives a a second time, after line 3"),
        ("subset,loss\na,1_000\nb,1\n", "line 2: '1_000'"),
        ("subset,loss\na,nan\nb,1\n", "line 2: 'nan'"),
        ("subset,loss\na,1e999\nb,1\n", "line 2: '1e999'"),
        ("subset,loss\na,x\nb,1\n", "line 2: 'x'"),
        ("subset,loss\na,1,2\nb,1\n", "decimals with a point"),
        ("subset,loss\na,nan\nb,1,2\na,x\n", "line 2: 'nan' is no finite number; line 3 has 3 cells; line 4: 'x' is no"),
        ("subset,loss\n" + "a,x\n" * 9, "line 6: 'x' is no finite number; and 4 more such lines"),
        ("subset,loss\n" + "a,1\n" * 300_000, "larger than"),
    ],
)
def test_a_file_of_losses_that_does_not_fit_the_pool_is_refused_by_name_and_line(tmp_path, text, named):
    path = tmp_path / "own.csv"
    path.write_text(text)
    with pytest.raises(UsageError) as refused:
        read_custom_losses(path, ["a", "b"])
    assert named in str(refused.value)


def test_missing_ids_are_allowed_when_asked_for_and_unknown_ones_never(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("\ufeffsubset,loss\r\na, 1.5\r\n")
    assert read_custom_losses(path, ["a", "b"], partial=True) == {"a": 1.5}
    path.write_text("subset,loss\nz,1\n")
    with pytest.raises(UsageError, match="does not fit"):
        read_custom_losses(path, ["a"], partial=True)
    path.write_text("subset,loss\n")
    with pytest.raises(UsageError, match="does not fit"):
        read_custom_losses(path, ["a"], partial=True)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot read"):
        read_custom_losses(path, ["a"])
    with pytest.raises(UsageError, match="cannot read"):
        read_custom_losses(tmp_path / "absent.csv", ["a"])


def test_a_score_of_a_part_says_how_much_lacks_and_that_it_does_not_compare(root, pool, tmp_path, hlbench):
    path, (last, *_) = loss_file(tmp_path / "own.csv", pool), reversed(pool.subsets)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith(f"{last.id},")))
    code, out, err = hlbench("dcs", "--dataset", "digits", "--losses", str(path), "--partial")
    assert code == 0, err
    assert f"own: no loss of 1 subset of {len(pool.subsets)}, 1 of which count; a score of a part does not compare" in out
    assert "Aligned (p < 0.05 with twins and without): own." in out


def test_a_function_of_the_authors_own_is_called_with_every_subset(root, pool, hlbench):
    (root / "mine.py").write_text("def loss(images, labels):\n    return float(images.mean()) + len(labels)\n")
    code, out, err = hlbench("dcs", "--dataset", "digits", "--objective", "mine:loss", "--json")
    assert code == 0, err
    (entry,) = json.loads(out)["objectives"]
    rows, train = pool_rows(root, pool), load_split("digits", "train")
    losses = {name: float(train.images[of].mean()) + len(of) for name, of in rows.items()}
    scores = pool_scores(root, pool)
    assert entry["score"]["primary"] == score(points_of(pool, scores.errors.counted, losses)).primary
    assert entry["nothing_excluded"] == primary_of(points_of(pool, scores.errors.measured, losses))
    (root / "mine.py").write_text("def loss(images, labels):\n    return float('nan')\n")
    sys.modules.pop("mine")
    assert hlbench("dcs", "--dataset", "digits", "--objective", "mine:loss")[0] == 2


@pytest.mark.parametrize("spec", ["", "no-colon", "no_such_module:f", "json:no_such", "json:decoder", ":f", "m:"])
def test_what_names_no_function_is_refused(spec):
    with pytest.raises(UsageError):
        find_function(spec)


def test_kept_losses_stand_on_the_page_and_score_there_what_they_scored_before(root, pool, hlbench, tmp_path):
    path = loss_file(tmp_path / "own.csv", pool)
    code, out, err = hlbench("dcs", "--dataset", "digits", "--losses", str(path), "--save", "my-loss")
    assert code == 0, err
    assert "my-loss" in out
    assert "+1.00" in out
    page = build_boards(root, root / "leaderboards/results")["digits-dcs.md"]
    assert re.search(r"`my-loss` \(own losses, not computed here\) +\| \*\*\+1\.00\*\*", page)
    # names that would pass for the harness's, for a method's whose loss it knows, for a selector's, or for somebody else's
    for name in ("dm", "DM", "dwa-noperturb", "ca2d", "sre2l", "random", "all", "minimax", "My_Loss", "../x", "a b", "<b>", ""):
        assert hlbench("dcs", "--dataset", "digits", "--losses", str(path), "--save", name)[0] == 2
    assert {line.objective for line in read_losses(losses_path(root, pool))} == {"my-loss"}


def test_the_page_is_stale_when_a_loss_or_an_error_changes(root, pool, hlbench, tmp_path):
    dcs_scores.score_file(root, pool, loss_file(tmp_path / "own.csv", pool), partial=False, save="mine")
    assert hlbench("leaderboard")[0] == 0
    assert hlbench("leaderboard", "--check")[0] == 0
    write_table(root, pool, lambda subset: tuple(100 - error for error in by_size_and_quality(subset)))
    code, _, err = hlbench("leaderboard", "--check")
    assert code == 1
    assert "digits-dcs.md" in err


def test_a_boards_dcs_is_that_of_the_loss_its_method_descends_on(root, pool, tmp_path):
    hashes = {subset.id: subset.sha256[:12] for subset in pool.subsets}
    identities = {"rded_realism": identity_of(root, pool, find_objective("rded_realism")), "new-method": "a" * 12}
    lines = [LossRow(name, identity, subset.id, hashes[subset.id], aligned(subset), None, 1)
             for name, identity in identities.items() for subset in pool.subsets]  # fmt: skip
    write_losses(losses_path(root, pool), lines)
    distilled = {"kind": "distilled", "split_fingerprint": None, "images": {"pixel_space": "uint8", "resolution": 8}}
    methods = ["rded", "ca2d", "new-method", "mtt", "d4m", "unheard-of"]
    submissions = [submit(root, "random", "random"), *(submit(root, method, method, **distilled) for method in methods)]
    (scores,) = read_pool_scores(root)
    rows = [read_submission(path) for path in submissions]
    header, cells = dcs_column(rows, scores)
    assert header == "DCS"
    measured = dcs_cell(scores.of_method("rded"))
    assert measured.startswith("+1.00 [")
    assert [cell.split(" [")[0] for cell in cells[:1]] == ["not expressible"]
    assert cells[1:4] == [*[f"`rded_realism` {measured}"] * 2, f"`new-method` {measured} own losses"]
    assert cells[4:] == ["not computed", "not expressible", "not given"]
    lacking = replace(scores, students=scores.planned - 1)
    assert dcs_column(rows, lacking)[1][1] == f"{cells[1]}, provisional"


def test_the_spread_names_the_ends_of_every_size(root, pool):
    scores = pool_scores(root, pool)
    counted = scores.errors.counted
    for spread in spreads(scores):
        means = {s.id: fmean(counted[s.id]) for s in pool.subsets if s.ipc == spread.ipc and s.id in counted}
        assert (spread.lowest, spread.highest, spread.subsets) == (min(means.values()), max(means.values()), len(means))
        assert means[spread.lowest_subset] == spread.lowest


def worse_when_clean_is_better(subset) -> tuple[float, ...]:
    """On corrupted images, where the order of subsets is the other way round."""
    return tuple(90 - error for error in by_size_and_quality(subset))


@pytest.mark.parametrize(("options", "value"), [([], 1.0), (["--ood"], -1.0)])
def test_where_corrupted_images_reverse_the_order_a_loss_scores_1_and_minus_1(root, pool, hlbench, tmp_path, options, value):
    write_table(root, pool, by_size_and_quality, worse_when_clean_is_better)
    path = str(loss_file(tmp_path / "own.csv", pool))
    code, out, err = hlbench("dcs", "--dataset", "digits", "--losses", path, "--json", *options)
    assert code == 0, err
    told = json.loads(out)
    (entry,) = told["objectives"]
    assert entry["score"]["primary"] == pytest.approx(value)
    assert entry["score"]["m"] == len(pool.subsets) - len(pool_scores(root, pool).excluded)
    assert told["errors_on"] == ("corrupted test images" if options else "test images")
    assert entry.get("by_severity", []) == pytest.approx([value] * 5 if options else [])


def test_clean_errors_settle_which_subsets_count_on_corrupted_images(root, pool):
    def hopeless_on_clean(subset):
        return (99.0, 99.0) if subset.id == "ipc50-el2n-easy-d0" else by_size_and_quality(subset)

    write_table(root, pool, hopeless_on_clean, by_size_and_quality)
    scores = pool_scores(root, pool)
    assert "ipc50-el2n-easy-d0" in scores.excluded
    assert scores.corrupted.measured.keys() - scores.corrupted.counted.keys() == scores.excluded.keys()


def test_where_nothing_is_measured_on_corrupted_images_the_command_says_how_to_measure(root, pool, hlbench, tmp_path):
    path = str(loss_file(tmp_path / "own.csv", pool))
    code, out, err = hlbench("dcs", "--dataset", "digits", "--losses", path, "--ood")
    assert (code, out) == (1, "")
    assert "no student of the pool has been looked up on corrupted images" in err
    assert "hlbench pool train --ood --dataset digits" in err


def test_losses_that_were_saved_are_scored_by_their_name_and_saving_says_what_it_replaces(root, pool, hlbench, tmp_path):
    path = str(loss_file(tmp_path / "own.csv", pool))
    told = [hlbench("dcs", "--dataset", "digits", "--losses", path, "--save", "my-loss")[2] for _ in range(2)]
    assert f"{len(pool.subsets)} losses saved as my-loss; hlbench leaderboard shows them" in told[0]
    assert f"instead of {len(pool.subsets)} that were saved under that name" in told[1]
    code, out, err = hlbench("dcs", "my-loss", "--dataset", "digits", "--json")
    assert code == 0, err
    assert [one["objective"] for one in json.loads(out)["objectives"]] == ["my-loss"]
    assert "is called rded_realism" in hlbench("dcs", "rded", "--dataset", "digits")[2]


@pytest.mark.parametrize("subsets", [1, 20])
def test_too_few_measured_on_corrupted_images_is_said_and_is_no_error(root, pool, hlbench, tmp_path, subsets):
    few = {subset.id for subset in pool.subsets[:subsets]}
    write_table(root, pool, by_size_and_quality, lambda subset: by_size_and_quality(subset) if subset.id in few else ())
    path = str(loss_file(tmp_path / "own.csv", pool))
    code, out, err = hlbench("dcs", "--dataset", "digits", "--losses", path, "--ood")
    assert code == 0, err
    assert "too few" in out
    assert f"{2 * subsets} of {2 * len(pool.subsets)} students measured" in out
    (entry,) = json.loads(hlbench("dcs", "--dataset", "digits", "--losses", path, "--ood", "--json")[1])["objectives"]
    assert (entry["score"]["primary"], entry["by_severity"]) == (None, [])


def test_losses_of_a_part_of_the_pool_are_scored_but_not_kept(root, pool, tmp_path):
    file = loss_file(tmp_path / "own.csv", pool)
    with pytest.raises(UsageError, match="not kept") as caught:
        dcs_scores.score_file(root, pool, file, partial=True, save="mine")
    assert "chooses the score" in caught.value.why
    assert not losses_path(root, pool).exists() or "mine" not in losses_path(root, pool).read_text()


@pytest.mark.parametrize("turns", [True, False])
def test_a_sign_that_hangs_on_the_excluded_subsets_is_said_on_the_page_and_on_boards(root, pool, tmp_path, turns):
    """A third of the subsets is hopeless and left out, Random never; what counts has a lower loss the higher its error."""
    hopeless = {one.id for one in pool.subsets if one.method != "random" and sum(map(ord, one.id)) % 3 == 0}
    write_table(root, pool, lambda one: tuple(error + 30 * (one.id in hopeless) for error in by_size_and_quality(one)))
    loss = lambda one: 1000 + aligned(one) if one.id in hopeless and turns else -aligned(one)  # noqa: E731
    dcs_scores.score_file(root, pool, loss_file(tmp_path / "own.csv", pool, loss), partial=False, save="mine")
    (scores,) = read_pool_scores(root)
    (one,) = scores.objectives
    assert set(scores.excluded) == hopeless
    assert one.score.primary == pytest.approx(-1)
    assert (one.of_all > 0) == turns
    page = build_boards(root, root / "leaderboards/results")["digits-dcs.md"]
    assert (f"leaves out: `mine` ({one.of_all:+.2f}) with nothing excluded." in page) == turns
    fields = {"kind": "distilled", "split_fingerprint": None, "images": {"pixel_space": "uint8", "resolution": 8}}
    (cell,) = dcs_column([read_submission(submit(root, "mine", "mine", **fields))], scores)[1]
    assert (f"{one.of_all:+.2f} with nothing excluded" in cell) == turns


def test_the_page_has_scores_on_corrupted_images_only_where_some_are_measured(root, pool, tmp_path):
    dcs_scores.score_file(root, pool, loss_file(tmp_path / "own.csv", pool), partial=False, save="mine")

    def page():
        return build_boards(root, root / "leaderboards/results")["digits-dcs.md"]

    without = page()
    assert "orrupted test images" not in without.split("## Reported")[0]
    write_table(root, pool, by_size_and_quality, worse_when_clean_is_better)
    before, section = page().split("### On corrupted test images")
    assert without.startswith(before.rstrip())
    assert re.search(
        r"`mine` \(own losses, not computed here\) +\| \*\*-1\.00\*\* \[-1\.00, .*? +\| [+-]\d\.\d\d \[.*?\] +\| <0\.001 ",
        section,
    )
    assert "1: -1.00, 2: -1.00, 3: -1.00, 4: -1.00, 5: -1.00" in section
    assert f"{2 * len(pool.subsets)} of {2 * len(pool.subsets)} students measured" in section.replace("\n", " ")
    first = pool.subsets[0].id
    write_table(root, pool, by_size_and_quality, lambda subset: by_size_and_quality(subset) if subset.id == first else ())
    assert re.search(
        r"`mine` \(own losses, not computed here\) +\| too few +\| - +\| - +\| - +\| - +\| 0 in 0 +\| - +\|",
        page().split("### On corrupted test images")[1],
    )


def test_losses_come_from_one_place(root, pool, hlbench, tmp_path):
    path = str(loss_file(tmp_path / "own.csv", pool))
    assert hlbench("dcs", "dm", "--dataset", "digits", "--losses", path)[0] == 2
    assert hlbench("dcs", "--dataset", "digits", "--losses", path, "--objective", "m:f")[0] == 2
    assert hlbench("dcs", "--dataset", "digits", "--save", "x")[0] == 2
    assert hlbench("dcs", "no-such", "--dataset", "digits")[0] == 2
    assert "losses of the generator" in hlbench("dcs", "minimax", "--dataset", "digits")[2]


def test_every_objective_is_found_and_every_methods_objective_is_one():
    assert {name: (found.name, found.title) for name in OBJECTIVES if (found := find_objective(name))} == {
        name: (name, title) for name, title in objective_titles().items()
    }
    assert set(OBJECTIVE_OF_METHOD.values()) <= set(OBJECTIVES)
    assert {entry.name for entry in NOT_EXPRESSIBLE} == {"minimax", "d4m", "coresets"}


def test_what_papers_print_is_read_word_for_word(root):
    printed = {(one.objective, one.errors): one.printed for one in read_reported_scores(ROOT / "leaderboards/reported/dcs")}
    assert printed["DM", "test images"] == "+0.41"
    assert printed["SRe2L", "corrupted images"] == "-0.12"


def test_losses_are_computed_and_kept_before_any_student_is_looked_up(root, pool, hlbench):
    table_path(root, pool).unlink()
    code, _, err = hlbench("dcs", "rded_realism", "--dataset", "digits", "--most-ipc", "1")
    assert code == 1
    assert "no student of the pool has been looked up" in err
    assert {line.subset for line in read_losses(losses_path(root, pool))} == {s.id for s in pool.subsets if s.ipc == 1}


@pytest.mark.parametrize("row", [
    LossRow("<img src=x>", "a" * 12, "ipc1-random-d0", "b" * 12, 1.0, None, 1),
    LossRow("x/../../../pwned", "a" * 12, "ipc1-random-d0", "b" * 12, 1.0, None, 1),
    LossRow("a\nb", "a" * 12, "ipc1-random-d0", "b" * 12, 1.0, None, 1),
    LossRow("$\\frac{$", "a" * 12, "ipc1-random-d0", "b" * 12, 1.0, None, 1),
    LossRow("dm", "a" * 11, "ipc1-random-d0", "b" * 12, 1.0, None, 1),
    LossRow("dm", "a" * 12, "../x", "b" * 12, 1.0, None, 1),
    LossRow("dm", "a" * 12, "ipc1-random-d0", "", 1.0, None, 1),
    LossRow("dm", "a" * 12, "ipc1-random-d0", "b" * 12, 1.0, None, 0),
    LossRow("dm", "a" * 12, "ipc1-random-d0", "b" * 12, 1.0, -0.1, 2),
])  # fmt: skip
def test_names_and_hashes_of_a_strangers_table_have_a_fixed_form(tmp_path, row):
    write_losses(tmp_path / "losses.csv", [row])
    with pytest.raises(CheckFailed, match="not as it was written"):
        read_losses(tmp_path / "losses.csv")


@pytest.mark.parametrize("other", [
    LossRow("dm", "f" * 12, "ipc2-random-d0", "b" * 12, -1.0, None, 1),
    LossRow("dm", "a" * 12, "ipc1-random-d0", "b" * 12, -1.0, None, 1),
    LossRow("DM", "a" * 12, "ipc1-random-d0", "b" * 12, -1.0, None, 1),
])  # fmt: skip
def test_a_merge_that_mixes_two_versions_of_a_loss_is_refused(tmp_path, other):
    write_losses(tmp_path / "losses.csv", [LossRow("dm", "a" * 12, "ipc1-random-d0", "b" * 12, 1.0, None, 1), other])
    with pytest.raises(CheckFailed, match="not as it was written"):
        read_losses(tmp_path / "losses.csv")


@pytest.mark.parametrize("name", [name for name in pool_ids(ROOT) if losses_path(ROOT, find_pool(ROOT, name)).exists()])
def test_the_committed_losses_are_those_of_the_code_its_settings_and_the_pinned_networks(name):
    pool = find_pool(ROOT, name)
    lines = read_losses(losses_path(ROOT, pool))
    stated = {line.objective: line.identity for line in lines if line.objective in OBJECTIVES}
    assert stated
    assert stated == {objective: identity_of(ROOT, pool, find_objective(objective)) for objective in stated}


def test_losses_of_another_identity_are_told_with_the_command_that_renews_them(root, pool, hlbench):
    lines = losses_here(root, pool, "dm")
    write_losses(losses_path(root, pool), [replace(line, identity="0" * 12) for line in lines])
    code, out, _ = hlbench("dcs", "--dataset", "digits")
    assert code == 0
    assert "dm: its losses are of identity 000000000000" in out
    assert "hlbench dcs dm --dataset digits" in out
    write_losses(losses_path(root, pool), lines)
    assert "its losses are of identity" not in hlbench("dcs", "--dataset", "digits")[1]


def test_without_the_recording_losses_are_of_the_subsets_whose_index_files_are_here(root, pool, hlbench):
    asked = ("dcs", "rded_realism", "--dataset", "digits", "--most-ipc", "1")
    pool_rows(root, pool, None, ["ipc1-random-d0", "ipc1-cal-d0"])
    shutil.rmtree(root / "dynamics")
    code, _, err = hlbench(*asked)
    assert code == 0, err
    count = sum(subset.ipc == 1 for subset in pool.subsets)
    assert f"{count - 2} of {count} subsets are passed over: no training dynamics" in err
    found = {line.subset for line in read_losses(losses_path(root, pool))}
    assert found == {"ipc1-random-d0", "ipc1-cal-d0"}
    shutil.rmtree(workspace(root, pool))
    assert "needs its recording" in hlbench(*asked)[2]
    assert {line.subset for line in read_losses(losses_path(root, pool))} == found


def test_no_network_is_asked_for_when_every_subset_that_is_here_has_its_loss(root, pool, hlbench):
    asked = ("dcs", "sre2l_bn", "--dataset", "digits", "--most-ipc", "1")
    pool_rows(root, pool, None, ["ipc1-random-d0"])
    shutil.rmtree(root / "dynamics")
    code, _, err = hlbench(*asked)
    assert code == 0, err
    before = read_losses(losses_path(root, pool))
    (root / "teachers" / pool.recipe.teacher / "weights.safetensors").unlink()
    code, _, err = hlbench(*asked)
    assert code == 0, err
    assert read_losses(losses_path(root, pool)) == before


def test_a_damaged_table_names_the_line_and_advises_nothing_that_would_lose_losses(tmp_path):
    rows = [LossRow("dm", "a" * 12, f"ipc{ipc}-random-d0", "b" * 12, 1.0, None, 1) for ipc in range(1, 10)]
    write_losses(tmp_path / "losses.csv", rows)
    lines = (tmp_path / "losses.csv").read_text().split("\n")
    lines[4] = lines[4].replace("a" * 12, "c" * 12)
    (tmp_path / "losses.csv").write_text("\n".join(lines))
    with pytest.raises(CheckFailed) as caught:
        read_losses(tmp_path / "losses.csv")
    assert caught.value.where.endswith("losses.csv, near line 5")
    assert "restore" in caught.value.fix
    assert "delete" not in caught.value.fix


def test_own_losses_may_not_stand_beside_a_name_that_is_too_alike(tmp_path):
    path, own = tmp_path / "losses.csv", LossRow("RDED-realism", "a" * 12, "ipc1-random-d0", "b" * 12, 1.0, None, 1)
    write_losses(path, [own])
    with pytest.raises(CheckFailed, match="do not fit"):
        put_losses(path, [replace(own, objective="rded_realism")], lambda row: True)
    assert read_losses(path) == (own,)


def test_own_losses_in_a_file_named_after_an_objective_are_still_own(root, pool, tmp_path, hlbench):
    shutil.copy(losses_path(ROOT, pool), losses_path(root, pool))
    code, out, _ = hlbench("dcs", "--dataset", "digits", "--losses", str(loss_file(tmp_path / "dm.csv", pool)), "--json")
    assert code == 0
    assert [one["own_losses"] for one in json.loads(out)["objectives"]] == [True]
    out = hlbench("dcs", "--dataset", "digits", "--losses", str(tmp_path / "dm.csv"))[1]
    assert "its losses are of identity" not in out


def test_what_another_command_has_computed_meanwhile_is_not_computed_again(root, pool, monkeypatch):
    path, rows = losses_path(root, pool), dict(list(pool_rows(root, pool).items())[:3])
    theirs = [LossRow("toy", "a" * 12, name, subset_hashes(pool)[name], 5.0, None, 1) for name in rows]

    @contextmanager
    def waited_for_another(lock):
        write_losses(path, theirs)
        yield

    monkeypatch.setattr(losses_module, "FileLock", waited_for_another)
    objective = Objective("toy", "Toy", "none", ("backbone",), {}, lambda *_: pytest.fail("computed again"))
    scene = Scene(load_split("digits", "train"), read_card(root, "digits/convnet-d3"))
    assert {row.loss for row in update_losses(objective, "a" * 12, pool, rows, scene, path).values()} == {5.0}


def test_two_versions_of_the_code_at_once_are_told(root, pool):
    path = losses_path(root, pool)

    def losses(sets, scene, settings):
        return np.array([[float(len(rows))] for rows in sets])

    def other_identity(done, total):
        write_losses(path, [replace(row, identity="b" * 12) for row in read_losses(path)])

    objective = Objective("toy", "Toy", "none", ("backbone",), {}, losses, together=False)
    scene = Scene(load_split("digits", "train"), read_card(root, "digits/convnet-d3"), report=other_identity)
    few = dict(list(pool_rows(root, pool).items())[:3])
    with pytest.raises(CheckFailed, match="another command replaced"):
        update_losses(objective, "a" * 12, pool, few, scene, path)


def test_two_commands_at_once_lose_none_of_each_others_losses(root, pool):
    path = losses_path(root, pool)
    other = LossRow("other", "c" * 12, "ipc1-random-d0", "d" * 12, 1.0, None, 1)

    def losses(sets, scene, settings):
        write_losses(path, [*read_losses(path), *([] if other in read_losses(path) else [other])])  # meanwhile
        return np.array([[float(len(rows))] for rows in sets])

    objective = Objective("toy", "Toy", "none", ("backbone",), {}, losses, together=False)
    scene = Scene(load_split("digits", "train"), read_card(root, "digits/convnet-d3"))
    few = dict(list(pool_rows(root, pool).items())[:10])
    update_losses(objective, "a" * 12, pool, few, scene, path)
    assert other in read_losses(path)
    assert len(read_losses(path)) == 11


def test_losses_that_are_there_ask_for_no_network_and_no_data(root, pool, hlbench, monkeypatch):
    write_losses(losses_path(root, pool), losses_here(root, pool, "tm"))
    monkeypatch.setattr("harness.datasets.load_split", lambda *_: pytest.fail("data was loaded"))
    code, out, err = hlbench("dcs", "tm", "--dataset", "digits")  # the cache of this test holds no experts
    assert code == 0, err
    assert "tm" in out


def test_only_the_subsets_that_are_asked_for_are_selected(root, pool, hlbench):
    (root / "mine.py").write_text("def loss(images, labels):\n    return float(images.mean())\n")
    assert hlbench("dcs", "--dataset", "digits", "--objective", "mine:loss", "--most-ipc", "1")[0] == 0
    assert {path.name.split("-")[0] for path in (root / f"made/dcs/{pool.stem}/submissions").iterdir()} == {"ipc1"}


@pytest.mark.parametrize("body", ["def loss(images, labels:\n", "def loss(images, labels):\n    raise KeyError('x')\n",
                                  "def loss(images, labels):\n    return None\n", "raise SystemError('no')\n",
                                  "raise SystemExit(0)\n", "def loss(images, labels):\n    raise SystemExit(0)\n"])  # fmt: skip
def test_a_function_that_fails_is_an_error_that_names_it(root, pool, hlbench, body):
    (root / "mine.py").write_text(body)
    code, _, err = hlbench("dcs", "--dataset", "digits", "--objective", "mine:loss", "--most-ipc", "1")
    assert code == 2
    assert "mine:loss" in err
    assert "unexpected" not in err.lower()


def test_options_that_act_on_nothing_and_a_missing_dataset_are_refused(root, pool, hlbench):
    for arguments in (("--partial",), ("--most-ipc", "1"), ("--save", "x")):
        assert hlbench("dcs", "--dataset", "digits", *arguments)[0] == 2
    assert "--dataset" in hlbench("dcs", "dm")[2]


def test_the_page_says_how_many_students_diverged(root, pool, tmp_path):
    dcs_scores.score_file(root, pool, loss_file(tmp_path / "own.csv", pool), partial=False, save="mine")
    path = table_path(root, pool)
    header, first, *rest = path.read_text().splitlines()
    subset, seed, _, _, _, *others = first.split(",")
    path.write_text("\n".join([header, ",".join([subset, seed, "diverged", "", "", *others]), *rest, ""]))
    assert "Diverged, without an error: 1 student" in build_boards(root, root / "leaderboards/results")["digits-dcs.md"]
