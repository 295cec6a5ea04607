"""Rules of `harness/intake` for arrays and columns that nobody reads: what they hold or claim costs nothing and never runs."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from intake_sets import (
    IMAGE_TYPE,
    SOFT,
    images_and_labels,
    little_memory,
    npy_header,
    plain_sha256,
    pngs,
    read,
    refusal,
    submission,
    write_parquet,
    write_tensors,
    write_with,
)

# Parquet columns that nobody reads


def test_a_column_named_as_if_it_lay_in_the_label_column_is_not_taken_for_it(tmp_path):
    labels = images_and_labels()[1]
    images = pa.array([{"bytes": each, "path": None} for each in pngs()], IMAGE_TYPE)
    pq.write_table(pa.table({"label.own": labels[::-1].copy(), "image": images, "label": labels}), tmp_path / "set.parquet")
    image_set, facts = read(tmp_path)
    assert image_set.sha256 == plain_sha256()
    assert facts["labels_not_used"].startswith("label.own int64 [20]:")


def test_a_column_named_as_if_it_lay_in_the_image_column_is_refused(tmp_path):
    """pyarrow selects by path, and both columns have the path image.bytes."""
    images = pa.array([{"bytes": each, "path": None} for each in pngs()], IMAGE_TYPE)
    labels = images_and_labels()[1]
    pq.write_table(pa.table({"image.bytes": pngs()[::-1], "image": images, "label": labels}), tmp_path / "set.parquet")
    refusal(tmp_path, "column names overlap")


UNREAD = {
    "nested list": pa.array([[[1.0] * 5] * 50] * 20),
    "struct": pa.array([{"a": "x" * 100, "b": list(range(50))}] * 20),
    "map": pa.array([[("a", number)] for number in range(20)], pa.map_(pa.string(), pa.int64())),
    "dictionary": pa.array([f"{number}" * 50 for number in range(20)]).dictionary_encode(),
    "lists of floats": pa.array(SOFT.tolist()),
}


@pytest.mark.parametrize("column", UNREAD.values(), ids=UNREAD)
def test_pages_of_a_parquet_column_that_nobody_reads_are_never_decoded(tmp_path, column):
    """Its pages, headers included, are overwritten: whoever decoded them would fail."""
    path = tmp_path / "set.parquet"
    write_parquet(path, pngs())
    pq.write_table(pq.read_table(path).append_column("soft_label", column), path, compression="none")
    group = pq.read_metadata(path).row_group(0)
    contents = bytearray(path.read_bytes())
    for chunk in (group.column(number) for number in range(group.num_columns)):
        if chunk.path_in_schema.startswith("soft_label"):
            start = chunk.dictionary_page_offset or chunk.data_page_offset
            contents[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    path.write_bytes(contents)
    with pytest.raises(OSError):
        pq.read_table(path, columns=["soft_label"])
    image_set, facts = read(tmp_path)
    assert image_set.sha256 == plain_sha256()
    assert facts["labels_not_used"].startswith("soft_label ")


def test_a_parquet_bomb_in_a_column_that_nobody_reads_costs_nothing(tmp_path):
    """1,000 rows share one value of 8 MB: 8 GB unpacked."""
    bomb = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1000, np.int32)), pa.array([b"\0" * (8 << 20)]))
    table = pa.table({"image": pngs() * 50, "label": np.tile(images_and_labels()[1], 50), "soft_label": bomb})
    pq.write_table(table, tmp_path / "set.parquet", store_schema=False, dictionary_pagesize_limit=64 << 20)
    with little_memory():
        assert len(read(tmp_path, submission(ipc=100))[0]) == 1000


# Arrays that nobody reads


def _npz(path: Path, **members: bytes) -> None:
    images, labels = images_and_labels()
    np.savez(path, images=images, labels=labels)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, contents in members.items():
            archive.writestr(f"{name}.npy", contents)


@pytest.mark.parametrize("shape", [(10**12,), (20, 5 * 10**10), (-20, 10)])
def test_an_npz_array_that_claims_what_is_not_there_is_refused_though_nobody_reads_it(tmp_path, shape):
    _npz(tmp_path / "set.npz", soft_labels=npy_header("<f4", shape) + b"\0" * 800)
    with little_memory():
        assert "soft_labels" in refusal(tmp_path, "array header and size differ")


def test_a_safetensors_tensor_that_claims_what_is_not_there_is_refused_though_nobody_reads_it(tmp_path):
    images, labels = images_and_labels()
    body = images.tobytes() + labels.tobytes()
    header = {
        "images": {"dtype": "U8", "shape": list(images.shape), "data_offsets": [0, images.nbytes]},
        "labels": {"dtype": "I64", "shape": [20], "data_offsets": [images.nbytes, len(body)]},
        "soft_labels": {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [len(body), len(body) + 4 * 10**12]},
    }
    encoded = json.dumps(header).encode()
    (tmp_path / "set.safetensors").write_bytes(struct.pack("<Q", len(encoded)) + encoded + body)
    with little_memory():
        refusal(tmp_path, "not a readable safetensors file")


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_an_empty_array_may_claim_any_other_dimension(tmp_path, suffix):
    write_with(tmp_path, suffix, {"soft_labels": np.empty((0, 10**9), np.float32)})
    with little_memory():
        image_set, facts = read(tmp_path)
    assert image_set.sha256 == plain_sha256()
    assert "[0, 1000000000]" in facts["labels_not_used"]


def test_an_npz_array_that_nobody_reads_is_not_unpacked(tmp_path):
    """Its checksum is wrong, so whoever read it to its end would fail. (Small arrays end with their header: damage is met.)"""
    soft = io.BytesIO()
    np.save(soft, np.random.default_rng(0).normal(size=(20, 10_000)))
    _npz(tmp_path / "set.npz", soft_labels=soft.getvalue())
    with zipfile.ZipFile(tmp_path / "set.npz") as archive:
        checksum = struct.pack("<L", archive.getinfo("soft_labels.npy").CRC)
    contents = (tmp_path / "set.npz").read_bytes()
    (tmp_path / "set.npz").write_bytes(contents.replace(checksum, b"\1\2\3\4"))
    with np.load(tmp_path / "set.npz", allow_pickle=False) as opened, pytest.raises(zipfile.BadZipFile):
        opened["soft_labels"]
    image_set, facts = read(tmp_path)
    assert image_set.sha256 == plain_sha256()
    assert facts["labels_not_used"].startswith("soft_labels float64 [20, 10000]:")


def test_an_npz_header_of_megabytes_is_not_read(tmp_path):
    """numpy itself reads as much as the header says it is long, and only then finds that too long."""
    length = 64 << 20
    _npz(tmp_path / "set.npz", soft_labels=b"\x93NUMPY\x02\x00" + struct.pack("<L", length) + b" " * length)
    tracemalloc.start()
    refusal(tmp_path, "not a readable npz file")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20


class _Bomb:
    """Unpickling this writes a file, so a test can see whether somebody did."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return (open, (str(self.target), "w"))


