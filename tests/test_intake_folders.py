"""Rules of `harness/intake` for file names, mixed formats and class folders."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from intake_sets import (
    FOLDERS,
    NAMES,
    digits_train,
    png,
    pngs,
    read,
    refusal,
    spec,
    submission,
    write_folders,
    write_parquet,
    write_tensors,
)

from harness.errors import SubmissionError
from harness.intake import read_set


def test_two_formats_in_one_set_are_refused(tmp_path):
    write_tensors(tmp_path / "set.npz")
    write_parquet(tmp_path / "set.parquet", pngs())
    refusal(tmp_path, "a distilled set has one format")


@pytest.mark.parametrize("name", ["README.md", "set.h5", "noextension", "set.npy"])
def test_files_of_other_formats_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"hello")
    refusal(tmp_path, "not a format of a distilled set")


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "set.parquet").touch()
    refusal(tmp_path, "a file of the set is empty")


def test_a_format_that_its_name_does_not_say_is_refused(tmp_path):
    write_parquet(tmp_path / "set.safetensors", pngs())
    refusal(tmp_path, "safetensors")


@pytest.mark.parametrize(
    "name", ["../outside.npz", "/etc/passwd", "a/../../b.npz", "a//b.npz", "", "./a.npz", "a\\b.npz", "a\nb.npz"]
)
def test_names_that_leave_the_set_are_refused(tmp_path, name):
    (tmp_path / "outside.npz").write_bytes(b"secret")
    (tmp_path / "set").mkdir()
    with pytest.raises(SubmissionError, match="not a plain relative path"):
        read_set(tmp_path / "set", (name,), submission(), spec(), digits_train)


@pytest.mark.parametrize(
    ("names", "match"), [((), "no files"), (("a.npz", "a.npz"), "named twice"), (("a.npz",), "no such file")]
)
def test_file_lists_that_name_nothing_or_one_thing_twice_are_refused(tmp_path, names, match):
    with pytest.raises(SubmissionError, match=match):
        read_set(tmp_path, names, submission(), spec(), digits_train)


@pytest.mark.parametrize(
    ("folders", "match"),
    [
        ([f"n{label:08d}" for label in range(10)], "class folders not understood"),
        ([*FOLDERS[:9], "truck"], "class folders not understood"),
        ([*NAMES[:9], "lorry"], "class folders not understood: 'lorry'"),
        ([str(label) for label in range(1, 11)], "folder '10' is not a class"),
        ([*FOLDERS[:9], "-9"], "class folders not understood"),
        ([*FOLDERS[:9], "9.0"], "class folders not understood"),
        ([*FOLDERS[:9], "٩"], "class folders not understood"),
    ],
)
def test_folders_that_are_not_classes_are_refused(tmp_path, folders, match):
    write_folders(tmp_path, folders)
    refusal(tmp_path, match, None, spec(class_names=NAMES))


def test_class_names_are_refused_where_the_dataset_has_none(tmp_path):
    write_folders(tmp_path, list(NAMES))
    refusal(tmp_path, "class folders not understood")


def test_two_folders_of_one_class_are_refused(tmp_path):
    write_folders(tmp_path, [*FOLDERS[:9], "08"])
    assert "08" in refusal(tmp_path, "several folders are the same class")


def test_images_outside_class_folders_are_refused(tmp_path):
    (tmp_path / "0.png").write_bytes(pngs()[0])
    refusal(tmp_path, "image lies in no class folder")


def test_class_folders_in_different_places_are_refused(tmp_path):
    write_folders(tmp_path / "train", FOLDERS)
    write_folders(tmp_path / "val", FOLDERS)
    refusal(tmp_path, "class folders lie in different places")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(style=st.sampled_from(["{}", "{:05d}", "new{:03d}", "{:02d}"]), count=st.integers(1, 40))
def test_numbered_folders_give_their_own_number_in_any_padding(tmp_path_factory, style, count):
    folder = tmp_path_factory.mktemp("set")
    for label in range(count):
        (folder / style.format(label)).mkdir()
        (folder / style.format(label) / "0.png").write_bytes(png(np.full((3, 8, 8), label, np.uint8)))
    image_set, _ = read(folder, submission(ipc=1), spec(classes=count))
    np.testing.assert_array_equal(image_set.images[:, 0, 0, 0], image_set.labels)
