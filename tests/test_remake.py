"""Distilled sets as submissions: written the same every time, with their provenance; made again when they are not kept."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from harness import remake, write_submission
from harness.errors import SubmissionError
from harness.reference import make_distilled
from harness.submissions import read_submission
from harness.validation import validate
from harness.work import Machine, load_set

ROOT = Path(__file__).parent.parent
NAME = "digits-ipc2"


@pytest.fixture(params=["committed", "made"])
def checkout(request, tmp_path, monkeypatch) -> Path:
    """A checkout with an RDED set of four stitched digits a piece, whose images are committed, or made again when missing."""
    if request.param == "made":
        monkeypatch.setattr(write_submission, "COMMITTED_BYTES", 1000)
    shutil.copytree(ROOT / "teachers/digits", tmp_path / "teachers/digits")
    make(tmp_path)
    return tmp_path


def make(root: Path):
    return make_distilled(root, "rded", "digits", 2, 2, parameters={"factor": "2", "crops": 3}, device="cpu")


def files(root: Path) -> dict[str, bytes]:
    kept = [path for top in ("submissions", "made") for path in (root / top).rglob("*") if path.is_file()]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in kept}


def test_the_same_arguments_write_the_same_bytes(checkout):
    before = files(checkout)
    shutil.rmtree(checkout / "submissions")
    make(checkout)
    assert files(checkout) == before
    make(checkout)  # over itself
    assert files(checkout) == before


def test_the_submission_says_how_it_was_made_and_what_the_students_must_do(checkout):
    submission = read_submission(checkout / f"submissions/rded/{NAME}.yaml")
    assert submission.images.patch_shuffle == 2
    assert submission.made_by.parameters == {"factor": 2, "images_per_class": 300, "crops": 3}
    assert list(submission.made_by.inputs) == ["teachers/digits/convnet-d3"]
    assert (checkout / f"submissions/rded/{NAME}/draw1.provenance.parquet").is_file()
    image_set, _ = load_set(submission, 1, Machine(checkout))
    assert image_set.patch_shuffle == 2
    assert image_set.images.shape == (20, 3, 8, 8)


def test_images_that_are_not_kept_are_made_again_by_a_run_and_by_a_fetching_validation(checkout):
    submission = read_submission(checkout / f"submissions/rded/{NAME}.yaml")
    first, _ = load_set(submission, 0, Machine(checkout))
    if not submission.sets[0].remade:
        assert not (checkout / "made").exists()
        return
    path = checkout / submission.relative_path
    shutil.rmtree(checkout / "made")
    assert [row["result"] for row in validate([path], checkout, False, True, None).checks] == ["ok"] * 5
    assert not (checkout / "made").exists()
    again, _ = load_set(submission, 0, Machine(checkout))
    assert np.array_equal(again.images, first.images)
    assert [file.name for file in (checkout / f"made/rded/{NAME}").iterdir()] == ["draw0.safetensors"]
    assert (checkout / f"made/rded/{NAME}/draw0.safetensors").stat().st_mode & 0o777 == 0o644  # others may read it
    assert validate([path], checkout, True, True, None).errors == []


@pytest.fixture
def without_images(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(write_submission, "COMMITTED_BYTES", 1000)
    shutil.copytree(ROOT / "teachers/digits", tmp_path / "teachers/digits")
    make(tmp_path)
    shutil.rmtree(tmp_path / "made")
    return tmp_path


def test_other_images_than_the_submission_names_are_not_written(without_images):
    submission = read_submission(without_images / f"submissions/rded/{NAME}.yaml")
    beside = without_images / f"submissions/rded/{NAME}"
    shutil.copy(beside / "draw1.provenance.parquet", beside / "draw0.provenance.parquet")
    with pytest.raises(SubmissionError, match="not those of the submission"):
        remake.remake(submission, 0, without_images, None)
    assert not list((without_images / f"made/rded/{NAME}").iterdir())


def test_a_lost_provenance_names_the_file_to_restore_and_repeats_no_command_of_a_stranger(without_images):
    submission = read_submission(without_images / f"submissions/rded/{NAME}.yaml")
    (without_images / f"submissions/rded/{NAME}/draw0.provenance.parquet").unlink()
    with pytest.raises(SubmissionError) as refusal:
        load_set(submission, 0, Machine(without_images))
    assert "draw0.provenance.parquet is missing" in str(refusal.value)
    assert "hlbench distill" not in str(refusal.value)


@pytest.mark.parametrize("place", ["made/victim/digits-ipc2/draw0.safetensors", "made/draw0.safetensors"])
def test_images_are_made_in_their_own_submissions_place_alone(without_images, place):
    path = without_images / f"submissions/rded/{NAME}.yaml"
    path.write_text(path.read_text().replace(f"made/rded/{NAME}/draw0.safetensors", place))
    with pytest.raises(SubmissionError, match="schema") as refusal:
        read_submission(path)
    assert f"below made/rded/{NAME}/" in str(refusal.value)


def test_images_are_not_made_behind_a_link_that_leads_out_of_the_project(without_images, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.rmtree(without_images / "made", ignore_errors=True)
    (without_images / "made").symlink_to(outside)
    submission = read_submission(without_images / f"submissions/rded/{NAME}.yaml")
    with pytest.raises(SubmissionError, match="outside the project"):
        load_set(submission, 0, Machine(without_images))
    assert not list(outside.rglob("*.safetensors"))


def test_a_set_that_needs_the_split_alone_is_made_again_by_its_method(tmp_path, monkeypatch):
    monkeypatch.setattr(write_submission, "COMMITTED_BYTES", 1000)
    submission = make_distilled(tmp_path, "kmeans-centroids", "digits", 2, 1)
    before = files(tmp_path)
    shutil.rmtree(tmp_path / "made")
    load_set(submission, 0, Machine(tmp_path))
    assert files(tmp_path) == before
