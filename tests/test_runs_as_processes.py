import signal
from collections import Counter

import pytest
from runner_checkout import fake_set, hidden_files, make_checkout, replace_training, run_here, start_hlbench, units_of, wait_for

from harness import work
from harness.records import read_record, read_records

RUN = ("run", "submissions/kmeans-centroids/digits-ipc1.yaml", "--workers", "1")  # one draw, five seeds


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path / "cache"))
    return make_checkout(tmp_path)


@pytest.fixture
def trained(monkeypatch):
    return replace_training(monkeypatch)


def test_a_killed_run_leaves_no_partial_record_and_the_same_command_resumes(root, trained, tmp_path):
    log = tmp_path / "log"
    process = start_hlbench(root, *RUN, FAKE_LOG=str(log), FAKE_HOLD="2")
    wait_for(tmp_path / "log.held", process)
    process.kill()
    process.wait()
    results = root / "leaderboards" / "results"
    assert [record.unit.seed for _, record in read_records(results)] == [0, 1]
    assert hidden_files(root) == [".draw0-seed2.claim"]
    assert len(run_here(root, units_of(root)).finished) == 3
    assert [record.unit.seed for _, record in read_records(results)] == [0, 1, 2, 3, 4]
    assert hidden_files(root) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_what_is_done_and_says_how_to_resume(root, tmp_path, number):
    process = start_hlbench(root, *RUN, FAKE_LOG=str(tmp_path / "log"), FAKE_HOLD="1")
    wait_for(tmp_path / "log.held", process)
    process.send_signal(number)
    output, _ = process.communicate()
    assert process.returncode == 130
    assert "1 of 5 units are done" in output
    assert "hlbench run submissions/kmeans-centroids/digits-ipc1.yaml" in output
    assert "Traceback" not in output
    assert hidden_files(root) == []
    assert len(read_records(root / "leaderboards" / "results")) == 1


def test_two_runs_at_once_never_do_the_same_unit(root, tmp_path):
    log = tmp_path / "log"
    first = start_hlbench(root, *RUN, FAKE_LOG=str(log), FAKE_HOLD="0")
    wait_for(tmp_path / "log.held", first)
    second = start_hlbench(root, *RUN, FAKE_LOG=str(log))
    said, _ = second.communicate()
    (tmp_path / "log.go").touch()
    first.communicate()
    assert (first.returncode, second.returncode) == (0, 0)
    assert "4 done now, 1 being done by another run" in said
    assert sorted(Counter(log.read_text().split("\n")[:-1]).values()) == [1] * 5


def test_workers_share_the_units_and_give_the_records_of_one_worker(root, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(work, "load_set", fake_set)
    units = units_of(root, "random", seeds=(0, 1))
    run_here(root, units)
    alone = [read_record(unit.record).result for unit in units]
    log = tmp_path / "log"
    process = start_hlbench(
        root, "run", "submissions/random", "--seeds", "0,1", "--workers", "2", "--results", "shared", FAKE_LOG=str(log)
    )
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert "[6/6]" in output
    assert [record.result for _, record in read_records(root / "shared")] == alone
    assert len(log.read_text().split("\n")[:-1]) == 6


def test_a_worker_killed_for_memory_is_reported_and_the_other_goes_on(root, tmp_path):
    process = start_hlbench(root, *RUN, "--workers", "2", FAKE_LOG=str(tmp_path / "log"), FAKE_DIE="0")
    output, _ = process.communicate()
    assert process.returncode == 3
    assert "a worker process died" in output
    assert {record.unit.seed for _, record in read_records(root / "leaderboards" / "results")} >= {1, 2, 3, 4}


def test_interrupting_workers_releases_every_claim(root, tmp_path):
    process = start_hlbench(root, *RUN, "--workers", "2", FAKE_LOG=str(tmp_path / "log"), FAKE_HOLD="0")
    wait_for(tmp_path / "log.held", process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate()
    assert process.returncode == 130, output
    assert "To resume" in output
    assert hidden_files(root) == []
