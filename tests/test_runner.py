import json
import os
import platform
import signal
import subprocess
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runner_checkout import PROTOCOL, fake_outcome, fake_set, make_checkout, start_hlbench, units_of, wait_for

from harness import claim, environment, forecast, freeze, work
from harness.errors import EnvironmentProblem, ProtocolError, SubmissionError, UsageError
from harness.plan import choose_seeds, existing_record, plan_units, take_shard, unit_state
from harness.protocols import find_protocol
from harness.records import read_record, read_records
from harness.runner import run_units
from harness.submissions import SetSource
from harness.work import Machine, prepare_torch

RUN = ("run", "submissions/kmeans-centroids/digits-ipc1.yaml")  # one draw, five seeds


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path / "cache"))
    return make_checkout(tmp_path)


@pytest.fixture
def trained(monkeypatch):
    """Seeds whose training was asked for, in order; training itself is replaced."""
    import harness.training.evaluate_set as module

    seeds = []

    def train(protocol, ipc, image_set, test, seed, device, on_epoch, teacher=None):
        seeds.append(seed)
        return fake_outcome(protocol, ipc, image_set, test, seed, device, on_epoch)

    monkeypatch.setattr(module, "train_and_evaluate", train)
    return seeds


def run(root, units, report=lambda event: None, **options):
    return run_units(units, Machine(root, device="cpu"), report, **options)


def hidden_files(root):
    return [path.name for path in root.rglob(".draw*") if not path.name.endswith(".lock")]


# Plans


def test_a_plan_holds_every_draw_and_seed_of_the_newest_locked_resnet18_protocol(root):
    units = units_of(root, "random")
    assert {(unit.draw, unit.seed) for unit in units} == {(draw, seed) for draw in range(3) for seed in range(5)}
    assert {unit.protocol.id for unit in units} == {PROTOCOL}
    assert len({unit.id for unit in units}) == 15


def write_version(root, version):
    text = (root / "protocols" / f"{PROTOCOL}.yaml").read_text().replace("resnet18-hl/v1", f"resnet18-hl/v{version}")
    (root / "protocols" / "digits" / "resnet18-hl" / f"v{version}.yaml").write_text(text)
    return f"digits/resnet18-hl/v{version}"


def test_versions_are_compared_as_numbers_and_unlocked_ones_are_passed_over(root):
    for version in (2, 10):
        freeze.freeze(root, write_version(root, version), "2026-11-21")
    write_version(root, 11)
    assert {unit.protocol.id for unit in units_of(root)} == {"digits/resnet18-hl/v10"}


def test_a_protocol_that_is_not_locked_is_not_run(root):
    path = root / "submissions/random/digits-ipc1.yaml"
    with pytest.raises(ProtocolError, match="cannot be run") as caught:
        plan_units(root, [path], write_version(root, 2), "hl", None, root / "results")
    assert "protocols freeze" in caught.value.fix


def test_a_protocol_edited_after_it_was_locked_is_not_run(root):
    path = root / "protocols" / f"{PROTOCOL}.yaml"
    path.write_text(path.read_text().replace("value: 0.005", "value: 0.006"))
    with pytest.raises(ProtocolError, match="cannot be run"):
        units_of(root)


def test_a_protocol_for_another_dataset_is_refused(root):
    with pytest.raises(UsageError, match="does not fit"):
        plan_units(root, [root / "submissions/random"], "cifar10/resnet18-hl/v1", "hl", None, root / "results")


@pytest.mark.parametrize("regime", ["SL", "best", ""])
def test_an_unknown_regime_is_refused_with_the_known_ones(root, regime):
    with pytest.raises(UsageError) as caught:
        plan_units(root, [root / "submissions/random"], None, regime, None, root / "results")
    assert "hl, sl, sl-kd, all" in caught.value.fix


def test_a_regime_without_a_protocol_is_an_error_alone_and_left_out_of_all(root):
    lock = root / "protocols" / "LOCK.json"
    frozen = json.loads(lock.read_text())
    lock.write_text(json.dumps({known: entry for known, entry in frozen.items() if "-sl" not in known}))
    arguments = (root, [root / "submissions/random"], None)
    assert {unit.protocol.regime for unit in plan_units(*arguments, "all", None, root / "results")} == {"hl"}
    with pytest.raises(UsageError, match="no frozen resnet18 protocol"):
        plan_units(*arguments, "sl-kd", None, root / "results")


