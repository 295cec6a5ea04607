import json
import platform
from collections import Counter

import pytest
from runner_checkout import (
    fake_outcome,
    hidden_files,
    make_checkout,
    replace_training,
    run_here,
    units_of,
)

from harness import claim, work
from harness.errors import EnvironmentProblem
from harness.plan import existing_record, unit_state
from harness.records import read_record
from harness.work import Machine, prepare_torch


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path / "cache"))
    return make_checkout(tmp_path)


@pytest.fixture
def trained(monkeypatch):
    return replace_training(monkeypatch)


def test_a_unit_with_a_valid_record_is_not_trained_again(root, trained):
    first = run_here(root, units_of(root, seeds=(0, 1)))
    again = run_here(root, units_of(root, seeds=(0, 1, 2)))
    assert trained == [0, 1, 2]
    assert (len(first.finished), again.done_before, len(again.finished)) == (2, 2, 1)


def test_a_record_names_the_bytes_the_code_and_the_machine(root, trained):
    (unit,) = units_of(root, "random", seeds=(3,))[:1]
    run_here(root, [unit])
    record = read_record(unit.record)
    assert record.unit.id == unit.id
    assert record.data.set_content_sha256 == unit.source.content_sha256
    assert record.data.train_fingerprint == unit.submission.split_fingerprint
    assert {"git_commit", "git_dirty", "cpu", "torch", "threads"} <= set(record.environment)
    assert platform.node() not in json.dumps(record.environment)


def test_each_set_is_loaded_once_for_all_its_seeds(root, trained, monkeypatch):
    loads = Counter()
    real = work.load_set
    monkeypatch.setattr(work, "load_set", lambda s, draw, machine: loads.update([draw]) or real(s, draw, machine))
    run_here(root, units_of(root, "random"))
    assert loads == {0: 1, 1: 1, 2: 1}


def test_a_finished_run_leaves_no_claims(root, trained):
    run_here(root, units_of(root))
    assert hidden_files(root) == []


def test_a_diverged_student_is_recorded_and_is_done(root, monkeypatch):
    import harness.training.evaluate_set as module

    def diverge(*arguments):
        outcome = fake_outcome(*arguments)
        outcome.status, outcome.result = "diverged", None
        return outcome

    monkeypatch.setattr(module, "train_and_evaluate", diverge)
    units = units_of(root, seeds=(0,))
    assert run_here(root, units).exit_code == 0
    assert read_record(units[0].record).status == "diverged"
    assert run_here(root, units).done_before == 1


def test_an_unforeseen_error_costs_one_unit_is_not_recorded_and_is_tried_again(root, trained, monkeypatch):
    import harness.training.evaluate_set as module

    healthy = module.train_and_evaluate

    def break_at_seed_1(protocol, ipc, image_set, test, seed, device, on_epoch, teacher=None):
        if seed == 1:
            raise RuntimeError("out of luck")
        return healthy(protocol, ipc, image_set, test, seed, device, on_epoch)

    monkeypatch.setattr(module, "train_and_evaluate", break_at_seed_1)
    units = units_of(root)
    summary = run_here(root, units)
    assert (summary.exit_code, len(summary.finished), len(summary.failures)) == (1, 4, 1)
    assert "out of luck" in summary.failures[0].text
    assert "break_at_seed_1" in summary.failures[0].details
    assert not units[1].record.exists()
    assert hidden_files(root) == []
    monkeypatch.setattr(module, "train_and_evaluate", healthy)
    assert run_here(root, units).finished == [units[1].name]


def test_a_bad_set_stops_its_submission_and_no_other(root, trained):
    (root / "submissions/random/digits-ipc1/draw0.json").write_text('{"rows": [1, 2, 3]}')
    summary = run_here(root, [*units_of(root, "random"), *units_of(root)])
    assert summary.exit_code == 1
    assert [event.exit_code for event in summary.failures] == [1]
    assert len(summary.finished) == 5
    assert not list(root.rglob("results/digits/random/**/*.json"))


def test_a_missing_dataset_alone_is_an_environment_failure(root, trained, monkeypatch):
    def no_data(*_):
        raise EnvironmentProblem("no data here")

    monkeypatch.setattr(work, "load_set", no_data)
    assert run_here(root, units_of(root)).exit_code == 3


def test_an_altered_record_is_reported_and_left_alone(root, trained):
    units = units_of(root, seeds=(0, 1))
    run_here(root, units)
    text = units[0].record.read_text().replace('"top5": 90.0', '"top5": 99.0')
    units[0].record.write_text(text)
    summary = run_here(root, units)
    assert (summary.exit_code, summary.done_before, trained) == (1, 1, [0, 1])
    assert "altered" in summary.failures[0].text
    assert units[0].record.read_text() == text
    assert unit_state(units[0]) == "unusable"


def test_a_record_of_an_earlier_version_of_the_submission_is_not_taken_for_this_one(root, trained):
    units = units_of(root, seeds=(0,))
    run_here(root, units)
    path = root / "submissions/kmeans-centroids/digits-ipc1.yaml"
    text = path.read_text()
    path.write_text(text.replace(text[-65:-1], "0" * 64))  # another content_sha256
    summary = run_here(root, units_of(root, seeds=(0,))[:1])
    assert "another version of its submission" in summary.failures[0].text
    assert existing_record(units[0]) is not None


def test_an_absent_gpu_is_an_environment_problem(root):
    with pytest.raises(EnvironmentProblem, match="cuda:99"):
        prepare_torch(Machine(root, device="cuda:99"))


def test_a_unit_claimed_by_a_live_process_is_left_to_it(root, trained):
    units = units_of(root, seeds=(0, 1))
    with claim.claimed(units[0].record) as ours:
        assert ours
        assert unit_state(units[0]) == "claimed"
        summary = run_here(root, units)
    assert trained == [1]
    assert summary.claimed == [units[0].name]
    assert unit_state(units[0]) == "missing"
