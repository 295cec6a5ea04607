"""The cache of real splits: built once, never trusted blindly, and never different from the files it was made of."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from small_parquet import SMALL, VARIED, digit_rows, varied_rows, write_shards

from harness import datasets
from harness.datasets import decoded, load_parquet_split
from harness.errors import EnvironmentProblem
from harness.imageset import EncodedImages


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HLBENCH_DATA", raising=False)
    return tmp_path / "cache" / "datasets"


def only_folder(home: Path) -> Path:
    (folder,) = [path for path in home.iterdir() if path.is_dir()]
    return folder


def flip_byte(path: Path, at: int) -> None:
    contents = bytearray(path.read_bytes())
    contents[at] ^= 0xFF
    path.write_bytes(contents)


def forbid_building(monkeypatch) -> None:
    monkeypatch.setattr("harness.datasets.cached_split.build_decoded", lambda *_: pytest.fail("decoded again"))


def test_the_second_load_decodes_nothing_and_gives_the_same(tmp_path, monkeypatch):
    folder = write_shards(tmp_path / "d", digit_rows())
    first = load_parquet_split(SMALL, "train", folder)
    forbid_building(monkeypatch)
    second = load_parquet_split(SMALL, "train", folder)
    np.testing.assert_array_equal(first.images, second.images)
    assert first.fingerprint == second.fingerprint


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "digests.npy", "meta.json"])
@pytest.mark.parametrize("damage", ["one byte", "cut short", "gone"])
def test_a_damaged_cache_is_rebuilt(name, damage, tmp_path, cache):
    folder = write_shards(tmp_path / "d", digit_rows())
    first = load_parquet_split(SMALL, "train", folder)
    pixels, victim = np.array(first.images), only_folder(cache / "small") / name
    if damage == "one byte":
        flip_byte(victim, victim.stat().st_size // 2)
    elif damage == "cut short":
        victim.write_bytes(victim.read_bytes()[:-1] if name != "meta.json" else b"{")
    else:
        victim.unlink()
    again = load_parquet_split(SMALL, "train", folder)
    np.testing.assert_array_equal(again.images, pixels)
    assert (again.fingerprint, again.labels.tolist()) == (first.fingerprint, first.labels.tolist())


def test_changed_source_files_are_not_served_from_the_old_cache(tmp_path):
    rows = digit_rows()
    before = load_parquet_split(SMALL, "train", write_shards(tmp_path / "d", rows))
    shard = next((tmp_path / "d" / "data").iterdir())
    stamp = shard.stat().st_mtime_ns
    write_shards(tmp_path / "d", rows[::-1])
    os.utime(shard, ns=(stamp + 1, stamp + 1))
    assert load_parquet_split(SMALL, "train", tmp_path / "d").labels.tolist() == before.labels.tolist()[::-1]


def test_another_decoder_version_decodes_anew(tmp_path, monkeypatch, cache):
    folder = write_shards(tmp_path / "d", digit_rows())
    before = load_parquet_split(SMALL, "train", folder)
    monkeypatch.setattr("PIL.__version__", "0.0")
    assert load_parquet_split(SMALL, "train", folder).fingerprint == before.fingerprint
    assert len([path for path in (cache / "small").iterdir() if path.is_dir()]) == 2


def test_an_interrupted_or_killed_build_leaves_nothing_that_is_taken_for_valid(tmp_path, monkeypatch, cache):
    folder = write_shards(tmp_path / "d", digit_rows())
    with monkeypatch.context() as patch:
        patch.setattr(decoded, "decode_rgb", lambda _: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            load_parquet_split(SMALL, "train", folder)
    (lock,) = (cache / "small").iterdir()
    killed = cache / "small" / f".{lock.stem}.unfinished"
    killed.mkdir()
    (killed / "images.npy").write_bytes(b"half")
    assert len(load_parquet_split(SMALL, "train", folder)) == 40
    assert not killed.exists()


def test_two_processes_at_once_build_once_and_agree(tmp_path, cache):
    """The first to build waits inside its build until the other has started, so they do meet."""
    write_shards(tmp_path / "d", digit_rows())
    script = tmp_path / "load.py"
    script.write_text(f"""
