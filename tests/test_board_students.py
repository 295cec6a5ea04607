"""Rules of `harness/dcs/board_students.py`: a student of the boards is a pool's when set, protocol and seed are; else never."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from runner_checkout import corrupted_result, fake_outcome, replace_training, run_here
from small_pool import PROTOCOL, ROOT, small_pool
from typer.testing import CliRunner

from harness.cli import app
from harness.dcs.board_students import board_students, content_sha256
from harness.dcs.lookup import pool_units, read_table, subset_submission, table_path, to_train, update_table
from harness.dcs.pool import Pool, pool_rows, read_pool, workspace
from harness.errors import RecordError
from harness.ood_records import write_ood_record
from harness.plan import Unit
from harness.protocols import find_protocol
from harness.records import read_record, record_path, unit_id
from harness.submissions import index_bytes
from harness.training import evaluate_set

SUBSET = "ipc1-el2n-easy-d0"


def on_the_boards(root: Path, pool: Pool, seed: int = 0, name: str = "draw0.json", slug: str = "somebody", **changes) -> Path:
    """The record of a submission whose index file `name` is that of `SUBSET`, trained with the pool's protocol."""
    subset = next(subset for subset in pool.subsets if subset.id == SUBSET)
    of_pool = subset_submission(pool, subset)
    path = f"submissions/{slug}/{pool.recipe.dataset}-ipc{subset.ipc}/{name}"
    place = of_pool.sets[0].model_copy(update={"path": path, "content_sha256": content_sha256(subset, name)})
    submission = of_pool.model_copy(update={"slug": slug, "sets": (place,), **changes})
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(index_bytes(pool_rows(root, pool, only={SUBSET})[SUBSET]))
    protocol = find_protocol(root, PROTOCOL)
    record = record_path(root / "leaderboards/results", submission, protocol, 0, seed)
    unit = Unit(submission, 0, protocol, seed, unit_id(submission.digest, 0, protocol.sha256, seed), record)
    assert run_here(root, [unit]).failures == []
    return record


def put_ood(path: Path) -> None:
    record = read_record(path)
    write_ood_record(path, record, record, corrupted_result(), 1.0)


@pytest.fixture
def pool(tmp_path, monkeypatch) -> Pool:
    replace_training(monkeypatch)
    return small_pool(tmp_path, frozen=True)


@pytest.mark.parametrize("name", ["draw0.json", "draw7.json"])
def test_a_student_of_the_boards_gives_the_row_of_the_same_set_protocol_and_seed(tmp_path, pool, name):
    record = read_record(on_the_boards(tmp_path, pool, seed=1, name=name))
    (row,) = update_table(tmp_path, pool)
    unit = next(unit for subset, unit in pool_units(tmp_path, pool, seeds=[1]) if subset.id == SUBSET)
    assert (row.subset, row.seed, row.unit) == (SUBSET, 1, unit.id[:12])
    assert row.top1_error == round(100 - record.result.top1, 4)
    assert read_table(tmp_path, pool) == [row]


def test_another_set_protocol_or_seed_is_another_student(tmp_path, pool):
    on_the_boards(tmp_path, pool, seed=4)  # the protocol lists it, the pool does not
    assert board_students(tmp_path, pool) == {}
    record = on_the_boards(tmp_path, pool)
    assert board_students(tmp_path, pool).keys() == {(SUBSET, 0)}
    for field in ("sha256", "bytes"):
        changed = {"sha256": "ab" * 32, "bytes": 1}
        others = [one.model_copy(update={field: changed[field]}) if one.id == SUBSET else one for one in pool.subsets]
        assert board_students(tmp_path, pool.model_copy(update={"subsets": tuple(others)})) == {}
    other = pool.recipe.model_copy(update={"protocol_sha256": "ab" * 32})
    assert board_students(tmp_path, pool.model_copy(update={"recipe": other})) == {}
    assert board_students(tmp_path, pool.model_copy(update={"split_fingerprint": "ab" * 32})) == {}
    record.unlink()
    assert update_table(tmp_path, pool) == []


def test_an_altered_record_of_the_boards_gives_no_row(tmp_path, pool):
    record = on_the_boards(tmp_path, pool)
    top1 = read_record(record).result.top1
    record.write_text(record.read_text().replace(str(top1), "99.0"))
    with pytest.raises(RecordError, match="altered"):
        update_table(tmp_path, pool)


def test_a_student_of_the_boards_is_not_trained_again_unless_asked(tmp_path, pool, monkeypatch):
    on_the_boards(tmp_path, pool)
    seeds = replace_training(monkeypatch)
    monkeypatch.chdir(tmp_path)
    asked = ["pool", "train", "--dataset", "digits", "--ipc", "1", "--seeds", "0", "--workers", "1", "--device", "cpu"]
    ran = CliRunner().invoke(app, asked)
    assert (ran.exit_code, len(seeds)) == (0, 2)
    assert "1 of 3 students are trained already" in ran.stderr
    assert CliRunner().invoke(app, [*asked, "--again"]).exit_code == 0
    assert len(seeds) == 3


