"""The reference sets: what a selector or a distillation method promises, and that the shipped files are what the code writes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from harness import canonical
from harness.coresets import SELECTORS
from harness.coresets.kmeans_nearest import nearest_unused
from harness.datasets import dataset_spec, load_split
from harness.datasets.base import Split
from harness.distill import DISTILLERS
from harness.errors import UsageError
from harness.hub import fetch_set
from harness.imageset import EncodedImages
from harness.intake import read_set
from harness.reference import make_reference
from harness.submissions import find_submissions, read_submission
from harness.validation import local_content_sha256

ROOT = Path(__file__).parent.parent
SHIPPED = [path for path in find_submissions(ROOT) if path.name.startswith("digits")]


@pytest.fixture(scope="module")
def train() -> Split:
    return load_split("digits", "train")


@pytest.mark.parametrize("name", SELECTORS)
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


@pytest.mark.parametrize("name", DISTILLERS)
def test_a_distilled_set_has_exactly_ipc_images_of_every_class_and_repeats_with_its_draw(train, name):
    images, labels = DISTILLERS[name](train, 3, 0)
    assert images.shape == (30, 3, 8, 8)
    assert images.dtype == np.uint8
    assert np.bincount(labels).tolist() == [3] * 10
    assert np.array_equal(images, DISTILLERS[name](train, 3, 0)[0])


def test_the_centroid_of_one_cluster_is_the_mean_image_of_the_class(train):
    images, _ = DISTILLERS["kmeans-centroids"](train, 1, 0)
    mean = train.images[train.labels == 7].mean(axis=0)
    assert np.abs(images[7] - mean).max() <= 0.5 + 1e-6


def test_a_real_image_is_taken_once_even_when_two_centres_are_nearest_to_it():
    points = np.array([[0.0], [1.0], [5.0]])
    assert nearest_unused(points, np.array([[0.1], [0.2], [0.0]])) == [0, 1, 2]


@pytest.mark.parametrize("select", [*SELECTORS.values(), *DISTILLERS.values()])
def test_an_ipc_larger_than_the_smallest_class_is_refused_with_the_numbers(train, select):
    with pytest.raises(UsageError, match=r"has 8\d training images, fewer than IPC 91"):
        select(train, 91, 0)


def test_pixel_space_methods_refuse_a_dataset_that_stays_encoded():
    encoded = Split("imagenet-1k", "train", EncodedImages(2, lambda row: b""), np.array([0, 1]), "0" * 64)
    with pytest.raises(UsageError, match="decoded images"):
        SELECTORS["kmeans-nearest"](encoded, 1, 0)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_shipped_digits_sets_are_byte_for_byte_what_the_code_writes(path, tmp_path):
    shipped = read_submission(path)
    make_reference(tmp_path, shipped.kind, shipped.method, "digits", shipped.ipc, shipped.draws)
    for file in [path, *sorted(path.with_suffix("").glob("*"))]:
        assert (tmp_path / file.relative_to(ROOT)).read_bytes() == file.read_bytes(), file


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
    first = make_reference(tmp_path, "coreset", "random", "digits", 1, 2)
    assert make_reference(tmp_path, "coreset", "random", "digits", 1, 2) == first
    before = (tmp_path / first.relative_path).read_bytes()
    with pytest.raises(UsageError, match="another submission is there already"):
        make_reference(tmp_path, "coreset", "random", "digits", 1, 3)
    assert (tmp_path / first.relative_path).read_bytes() == before
    assert make_reference(tmp_path, "coreset", "random", "digits", 1, 3, slug="random-3").slug == "random-3"
    shutil.rmtree(tmp_path / "submissions")


@pytest.mark.parametrize("slug", ["../x", "A", "", "a/b"])
def test_a_slug_that_is_no_folder_name_is_refused(tmp_path, slug):
    with pytest.raises(UsageError, match="slug"):
        make_reference(tmp_path, "coreset", "random", "digits", 1, 1, slug=slug)


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
        make_reference(tmp_path, "distilled", "random", "digits", 1, 1)
