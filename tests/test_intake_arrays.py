"""Rules of `harness/intake` for npy, npz and safetensors whose headers, sizes or streams lie."""

from __future__ import annotations

import io
import struct
import zipfile

import numpy as np
import pytest
from intake_sets import (
    CLASSES,
    CORESET,
    IPC,
    images_and_labels,
    little_memory,
    npy_header,
    refusal,
    spec,
    submission,
    write_tensors,
)
from safetensors.numpy import save_file


@pytest.mark.parametrize("shape", [(1 << 40,), (20, 1 << 36), (1 << 62, 1 << 62), (-20,)])
def test_an_npy_header_asking_for_tebibytes_is_refused(tmp_path, shape):
    (tmp_path / "rows.npy").write_bytes(npy_header("<i8", shape) + b"\0" * 160)
    with little_memory():
        refusal(tmp_path, "array header and size differ", CORESET)


def _npz(path, member: bytes, labels: np.ndarray) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", member)
        buffer = io.BytesIO()
        np.save(buffer, labels)
        archive.writestr("labels.npy", buffer.getvalue())


def test_an_npz_bomb_of_the_wrong_shape_is_refused_by_its_header(tmp_path):
    zeros = np.zeros((CLASSES * IPC, 3, 512, 512), np.uint8)
    np.savez_compressed(tmp_path / "set.npz", images=zeros, labels=images_and_labels()[1])
    with little_memory():
        refusal(tmp_path, "images have shape")


def test_an_npz_member_longer_than_its_array_is_refused(tmp_path):
    body = images_and_labels()[0].tobytes() + b"\0" * (8 << 20)
    _npz(tmp_path / "set.npz", npy_header("|u1", (20, 3, 8, 8)) + body, images_and_labels()[1])
    refusal(tmp_path, "array header and size differ")


def test_an_npz_bomb_of_the_declared_shape_is_refused_by_its_ratio(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.intake.limits.IN_MEMORY_BYTES", 1 << 20)
    zeros = np.zeros((CLASSES, 3, 224, 224), np.uint8)
    np.savez_compressed(tmp_path / "set.npz", images=zeros, labels=np.arange(CLASSES))
    refusal(tmp_path, "unpacks to far more", submission(ipc=1, resolution=224), spec(resolution=None))


def test_an_npz_whose_directory_lies_about_sizes_is_refused(tmp_path):
    """The directory says the member is as long as it should be; the stream behind it goes on for 8 MB of zeros."""
    path = tmp_path / "set.npz"
    header = npy_header("|u1", (20, 3, 8, 8))
    _npz(path, header + b"\0" * (8 << 20), images_and_labels()[1])
    longer, right = struct.pack("<L", len(header) + (8 << 20)), struct.pack("<L", len(header) + 20 * 192)
    assert path.read_bytes().count(longer) == 2
    path.write_bytes(path.read_bytes().replace(longer, right))
    with little_memory():
        refusal(tmp_path, "not a readable npz file")


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_npz_compressions_that_numpy_does_not_write_are_refused(tmp_path, method):
    buffer = io.BytesIO()
    np.save(buffer, images_and_labels()[0])
    with zipfile.ZipFile(tmp_path / "set.npz", "w", method) as archive:
        archive.writestr("images.npy", buffer.getvalue())
    refusal(tmp_path, "not an npz as numpy writes it")


def test_an_npz_with_two_arrays_of_one_name_is_refused(tmp_path):
    write_tensors(tmp_path / "set.npz")
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(tmp_path / "set.npz", "a") as archive:
        archive.writestr("labels.npy", archive.read("labels.npy"))
    refusal(tmp_path, "not an npz as numpy writes it")


def test_a_safetensors_header_of_megabytes_is_refused_though_it_is_valid(tmp_path):
    images, labels = images_and_labels()
    save_file({"images": images, "labels": labels}, tmp_path / "set.safetensors", {"note": "x" * (1 << 20)})
    refusal(tmp_path, "safetensors header is too large")


def _safetensors(header: bytes, body: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + body


@pytest.mark.parametrize(
    "contents",
    [
        _safetensors(b"{}", length=1 << 60),
        _safetensors(b'{"images":{"dtype":"U8","shape":[1099511627776],"data_offsets":[0,1099511627776]}}'),
        _safetensors(b'{"images":{"dtype":"U8","shape":[9,9],"data_offsets":[0,4]}}', b"\0" * 4),
        _safetensors(b'{"images":' + b"[" * 5000),
        _safetensors(b"\xff" * 64),
        b"\x01",
    ],
    ids=["header length", "tebibyte", "shape against offsets", "nesting", "not text", "one byte"],
)
def test_malformed_safetensors_are_refused(tmp_path, contents):
    (tmp_path / "set.safetensors").write_bytes(contents)
    with little_memory():
        refusal(tmp_path, "safetensors")


def test_a_file_larger_than_the_declaration_allows_is_refused_before_it_is_opened(tmp_path):
    with (tmp_path / "set.safetensors").open("wb") as file:
        file.truncate(8 << 30)  # sparse
    refusal(tmp_path, "larger than what it declares to hold")
