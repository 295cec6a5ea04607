"""Real splits: what counts as the dataset, what its name (fingerprint) depends on, where it is looked for."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from small_parquet import SMALL, digit_rows, encode, write_shards

from harness import datasets
from harness.datasets import DATASETS, dataset_spec, load_parquet_split, load_split
from harness.errors import EnvironmentProblem, UsageError

REAL_DATA = os.environ.get("HLBENCH_DATA", "")
DIGIT = encode(np.full((8, 8, 3), 90, np.uint8))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HLBENCH_DATA", raising=False)
    return tmp_path / "cache" / "datasets"


# --- the specs and the embedded default


def test_every_downloadable_dataset_is_pinned_to_a_commit():
    assert list(DATASETS) == ["digits", "cifar10", "cifar100", "tiny-imagenet", "imagenet-1k"]
    for spec in DATASETS.values():
        assert spec.name == "digits" or (len(spec.revision) == 40 and int(spec.revision, 16) and "/" in spec.repo)


def test_an_unknown_dataset_or_split_lists_the_known_ones():
    with pytest.raises(UsageError) as error:
        dataset_spec("tinyimagenet")
    assert "tiny-imagenet" in str(error.value)
    with pytest.raises(UsageError, match="valid"):
        load_split("digits", "valid")


def test_digits_are_split_in_halves_by_order_and_keep_their_fingerprints():
    from sklearn.datasets import load_digits

    train, test = load_split("digits", "train"), load_split("digits", "test")
    assert (len(train), len(test)) == (898, 899)
    assert train.images.shape == (898, 3, 8, 8)
    assert train.images.dtype == np.uint8
    assert train.labels.dtype == np.int64
    sixteenths = np.concatenate([train.images, test.images])[:, 1] * (16 / 255)
    np.testing.assert_array_equal(np.rint(sixteenths), load_digits().images)
    np.testing.assert_array_equal(np.concatenate([train.labels, test.labels]), load_digits().target)
    assert train.fingerprint == "74f71a80ff0a3263bdbddd1bb709a1c5a95640446faada7c12139a635594d222"
    assert test.fingerprint == "ee79744607af1912c67e118b20f0af3bf9e46138b7a649a9de554ea064e18910"


def test_datasets_do_not_import_torch():
    check = "import sys, harness.datasets.loader; harness.datasets.load_split('digits', 'test'); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)


# --- rows, order and fingerprint


def test_images_labels_and_order_are_those_of_the_parquet_rows(tmp_path):
    rows = digit_rows()
    split = load_parquet_split(SMALL, "train", write_shards(tmp_path / "d", rows, cuts=(7, 30), row_group=5))
    assert isinstance(split.images, np.memmap)
    assert split.labels.tolist() == [label for _, label in rows]
    for row, (encoded, _) in enumerate(rows):
        np.testing.assert_array_equal(split.images[row], np.asarray(Image.open(io.BytesIO(encoded))).transpose(2, 0, 1))


def test_fingerprint_follows_its_published_rule_whatever_the_packing(tmp_path):
    rows = digit_rows()
    whole = load_parquet_split(SMALL, "train", write_shards(tmp_path / "whole", rows))
    cut = load_parquet_split(SMALL, "train", write_shards(tmp_path / "cut", rows, cuts=(3, 3, 39), row_group=2))
    digests = [hashlib.sha256(label.to_bytes(8, "little") + image).digest() for image, label in rows]
    assert whole.fingerprint == cut.fingerprint == hashlib.sha256(b"".join(digests)).hexdigest()


@pytest.mark.parametrize("change", ["two rows swapped", "one label changed", "one image encoded anew"])
def test_fingerprint_changes_with(change, tmp_path):
    rows = digit_rows()
    before = load_parquet_split(SMALL, "train", write_shards(tmp_path / "a", rows))
    if change == "two rows swapped":
        rows[3], rows[4] = rows[4], rows[3]
    elif change == "one label changed":
        rows[3] = (rows[3][0], (rows[3][1] + 1) % 10)
    else:
        rows[3] = (encode(before.images[3].transpose(1, 2, 0), "PNG"), rows[3][1])
    assert load_parquet_split(SMALL, "train", write_shards(tmp_path / "b", rows)).fingerprint != before.fingerprint


def test_grey_and_cmyk_images_become_rgb(tmp_path):
    rows = digit_rows()
    red = np.full((8, 8, 3), (255, 0, 0), np.uint8)
    rows[0], rows[1] = (encode(red, mode="L"), 0), (encode(red, mode="CMYK"), 1)
    images = load_parquet_split(SMALL, "train", write_shards(tmp_path / "d", rows)).images
    assert (np.ptp(images[0], axis=0) == 0).all()
    np.testing.assert_allclose(images[1].mean(axis=(1, 2)), (255, 0, 0), atol=3)


# --- what is refused


@pytest.mark.parametrize(
    ("row", "bad", "message"),
    [
        (11, (None, 1), "image.bytes is None"),
        (12, (b"", 1), "image.bytes is b''"),
        (13, (b"not an image", 1), "decodes"),
        (14, (encode(np.zeros((8, 9, 3), np.uint8)), 1), "8 x 9"),
        (15, (DIGIT, 10), "label is 10"),
        (16, (DIGIT, -1), "label is -1"),
        (17, (DIGIT, None), "label is None"),
        (18, (DIGIT[:-10], 1), "decodes"),
    ],
)
def test_a_bad_row_is_named_and_leaves_no_cache(row, bad, message, tmp_path, cache):
    rows = digit_rows()
    rows[row] = bad
    with pytest.raises(EnvironmentProblem) as error:
        load_parquet_split(SMALL, "train", write_shards(tmp_path / "d", rows, cuts=(9,)))
    assert f"row {row} " in str(error.value)
    assert message in str(error.value)
    assert not [path for path in (cache / "small").iterdir() if path.is_dir()]


def test_a_wrong_row_count_names_the_difference(tmp_path):
    folder = write_shards(tmp_path / "d", digit_rows(count=39), cuts=(20,))
    with pytest.raises(EnvironmentProblem, match=r"39 rows instead of 40 \(-1\)"):
        load_parquet_split(SMALL, "train", folder)


def test_a_dataset_that_lacks_a_class_is_refused(tmp_path):
    rows = [(image, label if label != 7 else 8) for image, label in digit_rows()]
    with pytest.raises(EnvironmentProblem, match="9 of its 10 classes"):
        load_parquet_split(SMALL, "train", write_shards(tmp_path / "d", rows))


def test_another_layout_is_refused_with_the_columns_it_has(tmp_path):
    (tmp_path / "d" / "data").mkdir(parents=True)
    pq.write_table(pa.table({"img": [b"x"] * 40, "label": [0] * 40}), tmp_path / "d" / "data" / "train-0.parquet")
    with pytest.raises(EnvironmentProblem, match=r"image\.bytes") as error:
        load_parquet_split(SMALL, "train", tmp_path / "d")
    assert "img" in error.value.why


@pytest.mark.parametrize("contents", [b"", b"PAR1 and then something else", b"version https://git-lfs.github.com/spec/v1\n"])
def test_a_file_that_is_not_parquet_is_refused(contents, tmp_path):
    (tmp_path / "d" / "data").mkdir(parents=True)
    (tmp_path / "d" / "data" / "train-0.parquet").write_bytes(contents)
    with pytest.raises(EnvironmentProblem, match="cannot read parquet file"):
        load_parquet_split(SMALL, "train", tmp_path / "d")


# --- where the data comes from


def hub_stub(monkeypatch, answer) -> None:
    monkeypatch.setitem(sys.modules, "harness.hub", SimpleNamespace(fetch_files=answer))
    monkeypatch.setitem(datasets.DATASETS, "small", SMALL)


def refuse(*_arguments, gated):
    raise EnvironmentProblem("the Hub cannot be reached", why="no route")


def test_a_named_folder_wins_over_the_environment_and_the_environment_over_the_hub(tmp_path, monkeypatch):
    hub_stub(monkeypatch, refuse)
    rows = digit_rows()
    write_shards(tmp_path / "environment" / "small", rows)
    write_shards(tmp_path / "named" / "small", [*rows[1:], rows[0]])
    monkeypatch.setenv("HLBENCH_DATA", str(tmp_path / "environment"))
    assert load_split("small", "train").labels.tolist() == [label for _, label in rows]
    assert load_split("small", "train", tmp_path / "named").labels[0] == rows[1][1]


def test_data_absent_locally_is_fetched_at_the_pinned_commit_and_only_the_split_asked_for(tmp_path, monkeypatch):
    asked = []
    snapshot = write_shards(tmp_path / "snapshot", digit_rows("test", 20), split="valid")
    hub_stub(monkeypatch, lambda *arguments, gated: asked.append((*arguments, gated)) or snapshot)
    monkeypatch.setenv("HLBENCH_DATA", str(tmp_path))
    assert len(load_split("small", "test")) == 20
    assert asked == [("someone/small", "0" * 40, ["data/valid-*.parquet"], False)]


def test_missing_data_names_both_ways_to_get_it(tmp_path, monkeypatch):
    hub_stub(monkeypatch, refuse)
    with pytest.raises(EnvironmentProblem) as error:
        load_split("small", "train", tmp_path)
    assert "HLBENCH_DATA" in error.value.fix
    assert "Hub" in error.value.fix
    assert "no route" in error.value.why
    assert error.value.exit_code == 3


# --- the real thing


@pytest.mark.skipif(not REAL_DATA, reason="HLBENCH_DATA is not set")
def test_tiny_imagenet_test_split_is_the_whole_valid_split():
    root = Path(REAL_DATA)
    if not (root / "tiny-imagenet").is_dir():
        pytest.skip("HLBENCH_DATA has no tiny-imagenet")
    split = load_split("tiny-imagenet", "test", root)
    assert split.images.shape == (10_000, 3, 64, 64)
    assert np.bincount(split.labels).tolist() == [50] * 200
    assert split.images[:100].std() > 30
