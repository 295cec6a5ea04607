"""Sets that stay encoded (ImageNet-1K): real JPEGs of several sizes, cropped while they are decoded."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from harness.datasets.base import Split
from harness.datasets.decode import eval_view
from harness.errors import UsageError
from harness.imageset import EncodedImages, ImageSet
from harness.protocols import find_protocol
from harness.training import encoded_views
from harness.training.evaluate_set import train_and_evaluate
from harness.training.seeding import generator_for
from harness.training.views import evaluation_views, training_views

ROOT = Path(__file__).parent.parent
IMAGENET = find_protocol(ROOT, "imagenet-1k/resnet18-hl/v1")
SIDE = 64


def small(protocol):
    """The ImageNet protocol at 64 px with two classes, so that a test can train it."""
    dataset = protocol.dataset.model_copy(update={"classes": 2})
    view = protocol.input.model_copy(update={"resolution": SIDE})
    student = protocol.student.model_copy(update={"parameters": 11_689_512 - 998 * 513})
    evaluation = protocol.evaluation.model_copy(update={"resize_short_side": 72, "center_crop": SIDE})
    training = protocol.training.model_copy(update={"epochs": {1: 2}})
    update = {"dataset": dataset, "input": view, "student": student, "evaluation": evaluation, "training": training}
    return protocol.model_copy(update=update)


@pytest.fixture(scope="module")
def photographs() -> EncodedImages:
    """Twelve JPEGs of differing sizes cut from scikit-learn's two photographs; class = photograph."""
    encoded = []
    for position in range(12):
        photograph = load_sample_images().images[position % 2]
        cut = photograph[position * 20 : position * 20 + 90 + 7 * position, 30 : 30 + 120 + 5 * position]
        buffer = io.BytesIO()
        Image.fromarray(cut).save(buffer, format="JPEG", quality=90)
        encoded.append(buffer.getvalue())
    return EncodedImages(len(encoded), encoded.__getitem__)


@pytest.fixture
def image_set(photographs) -> ImageSet:
    return ImageSet(photographs, np.arange(12, dtype=np.int64) % 2)


@pytest.fixture
def test_split(photographs) -> Split:
    return Split("imagenet-1k", "test", photographs, np.arange(12, dtype=np.int64) % 2, "0" * 64)


def epoch(image_set: ImageSet, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    views = training_views(image_set, small(IMAGENET), "cpu")
    order = torch.randperm(12, generator=generator_for(seed, "order"))
    images, labels = zip(*views.epoch(order, 5, generator_for(seed, "augmentation")), strict=True)
    return torch.cat(images), torch.cat(labels)


def test_every_image_is_seen_once_with_its_own_label_and_crop(image_set):
    images, labels = epoch(image_set)
    assert images.shape == (12, 3, SIDE, SIDE)
    assert labels.sum() == 6
    assert len({float(image.sum()) for image in images}) == 12
    # The two photographs differ in colour (a temple, a flower among green leaves): labels travel with their images.
    redness = (images[:, 0] - images[:, 1]).mean(dim=(1, 2))
    assert redness[labels == 1].max() < redness[labels == 0].min()


def test_the_number_of_decoding_threads_changes_nothing(image_set, monkeypatch):
    several = epoch(image_set)
    monkeypatch.setattr(encoded_views, "_workers", lambda: 1)
    assert all(torch.equal(a, b) for a, b in zip(several, epoch(image_set), strict=True))
    assert not torch.equal(several[0], epoch(image_set, seed=1)[0])


def test_stitched_sets_are_shuffled_before_the_crop(photographs):
    plain = ImageSet(photographs, np.arange(12, dtype=np.int64) % 2)
    stitched = ImageSet(photographs, plain.labels, patch_shuffle=2)
    assert not torch.equal(epoch(plain)[0], epoch(stitched)[0])


def test_the_test_split_is_resized_and_centre_cropped_as_the_protocol_says(test_split):
    images, labels = next(iter(evaluation_views(test_split, small(IMAGENET), "cpu")))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET.input.mean, IMAGENET.input.std))
    expected = (torch.from_numpy(eval_view(test_split.images.read(4), 72, SIDE)).float() / 255 - mean) / std
    assert torch.allclose(images[4], expected, atol=1e-6)
    assert labels.tolist() == test_split.labels.tolist()


def test_the_label_view_of_encoded_images_is_the_evaluation_view(image_set, test_split):
    """SL's teacher sees a real large image as the student's test images are seen: resized, centre-cropped, not augmented."""
    real = replace(image_set, source_rows=np.arange(len(image_set)))
    for_labels, for_testing = (next(iter(evaluation_views(data, small(IMAGENET), "cpu"))) for data in (real, test_split))
    assert torch.equal(for_labels[0], for_testing[0])


def test_the_label_view_of_a_synthetic_image_is_the_image_itself_encoded_or_not(photographs):
    """methods A.7; whether a set stays encoded depends on its size alone, so its labels must not."""
    side = small(IMAGENET).input.resolution + 40
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(photographs.read(row))).resize((side, side))) for row in range(3)])
    files = [io.BytesIO() for _ in pixels]
    for file, image in zip(files, pixels, strict=True):
        Image.fromarray(image).save(file, format="PNG")
    labels = np.arange(3, dtype=np.int64)
    encoded = ImageSet(EncodedImages(3, lambda row: files[row].getvalue()), labels)
    decoded = ImageSet(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)), labels)
    seen, expected = (next(iter(evaluation_views(data, small(IMAGENET), "cpu")))[0] for data in (encoded, decoded))
    assert torch.equal(seen, expected)


def test_a_student_trains_and_is_measured_on_encoded_images(image_set, test_split):
    outcome = train_and_evaluate(small(IMAGENET), 6, image_set, test_split, 0, "cpu")
    again = train_and_evaluate(small(IMAGENET), 6, image_set, test_split, 0, "cpu")
    assert outcome.result.images_seen == 24
    assert outcome.result == again.result


def test_a_protocol_that_does_not_crop_refuses_encoded_images(image_set):
    with pytest.raises(UsageError, match="need a protocol that crops"):
        training_views(image_set, find_protocol(ROOT, "tiny-imagenet/resnet18-hl/v1"), "cpu")