def test_seeds_are_a_subset_of_the_protocols_in_its_order(root):
    protocol = find_protocol(root, PROTOCOL)
    assert choose_seeds(protocol, (2, 0, 2)) == (0, 2)
    assert choose_seeds(protocol, None) == protocol.seeds
    with pytest.raises(UsageError, match="seed 7"):
        choose_seeds(protocol, (0, 7))


def test_a_submission_named_twice_is_planned_once(root):
    paths = [root / "submissions/random/digits-ipc1.yaml", root / "submissions/random"]
    assert len(plan_units(root, paths, None, "hl", (0,), root / "results")) == 3


def test_a_path_without_submissions_is_a_usage_error(root):
    with pytest.raises(UsageError, match="no submission file"):
        plan_units(root, [root / "protocols"], None, "hl", None, root / "results")


@given(ids=st.sets(st.text("0123456789abcdef", min_size=8, max_size=8), max_size=40), count=st.integers(1, 9), data=st.data())
def test_shards_partition_the_units_evenly_whatever_their_order(ids, count, data):
    units = [SimpleNamespace(id=name) for name in data.draw(st.permutations(sorted(ids)))]
    shards = [take_shard(units, index, count) for index in range(1, count + 1)]
    assert sorted(unit.id for shard in shards for unit in shard) == sorted(ids)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    turned = [take_shard(units[::-1], index, count) for index in range(1, count + 1)]
    assert [{unit.id for unit in shard} for shard in turned] == [{unit.id for unit in shard} for shard in shards]


@pytest.mark.parametrize(("index", "count"), [(0, 4), (5, 4), (1, 0)])
def test_a_shard_that_does_not_exist_is_refused(index, count):
    with pytest.raises(UsageError):
        take_shard([], index, count)


# Runs


def test_a_unit_with_a_valid_record_is_not_trained_again(root, trained):
    first = run(root, units_of(root, seeds=(0, 1)))
    again = run(root, units_of(root, seeds=(0, 1, 2)))
    assert trained == [0, 1, 2]
    assert (len(first.finished), again.done_before, len(again.finished)) == (2, 2, 1)


def test_a_record_names_the_bytes_the_code_and_the_machine(root, trained):
    (unit,) = units_of(root, "random", seeds=(3,))[:1]
    run(root, [unit])
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
    run(root, units_of(root, "random"))
    assert loads == {0: 1, 1: 1, 2: 1}


def test_a_finished_run_leaves_no_claims(root, trained):
    run(root, units_of(root))
    assert hidden_files(root) == []


def test_a_diverged_student_is_recorded_and_is_done(root, monkeypatch):
    import harness.training.evaluate_set as module

    def diverge(*arguments):
        outcome = fake_outcome(*arguments)
        outcome.status, outcome.result = "diverged", None
        return outcome

    monkeypatch.setattr(module, "train_and_evaluate", diverge)
    units = units_of(root, seeds=(0,))
    assert run(root, units).exit_code == 0
    assert read_record(units[0].record).status == "diverged"
    assert run(root, units).done_before == 1


def test_an_unforeseen_error_costs_one_unit_is_not_recorded_and_is_tried_again(root, trained, monkeypatch):
    import harness.training.evaluate_set as module

    healthy = module.train_and_evaluate

    def break_at_seed_1(protocol, ipc, image_set, test, seed, device, on_epoch, teacher=None):
        if seed == 1:
            raise RuntimeError("out of luck")
        return healthy(protocol, ipc, image_set, test, seed, device, on_epoch)

    monkeypatch.setattr(module, "train_and_evaluate", break_at_seed_1)
    units = units_of(root)
    summary = run(root, units)
    assert (summary.exit_code, len(summary.finished), len(summary.failures)) == (1, 4, 1)
    assert "out of luck" in summary.failures[0].text
    assert "break_at_seed_1" in summary.failures[0].details
    assert not units[1].record.exists()
    assert hidden_files(root) == []
    monkeypatch.setattr(module, "train_and_evaluate", healthy)
    assert run(root, units).finished == [units[1].name]


