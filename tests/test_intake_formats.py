"""Rules of `harness/intake` for sets that are as they should be: every format gives the same ImageSet."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from intake_sets import (
    CLASSES,
    NAMES,
    SIDE,
    digits_train,
    floats,
    images_and_labels,
    png,
    pngs,
    read,
    rows,
    spec,
    submission,
    write_folders,
    write_index,
    write_nested,
    write_parquet,
    write_tensors,
)  # fmt: skip

from harness.imageset import EncodedImages
from harness.intake import limits

DISTILLED = {
    "parquet struct": lambda folder: write_parquet(folder / "set.parquet", pngs()),
    "parquet img and fine_label": lambda folder: write_parquet(folder / "set.parquet", pngs(), image="img", label="fine_label"),
    "parquet without compression": lambda folder: write_parquet(folder / "set.parquet", pngs(), compression="none"),
    "parquet zstd, row groups": lambda folder: write_parquet(folder / "s.parquet", pngs(), compression="zstd", row_group_size=3),
    "parquet data page 2": lambda folder: write_parquet(folder / "set.parquet", pngs(), data_page_version="2.0"),
    "parquet without dictionary": lambda folder: write_parquet(folder / "set.parquet", pngs(), use_dictionary=False),
    "parquet nested lists": lambda folder: write_nested(folder / "set.parquet", *images_and_labels(), fixed=False),
    "parquet fixed lists": lambda folder: write_nested(folder / "set.parquet", *images_and_labels(), fixed=True),
    "numbered folders": lambda folder: write_folders(folder, [str(label) for label in range(CLASSES)]),
    "padded folders": lambda folder: write_folders(folder, [f"{label:05d}" for label in range(CLASSES)]),
    "new folders below train": lambda folder: write_folders(folder / "train", [f"new{label:03d}" for label in range(CLASSES)]),
    "named folders": lambda folder: write_folders(folder, list(NAMES)),
    "lossless webp folders": lambda folder: write_folders(
        folder, list(NAMES), [png(image, "WEBP", lossless=True) for image in images_and_labels()[0]], ".webp"
    ),
    "safetensors": lambda folder: write_tensors(folder / "set.safetensors"),
    "safetensors, channels last": lambda folder: write_tensors(
        folder / "set.safetensors", images_and_labels()[0].transpose(0, 2, 3, 1)
    ),
    "npz": lambda folder: write_tensors(folder / "set.npz"),
    "npz, uint8 labels": lambda folder: write_tensors(folder / "set.npz", labels=images_and_labels()[1].astype(np.uint8)),
}  # fmt: skip


@pytest.mark.parametrize("write", DISTILLED.values(), ids=DISTILLED.keys())
def test_every_distilled_format_gives_the_same_image_set(tmp_path, write):
    write(tmp_path)
    image_set, facts = read(tmp_path, against=spec(class_names=NAMES))
    images, labels = images_and_labels()
    np.testing.assert_array_equal(image_set.images, images)
    np.testing.assert_array_equal(image_set.labels, labels)
    assert (image_set.images.dtype, image_set.labels.dtype) == (np.uint8, np.int64)
    assert (image_set.normalization, image_set.source_rows, image_set.patch_shuffle) == (None, None, 1)
    assert (facts["images"], facts["per_class"], facts["pixels_per_image"]) == (20, 2, 64)


def test_plain_binary_image_column_is_read_as_encoded_images(tmp_path):
    pq.write_table(pa.table({"image": pngs(), "labels": images_and_labels()[1]}), tmp_path / "set.parquet")
    np.testing.assert_array_equal(read(tmp_path)[0].images, images_and_labels()[0])


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", "fixed", "nested"])
def test_normalised_floats_arrive_unchanged_with_their_normalization(tmp_path, suffix):
    if suffix.startswith("."):
        write_tensors(tmp_path / f"set{suffix}", floats())
    else:
        write_nested(tmp_path / "set.parquet", floats(), images_and_labels()[1], fixed=suffix == "fixed")
    image_set, facts = read(tmp_path, submission(floating=True))
    np.testing.assert_array_equal(image_set.images, floats())
    assert image_set.normalization == "digits"
    assert facts["float_min"] == pytest.approx(floats().min())


@pytest.mark.parametrize("suffix", [".parquet", ".safetensors"])
def test_shards_are_joined_in_sorted_order(tmp_path, suffix):
    images, labels = images_and_labels()
    for number, part in enumerate(np.array_split(np.arange(20), 3)):
        path = tmp_path / f"set-{number}{suffix}"
        if suffix == ".parquet":
            write_parquet(path, [png(images[row]) for row in part], labels[part])
        else:
            write_tensors(path, images[part], labels[part])
    np.testing.assert_array_equal(read(tmp_path)[0].images, images)


def test_shards_may_store_labels_in_different_integer_types(tmp_path):
    images, labels = images_and_labels()
    write_tensors(tmp_path / "a.safetensors", images[:10], labels[:10].astype(np.uint64))
    write_tensors(tmp_path / "b.safetensors", images[10:], labels[10:])
    np.testing.assert_array_equal(read(tmp_path)[0].labels, labels)


def test_an_empty_shard_adds_nothing(tmp_path):
    write_parquet(tmp_path / "a.parquet", [], np.empty(0, np.int64))
    write_parquet(tmp_path / "b.parquet", pngs())
    np.testing.assert_array_equal(read(tmp_path)[0].images, images_and_labels()[0])


def test_folders_are_ordered_as_numbers_not_as_text(tmp_path):
    """D4M: '0', '1', '10', '2' (methods I.6); with 11 classes text order would give class 2 the images of class 10."""
    for label in range(11):
        (tmp_path / str(label)).mkdir()
        (tmp_path / str(label) / "0.png").write_bytes(png(np.full((3, SIDE, SIDE), label, np.uint8)))
    image_set, _ = read(tmp_path, submission(ipc=1), spec(classes=11))
    np.testing.assert_array_equal(image_set.images[:, 0, 0, 0], np.arange(11))
    np.testing.assert_array_equal(image_set.labels, np.arange(11))


def test_grey_and_palette_images_become_rgb_and_metadata_is_dropped(tmp_path):
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    note = PngInfo()
    note.add_text("label", "7")
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    write_folders(tmp_path, [str(label) for label in range(CLASSES)])
    Image.fromarray(grey).save(tmp_path / "0" / "000.png", pnginfo=note)
    Image.fromarray(grey).convert("P").save(tmp_path / "0" / "001.png")
    images = read(tmp_path)[0].images
    np.testing.assert_array_equal(images[0], np.stack([grey] * 3))
    np.testing.assert_array_equal(images[1], images[0])


def test_jpeg_images_decode_to_their_pixels(tmp_path):
    encoded = [png(image, "JPEG", quality=95) for image in images_and_labels()[0]]
    write_folders(tmp_path, [str(label) for label in range(CLASSES)], encoded, ".jpg")
    error = np.abs(read(tmp_path)[0].images.astype(int) - images_and_labels()[0]).mean()
    assert 0 < error < 40  # lossy, and not shuffled (which would be above 80)


def test_duplicates_in_a_distilled_set_are_counted_not_refused(tmp_path):
    images, _ = images_and_labels()
    images = images.copy()
    images[1] = images[0]
    write_tensors(tmp_path / "set.safetensors", images)
    assert read(tmp_path)[1]["duplicate_images"] == 1


@pytest.mark.parametrize("layout", ["parquet", "folder"])
def test_large_encoded_sets_stay_encoded_and_decode_to_the_same_images(tmp_path, monkeypatch, layout):
    monkeypatch.setattr("harness.intake.expected.IN_MEMORY_BYTES", 1000)
    write = {"parquet": DISTILLED["parquet struct"], "folder": DISTILLED["numbered folders"]}[layout]
    write(tmp_path)
    image_set, facts = read(tmp_path)
    assert isinstance(image_set.images, EncodedImages)
    assert [image_set.images.read(row) for row in range(20)] == pngs()
    assert facts["kept_encoded"] is True


def test_lower_resolution_than_the_dataset_is_accepted_when_declared(tmp_path):
    write_tensors(tmp_path / "set.npz", images_and_labels()[0][:, :, ::2, ::2])
    assert read(tmp_path, submission(resolution=4))[0].images.shape == (20, 3, 4, 4)


@pytest.mark.parametrize("suffix", [".json", ".csv", ".txt", ".npy", ".parquet", ".safetensors"])
@pytest.mark.parametrize("dtype", [np.int64, np.int32])
def test_every_index_format_selects_the_same_rows_in_its_own_order(tmp_path, suffix, dtype):
    chosen = rows()[::-1].astype(dtype)
    write_index(tmp_path / f"rows{suffix}", chosen)
    image_set, facts = read(tmp_path, submission("coreset"))
    np.testing.assert_array_equal(image_set.images, digits_train().images[chosen])
    np.testing.assert_array_equal(image_set.labels, digits_train().labels[chosen])
    np.testing.assert_array_equal(image_set.source_rows, chosen)
    assert image_set.source_rows.dtype == np.int64
    assert facts["format"] == suffix[1:]


def test_a_bare_json_list_is_an_index(tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps(rows().tolist(), indent=4))
    np.testing.assert_array_equal(read(tmp_path, submission("coreset"))[0].source_rows, rows())


def test_coreset_images_are_a_copy_of_the_split(tmp_path):
    write_index(tmp_path / "rows.json", rows())
    images = read(tmp_path, submission("coreset"))[0].images
    assert type(images) is np.ndarray
    assert not np.shares_memory(images, digits_train().images)


def test_a_coreset_of_an_encoded_split_stays_encoded(tmp_path):
    from harness.datasets.base import Split
    from harness.intake import read_set

    train = digits_train()
    encoded = EncodedImages(len(train), lambda row: f"image {row}".encode())
    write_index(tmp_path / "rows.json", rows())
    split = Split("digits", "train", encoded, train.labels, train.fingerprint)
    image_set, _ = read_set(tmp_path, ("rows.json",), submission("coreset"), spec(resolution=None), lambda: split)
    assert [image_set.images.read(place) for place in range(20)] == [f"image {row}".encode() for row in rows()]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(20)), heading=st.booleans(), newline=st.sampled_from(["\n", "\r\n"]), bom=st.booleans())
def test_csv_in_any_order_and_line_ending_reads_as_written(tmp_path, order, heading, newline, bom):
    chosen = rows()[list(order)]
    lines = ["index"] * heading + [f" {row} " for row in chosen]
    (tmp_path / "rows.csv").write_bytes(("\ufeff" * bom + newline.join(lines) + newline).encode())
    np.testing.assert_array_equal(read(tmp_path, submission("coreset"))[0].source_rows, chosen)


def test_the_audit_is_flat_and_fits_a_record(tmp_path):
    write_tensors(tmp_path / "set.safetensors", floats())
    facts = read(tmp_path, submission(floating=True))[1]
    assert all(type(value) in (int, float, str, bool) for value in facts.values())
    assert facts["set_bytes"] == (tmp_path / "set.safetensors").stat().st_size


def test_intake_never_imports_torch():
    code = "import sys, harness.intake; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_declared_caps_leave_room_for_incompressible_images():
    noise = np.random.default_rng(0).integers(0, 256, (3, 256, 256), dtype=np.uint8)
    assert len(png(noise)) < limits.most_encoded_bytes(256)
