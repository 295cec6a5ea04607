"""Rules of `harness/intake` for sets that are not what they declare: counts, labels, dtypes, layouts, ranges."""

from __future__ import annotations

import numpy as np
import pytest
from intake_sets import FOLDERS, floats, images_and_labels, pngs, refusal, submission, write_folders, write_parquet, write_tensors
from safetensors.numpy import save_file


@pytest.mark.parametrize("suffix", [".parquet", ".safetensors", ".npz", "folder"])
def test_one_image_short_is_refused_with_both_counts(tmp_path, suffix):
    images, labels = images_and_labels()
    if suffix == "folder":
        write_folders(tmp_path, FOLDERS)
        (tmp_path / "9" / "019.png").unlink()
    elif suffix == ".parquet":
        write_parquet(tmp_path / "set.parquet", pngs()[:-1])
    else:
        write_tensors(tmp_path / f"set{suffix}", images[:-1], labels[:-1])
    refusal(tmp_path, "19 images instead of 20")


@pytest.mark.parametrize("suffix", [".parquet", ".safetensors", ".npz", "folder"])
def test_a_class_short_of_an_image_is_named_with_its_count(tmp_path, suffix):
    labels = images_and_labels()[1].copy()
    labels[4] = 3
    if suffix == "folder":
        write_folders(tmp_path, FOLDERS)
        (tmp_path / "2" / "004.png").rename(tmp_path / "3" / "004.png")
    elif suffix == ".parquet":
        write_parquet(tmp_path / "set.parquet", pngs(), labels)
    else:
        write_tensors(tmp_path / f"set{suffix}", labels=labels)
    assert "class 2 has 1, class 3 has 3" in refusal(tmp_path, "2 of 10 classes do not have exactly 2 images")


@pytest.mark.parametrize("label", [-1, 10, 1 << 40])
@pytest.mark.parametrize("suffix", [".parquet", ".npz"])
def test_a_label_out_of_range_is_named_with_its_row(tmp_path, suffix, label):
    labels = images_and_labels()[1].copy()
    labels[7] = label
    path = tmp_path / f"set{suffix}"
    write_parquet(path, pngs(), labels) if suffix == ".parquet" else write_tensors(path, labels=labels)
    refusal(tmp_path, f"label {label} in row 7 is not a class")


def test_a_huge_unsigned_label_does_not_wrap_into_range(tmp_path):
    labels = images_and_labels()[1].astype(np.uint64)
    labels[0] = 2**64 - 1
    write_tensors(tmp_path / "set.npz", labels=labels)
    refusal(tmp_path, "is not a class")


def test_labels_counted_from_one_are_explained(tmp_path):
    write_tensors(tmp_path / "set.npz", labels=images_and_labels()[1] + 1)
    assert "subtract 1" in refusal(tmp_path, "is not a class")


@pytest.mark.parametrize(
    "labels",
    [np.zeros(20), np.zeros((20, 10), np.int64), np.eye(10, dtype=np.float32)[[0] * 20], np.zeros(20, bool)],
    ids=["float", "two-dimensional", "soft", "bool"],
)
def test_labels_that_are_not_class_numbers_are_refused(tmp_path, labels):
    write_tensors(tmp_path / "set.npz", labels=labels)
    refusal(tmp_path, "labels are")


def test_images_and_labels_of_different_length_are_refused(tmp_path):
    write_tensors(tmp_path / "set.npz", labels=images_and_labels()[1][:-1])
    refusal(tmp_path, "differ in number")


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_missing_array_is_named(tmp_path, suffix):
    arrays = {"images": images_and_labels()[0], "targets": images_and_labels()[1]}
    path = tmp_path / f"set{suffix}"
    np.savez(path, **arrays) if suffix == ".npz" else save_file(arrays, path)
    refusal(tmp_path, "no array labels")


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int64, np.int8, ">f4", np.float32, bool])
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_another_dtype_than_declared_is_refused(tmp_path, suffix, dtype):
    if suffix == ".safetensors" and dtype == ">f4":
        pytest.skip("safetensors are little-endian by definition")
    write_tensors(tmp_path / f"set{suffix}", images_and_labels()[0].astype(dtype))
    assert "declares images.pixel_space: uint8" in refusal(tmp_path, "not uint8")


def test_big_endian_floats_are_refused_though_their_name_is_float32(tmp_path):
    write_tensors(tmp_path / "set.npz", floats().astype(">f4"))
    refusal(tmp_path, "images are >f4, not float32", submission(floating=True))


@pytest.mark.parametrize(
    ("value", "match"), [(np.nan, "NaN"), (np.inf, "NaN"), (-np.inf, "NaN"), (1e9, "holds 1e"), (255, "holds 255")]
)
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_floats_that_are_not_normalised_pixels_are_refused(tmp_path, suffix, value, match):
    images = floats()
    images[3, 1, 2, 2] = value
    write_tensors(tmp_path / f"set{suffix}", images)
    assert "image 3" in refusal(tmp_path, match, submission(floating=True))


def test_floats_with_channels_last_are_refused(tmp_path):
    write_tensors(tmp_path / "set.npz", floats().transpose(0, 2, 3, 1))
    refusal(tmp_path, "images have shape", submission(floating=True))


@pytest.mark.parametrize("shape", [(20, 8, 8), (20, 1, 8, 8), (20, 4, 8, 8), (20, 3, 8, 9), (20, 192), (3840,), ()])
def test_other_shapes_are_refused(tmp_path, shape):
    write_tensors(tmp_path / "set.npz", np.zeros(shape, np.uint8))
    refusal(tmp_path, "images have shape")


def test_an_ambiguous_channel_order_is_said_to_be_ambiguous(tmp_path):
    write_tensors(tmp_path / "set.npz", np.zeros((20, 3, 3, 3), np.uint8))
    refusal(tmp_path, "channel order is ambiguous", submission(resolution=3))


def test_encoded_images_cannot_be_declared_float(tmp_path):
    write_parquet(tmp_path / "set.parquet", pngs())
    refusal(tmp_path, "encoded images hold 8-bit pixels", submission(floating=True))


def test_image_files_cannot_be_declared_float(tmp_path):
    write_folders(tmp_path, FOLDERS)
    refusal(tmp_path, "image files hold 8-bit pixels", submission(floating=True))


def test_more_pixels_than_the_dataset_has_are_refused(tmp_path):
    write_tensors(tmp_path / "set.npz", np.zeros((20, 3, 16, 16), np.uint8))
    refusal(tmp_path, "images larger than the dataset's", submission(resolution=16))


def test_an_unknown_normalization_is_refused_with_the_known_ones(tmp_path):
    write_tensors(tmp_path / "set.npz", floats())
    declared = {"pixel_space": "float32", "normalization": "mine", "resolution": 8}
    assert "cifar100" in refusal(tmp_path, "no normalization 'mine'", submission(images=declared))