def test_asked_for_errors_on_corrupted_images_a_student_without_them_is_trained(tmp_path, pool):
    record = on_the_boards(tmp_path, pool)
    units = [unit for subset, unit in pool_units(tmp_path, pool, seeds=[0]) if subset.id == SUBSET]
    assert to_train(tmp_path, pool, units) == []
    assert to_train(tmp_path, pool, units, ood=True) == units
    put_ood(record)
    assert to_train(tmp_path, pool, units, ood=True) == []
    assert update_table(tmp_path, pool)[0].ood[0] == corrupted_result().mean


def test_errors_on_corrupted_images_that_the_boards_get_later_fill_the_row_of_the_same_student_alone(tmp_path, pool):
    record = on_the_boards(tmp_path, pool)
    units = [unit for subset, unit in pool_units(tmp_path, pool, seeds=[0]) if subset.id == SUBSET]
    (row,) = update_table(tmp_path, pool)
    put_ood(record)
    path = table_path(tmp_path, pool)
    committed = path.read_text()
    path.write_text(committed.replace(f",{row.top1_error},", ",12.5,"))  # as of a student that the pool trained elsewhere
    assert update_table(tmp_path, pool)[0].ood == ()
    path.write_text(committed)
    assert to_train(tmp_path, pool, units, ood=True) == []
    assert update_table(tmp_path, pool)[0].ood[0] == corrupted_result().mean


def test_a_student_that_diverged_has_nothing_to_measure_on_other_images(tmp_path, pool, monkeypatch):
    def diverged(*given):
        return SimpleNamespace(**{**vars(fake_outcome(*given)), "status": "diverged", "result": None})

    monkeypatch.setattr(evaluate_set, "train_and_evaluate", diverged)
    on_the_boards(tmp_path, pool)
    units = [unit for subset, unit in pool_units(tmp_path, pool, seeds=[0]) if subset.id == SUBSET]
    assert to_train(tmp_path, pool, units, ood=True) == []
    assert [row.status for row in update_table(tmp_path, pool)] == ["diverged"]


def test_of_two_records_of_one_student_that_counts_which_was_there_first(tmp_path, pool, monkeypatch):
    first = on_the_boards(tmp_path, pool, slug="zebra")
    later = on_the_boards(tmp_path, pool, slug="aaa-copy")
    days = {first: "2026-01-01T00:00:00+00:00", later: "2026-01-02T00:00:00+00:00"}
    dated = lambda path: read_record(path).model_copy(update={"finished_at": days[path]})  # noqa: E731
    monkeypatch.setattr("harness.dcs.board_students.read_record", dated)
    assert board_students(tmp_path, pool)[SUBSET, 0].path == first
    days[first], days[later] = days[later], days[first]
    assert board_students(tmp_path, pool)[SUBSET, 0].path == later


def test_a_row_stays_when_the_record_of_the_boards_is_gone(tmp_path, pool):
    on_the_boards(tmp_path, pool)
    rows = update_table(tmp_path, pool)
    shutil.rmtree(tmp_path / "leaderboards/results")
    assert update_table(tmp_path, pool) == rows != []


def test_the_pools_own_student_goes_before_that_of_the_boards(tmp_path, pool, monkeypatch):
    on_the_boards(tmp_path, pool)
    unit = next(unit for subset, unit in pool_units(tmp_path, pool, seeds=[0]) if subset.id == SUBSET)
    monkeypatch.setattr(evaluate_set, "train_and_evaluate", lambda *given: fake_outcome(*given[:4], given[4] + 5, *given[5:]))
    assert run_here(workspace(tmp_path, pool), [unit]).failures == []
    (row,) = update_table(tmp_path, pool)
    assert row.top1_error == round(100 - read_record(unit.record).result.top1, 4)
    assert row.top1_error != round(100 - board_students(tmp_path, pool)[SUBSET, 0].record.result.top1, 4)


@pytest.mark.parametrize(("dataset", "least"), [("digits", 4), ("tiny-imagenet", 20)])
def test_committed_rows_say_what_the_boards_say_of_the_same_student_trained_by_the_same_code(dataset, least):
    pool = read_pool(ROOT, dataset)
    rows = {(row.subset, row.seed): row for row in read_table(ROOT, pool)}
    same = {
        key: round(100 - student.record.result.top1, 4)
        for key, student in board_students(ROOT, pool).items()
        if key in rows and student.record.environment["git_commit"].startswith(rows[key].code)
    }
    assert len(same) >= least
    assert {key: rows[key].top1_error for key in same} == same
