"""Rules of `harness/dcs/lookup.py`: the table holds what the pool's own students did, says what it lacks, keeps what it has."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from runner_checkout import corrupted_result, replace_training, run_here
from small_pool import ID, ROOT, pool_file, small_pool
from typer.testing import CliRunner

from harness import canonical
from harness.cli import app
from harness.dcs.lookup import (
    errors,
    excluded,
    missing,
    ood_errors,
    pool_units,
    read_table,
    subset_submission,
    table_path,
    training_order,
    update_table,
)
from harness.dcs.lookup_rows import CORRUPTIONS
from harness.dcs.pool import find_pool, pool_ids, pool_rows, read_pool, workspace
from harness.dcs.stored_rows import store_rows
from harness.errors import CheckFailed, ProtocolError, RecordError, UsageError
from harness.ood_records import ood_path, write_ood_record
from harness.records import read_record
from harness.training import evaluate_corrupted, evaluate_set


def trained(root: Path, pool, count: int | None = None, **chosen) -> list:
    """The first `count` units of the pool, done by the ordinary runner."""
    units = [unit for _, unit in pool_units(root, pool, **chosen)][:count]
    pool_rows(root, pool)
    assert run_here(workspace(root, pool), units).failures == []
    return units


def looked_up(root: Path, monkeypatch, count: int):
    """(a frozen pool, its table with the first `count` students)."""
    pool = small_pool(root, frozen=True)
    replace_training(monkeypatch)
    trained(root, pool, count=count)
    update_table(root, pool)
    return pool, table_path(root, pool)


def hlbench(root: Path, monkeypatch, *arguments: str):
    monkeypatch.chdir(root)
    return CliRunner().invoke(app, ["pool", *arguments, "--dataset", "digits"])


def random_errors(ipc: int, *values: float) -> dict[str, tuple[float, ...]]:
    return {f"ipc{ipc}-random-d{draw}": (value,) for draw, value in enumerate(values)}


def test_units_are_ordered_by_size_and_keep_the_students_of_a_subset_together(tmp_path):
    pool = small_pool(tmp_path, frozen=True)
    units = pool_units(tmp_path, pool)
    assert [subset.id for subset, _ in units[::2]] == [subset.id for subset in pool.subsets]
    assert [unit.seed for _, unit in units] == [0, 1] * len(pool.subsets)
    assert len({unit.id for _, unit in units}) == len(units)
    assert {unit.submission.ipc for _, unit in pool_units(tmp_path, pool, ipc=[2], seeds=[1])} == {2}


def test_training_gives_every_selector_of_a_size_a_student_before_any_has_two(tmp_path):
    pool = small_pool(tmp_path, frozen=True)
    units = pool_units(tmp_path, pool)
    ordered = training_order(units)
    assert sorted(unit.id for unit in ordered) == sorted(unit.id for _, unit in units)
    of_unit = {unit.id: subset for subset, unit in units}
    assert [of_unit[unit.id].ipc for unit in ordered] == sorted(subset.ipc for subset, _ in units)
    smallest = [(of_unit[unit.id], unit.seed) for unit in ordered if of_unit[unit.id].ipc == pool.recipe.ipc[0]]
    firsts = {subset.method for subset, _ in smallest}
    assert {subset.method for subset, _ in smallest[: len(firsts)]} == firsts
    assert all(seed == 0 and subset.twin_of is None and subset.draw == 0 for subset, seed in smallest[: len(firsts)])
    assert [seed for _, seed in smallest] == sorted(seed for _, seed in smallest)


def test_a_subset_has_the_same_unit_wherever_its_pool_lies(tmp_path):
    first, second = (small_pool(tmp_path / name, frozen=True) for name in "ab")
    ids = [[unit.id for _, unit in pool_units(tmp_path / name, pool)] for name, pool in (("a", first), ("b", second))]
    assert ids[0] == ids[1]


def test_only_a_twin_may_name_rows_twice(tmp_path):
    pool = small_pool(tmp_path)
    assert all(subset_submission(pool, subset).repeats == (subset.twin_of is not None) for subset in pool.subsets)


def test_a_twin_is_really_trained_and_looked_up(tmp_path):
    pool = small_pool(tmp_path, frozen=True)
    unit = next(unit for subset, unit in pool_units(tmp_path, pool, seeds=[0]) if subset.id == "ipc2-el2n-easy-d0-twin")
    pool_rows(tmp_path, pool, only={unit.submission.slug})
    assert run_here(workspace(tmp_path, pool), [unit]).failures == []
    (row,) = update_table(tmp_path, pool)
    assert (row.subset, row.seed, row.status, row.unit) == ("ipc2-el2n-easy-d0-twin", 0, "ok", unit.id[:12])
    assert 20 < row.top1_error < 85  # ten classes, two images each
    assert json.loads(unit.record.read_bytes())["data"]["images"] == 20


def test_a_partial_table_says_which_students_it_lacks(tmp_path, monkeypatch):
    pool = small_pool(tmp_path, frozen=True)
    replace_training(monkeypatch)
    trained(tmp_path, pool, count=3)
    rows = update_table(tmp_path, pool)
    lacking = missing(pool, rows)
    assert (len(rows), len(lacking)) == (3, 15)
    assert lacking[:2] == [("ipc1-random-d1", 1), ("ipc1-el2n-easy-d0", 0)]
    said = hlbench(tmp_path, monkeypatch, "table")
    assert said.exit_code == 0
    assert "3 of 18 students" in said.stdout
    assert "m = 2 subsets count, of 2 measured and 9 in the pool" in said.stdout
    assert "missing ipc1-random-d1 seed 1" in said.stdout
    facts = json.loads(hlbench(tmp_path, monkeypatch, "table", "--json").stdout)
    assert (facts["m"], len(facts["missing"])) == (2, 15)


def test_the_same_command_resumes_and_the_whole_table_lacks_nothing(tmp_path, monkeypatch):
    pool = small_pool(tmp_path, frozen=True)
    seeds = replace_training(monkeypatch)
    for arguments, done in ((["--shard", "1/2"], 9), ([], 18), ([], 18)):
        ran = hlbench(tmp_path, monkeypatch, "train", "--workers", "1", "--device", "cpu", *arguments)
        assert (ran.exit_code, len(seeds)) == (0, done)
    assert missing(pool, update_table(tmp_path, pool)) == []


def test_a_student_whose_row_is_committed_is_trained_only_when_asked(tmp_path, monkeypatch):
    pool = small_pool(tmp_path, frozen=True)
    seeds = replace_training(monkeypatch)
    trained(tmp_path, pool, count=3)
    update_table(tmp_path, pool)
    shutil.rmtree(workspace(tmp_path, pool))  # as in a fresh clone, which has the table alone
    seeds.clear()
    ran = hlbench(tmp_path, monkeypatch, "train", "--workers", "1", "--device", "cpu")
    assert (ran.exit_code, len(seeds)) == (0, 15)
    assert "3 of 18 students are trained already" in ran.stderr
    ran = hlbench(tmp_path, monkeypatch, "train", "--workers", "1", "--device", "cpu", "--again")
    assert (ran.exit_code, len(seeds)) == (0, 18)


def test_the_table_does_not_depend_on_the_order_of_work_and_stays_as_it_is(tmp_path, monkeypatch):
    tables = []
    for name, order in (("a", 1), ("b", -1)):
        pool = small_pool(tmp_path / name, frozen=True)
        replace_training(monkeypatch)
        pool_rows(tmp_path / name, pool)
        for _, unit in pool_units(tmp_path / name, pool)[::order]:
            run_here(workspace(tmp_path / name, pool), [unit])
            update_table(tmp_path / name, pool)
        tables.append(table_path(tmp_path / name, pool).read_bytes())
        update_table(tmp_path / name, pool)
        assert table_path(tmp_path / name, pool).read_bytes() == tables[-1]
    assert tables[0] == tables[1]


def test_rows_stay_when_their_records_are_gone(tmp_path, monkeypatch):
    pool = small_pool(tmp_path, frozen=True)
    replace_training(monkeypatch)
    units = trained(tmp_path, pool)
    before = update_table(tmp_path, pool)
    for unit in units[:5]:
        unit.record.unlink()
    assert update_table(tmp_path, pool) == before == read_table(tmp_path, pool)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        (5, "0" * 12, "was trained on another pool or protocol"),
        (0, "ipc7-random-d0", "has no subset 'ipc7-random-d0' with seed 0"),
        (1, "9", "with seed 9"),
        (1, "x", "invalid literal"),
        (3, "nan", "an error of nan %"),
        (3, "-1", "an error of -1 %"),
        (3, "", "status 'ok'"),
        (2, "lost", "status 'lost'"),
        (6, "a,b", "14 cells"),
    ],
)
def test_a_row_that_is_not_the_pools_is_refused_with_its_line(tmp_path, monkeypatch, column, value, said):
    pool, path = looked_up(tmp_path, monkeypatch, count=2)
    lines = path.read_text().splitlines()
    cells = lines[1].split(",")
    cells[column] = value
    path.write_text("\n".join([lines[0], ",".join(cells), *lines[2:], ""]))
    with pytest.raises(CheckFailed) as refusal:
        update_table(tmp_path, pool)
    assert said in str(refusal.value)
    assert f"{path}:2" in str(refusal.value)
    assert path.read_text().splitlines()[2:] == lines[2:]


def test_a_row_twice_and_a_table_of_other_columns_are_refused(tmp_path, monkeypatch):
    pool, path = looked_up(tmp_path, monkeypatch, count=1)
    text = path.read_text()
    path.write_text(text + text.splitlines()[1] + "\n")
    with pytest.raises(CheckFailed, match="there twice"):
        read_table(tmp_path, pool)
    path.write_text(text.replace("top1_error", "error"))
    with pytest.raises(CheckFailed, match="the columns are subset"):
        read_table(tmp_path, pool)


def test_a_pool_that_is_not_frozen_or_was_edited_is_not_measured(tmp_path):
    pool = small_pool(tmp_path)
    with pytest.raises(ProtocolError, match="never frozen"):
        pool_units(tmp_path, pool)
    pool = small_pool(tmp_path / "frozen", frozen=True)
    path = pool_file(tmp_path / "frozen")
    path.write_text(path.read_text().replace("points: 10", "points: 20"))
    with pytest.raises(ProtocolError, match="edited since"):
        pool_units(tmp_path / "frozen", find_pool(tmp_path / "frozen", ID))


def test_sizes_and_seeds_that_the_pool_lacks_are_refused(tmp_path):
    pool = small_pool(tmp_path, frozen=True)
    with pytest.raises(UsageError, match="the pool has no 3"):
        pool_units(tmp_path, pool, ipc=[3])
    with pytest.raises(UsageError, match="the pool has no 4"):  # the protocol lists it, the pool does not
        pool_units(tmp_path, pool, seeds=[4])


@pytest.mark.parametrize(
    ("random", "limit"),
    [(20.0, 30.0), (39.0, 49.0), (40.0, 50.0), (60.0, 75.0)],  # + max(10 points, a quarter of Random's error)
)
def test_a_subset_far_worse_than_random_is_excluded(tmp_path, random, limit):
    pool = small_pool(tmp_path)
    measured = random_errors(1, random - 1, random + 1)
    assert excluded(pool, measured | {"ipc1-el2n-easy-d0": (limit,)}) == {}
    reasons = excluded(pool, measured | {"ipc1-el2n-easy-d0": (limit + 1.5, limit - 1.3)})
    assert reasons == {"ipc1-el2n-easy-d0": f"error {limit + 0.1:.2f} %, above {limit:.2f} % (Random {random:.2f} %)"}


def test_a_twin_is_judged_by_its_own_error_and_is_no_part_of_the_baseline(tmp_path):
    pool = small_pool(tmp_path)
    measured = random_errors(2, 20.0, 20.0) | {
        "ipc2-random-d0-twin": (90.0,), "ipc2-el2n-easy-d0": (25.0,), "ipc2-el2n-easy-d0-twin": (31.0,),
    }  # fmt: skip
    assert excluded(pool, measured).keys() == {"ipc2-random-d0-twin", "ipc2-el2n-easy-d0-twin"}
    measured |= {"ipc2-el2n-easy-d0": (31.0,), "ipc2-el2n-easy-d0-twin": (25.0,)}
    assert excluded(pool, measured).keys() == {"ipc2-random-d0-twin", "ipc2-el2n-easy-d0"}


def test_nothing_of_a_size_counts_before_random_is_measured_there(tmp_path):
    pool = small_pool(tmp_path)
    measured = random_errors(1, 20.0) | {"ipc2-el2n-easy-d0": (1.0,)}
    assert excluded(pool, measured) == {
        "ipc2-el2n-easy-d0": "Random at IPC 2 is not measured, so that the exclusion rule cannot be applied"
    }


def test_a_student_that_diverged_has_a_row_and_no_error(tmp_path, monkeypatch):
    pool, path = looked_up(tmp_path, monkeypatch, count=2)
    lines = path.read_text().splitlines()
    subset, seed, _, _, _, *rest = lines[1].split(",")
    path.write_text("\n".join([lines[0], ",".join([subset, seed, "diverged", "", "", *rest]), lines[2], ""]))
    rows = read_table(tmp_path, pool)
    assert [row.status for row in rows] == ["diverged", "ok"]
    assert errors(pool, rows) == {subset: (rows[1].top1_error,)}
    assert (subset, 0) not in missing(pool, rows)


def test_a_stray_quote_in_the_table_is_an_error_and_not_an_empty_table(tmp_path, monkeypatch):
    pool, path = looked_up(tmp_path, monkeypatch, count=2)
    header, first, second = (",".join(line.split(",")[:7]) for line in path.read_text().splitlines())
    for broken in (first.rpartition(",")[0] + ',"abc', first.rpartition(",")[0] + ",<b>"):
        path.write_text("\n".join([header, broken, second, ""]))
        with pytest.raises(CheckFailed, match="not the pool's"):
            read_table(tmp_path, pool)


def put_ood(unit, top: float = 10.0) -> None:
    record = read_record(unit.record)
    write_ood_record(unit.record, record, record, corrupted_result(top), 1.0)


def test_errors_on_corrupted_images_of_another_version_do_not_enter_the_table(tmp_path, monkeypatch):
    from harness.datasets.corruptions import VERSION

    assert VERSION == CORRUPTIONS
    pool = small_pool(tmp_path, frozen=True)
    replace_training(monkeypatch)
    unit = trained(tmp_path, pool, count=1)[0]
    record = read_record(unit.record)
    newer = corrupted_result().model_copy(update={"corruptions": VERSION + 1})
    write_ood_record(unit.record, record, record, newer, 1.0)
    with pytest.raises(CheckFailed, match="of another version"):
        update_table(tmp_path, pool)


def test_errors_on_corrupted_images_are_measured_filled_in_and_then_kept(tmp_path, monkeypatch):
    pool = small_pool(tmp_path, frozen=True)
    replace_training(monkeypatch)
    units = trained(tmp_path, pool, count=4)
    plain = update_table(tmp_path, pool)
    assert errors(pool, plain)
    assert ood_errors(pool, plain) == {}
    put_ood(units[1], top=0.0)
    put_ood(units[2])
    filled = update_table(tmp_path, pool)
    assert [replace(row, ood=()) for row in filled] == plain
    assert [row.ood for row in filled] == [(), (20.0, 0.0, 10.0, 20.0, 30.0, 40.0), (30.0, 10.0, 20.0, 30.0, 40.0, 50.0), ()]
    assert read_table(tmp_path, pool) == filled
    assert ood_errors(pool, filled) == {filled[1].subset: (20.0,), filled[2].subset: (30.0,)}
    assert ood_errors(pool, filled, 5) == {filled[1].subset: (40.0,), filled[2].subset: (50.0,)}
    ood_path(units[1].record).unlink()
    put_ood(units[1], top=1.0)
    ood_path(units[2].record).unlink()
    assert update_table(tmp_path, pool) == filled
    assert json.loads(hlbench(tmp_path, monkeypatch, "table", "--json").stdout)["rows_with_ood"] == 2


def test_the_pool_is_trained_with_ood_by_one_command_that_resumes(tmp_path, monkeypatch):
    pool = small_pool(tmp_path, frozen=True)
    replace_training(monkeypatch)
    measured = []

    def train(expected, *arguments):
        measured.append(arguments[4])
        return evaluate_set.train_and_evaluate(*arguments), evaluate_corrupted.OodOutcome(corrupted_result(), 1.0)

    monkeypatch.setattr(evaluate_corrupted, "train_and_evaluate_corrupted", train)
    options = ["train", "--ipc", "1", "--workers", "1", "--device", "cpu"]
    for arguments, done in (([], 0), (["--ood", "--seeds", "0"], 3), (["--ood"], 6), (["--ood"], 6)):
        ran = hlbench(tmp_path, monkeypatch, *options, *arguments)
        assert (ran.exit_code, len(measured)) == (0, done)
    assert [row.ood[0] for row in update_table(tmp_path, pool)] == [30.0] * 6


def test_a_table_without_the_columns_of_corrupted_images_is_read_and_written_with_them(tmp_path, monkeypatch):
    pool = small_pool(tmp_path, frozen=True)
    replace_training(monkeypatch)
    trained(tmp_path, pool, count=2)
    rows = update_table(tmp_path, pool)
    path = table_path(tmp_path, pool)
    text = path.read_text()
    path.write_text("".join(",".join(line.split(",")[:7]) + "\n" for line in text.splitlines()))
    assert path.read_text().startswith("subset,seed,status,top1_error,test_loss,unit,code\n")
    assert read_table(tmp_path, pool) == rows
    update_table(tmp_path, pool)
    assert path.read_text() == text
    path.write_text("".join(",".join(line.split(",")[:8]) + "\n" for line in text.splitlines()))
    with pytest.raises(CheckFailed, match="or only the first 7"):
        read_table(tmp_path, pool)


def test_errors_on_corrupted_images_of_another_student_are_refused(tmp_path, monkeypatch):
    pool = small_pool(tmp_path, frozen=True)
    replace_training(monkeypatch)
    one, other = trained(tmp_path, pool, count=2)
    update_table(tmp_path, pool)
    before = table_path(tmp_path, pool).read_bytes()
    put_ood(other)
    stranger = ood_path(other.record).read_bytes()
    ood_path(other.record).unlink()
    ood_path(one.record).write_bytes(stranger)  # another unit's
    with pytest.raises(RecordError):
        update_table(tmp_path, pool)
    ood_path(one.record).unlink()
    raw = json.loads(one.record.read_text())  # the same unit, trained where it comes out otherwise
    raw["result"]["top1"] -= 1
    raw["sha256"] = canonical.digest({key: raw[key] for key in raw if key != "sha256"})
    one.record.write_text(json.dumps(raw))
    put_ood(one)
    with pytest.raises(CheckFailed, match="that student is not the table's"):
        update_table(tmp_path, pool)
    assert table_path(tmp_path, pool).read_bytes() == before


@pytest.mark.parametrize(
    ("status", "cells", "said"),
    [
        ("ok", "30,,,,,", "all six cells"),
        ("ok", ",,,,,50", "all six cells"),
        ("diverged", "30,10,20,30,40,50", "all six cells"),
        ("ok", "30,10,20,30,40,x", "could not convert"),
        ("ok", "30,10,20,30,40,nan", "a mean of 30.0 %"),
        ("ok", "31,10,20,30,40,50", "a mean of 31.0 %"),
        ("ok", "30,-10,20,30,50,60", "a mean of 30.0 %"),
        ("ok", "30,10,20,30,40,50,60", "14 cells"),
    ],
)
def test_impossible_errors_on_corrupted_images_are_refused_with_their_line(tmp_path, monkeypatch, status, cells, said):
    pool = small_pool(tmp_path, frozen=True)
    replace_training(monkeypatch)
    trained(tmp_path, pool, count=1)
    (row,) = update_table(tmp_path, pool)
    path = table_path(tmp_path, pool)
    numbers = f"{row.top1_error},{row.test_loss}" if status == "ok" else ","
    header = path.read_text().splitlines()[0]
    path.write_text(f"{header}\n{row.subset},{row.seed},{status},{numbers},{row.unit},{row.code},{cells}\n")
    with pytest.raises(CheckFailed) as refusal:
        read_table(tmp_path, pool)
    assert said in str(refusal.value)
    assert f"{path}:2" in str(refusal.value)


def test_every_committed_table_is_its_pools():
    for known in pool_ids(ROOT):
        dataset, name, _ = known.split("/")
        pool = read_pool(ROOT, dataset, name.partition("-pool-")[2] or None)
        if not pool.awaits_recording:
            rows = read_table(ROOT, pool)
            assert len(rows) + len(missing(pool, rows)) == len(pool.subsets) * len(pool.recipe.seeds)


def test_without_the_recording_the_subsets_that_are_here_are_trained(tmp_path, monkeypatch):
    pool = small_pool(tmp_path, frozen=True)
    seeds = replace_training(monkeypatch)
    store_rows(tmp_path, pool, pool_rows(tmp_path, pool, only={"ipc1-random-d0", "ipc2-el2n-easy-d0"}))
    shutil.rmtree(tmp_path / "made")
    shutil.rmtree(tmp_path / "dynamics")
    ran = hlbench(tmp_path, monkeypatch, "train", "--workers", "1", "--device", "cpu")
    assert (ran.exit_code, len(seeds)) == (0, 6)  # two subsets, one of them with a twin, and two seeds
    assert "6 of 9 subsets are passed over: no training dynamics" in ran.stderr
    assert {row.subset for row in update_table(tmp_path, pool)} == {
        "ipc1-random-d0", "ipc2-el2n-easy-d0", "ipc2-el2n-easy-d0-twin",
    }  # fmt: skip
    said = hlbench(tmp_path, monkeypatch, "rows").stdout
    assert "rows of 3 of 9 subsets follow from it" in said
