"""Rules of `harness/intake` for damaged and random bytes: a right set or a SubmissionError, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from intake_sets import (
    CORESET,
    digits_train,
    images_and_labels,
    pngs,
    rows,
    spec,
    submission,
    write_index,
    write_parquet,
    write_tensors,
    write_with,
)

from harness.errors import SubmissionError
from harness.intake import read_set


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    suffix=st.sampled_from([".parquet", ".npz", ".safetensors", ".npy"]),
    at=st.floats(0, 1, exclude_max=True),
    byte=st.integers(0, 255),
    cut=st.booleans(),
)
@example(suffix=".parquet", at=0.0, byte=0, cut=True)
def test_a_damaged_file_gives_its_images_or_a_submission_error_and_nothing_else(tmp_path, suffix, at, byte, cut):
    path = tmp_path / f"set{suffix}"
    kind = "coreset" if suffix == ".npy" else "distilled"
    if suffix == ".parquet":
        write_parquet(path, pngs())
    elif suffix == ".npy":
        write_index(path, rows())
    else:
        write_tensors(path)
    contents = bytearray(path.read_bytes())
    place = int(at * len(contents))
    contents[place] = byte
    path.write_bytes(contents[:place] if cut else contents)
    try:
        image_set, _ = read_set(tmp_path, (path.name,), submission(kind), spec(), digits_train)
        assert image_set.images.shape == (20, 3, 8, 8)
    except SubmissionError as refused:
        refused.why or pytest.fail("no reason given")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    suffix=st.sampled_from([".parquet", ".npz", ".safetensors"]), at=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255)
)
def test_a_damaged_file_with_soft_labels_gives_its_classes_or_a_submission_error_and_nothing_else(
    tmp_path_factory, suffix, at, byte
):
    folder = tmp_path_factory.mktemp("set")
    write_with(folder, suffix, {"soft_labels": np.full((20, 10), 3, np.int64), "logits": np.full((20, 10), 3.0, np.float32)})
    path = folder / f"set{suffix}"
    contents = bytearray(path.read_bytes())
    contents[int(at * len(contents))] = byte
    path.write_bytes(contents)
    try:
        image_set, _ = read_set(folder, (path.name,), submission(), spec(), digits_train)
        np.testing.assert_array_equal(image_set.labels, images_and_labels()[1])
    except SubmissionError as refused:
        refused.why or pytest.fail("no reason given")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=st.binary(max_size=200), suffix=st.sampled_from([".json", ".csv", ".npy", ".parquet", ".safetensors"]))
def test_random_bytes_are_never_an_index(tmp_path, contents, suffix):
    (tmp_path / f"rows{suffix}").write_bytes(contents)
    with pytest.raises(SubmissionError):
        read_set(tmp_path, (f"rows{suffix}",), CORESET, spec(), digits_train)
