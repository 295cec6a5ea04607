"""`hlbench run --ood`: errors on corrupted images in a file of their own, tied to a record that stays as it is."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from runner_checkout import PROJECT, make_checkout, replace_training, run_here, units_of
from typer.testing import CliRunner

import harness.datasets
from harness import canonical
from harness.cli import app
from harness.datasets import load_split
from harness.datasets.corruptions import CORRUPTIONS
from harness.errors import RecordError
from harness.ood_records import CORRUPTION_NAMES, OodResult, ood_path, ood_record_of, read_ood_record, read_ood_records
from harness.plan import is_done, unit_state, with_ood
from harness.records import read_record, read_records
from harness.scoring.rows import read_rows
from harness.training import evaluate_corrupted

TESTED = 12  # of the 899 test images, to stay within seconds


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A checkout whose digits test split is short."""
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path / "cache"))

    def short(name, split, data=None):
        found = load_split(name, split, data)
        return replace(found, images=found.images[:TESTED], labels=found.labels[:TESTED]) if split == "test" else found

    monkeypatch.setattr(harness.datasets, "load_split", short)
    return make_checkout(tmp_path)


@pytest.fixture
def measured(monkeypatch):
    """Training and measuring replaced: the list grows by every seed that is measured on corrupted images."""
    replace_training(monkeypatch)
    from harness.training import evaluate_set

    seeds = []

    def train(expected, *arguments):
        outcome = evaluate_set.train_and_evaluate(*arguments)
        if expected not in (None, outcome.result):
            return outcome, None
        seeds.append(arguments[4])
        return outcome, evaluate_corrupted.OodOutcome(result(), 1.0)

    monkeypatch.setattr(evaluate_corrupted, "train_and_evaluate_corrupted", train)
    return seeds


def result(**changes) -> OodResult:
    errors = dict.fromkeys(CORRUPTION_NAMES, (10.0, 20.0, 30.0, 40.0, 50.0))
    return OodResult(**{"corruptions": 1, "image_side": 32, "images": 20, "images_sha256": "0" * 64, "errors": errors, **changes})


def ood_units(root, seeds=(0,)):
    return with_ood(units_of(root, seeds=seeds))


def resealed(path, **changes) -> None:
    raw = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({**raw, "sha256": canonical.digest({key: raw[key] for key in raw if key != "sha256"})}))


def test_a_student_is_measured_on_every_corrupted_image_and_its_record_is_that_of_a_run_without(root):
    (plain,) = units_of(root, seeds=(0,))
    training = plain.protocol.training.model_copy(update={"epochs": {1: 20}})
    plain = replace(plain, protocol=plain.protocol.model_copy(update={"training": training}))
    (unit,) = with_ood([plain])
    assert run_here(root, [plain]).exit_code == 0
    before = plain.record.read_bytes()
    assert (is_done(plain), is_done(unit)) == (True, False)
    summary = run_here(root, [unit])
    assert (summary.exit_code, summary.finished) == (0, [unit.name]), summary.failures
    assert plain.record.read_bytes() == before
    record = read_record(unit.record)
    found = ood_record_of(unit.record, record)
    assert found.record_sha256 == record.sha256
    assert found.unit == record.unit
    assert found.result.images == TESTED
    assert tuple(found.result.errors) == tuple(CORRUPTIONS)
    counts = [error * TESTED / 100 for errors in found.result.errors.values() for error in errors]
    assert counts == pytest.approx([round(count) for count in counts])
    assert len(set(counts)) > 2
    # Trained once more from nothing: the same student, the same images, the same errors.
    ood_path(unit.record).unlink()
    unit.record.unlink()
    run_here(root, [unit])
    assert read_record(unit.record).result == record.result
    assert read_ood_record(ood_path(unit.record)).result == found.result


def test_a_run_without_ood_writes_the_record_alone_and_the_unit_is_the_same(root, measured):
    (plain,), (unit,) = units_of(root, seeds=(0,)), ood_units(root)
    assert (plain.id, plain.record, plain.name) == (unit.id, unit.record, unit.name)
    run_here(root, [plain])
    assert [path.name for path in plain.record.parent.iterdir()] == [plain.record.name]
    assert measured == []


