"""Recordings on disk: what was altered, cut short, exchanged or belongs to other data is refused before it is used."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from dynamics_runs import small_protocol, small_run, thirty_digits

from harness.dynamics import record
from harness.dynamics.artifact import SPEC, open_dynamics, read_spec, write_spec
from harness.dynamics.places import find_folder, summaries
from harness.dynamics.record import Scoring, record_dynamics
from harness.dynamics.verify import verify_again
from harness.errors import CheckFailed, UsageError

ARRAYS = ("true_probability", "el2n", "correct", "presented", "probabilities", "features")


@pytest.fixture(scope="module")
def split():
    return thirty_digits()


@pytest.fixture(scope="module")
def original(split, tmp_path_factory):
    protocol = small_protocol()
    return record_dynamics(small_run(protocol, split, epochs=2.6, snapshots=3), tmp_path_factory.mktemp("o") / "run", "cpu")


@pytest.fixture
def folder(original, tmp_path):
    """A copy that may be spoilt."""
    return shutil.copytree(original.folder, tmp_path / "dynamics" / "digits" / "run")


def opened(folder, split, verify=False):
    return open_dynamics(folder, split.labels, split.fingerprint, verify)


def change_spec(folder, **changes):
    raw = json.loads((folder / SPEC).read_text())
    (folder / SPEC).write_text(json.dumps({**raw, **changes}))


def test_a_recording_opens_and_verifies_as_it_was_made(original, folder, split):
    found = opened(folder, split, verify=True)
    assert found.sha256 == original.sha256
    for name in ARRAYS:
        assert np.array_equal(getattr(found, name), getattr(original, name))


def test_the_folder_holds_the_arrays_and_the_spec_and_nothing_else(original):
    assert {path.name for path in original.folder.iterdir()} == {SPEC, *(f"{name}.npy" for name in ARRAYS)}


def test_the_identity_does_not_depend_on_the_machine_but_on_run_and_bytes(folder, original):
    change_spec(
        folder, made={**original.spec.made.model_dump(mode="json"), "threads": 64, "processor": "another", "seconds": 1.0}
    )
    assert read_spec(folder).sha256 == original.sha256
    change_spec(folder, seed=9)
    assert read_spec(folder).sha256 != original.sha256
    files = {**original.spec.files, "el2n.npy": "0" * 64}
    change_spec(folder, seed=original.spec.seed, files=files)
    assert read_spec(folder).sha256 != original.sha256


def test_another_split_is_refused(folder, split):
    with pytest.raises(UsageError, match=r"another split.*\n.*\n.*30 rows, fingerprint 5a5a"):
        open_dynamics(folder, split.labels, "0" * 64)
    with pytest.raises(UsageError, match="another split"):
        open_dynamics(folder, split.labels[:-1], split.fingerprint)


def test_a_folder_without_a_recording_says_how_to_make_one(tmp_path, split):
    with pytest.raises(UsageError, match="hlbench dynamics record"):
        opened(tmp_path / "nowhere", split)


@pytest.mark.parametrize("name", ARRAYS)
def test_a_missing_truncated_or_longer_file_is_refused(folder, split, name):
    path = folder / f"{name}.npy"
    whole = path.read_bytes()
    for spoilt, why in (
        (whole[:-1], "no whole .npy"),
        (whole[:40], "no whole .npy"),
        (b"", "no whole .npy"),
        (whole + b"x", "bytes"),
    ):
        path.write_bytes(spoilt)
        with pytest.raises(CheckFailed, match=rf"{name}\.npy\n.*{why}"):
            opened(folder, split)
    path.unlink()
    with pytest.raises(CheckFailed, match=rf"{name}\.npy\n.*missing"):
        opened(folder, split)


@pytest.mark.parametrize("name", ARRAYS)
def test_an_altered_number_is_found_by_its_hash(folder, split, name):
    path = folder / f"{name}.npy"
    whole = bytearray(path.read_bytes())
    whole[-1] = 0 if whole[-1] else 1
    path.write_bytes(whole)
    with pytest.raises(CheckFailed, match=rf"{name}\.npy\n.*sha256"):
        opened(folder, split, verify=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [("el2n", np.nan), ("el2n", -0.1), ("el2n", 1.5), ("true_probability", np.inf), ("true_probability", 1.1), ("correct", 2),
     ("presented", 2), ("probabilities", 2), ("features", np.nan), ("features", -np.inf)],
)  # fmt: skip
def test_numbers_that_are_not_finite_or_out_of_range_are_refused_with_their_place_even_without_hashing(
    folder, split, name, value
):
    array = np.load(folder / f"{name}.npy", mmap_mode="r+")
    array[1, 7] = value
    array.flush()
    with pytest.raises(CheckFailed, match=rf"{name}\.npy\n.*\[1, 7\]"):
        opened(folder, split)


def test_a_recording_is_not_sealed_over_numbers_that_are_not_finite(folder, original):
    array = np.load(folder / "features.npy", mmap_mode="r+")
    array[0, 0] = np.inf
    array.flush()
    with pytest.raises(CheckFailed, match="features"):
        write_spec(folder, original.spec.run, original.spec.made)


@pytest.mark.parametrize(
    "forge",
    [
        lambda array: array.astype("<f8"), lambda array: array.astype(">f4"), lambda array: array[:, :-1], lambda array: array[0],
        lambda array: np.asfortranarray(array), lambda array: array.astype(np.complex64),
    ],
    ids=["float64", "big endian", "a row short", "one snapshot", "column order", "complex"],
)  # fmt: skip
def test_a_file_of_another_form_is_refused(folder, split, forge):
    array = np.load(folder / "el2n.npy")
    np.save(folder / "el2n.npy", forge(array))
    with pytest.raises(CheckFailed, match=r"el2n\.npy\n.*should hold <f4 \(3, 30\)"):
        opened(folder, split)


def test_pickles_and_archives_in_the_place_of_an_array_are_never_loaded(folder, split):
    path = folder / "el2n.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(CheckFailed, match=r"el2n\.npy"):
        opened(folder, split)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", b"")
    with pytest.raises(CheckFailed, match=r"el2n\.npy"):
        opened(folder, split)


@pytest.mark.parametrize(
    ("text", "why"),
    [("{", "JSON"), ("[]", "schema"), ("{}", "schema"), ("[" * 100_000, "JSON"), (" " * (1 << 21), "larger")],
    ids=["cut", "list", "empty", "deep", "large"],
)
def test_a_spec_that_is_none_is_refused(folder, split, text, why):
    (folder / SPEC).write_text(text)
    with pytest.raises(CheckFailed, match=why):
        opened(folder, split)


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": "30"},
        {"epochs": float("nan")},
        {"snapshots": 0},
        {"comment": "hello"},
        {"regime": "sl-kd"},
        {"temperatures": [1]},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_spec_with_a_wrong_or_unknown_key_is_refused(folder, split, changes):
    change_spec(folder, **changes)
    with pytest.raises(CheckFailed):
        opened(folder, split)


def test_a_spec_names_no_files_but_its_own(folder, split):
    change_spec(folder, files={"../../secret.npy": "0" * 64})
    with pytest.raises(CheckFailed, match="does not list the files"):
        opened(folder, split)


def test_training_again_gives_the_same_bytes_and_says_when_it_does_not(original, folder, split):
    protocol = small_protocol()
    run = original.spec.run
    verify_again(opened(folder, split), Scoring(run, protocol, split))
    assert [path.name for path in folder.parent.iterdir()] == ["run"]
    shutil.rmtree(folder)
    record_dynamics(Scoring(run.model_copy(update={"seed": 1}), protocol, split), folder, "cpu")
    change_spec(folder, seed=0)  # whoever forges a recording does not get past this
    with pytest.raises(CheckFailed, match=r"other dynamics here.*\n.*\n.*el2n\.npy differs by up to 0\.\d+"):
        verify_again(opened(folder, split), Scoring(run, protocol, split))
    with pytest.raises(CheckFailed, match="has changed"):
        verify_again(opened(folder, split), Scoring(run, protocol.model_copy(update={"sha256": "0" * 64}), split))


def test_a_recording_that_is_there_is_not_made_again_nor_replaced_by_another(folder, split, original, monkeypatch):
    protocol = small_protocol()
    run = original.spec.run
    monkeypatch.setattr(record, "train", None)  # calling it would fail
    assert record_dynamics(Scoring(run, protocol, split), folder, "cpu").sha256 == original.sha256
    with pytest.raises(UsageError, match=r"is taken(.|\n)*seed is 0, asked for 4"):
        record_dynamics(Scoring(run.model_copy(update={"seed": 4}), protocol, split), folder, "cpu")
    with pytest.raises(UsageError, match="no recording"):
        record_dynamics(Scoring(run, protocol, split), folder.parent, "cpu")


def test_a_recording_is_found_by_name_or_folder_and_listed_even_when_damaged(folder, split, tmp_path, monkeypatch, original):
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path / "cache"))
    assert find_folder(tmp_path, "digits/run") == find_folder(tmp_path, str(folder)) == folder
    with pytest.raises(UsageError, match="digits/run"):
        find_folder(tmp_path, "digits/another")
    (row,) = summaries(tmp_path)
    assert (row["name"], row["sha256"]) == ("digits/run", original.sha256[:12])
    (folder / SPEC).write_text("{")
    assert "damaged" in summaries(tmp_path)[0]["state"]


def test_labels_of_the_split_come_with_the_recording(folder, split):
    assert opened(folder, split).labels is split.labels
    with pytest.raises(UsageError):
        opened(folder, replace(split, labels=split.labels[:5]))
