"""Rules of `harness/intake` for what a set brings along beside images and classes: named in the audit, decoded never."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from intake_sets import (
    FOLDERS,
    SOFT,
    images_and_labels,
    plain_sha256,
    pngs,
    read,
    refusal,
    write_folders,
    write_parquet,
    write_with,
)
from safetensors.numpy import save_file

FORMATS = {"parquet": ".parquet", "safetensors": ".safetensors", "npz": ".npz", "folder": ""}
every_format = pytest.mark.parametrize("suffix", FORMATS.values(), ids=FORMATS)


# Accepted, named, and without influence


@every_format
def test_soft_labels_are_named_in_the_audit_and_leave_the_set_as_it_is(tmp_path, suffix):
    write_with(tmp_path, suffix, {"soft_labels": SOFT, "teacher_logits": SOFT * 5})
    image_set, facts = read(tmp_path)
    assert image_set.sha256 == plain_sha256()
    dtype = "float" if suffix == ".parquet" else "float32"
    named = [f"soft_labels {dtype} [20, 10]", f"teacher_logits {dtype} [20, 10]"]
    if suffix == "":
        named = [f"file {name}.npy ({dtype} [20, 10])" for name in ("soft_labels", "teacher_logits")]
    assert facts["labels_not_used"] == f"{', '.join(named)}: brought along, used by no regime"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    suffix=st.sampled_from(list(FORMATS.values())),
    name=st.sampled_from(["soft_labels", "label.soft", "logits", "softmax", "target"]),
    brought=st.sampled_from([np.float16, np.float32, np.float64, np.int64]).flatmap(
        lambda dtype: arrays.arrays(dtype, st.tuples(st.just(20), st.integers(1, 12)))
    ),
)
def test_no_soft_labels_whatever_change_the_set(tmp_path_factory, suffix, name, brought):
    """Of any name, type, width and value: NaN and infinity among them."""
    folder = tmp_path_factory.mktemp("set")
    write_with(folder, suffix, {name: brought})
    image_set, facts = read(folder)
    assert image_set.sha256 == plain_sha256()
    assert name in facts["labels_not_used"]


@every_format
def test_a_set_that_brings_nothing_along_has_no_such_fact(tmp_path, suffix):
    write_with(tmp_path, suffix, {})
    assert {"labels_not_used", "also_not_used"}.isdisjoint(read(tmp_path)[1])


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_what_is_no_label_is_named_apart_from_labels(tmp_path, suffix):
    """A learned rate, as trajectory matching leaves it; an array of one value a class is taken for labels under any name."""
    write_with(tmp_path, suffix, {"lr": np.float32(0.02), "epoch": np.arange(20), "y": SOFT})
    facts = read(tmp_path)[1]
    assert facts["labels_not_used"].startswith("y float32 [20, 10]:")
    assert sorted(facts["also_not_used"].split(", ")) == ["epoch int64 [20]", "lr float32 []"]


@pytest.mark.parametrize("suffix", [".parquet", ".safetensors"])
def test_soft_labels_in_shards_are_named_once(tmp_path, suffix):
    images, labels = images_and_labels()
    for number in range(2):
        part = slice(10 * number, 10 * number + 10)
        path = tmp_path / f"{number}{suffix}"
        if suffix == ".parquet":
            write_parquet(path, pngs()[part], labels[part])
            pq.write_table(pq.read_table(path).append_column("logits", pa.array(SOFT[part].tolist())), path)
        else:
            save_file({"images": images[part], "labels": labels[part], "logits": SOFT[part]}, path)
    assert read(tmp_path)[1]["labels_not_used"].count("[20") == 1


@pytest.mark.parametrize(
    "name", ["labels.json", "soft_labels.csv", "train/Teacher-Logits.safetensors", "labels_best.npz", "logits.parquet"]
)
def test_a_label_file_beside_class_folders_is_set_aside(tmp_path, name):
    write_folders(tmp_path / "train", FOLDERS)
    path = tmp_path / name
    if path.suffix == ".npz":
        np.savez(path, labels=SOFT)
    elif path.suffix == ".safetensors":
        save_file({"labels": SOFT}, path)
    elif path.suffix == ".parquet":
        pq.write_table(pa.table({"logits": pa.array(SOFT.tolist())}), path)
    else:
        path.write_text(json.dumps(SOFT.tolist()))
    image_set, facts = read(tmp_path)
    assert image_set.sha256 == plain_sha256()
    assert f"file {name} (" in facts["labels_not_used"]


def test_a_label_file_beside_parquet_is_set_aside(tmp_path):
    write_parquet(tmp_path / "set.parquet", pngs())
    np.save(tmp_path / "soft_labels.npy", SOFT)
    assert read(tmp_path)[0].sha256 == plain_sha256()


def test_a_set_may_have_labels_in_its_own_name(tmp_path):
    write_parquet(tmp_path / "set_with_soft_labels.parquet", pngs())
    image_set, facts = read(tmp_path)
    assert image_set.sha256 == plain_sha256()
    assert "labels_not_used" not in facts


# No classes


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_soft_labels_alone_are_refused_saying_how_to_add_classes(tmp_path, suffix):
    arrays_ = {"images": images_and_labels()[0], "soft_labels": SOFT}
    path = tmp_path / f"set{suffix}"
    np.savez(path, **arrays_) if suffix == ".npz" else save_file(arrays_, path)
    message = refusal(tmp_path, "no array labels")
    assert "hard labels (HL) need one integer class an image" in message
    assert "argmax" in message
    assert "the file has images, soft_labels" in message


def test_soft_labels_alone_in_parquet_are_refused_saying_how_to_add_classes(tmp_path):
    pq.write_table(pa.table({"image": pa.array(pngs()), "soft_label": pa.array(SOFT.tolist())}), tmp_path / "set.parquet")
    assert "argmax" in refusal(tmp_path, "no column is the label column")


def test_a_label_file_alone_is_refused(tmp_path):
    np.save(tmp_path / "soft_labels.npy", SOFT)
    refusal(tmp_path, "the set has no images")


@pytest.mark.parametrize("suffix", [".parquet", ".npz", ".safetensors"])
@pytest.mark.parametrize(
    "labels",
    [SOFT, np.full((20, 10), np.nan), np.eye(10, dtype=np.int64)[images_and_labels()[1]], images_and_labels()[1] / 1],
    ids=["soft", "NaN", "one-hot", "float"],
)
def test_labels_that_are_soft_are_refused_not_guessed_at(tmp_path, suffix, labels):
    column = labels if labels.ndim == 1 else pa.array(labels.tolist())
    write_with(tmp_path, suffix, {}, column if suffix == ".parquet" else labels)
    message = refusal(tmp_path, "column 'label' is|labels are")
    assert "numpy.argmax(soft_labels, axis=1)" in message
    assert "int64" in message


def test_the_classes_that_the_message_advises_are_accepted(tmp_path):
    one_hot = np.eye(10, dtype=np.float32)[images_and_labels()[1]]
    write_with(tmp_path, ".npz", {"soft_labels": one_hot}, np.argmax(one_hot, axis=1).astype("int64"))
    np.testing.assert_array_equal(read(tmp_path)[0].labels, images_and_labels()[1])