def test_what_is_done_is_not_done_again_and_a_missing_half_is(root, measured):
    units = ood_units(root, (0, 1))
    run_here(root, units_of(root, seeds=(0,)))
    assert [unit_state(unit) for unit in units] == ["missing", "missing"]
    assert run_here(root, units).done_before == 0
    assert run_here(root, units).done_before == 2
    assert run_here(root, units_of(root, seeds=(0, 1))).done_before == 2
    ood_path(units[1].record).unlink()
    run_here(root, units)
    assert measured == [0, 1, 1]


def test_a_student_that_is_not_the_records_is_not_measured_and_nothing_is_written(root, measured):
    (unit,) = ood_units(root)
    run_here(root, units_of(root, seeds=(0,)))
    raw = json.loads(unit.record.read_text())
    resealed(unit.record, result={**raw["result"], "top1": 12.5}, environment={**raw["environment"], "torch": "1.0"})
    before = unit.record.read_bytes()
    summary = run_here(root, [unit])
    assert summary.exit_code == 3
    assert "not the record's" in summary.failures[0].text
    assert "torch" in summary.failures[0].text.split("differ in")[1]
    assert measured == []
    assert unit.record.read_bytes() == before
    assert not ood_path(unit.record).exists()


def test_a_diverged_student_has_nothing_to_measure(root, measured, monkeypatch):
    from harness.training import evaluate_set

    healthy = evaluate_set.train_and_evaluate

    def diverge(*arguments):
        outcome = healthy(*arguments)
        outcome.status, outcome.result = "diverged", None
        return outcome

    monkeypatch.setattr(evaluate_corrupted, "train_and_evaluate_corrupted", lambda expected, *rest: (diverge(*rest), None))
    (unit,) = ood_units(root)
    assert run_here(root, [unit]).exit_code == 0
    assert is_done(unit)
    assert not ood_path(unit.record).exists()


def test_boards_and_readers_of_records_see_what_they_saw_before(root, measured):
    run_here(root, ood_units(root, (0, 1)))
    results = root / "leaderboards/results"
    records = read_records(results)
    assert [path.parent.name for path, _ in records] == ["resnet18-hl-v1"] * 2
    (row,), refused = read_rows(root, results)
    assert (len(row.records), refused) == (2, [])
    found = read_ood_records(records)
    assert set(found) == {record.unit.id for _, record in records}


def test_an_altered_foreign_or_orphaned_file_is_refused(root, measured):
    (unit,) = ood_units(root)
    run_here(root, [unit])
    path = ood_path(unit.record)
    text = path.read_text()
    path.write_text(text.replace("40.0", "4.0", 1))
    with pytest.raises(RecordError, match="altered"):
        is_done(unit)
    assert unit_state(unit) == "unusable"
    assert run_here(root, [unit]).exit_code == 1
    path.write_text(text)
    resealed(path, record_sha256="1" * 64)
    with pytest.raises(RecordError, match="another record"):
        is_done(unit)
    path.write_text(text)
    moved = path.with_name("draw0-seed4.json")
    moved.write_text(text)
    with pytest.raises(RecordError, match="another unit's place"):
        read_ood_record(moved)
    unit.record.unlink()
    with pytest.raises(RecordError, match="beside no record"):
        is_done(unit)
    assert path.read_text() == text


def test_a_result_holds_all_fifteen_corruptions_at_five_severities_and_their_means():
    whole = result()
    assert (whole.by_severity, whole.mean) == ((10.0, 20.0, 30.0, 40.0, 50.0), 30.0)
    assert whole.by_corruption == dict.fromkeys(CORRUPTION_NAMES, 30.0)
    for errors in (
        {name: five for name, five in whole.errors.items() if name != "fog"},
        {**whole.errors, "rain": (1.0,) * 5},
        {**whole.errors, "fog": (1.0,) * 4},
        {**whole.errors, "fog": (1.0, 2.0, 3.0, 4.0, 101.0)},
    ):
        with pytest.raises(ValueError):
            result(errors=errors)


def test_the_option_reaches_the_units(root, measured, monkeypatch):
    monkeypatch.chdir(root)
    arguments = [
        "run",
        "submissions/kmeans-centroids/digits-ipc1.yaml",
        "--seeds",
        "0",
        "--ood",
        "--workers",
        "1",
        "--device",
        "cpu",
    ]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0, shown.output
    assert "on corrupted images 70.00 %" in shown.output
    assert measured == [0]


def test_reading_ood_records_needs_neither_torch_nor_scipy():
    import subprocess
    import sys

    code = "import sys, harness.ood_records; print([name for name in ('torch', 'scipy', 'numpy') if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
