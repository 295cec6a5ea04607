"""The full-dataset row: the whole training split for as many images and steps as a set of its IPC; a yardstick, not a set."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from harness.datasets import load_split
from harness.errors import SubmissionError, UsageError
from harness.imageset import ImageSet
from harness.plan import plan_units
from harness.protocols import find_protocol
from harness.submissions import FULL_DATASET, read_submission
from harness.teachers import find_teacher
from harness.training.evaluate_set import train_and_evaluate
from harness.training.trainer import epoch_orders
from harness.validation import validate
from harness.work import Machine, load_set

ROOT = Path(__file__).parent.parent
SHIPPED = ROOT / "submissions" / FULL_DATASET / "digits-ipc1.yaml"


def written(folder: Path, slug: str = FULL_DATASET, **changes) -> Path:
    """The shipped full-dataset submission with other keys; a key changed to None is left out."""
    keys = {key: value for key, value in {**yaml.safe_load(SHIPPED.read_text()), **changes}.items() if value is not None}
    path = folder / "submissions" / slug / "digits-ipc1.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(keys))
    return path


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


@pytest.mark.parametrize(("count", "per_epoch"), [(10, 3), (10, 10), (4, 9), (7, 1)])
def test_no_row_comes_again_before_all_the_others_came(count, per_epoch):
    epochs = list(itertools.islice(epoch_orders(count, per_epoch, generator()), 8))
    assert {len(rows) for rows in epochs} == {per_epoch}
    stream = torch.cat(epochs)
    for start in range(0, len(stream) - count + 1, count):
        assert sorted(stream[start : start + count].tolist()) == list(range(count))


def test_a_set_that_is_seen_whole_is_shuffled_anew_every_epoch_as_before_there_was_a_full_dataset():
    drawn = generator()
    expected = [torch.randperm(20, generator=drawn) for _ in range(3)]
    assert all(map(torch.equal, expected, epoch_orders(20, 20, generator())))


@pytest.mark.parametrize("regime", ["hl", "sl", "sl-kd"])
def test_the_full_dataset_is_seen_for_the_images_and_steps_of_a_set_of_its_ipc(regime):
    protocol = find_protocol(ROOT, f"digits/resnet18-{regime}/v1")
    short = protocol.model_copy(update={"training": protocol.training.model_copy(update={"epochs": {1: 2}})})
    train, test = load_split("digits", "train"), load_split("digits", "test")
    few = replace(test, images=test.images[:50], labels=test.labels[:50])
    rows = np.concatenate([np.flatnonzero(train.labels == label)[:1] for label in range(10)])
    sets = ImageSet(train.images[rows], train.labels[rows]), ImageSet(train.images, train.labels)
    teacher = find_teacher(ROOT, protocol)
    small, full = (train_and_evaluate(short, 1, images, few, 0, "cpu", None, teacher).result for images in sets)
    assert (small.images_seen, small.steps, small.epochs) == (full.images_seen, full.steps, full.epochs) == (20, 2, 2)
    assert small.train_loss != full.train_loss


def test_a_set_of_another_size_is_neither_a_set_of_the_ipc_nor_the_full_dataset():
    train, test = load_split("digits", "train"), load_split("digits", "test")
    with pytest.raises(UsageError, match="do not fit"):
        train_and_evaluate(
            find_protocol(ROOT, "digits/resnet18-hl/v1"), 1, ImageSet(train.images[:50], train.labels[:50]), test, 0, "cpu"
        )


def test_the_full_dataset_is_one_draw_of_the_training_split_itself():
    submission = read_submission(SHIPPED)
    train = load_split("digits", "train")
    image_set, _ = load_set(submission, 0, Machine(ROOT, device="cpu"))
    assert submission.draws == 1
    assert image_set.sha256 == ImageSet(train.images, train.labels).sha256
    units = plan_units(ROOT, [SHIPPED], None, "all", None, ROOT / "runs" / "none")
    assert {unit.draw for unit in units} == {0}
    assert all(unit.source is None for unit in units)


def test_another_training_split_than_the_files_is_refused(tmp_path):
    submission = read_submission(written(tmp_path, split_fingerprint="0" * 64))
    with pytest.raises(SubmissionError, match="another than the submission names") as caught:
        load_set(submission, 0, Machine(ROOT, device="cpu"))
    assert "split_fingerprint" in caught.value.where


def test_validation_compares_the_training_split_when_it_is_fetched(tmp_path):
    findings = validate([SHIPPED], ROOT, fetch=True, offline=True, data=None)
    assert not findings.errors
    assert "training split" in [check["check"] for check in findings.checks]
    foreign = written(tmp_path, split_fingerprint="0" * 64)
    (error,) = validate([foreign], tmp_path, fetch=True, offline=True, data=None).errors
    assert "another than the submission names" in error.what


@pytest.mark.parametrize(
    ("slug", "changes", "reason"),
    [
        ("my-method", {}, "yardstick"),
        (FULL_DATASET, {"method": "random"}, "yardstick"),
        (FULL_DATASET, {"split_fingerprint": None}, "split_fingerprint"),
        (FULL_DATASET, {"sets": [{"path": "a", "content_sha256": "0" * 64}]}, "neither sets nor images"),
        (FULL_DATASET, {"kind": "coreset"}, "name at least one"),
        ("my-method", {"kind": "distilled", "split_fingerprint": None}, "name at least one"),
    ],
)
def test_only_the_projects_own_yardstick_is_the_full_dataset_and_only_it_has_no_sets(tmp_path, slug, changes, reason):
    with pytest.raises(SubmissionError, match=reason):
        read_submission(written(tmp_path, slug, **changes))