import sys, time
from pathlib import Path
sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(datasets.__file__).parents[2])!r}]
from small_parquet import SMALL
from harness.datasets import cached_split, load_parquet_split

here, me, build = Path({str(tmp_path)!r}), sys.argv[1], cached_split.build_decoded

def slow_build(*arguments):
    deadline = time.monotonic() + 30
    while len(list(here.glob("arrived-*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.3)
    (here / f"built-{{me}}").touch()
    build(*arguments)

cached_split.build_decoded = slow_build
(here / f"arrived-{{me}}").touch()
split = load_parquet_split(SMALL, "train", here / "d")
print(split.fingerprint, int(split.images.sum()), split.labels.sum())
""")
    children = [subprocess.Popen([sys.executable, script, str(me)], stdout=subprocess.PIPE, text=True) for me in range(2)]
    answers = [child.communicate(timeout=60)[0] for child in children]
    assert answers[0] == answers[1] != ""
    assert len(list(tmp_path.glob("built-*"))) == 1
    assert only_folder(cache / "small").name.startswith("train-")


def test_a_full_disk_or_an_unwritable_cache_is_said_so(tmp_path, monkeypatch):
    folder = write_shards(tmp_path / "d", digit_rows())
    with monkeypatch.context() as patch:
        patch.setattr("harness.datasets.cache.shutil.disk_usage", lambda _: SimpleNamespace(free=100))
        with pytest.raises(EnvironmentProblem, match="not enough disk space"):
            load_parquet_split(SMALL, "train", folder)
    (tmp_path / "file").touch()
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(EnvironmentProblem, match="cannot write the dataset cache"):
        load_parquet_split(SMALL, "train", folder)


# --- datasets that stay encoded


def test_encoded_images_are_read_back_byte_for_byte_in_any_order_and_from_threads(tmp_path):
    rows = varied_rows()
    split = load_parquet_split(VARIED, "train", write_shards(tmp_path / "d", rows, cuts=(3,), row_group=2))
    assert isinstance(split.images, EncodedImages)
    wrong = []

    def read_all(order):
        wrong.extend(row for row in order if split.images.read(row) != rows[row][0])

    threads = [threading.Thread(target=read_all, args=(np.random.default_rng(seed).permutation(8),)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    for outside in (-1, 8):
        with pytest.raises(IndexError):
            split.images.read(outside)


def test_an_encoded_split_has_the_fingerprint_it_would_have_decoded(tmp_path):
    folder = write_shards(tmp_path / "d", digit_rows())
    kept = load_parquet_split(replace(SMALL, name="kept", resolution=None), "train", folder)
    assert kept.fingerprint == load_parquet_split(SMALL, "train", folder).fingerprint


def test_a_damaged_encoded_row_is_refused_when_read_and_the_others_are_not(tmp_path, cache):
    rows = varied_rows()
    folder = write_shards(tmp_path / "d", rows)
    load_parquet_split(VARIED, "train", folder)
    flip_byte(only_folder(cache / "varied") / "images.bin", len(rows[0][0]) + 50)
    images = load_parquet_split(VARIED, "train", folder).images
    assert images.read(0) == rows[0][0]
    with pytest.raises(EnvironmentProblem, match="row 1 of the dataset cache is damaged"):
        images.read(1)


def test_a_shortened_file_of_encoded_images_is_rebuilt(tmp_path, cache):
    rows = varied_rows()
    folder = write_shards(tmp_path / "d", rows)
    load_parquet_split(VARIED, "train", folder)
    blob = only_folder(cache / "varied") / "images.bin"
    blob.write_bytes(blob.read_bytes()[:-1])
    assert load_parquet_split(VARIED, "train", folder).images.read(7) == rows[7][0]
