"""Rules of `harness/intake/refuse.py`: pickles and archives are refused under any name, and no pickle is ever run."""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
from intake_sets import CORESET, images_and_labels, pngs, read, refusal, submission
from safetensors.numpy import save


class Bomb:
    """Unpickling this writes a file, so a test can see whether somebody did."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (open, (str(self.target), "w"))


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", ["set.npz", "rows.npy", "set.safetensors", "set.parquet", "rows.json", "0/0.png"])
def test_a_pickle_under_any_name_is_refused_and_never_run(tmp_path, name, protocol):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(Bomb(tmp_path / "ran"), protocol=protocol))
    of = CORESET if name.startswith("rows") else submission()
    if protocol >= 2:
        assert "save_file" in refusal(tmp_path, "pickled files are never opened", of)
    else:
        refusal(tmp_path, "not a readable|header is too large|1 images instead of 20", of)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".pkl", ".PT", ".bin"])
def test_pickle_names_are_refused_with_lines_that_convert_them(tmp_path, suffix):
    (tmp_path / f"set{suffix}").write_bytes(b"anything")
    assert "safetensors.torch import save_file" in refusal(tmp_path, "pickled files are never opened")


@pytest.mark.parametrize("name", ["set.npz", "set.safetensors", "set.png"])
def test_a_torch_file_renamed_to_an_accepted_name_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb(tmp_path / "ran")))
        archive.writestr("archive/data/0", b"\0" * 64)
    assert "as torch writes it" in refusal(tmp_path, "pickled files are never opened")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["set.npz", "rows.npy"])
def test_object_arrays_are_refused_and_never_unpickled(tmp_path, name):
    objects = np.array([Bomb(tmp_path / "ran")], dtype=object)
    path = tmp_path / name
    np.savez(path, images=objects, labels=objects) if name.endswith("npz") else np.save(path, objects, allow_pickle=True)
    assert "object arrays as pickles" in refusal(tmp_path, "pickled files", CORESET if name == "rows.npy" else submission())
    assert not (tmp_path / "ran").exists()


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("0/0.png", pngs()[0])
    return buffer.getvalue()


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("0/0.png"))
    return buffer.getvalue()


@pytest.mark.parametrize("contents", [_zip(), _tar(), b"\x1f\x8b\x08" + b"0" * 20], ids=["zip", "tar", "gzip"])
@pytest.mark.parametrize("name", ["set.parquet", "set.zip"])
def test_archives_are_refused_whatever_they_are_named(tmp_path, contents, name):
    (tmp_path / name).write_bytes(contents)
    refusal(tmp_path, "archives are never opened")


def test_a_safetensors_header_length_that_looks_like_pickle_magic_is_read(tmp_path):
    """640 = 0x0280: the file begins with 80 02, as a pickle of protocol 2 does."""
    images, labels = images_and_labels()
    metadata = {"note": ""}
    while int.from_bytes((contents := save({"images": images, "labels": labels}, metadata))[:8], "little") < 640:
        metadata["note"] += "x"
    (tmp_path / "set.safetensors").write_bytes(contents)
    assert contents[:2] == b"\x80\x02"
    np.testing.assert_array_equal(read(tmp_path)[0].images, images)
