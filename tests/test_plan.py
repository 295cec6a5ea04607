import json
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runner_checkout import PROTOCOL, make_checkout, replace_training, run_here, units_of

from harness import environment, forecast, freeze, hub
from harness.errors import EnvironmentProblem, ProtocolError, SubmissionError, UsageError
from harness.plan import choose_seeds, plan_units, take_shard
from harness.protocols import find_protocol
from harness.submissions import SetSource


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path / "cache"))
    return make_checkout(tmp_path)


@pytest.fixture
def trained(monkeypatch):
    return replace_training(monkeypatch)


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


def test_one_command_covers_every_regime_of_a_student(root):
    arguments = (root, [root / "submissions/random"], None, "all", (0,), root / "results", (0,))
    assert [unit.protocol.id for unit in plan_units(*arguments)] == [f"digits/resnet18-{one}/v1" for one in ("hl", "sl", "sl-kd")]
    with pytest.raises(UsageError, match="no frozen convnet-d9 protocol"):
        plan_units(*arguments, student="convnet-d9")


def test_a_regime_without_a_protocol_is_an_error_alone_and_left_out_of_all(root):
    lock = root / "protocols" / "LOCK.json"
    lock.write_text(json.dumps({known: entry for known, entry in json.loads(lock.read_text()).items() if "-sl" not in known}))
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


def test_draws_are_a_subset_of_the_submissions(root):
    arguments = (root, [root / "submissions/random"], None, "hl", (0,), root / "results")
    assert [unit.draw for unit in plan_units(*arguments, (2, 0, 2))] == [0, 2]
    with pytest.raises(UsageError, match="no draw 3"):
        plan_units(*arguments, (0, 3))


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


def test_a_submission_that_cannot_be_parsed_stops_the_plan(root):
    path = root / "submissions/random/digits-ipc1.yaml"
    path.write_text(path.read_text().replace("kind: coreset", "kind: coreset\nseed: 7"))
    with pytest.raises(SubmissionError):
        units_of(root, "random")


def test_no_estimate_is_given_without_an_earlier_record_of_this_machine(root, trained, monkeypatch):
    results = root / "leaderboards" / "results"
    units = units_of(root)
    assert forecast.estimate_seconds(units, results, None) is None
    run_here(root, units[:1])
    assert forecast.estimate_seconds(units, results, "another GPU") is None
    monkeypatch.setattr(environment, "cpu_extensions", lambda: "avx2 avx9000")  # as another processor of the same name
    assert forecast.estimate_seconds(units, results, None) is None


def test_an_estimate_uses_the_measured_rate(root, trained):
    results = root / "leaderboards" / "results"
    units = units_of(root)
    run_here(root, units[:1])
    images = 10 * units[0].protocol.epochs(1) * 2
    assert forecast.estimate_seconds(units[1:3], results, None) == pytest.approx(images / 50.0)


def test_sets_inside_the_project_cost_no_download(root):
    assert forecast.bytes_to_download(units_of(root), root) == 0


def test_an_unreachable_hub_leaves_the_download_unknown(root, monkeypatch):
    def unreachable(*_):
        raise EnvironmentProblem("no network")

    monkeypatch.setattr(hub, "list_set", unreachable)
    source = SetSource(repo="org/set", revision="a" * 40, files=("x.parquet",), content_sha256="b" * 64)
    assert forecast.bytes_to_download([SimpleNamespace(source=source)], root) is None
