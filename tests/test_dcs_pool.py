"""Rules of `harness/dcs/pool.py` and `make_pool.py`: a pool is the same subsets wherever it is made; no edited one is used."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save
from small_pool import DAY, ID, RECIPE, ROOT, pool_checkout, pool_file, small_pool
from typer.testing import CliRunner

from harness.canonical import sha256_hex
from harness.cli import app
from harness.datasets import load_split
from harness.dcs.lookup import frozen_pool
from harness.dcs.make_pool import MARK, checked_rows, make_pool
from harness.dcs.pool import find_pool, planned, pool_ids, pool_rows, read_pool, twin_rows, workspace
from harness.dcs.stored_rows import MOST_BYTES, store_rows, stored_ids, stored_path, stored_rows
from harness.dcs.subset_rows import ids_kept
from harness.dynamics.artifact import read_spec
from harness.errors import CheckFailed, ProtocolError, SubmissionError, UsageError
from harness.freeze import freeze, summaries, verify
from harness.submissions import index_bytes, read_submission


def rewritten(root: Path, old: str, new: str) -> None:
    path = pool_file(root)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def refused_recipe(root: Path, **changes) -> str:
    """What is said of a pool whose recipe is changed so."""
    described = yaml.safe_load(RECIPE)
    described["recipe"] |= changes
    pool_file(root).write_text(json.dumps(described))
    with pytest.raises(ProtocolError) as refusal:
        find_pool(root, ID)
    return str(refusal.value)


def test_every_shipped_pool_is_frozen_or_awaits_its_recording():
    assert {row.id: row.lock for row in summaries(ROOT) if "/dcs-pool" in row.id}.keys() == set(pool_ids(ROOT))
    states = {row.lock for row in summaries(ROOT) if "/dcs-pool" in row.id}
    assert states <= {"locked", "awaits its recording"}


def test_the_digits_pool_is_selected_again_hash_by_hash():
    pool = read_pool(ROOT, "digits")
    rows = checked_rows(ROOT, pool)
    assert [sha256_hex(index_bytes(rows[subset.id])) for subset in pool.subsets] == [subset.sha256 for subset in pool.subsets]


def test_the_digits_pool_is_large_enough_to_score():
    pool = read_pool(ROOT, "digits")
    bases = [subset for subset in pool.subsets if subset.twin_of is None]
    assert len(bases) >= 60
    assert len({subset.ipc for subset in bases}) >= 3
    assert len({subset.method.split()[0] for subset in bases}) >= 8
    assert len(pool.recipe.seeds) >= 2


def test_making_a_pool_twice_gives_the_same_bytes(tmp_path):
    first = small_pool(tmp_path)
    made = pool_file(tmp_path).read_bytes()
    assert make_pool(tmp_path, ID) == first
    assert pool_file(tmp_path).read_bytes() == made
    assert made.decode().startswith(RECIPE.rstrip("\n"))


def test_each_even_size_has_twins_and_odd_ones_have_none(tmp_path):
    pool = small_pool(tmp_path)
    assert [subset.id for subset in pool.subsets] == [
        "ipc1-random-d0", "ipc1-random-d1", "ipc1-el2n-easy-d0",
        "ipc2-random-d0", "ipc2-random-d0-twin", "ipc2-random-d1", "ipc2-random-d1-twin", "ipc2-el2n-easy-d0",
        "ipc2-el2n-easy-d0-twin",
    ]  # fmt: skip
    assert {subset.base for subset in pool.subsets if subset.twin_of} == {"ipc2-random-d0", "ipc2-random-d1", "ipc2-el2n-easy-d0"}


def test_a_twin_is_the_best_half_of_each_class_twice():
    rows = np.array([7, 3, 9, 1, 20, 22, 21, 23])  # two classes, IPC 4, best first
    assert twin_rows(rows, 4).tolist() == [7, 7, 3, 3, 20, 20, 22, 22]


def test_a_twin_keeps_size_and_balance_and_counts_its_distinct_rows(tmp_path):
    pool, labels = small_pool(tmp_path), load_split("digits", "train", None).labels
    rows = pool_rows(tmp_path, pool)
    for subset in pool.subsets:
        chosen = rows[subset.id]
        assert np.bincount(labels[chosen]).tolist() == [subset.ipc] * 10
        assert len(np.unique(chosen)) == subset.unique == 10 * subset.ipc // (2 if subset.twin_of else 1)
        if subset.twin_of:
            assert set(chosen) <= set(rows[subset.twin_of])


def test_rows_are_kept_and_a_damaged_index_is_written_anew(tmp_path):
    pool = small_pool(tmp_path)
    before = pool_rows(tmp_path, pool)
    index = workspace(tmp_path, pool) / "submissions/ipc1-random-d0/digits-ipc1/draw0.json"
    intact = index.read_bytes()
    index.write_bytes(intact.replace(b"[", b"[ ", 1)[: len(intact)])
    after = pool_rows(tmp_path, pool)
    assert index.read_bytes() == intact
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_kept_rows_need_neither_recording_nor_selection(tmp_path):
    pool = small_pool(tmp_path)
    before = pool_rows(tmp_path, pool)
    shutil.rmtree(tmp_path / "dynamics")
    assert pool_rows(tmp_path, pool).keys() == before.keys()
    assert pool_rows(tmp_path, pool, only={"ipc1-random-d1"}).keys() == {"ipc1-random-d1"}


def test_stored_rows_need_neither_recording_nor_index_files(tmp_path):
    pool = small_pool(tmp_path)
    before = pool_rows(tmp_path, pool)
    assert store_rows(tmp_path, pool, before) == 6  # nine subsets, of which three are twins
    for folder in ("dynamics", "made"):
        shutil.rmtree(tmp_path / folder)
    assert ids_kept(tmp_path, pool, ["ipc2-random-d0-twin", "ipc1-random-d1"]) == ["ipc1-random-d1", "ipc2-random-d0-twin"]
    after = pool_rows(tmp_path, pool)
    assert all(np.array_equal(before[name], after[name]) and after[name].dtype == np.int64 for name in before)


def test_storing_twice_gives_the_same_bytes_and_keeps_what_another_pool_stored(tmp_path):
    pool = small_pool(tmp_path)
    path, rows = stored_path(tmp_path, "digits"), checked_rows(tmp_path, pool)
    store_rows(tmp_path, pool, rows)
    first = path.read_bytes()
    store_rows(tmp_path, pool, rows)
    assert path.read_bytes() == first
    other = load_file(path) | {"ab" * 32: np.arange(10, dtype=np.int32)}
    path.write_bytes(save(other))
    assert store_rows(tmp_path, pool, rows) == 7


def test_a_subset_that_is_not_stored_is_selected(tmp_path):
    pool = small_pool(tmp_path)
    rows, path = checked_rows(tmp_path, pool), stored_path(tmp_path, "digits")
    store_rows(tmp_path, pool, rows)
    entries = load_file(path)
    del entries[pool.subsets[3].sha256]
    path.write_bytes(save(entries))
    lacking = {pool.subsets[3].id, pool.subsets[4].id}  # a subset and its twin
    assert stored_ids(tmp_path, pool) == {subset.id for subset in pool.subsets} - lacking
    assert pool_rows(tmp_path, pool).keys() == rows.keys()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda entries: {name: rows[::-1].copy() for name, rows in entries.items()}, "another hash than the pool states"),
        (lambda entries: {name: rows.astype(np.float32) for name, rows in entries.items()}, "no sha256 of a line of int32"),
        (lambda entries: {name: rows.reshape(-1, 1) for name, rows in entries.items()}, "no sha256 of a line of int32"),
    ],
)
def test_stored_rows_that_were_altered_are_refused(tmp_path, damage, said):
    pool = small_pool(tmp_path)
    path = stored_path(tmp_path, "digits")
    store_rows(tmp_path, pool, checked_rows(tmp_path, pool))
    path.write_bytes(save(damage(load_file(path))))
    with pytest.raises(CheckFailed, match=said) as caught:
        stored_rows(tmp_path, pool, pool.subsets)
    assert caught.value.where == str(path)
    assert "version control" in caught.value.fix


def test_what_lies_in_the_place_of_stored_rows_and_is_no_file_is_named(tmp_path):
    pool = small_pool(tmp_path)
    path = stored_path(tmp_path, "digits")
    path.mkdir()
    with pytest.raises(CheckFailed, match="it is no file"):
        pool_rows(tmp_path, pool)
    path.rmdir()
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(CheckFailed, match="it is no file"):
        pool_rows(tmp_path, pool)


@pytest.mark.parametrize("name", ["a", "AB" * 32, "x\n\x1b[31m" + "a" * 58])
def test_an_entry_that_is_named_by_no_hash_is_refused_and_its_name_harms_no_terminal(tmp_path, name):
    pool = small_pool(tmp_path)
    stored_path(tmp_path, "digits").write_bytes(save({name: np.arange(10, dtype=np.int32)}))
    with pytest.raises(CheckFailed, match="no sha256 of a line of int32") as caught:
        stored_ids(tmp_path, pool)
    assert caught.value.why.isprintable()


def test_more_rows_than_a_file_may_hold_are_not_written(tmp_path, monkeypatch):
    pool = small_pool(tmp_path)
    rows, path = checked_rows(tmp_path, pool), stored_path(tmp_path, "digits")
    store_rows(tmp_path, pool, {name: rows[name] for name in ("ipc1-random-d0", "ipc1-random-d1")})
    before = path.read_bytes()
    monkeypatch.setattr("harness.dcs.stored_rows.MOST_BYTES", len(before))
    with pytest.raises(UsageError, match="too many rows to store"):
        store_rows(tmp_path, pool, rows)
    assert path.read_bytes() == before


def test_verify_compares_stored_rows_also_where_the_recording_is_gone(tmp_path, monkeypatch):
    pool = small_pool(tmp_path, frozen=True)
    store_rows(tmp_path, pool, checked_rows(tmp_path, pool))
    monkeypatch.chdir(tmp_path)
    asked = ["pool", "verify", "--dataset", "digits"]
    said = CliRunner().invoke(app, asked)
    assert said.exit_code == 0
    assert "stored rows of 9 of 9 subsets have the hashes of the pool" in said.stdout
    shutil.rmtree(tmp_path / "dynamics")
    said = CliRunner().invoke(app, asked)
    assert said.exit_code != 0
    assert "stored rows of 9 of 9" in said.stdout
    stored_path(tmp_path, "digits").write_bytes(b"junk")
    said = CliRunner().invoke(app, asked)
    assert said.exit_code != 0
    assert "stored rows" not in said.stdout


def test_verify_notices_stored_rows_of_no_pool_that_are_not_those_of_their_name(tmp_path, monkeypatch):
    pool = small_pool(tmp_path, frozen=True)
    rows = np.arange(10, dtype=np.int32)
    entries = {sha256_hex(index_bytes(rows)): rows, "ab" * 32: rows}
    stored_path(tmp_path, "digits").write_bytes(save(entries))
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(app, ["pool", "verify", "--dataset", "digits"])
    assert isinstance(said.exception, CheckFailed)
    assert "abababababab" in said.exception.why
    del entries["ab" * 32]
    stored_path(tmp_path, "digits").write_bytes(save(entries))
    assert CliRunner().invoke(app, ["pool", "verify", "--dataset", "digits"]).exit_code == 0
    assert stored_ids(tmp_path, pool) == set()


@pytest.mark.parametrize("data", [b"", b"not safetensors at all", bytes(MOST_BYTES + 1)], ids=["empty", "text", "too large"])
def test_a_file_of_stored_rows_that_is_none_is_refused(tmp_path, data):
    pool = small_pool(tmp_path)
    stored_path(tmp_path, "digits").write_bytes(data)
    with pytest.raises(CheckFailed, match="not as they were written"):
        pool_rows(tmp_path, pool)


@pytest.mark.parametrize("student", [None, "resnet18"])
def test_the_shipped_rows_of_tinyimagenet_give_every_subset_that_they_name(student):
    pool = read_pool(ROOT, "tiny-imagenet", student)
    named = stored_ids(ROOT, pool)
    assert len(named) >= 87
    assert stored_rows(ROOT, pool, pool.subsets).keys() == named


def test_where_some_subsets_come_out_otherwise_the_rows_of_the_others_are_stored_before_it_fails(tmp_path, monkeypatch):
    pool = small_pool(tmp_path)
    rewritten(tmp_path, pool.subsets[2].sha256, "ab" * 32)  # as if it had been selected on another machine
    freeze(tmp_path, ID, DAY)
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(app, ["pool", "rows", "--dataset", "digits"])
    assert isinstance(said.exception, CheckFailed)
    assert "1 of 9 subsets are not what the selectors give" in str(said.exception)
    assert "rows of 8 of 9 subsets follow from it" in said.stdout
    assert stored_ids(tmp_path, pool) == {one.id for one in pool.subsets} - {pool.subsets[2].id}


def test_export_writes_the_index_file_of_every_subset_and_leaves_other_files_alone(tmp_path, monkeypatch):
    pool = small_pool(tmp_path, frozen=True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "subsets").mkdir()
    (tmp_path / "subsets/mine.txt").write_text("mine")
    said = CliRunner().invoke(app, ["pool", "export", "--dataset", "digits", "--out", "subsets"])
    assert said.exit_code == 0
    assert "subsets: index files of 9 of 9 subsets" in said.stdout
    written = {path.stem: path.read_bytes() for path in (tmp_path / "subsets").glob("*.json")}
    assert {name: sha256_hex(data) for name, data in written.items()} == {one.id: one.sha256 for one in pool.subsets}
    assert (tmp_path / "subsets/mine.txt").read_text() == "mine"
    said = CliRunner().invoke(app, ["pool", "export", "--dataset", "digits", "--out", "subsets/mine.txt"])
    assert isinstance(said.exception, UsageError)
    assert (tmp_path / "subsets/mine.txt").read_text() == "mine"


def test_an_altered_hash_is_noticed(tmp_path):
    pool = small_pool(tmp_path)
    rewritten(tmp_path, pool.subsets[2].sha256, "ab" * 32)
    with pytest.raises(CheckFailed, match=r"1 of 9 subsets(.|\n)*ipc1-el2n-easy-d0"):
        pool_rows(tmp_path, find_pool(tmp_path, ID))


def test_another_recording_is_named_where_its_subsets_differ(tmp_path):
    pool = small_pool(tmp_path)
    recording = tmp_path / "dynamics/digits/resnet18-hl-v1-full"
    shutil.rmtree(recording)
    shutil.copytree(ROOT / "dynamics/digits/resnet18-hl-v1-ipc10", recording)
    with pytest.raises(CheckFailed, match="subsets are not what the selectors give") as caught:
        pool_rows(tmp_path, pool)
    here = read_spec(recording).sha256
    assert f"resnet18-hl-v1-full is another: {here[:12]} here, {pool.recording_sha256[:12]} there" in caught.value.why


def test_another_recording_that_gives_the_same_subsets_will_do(tmp_path):
    pool = small_pool(tmp_path)
    path = tmp_path / "dynamics/digits/resnet18-hl-v1-full/spec.json"
    spec = json.loads(path.read_text())
    path.write_text(json.dumps({**spec, "seed": 7}))
    assert read_spec(path.parent).sha256 != pool.recording_sha256
    assert set(checked_rows(tmp_path, pool)) == {subset.id for subset in pool.subsets}


def test_a_frozen_pool_that_is_edited_fails_verify(tmp_path):
    small_pool(tmp_path, frozen=True)
    assert verify(tmp_path) == []
    rewritten(tmp_path, "points: 10", "points: 11")
    assert ["a locked protocol was edited" in problem for problem in verify(tmp_path)] == [True]
    assert [row.lock for row in summaries(tmp_path)] == ["edited", "locked"]


def test_a_comment_in_a_frozen_pool_may_change(tmp_path):
    small_pool(tmp_path, frozen=True)
    rewritten(tmp_path, "# hand-written", "# written by hand")
    assert verify(tmp_path) == []


def test_a_frozen_pool_is_not_made_again(tmp_path):
    small_pool(tmp_path, frozen=True)
    with pytest.raises(UsageError, match="frozen"):
        make_pool(tmp_path, ID)


def test_a_pool_without_subsets_awaits_its_recording(tmp_path):
    root = pool_checkout(tmp_path)
    assert [row.lock for row in summaries(root)] == ["awaits its recording", "locked"]
    assert verify(root) == []
    with pytest.raises(UsageError, match="not complete"):
        freeze(root, ID, DAY)
    with pytest.raises(UsageError, match="no subsets yet"):
        checked_rows(root, find_pool(root, ID))
    shutil.rmtree(root / "dynamics")
    with pytest.raises(UsageError, match="awaits its recording"):
        make_pool(root, ID)


def test_a_pool_of_another_protocol_content_is_a_problem(tmp_path):
    small_pool(tmp_path)
    rewritten(tmp_path, f"protocol_sha256: {find_pool(tmp_path, ID).recipe.protocol_sha256}", f"protocol_sha256: {'ab' * 32}")
    assert ["another content of its protocol" in problem for problem in verify(tmp_path)] == [True]
    with pytest.raises(ProtocolError, match="another content"):
        freeze(tmp_path, ID, DAY)


def test_a_misnamed_pool_file_is_a_problem(tmp_path):
    small_pool(tmp_path, frozen=True)
    shutil.copy(pool_file(tmp_path), pool_file(tmp_path).with_suffix(".yml"))
    assert ["not in a protocol's place" in problem for problem in verify(tmp_path)] == [True]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("exclusion:", "exclusoin:", "did you mean 'exclusion'"),
        ("twins: half-twice", "twins: thrice", "recipe.twins"),
        ("ipc1-random-d1", "ipc1-random-d0", "appears twice"),
        ('"draw": 1', '"draw": 2', "not what the recipe gives"),
        ('"twin_of": "ipc2-random-d0"', '"twin_of": null', "not what the recipe gives"),
        ("ipc: [1, 2]", "ipc: [1, 2, 4]", "not what the recipe gives"),
        ("ipc: [1, 2]", "ipc: [2, 1]", "ascending"),
        ('"ipc1-random-d0"', '"../../etc/passwd"', "subsets.0.id"),
        ("subsets:", "subsets: &anchor", "not valid YAML"),
        ("id: digits/", "id: cifar10/", "another dataset"),
        ("recording_sha256:", "# recording_sha256:", "all three or none"),
        ("draws: 2", "draws: 0", "draws"),
    ],
)  # fmt: skip
def test_a_hostile_or_clumsy_pool_file_is_refused(tmp_path, old, new, said):
    small_pool(tmp_path)
    rewritten(tmp_path, old, new)
    if new == "subsets: &anchor":
        pool_file(tmp_path).write_text(pool_file(tmp_path).read_text() + "notes: *anchor\n")
    with pytest.raises(ProtocolError) as refusal:
        find_pool(tmp_path, ID)
    assert said in str(refusal.value)
    assert str(pool_file(tmp_path)) in str(refusal.value)


def test_two_subsets_of_the_same_rows_are_refused(tmp_path):
    pool = small_pool(tmp_path)
    first, second = pool.subsets[0].sha256, pool.subsets[1].sha256
    rewritten(tmp_path, second, first)
    with pytest.raises(ProtocolError, match="ipc1-random-d0 and ipc1-random-d1 are the same rows"):
        find_pool(tmp_path, ID)


def test_two_methods_that_choose_the_same_images_are_refused(tmp_path):
    root = pool_checkout(tmp_path)
    # f = 1 holds the rows of `random`, in another order
    same = "- {name: pareto, selector: pareto-easy, parameters: {f: 1.0}}"
    rewritten(root, "- {name: el2n-easy, selector: el2n-easy}", same)
    with pytest.raises(UsageError, match="ipc1-pareto-d0 and ipc1-random-d0 are the same images"):
        make_pool(root, ID)


def test_a_recipe_names_each_method_once_and_random_at_every_size(tmp_path):
    root = pool_checkout(tmp_path)
    random = {"name": "random", "selector": "random"}
    assert "'random' appears twice" in refused_recipe(root, methods=[random, random])
    assert "'random' appears twice" in refused_recipe(root, methods=[random, {"name": "other", "selector": "random"}])
    assert "random is needed at every IPC" in refused_recipe(root, methods=[{**random, "ipc": [1]}])
    assert "names IPC 50" in refused_recipe(root, methods=[random, {"name": "easy", "selector": "el2n-easy", "ipc": [50]}])


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("{name: x, selector: no-such}", "no selector 'no-such'"),
        ("{name: x, selector: el2n-easy, parameters: {f: 1}}", "no parameter 'f'"),
        ("{name: x, selector: el2n-easy, draws: 2}", "has one draw"),
        ("{name: x, selector: pareto-easy, parameters: {f: 0.01}}", "a pool of 100 images a class is not to be had"),
    ],
)
def test_a_method_that_cannot_be_run_is_named(tmp_path, method, said):
    root = pool_checkout(tmp_path)
    rewritten(root, "{name: el2n-easy, selector: el2n-easy}", method)
    with pytest.raises(UsageError) as refusal:
        make_pool(root, ID)
    assert said in str(refusal.value)
    assert MARK not in pool_file(root).read_text()


def test_the_pools_of_two_students_hold_the_same_subsets():
    first, second = read_pool(ROOT, "tiny-imagenet"), read_pool(ROOT, "tiny-imagenet", "resnet18")
    assert planned(first.recipe) == planned(second.recipe)
    assert first.recipe.recording == second.recipe.recording
    assert first.stem != second.stem
    if not (first.awaits_recording or second.awaits_recording):
        assert [subset.sha256 for subset in first.subsets] == [subset.sha256 for subset in second.subsets]


def test_no_submission_file_may_ask_for_repeated_rows(tmp_path):
    source = ROOT / "submissions/random/digits-ipc1.yaml"
    path = tmp_path / "submissions/random/digits-ipc1.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(source.read_text() + "repeats: true\n")
    with pytest.raises(SubmissionError, match="unknown key 'repeats'"):
        read_submission(path)


def test_the_newest_version_of_a_pool_is_the_one_that_is_read(tmp_path):
    small_pool(tmp_path, frozen=True)
    for version in (2, 10):
        (pool_file(tmp_path).parent / f"v{version}.yaml").write_text(RECIPE.replace(ID, ID.replace("/v1", f"/v{version}")))
    assert read_pool(tmp_path, "digits").version == 10
    assert frozen_pool(tmp_path, "digits", None).version == 1  # a newer one that is not frozen yet blocks nothing
    assert find_pool(tmp_path, ID).version == 1


def test_a_pool_answers_to_the_name_of_its_student_also_where_it_is_the_datasets_first():
    first, second = read_pool(ROOT, "tiny-imagenet"), read_pool(ROOT, "tiny-imagenet", "resnet18")
    assert (first.trained_student, second.trained_student) == ("convnet-d4", "resnet18")
    assert read_pool(ROOT, "tiny-imagenet", "convnet-d4") == first != second
    assert read_pool(ROOT, "digits", "resnet18") == read_pool(ROOT, "digits")


def test_a_dataset_or_student_without_a_pool_names_those_that_have_one(tmp_path):
    small_pool(tmp_path)
    for asked in (("cifar10", None), ("digits", "convnet-d3"), ("digits", "../x")):
        with pytest.raises(UsageError) as refused:
            read_pool(tmp_path, *asked)
        assert ID in refused.value.fix


def test_a_pool_that_awaits_its_recording_says_how_to_get_it():
    waiting = [pool for name in pool_ids(ROOT) if (pool := find_pool(ROOT, name)).awaits_recording]
    for pool in waiting:
        assert pool.recipe.recording in pool.making
        assert f"hlbench pool make --dataset {pool.recipe.dataset}" in pool.making
    assert find_pool(ROOT, "tiny-imagenet/dcs-pool-resnet18/v1").options == "--dataset tiny-imagenet --student resnet18"