@pytest.mark.parametrize("beside", [False, True])
def test_an_object_array_that_nobody_reads_is_refused_and_never_unpickled(tmp_path, beside):
    (tmp_path / "set").mkdir()
    bomb = np.array([_Bomb(tmp_path / "ran")], dtype=object)
    if beside:
        write_with(tmp_path / "set", "", {})
        np.save(tmp_path / "set" / "soft_labels.npy", bomb, allow_pickle=True)
    else:
        write_with(tmp_path / "set", ".npz", {"soft_labels": bomb})
    message = refusal(tmp_path / "set", "pickled files are never opened")
    assert "soft_labels" in message
    assert not (tmp_path / "ran").exists()


def test_a_zip_directory_of_megabytes_is_refused_unread(tmp_path):
    path = tmp_path / "set.npz"
    write_tensors(path)
    with zipfile.ZipFile(path, "a") as archive:
        for number in range(20):
            member = zipfile.ZipInfo(f"{number}.npy")
            member.comment = b"x" * 60_000
            archive.writestr(member, b"")
    assert "directory of names claims" in refusal(tmp_path, "not a readable zip file")


def test_names_and_numbers_of_arrays_cannot_flood_or_steer_the_audit(tmp_path):
    escape = "soft\x1b[2J" + "x" * 500
    write_with(tmp_path, ".safetensors", {escape: SOFT} | {f"logits{number}": SOFT[:1] for number in range(300)})
    image_set, facts = read(tmp_path)
    assert image_set.sha256 == plain_sha256()
    assert facts["labels_not_used"].isprintable()
    assert "and 293 more: brought along" in facts["labels_not_used"]
    assert len(facts["labels_not_used"]) < 1000