def test_a_bad_set_stops_its_submission_and_no_other(root, trained):
    (root / "submissions/random/digits-ipc1/draw0.json").write_text('{"rows": [1, 2, 3]}')
    summary = run(root, [*units_of(root, "random"), *units_of(root)])
    assert summary.exit_code == 1
    assert [event.exit_code for event in summary.failures] == [1]
    assert len(summary.finished) == 5
    assert not list(root.rglob("results/digits/random/**/*.json"))


def test_a_missing_dataset_alone_is_an_environment_failure(root, trained, monkeypatch):
    def no_data(*_):
        raise EnvironmentProblem("no data here")

    monkeypatch.setattr(work, "load_set", no_data)
    assert run(root, units_of(root)).exit_code == 3


def test_an_altered_record_is_reported_and_left_alone(root, trained):
    units = units_of(root, seeds=(0, 1))
    run(root, units)
    text = units[0].record.read_text().replace('"top5": 90.0', '"top5": 99.0')
    units[0].record.write_text(text)
    summary = run(root, units)
    assert (summary.exit_code, summary.done_before, trained) == (1, 1, [0, 1])
    assert "altered" in summary.failures[0].text
    assert units[0].record.read_text() == text
    assert unit_state(units[0]) == "unusable"


def test_a_record_of_an_earlier_version_of_the_submission_is_not_taken_for_this_one(root, trained):
    units = units_of(root, seeds=(0,))
    run(root, units)
    path = root / "submissions/kmeans-centroids/digits-ipc1.yaml"
    before, sets = path.read_text().split("sets:\n")
    path.write_text(f"{before}sets:\n{sets}{sets}")
    summary = run(root, units_of(root, seeds=(0,))[:1])
    assert "another version of its submission" in summary.failures[0].text
    assert existing_record(units[0]) is not None


def test_an_absent_gpu_is_an_environment_problem(root):
    with pytest.raises(EnvironmentProblem, match="cuda:99"):
        prepare_torch(Machine(root, device="cuda:99"))


# Claims


def test_a_unit_claimed_by_a_live_process_is_left_to_it(root, trained):
    units = units_of(root, seeds=(0, 1))
    with claim.claimed(units[0].record) as ours:
        assert ours
        assert unit_state(units[0]) == "claimed"
        summary = run(root, units)
    assert trained == [1]
    assert summary.claimed == [units[0].name]
    assert unit_state(units[0]) == "missing"


def write_claim(record, pid, host=None, age=0.0):
    path = claim.claim_path(record)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"host": host or platform.node(), "pid": pid}))
    then = path.stat().st_mtime - age
    os.utime(path, (then, then))
    return path


def dead_pid():
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_a_claim_of_a_dead_process_is_taken_over(tmp_path):
    record = tmp_path / "draw0-seed0.json"
    path = write_claim(record, dead_pid())
    with claim.claimed(record) as ours:
        assert ours
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not path.exists()


def test_a_claim_left_by_an_earlier_process_with_our_own_number_is_taken_over(tmp_path):
    record = tmp_path / "draw0-seed0.json"
    write_claim(record, os.getpid())
    with claim.claimed(record) as ours:
        assert ours


@pytest.mark.parametrize(("age", "taken"), [(0.0, False), (540.0, False), (660.0, True)])
def test_a_claim_of_another_host_is_respected_until_its_heartbeat_stops(tmp_path, age, taken):
    record = tmp_path / "draw0-seed0.json"
    write_claim(record, 1, host="elsewhere", age=age)
    with claim.claimed(record) as ours:
        assert ours == taken


def test_an_unreadable_claim_is_respected_until_its_heartbeat_stops(tmp_path):
    record = tmp_path / "draw0-seed0.json"
    path = write_claim(record, 1)
    path.write_text("")
    assert claim.is_claimed(record)
    os.utime(path, (0, 0))
    assert not claim.is_claimed(record)


def test_a_heartbeat_keeps_a_long_unit_claimed(tmp_path, monkeypatch):
    monkeypatch.setattr(claim, "HEARTBEAT_SECONDS", 0.01)
    record = tmp_path / "draw0-seed0.json"
    with claim.claimed(record):
        path = claim.claim_path(record)
        os.utime(path, (0, 0))
        for _ in range(500):
            if path.stat().st_mtime > 0:
                break
            claim.threading.Event().wait(0.01)
        assert path.stat().st_mtime > 0


def test_a_claim_that_was_taken_over_is_not_removed_by_its_former_holder(tmp_path):
    record = tmp_path / "draw0-seed0.json"
    with claim.claimed(record):
        path = write_claim(record, 1, host="elsewhere")
    assert path.exists()


# Whole processes


def test_a_killed_run_leaves_no_partial_record_and_the_same_command_resumes(root, trained, tmp_path):
    log = tmp_path / "log"
    process = start_hlbench(root, *RUN, FAKE_LOG=str(log), FAKE_HOLD="2")
    wait_for(tmp_path / "log.held", process)
    process.kill()
    process.wait()
    results = root / "leaderboards" / "results"
    assert [record.unit.seed for _, record in read_records(results)] == [0, 1]
    assert hidden_files(root) == [".draw0-seed2.claim"]
    assert len(run(root, units_of(root)).finished) == 3
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
    run(root, units)
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


# What a plan costs


def test_no_estimate_is_given_without_an_earlier_record_of_this_machine(root, trained):
    results = root / "leaderboards" / "results"
    units = units_of(root)
    assert forecast.estimate_seconds(units, results, None) is None
    run(root, units[:1])
    assert forecast.estimate_seconds(units, results, "another GPU") is None


def test_an_estimate_uses_the_measured_rate(root, trained):
    results = root / "leaderboards" / "results"
    units = units_of(root)
    run(root, units[:1])
    images = 10 * units[0].protocol.epochs(1) * 2
    assert forecast.estimate_seconds(units[1:3], results, None) == pytest.approx(images / 50.0)


def test_sets_inside_the_project_cost_no_download(root):
    assert forecast.bytes_to_download(units_of(root), root) == 0


def test_an_unreachable_hub_leaves_the_download_unknown(root, monkeypatch):
    from harness import hub

    def unreachable(*_):
        raise EnvironmentProblem("no network")

    monkeypatch.setattr(hub, "list_set", unreachable)
    source = SetSource(repo="org/set", revision="a" * 40, files=("x.parquet",), content_sha256="b" * 64)
    assert forecast.bytes_to_download([SimpleNamespace(source=source)], root) is None


# The checkout the code lies in


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "nobody")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "nobody@example.org")
    checkout = tmp_path / "repository"
    (checkout / "harness").mkdir(parents=True)
    (checkout / "harness" / "code.py").write_text("1\n")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run(["git", "-C", str(checkout), *command], check=True)
    return checkout


def test_records_being_written_do_not_make_the_checkout_dirty(repository):
    (repository / "leaderboards").mkdir()
    (repository / "leaderboards" / "new.json").write_text("{}")
    commit, dirty = environment.git_state(repository)
    assert len(commit) == 40
    assert dirty is False


@pytest.mark.parametrize("name", ["harness/code.py", "harness/new.py", "submissions/new.yaml", "protocols/new.yaml"])
def test_a_change_or_a_new_file_that_decides_results_makes_the_checkout_dirty(repository, name):
    (repository / name).parent.mkdir(exist_ok=True)
    (repository / name).write_text("2\n")
    assert environment.git_state(repository)[1] is True


def test_a_package_installed_inside_another_repository_claims_no_commit(repository):
    (repository / "site-packages").mkdir()
    assert environment.git_state(repository / "site-packages") == (None, None)


def test_a_submission_that_cannot_be_parsed_stops_the_plan(root):
    path = root / "submissions/random/digits-ipc1.yaml"
    path.write_text(path.read_text().replace("kind: coreset", "kind: coreset\nseed: 7"))
    with pytest.raises(SubmissionError):
        units_of(root, "random")
