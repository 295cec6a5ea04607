"""DSA as methods C states it; crop, flip and PatchShuffle as torchvision and RDED do them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms.v2.functional import resized_crop

from harness.protocols import read_protocol
from harness.training import dsa
from harness.training.crop_flip import (
    crop_and_flip,
    crop_scale,
    patch_shuffle,
    resize_weights,
    sample_boxes,
    shuffled_strips,
)

ROOT = Path(__file__).parent.parent
SETTINGS = read_protocol(ROOT / "protocols/tiny-imagenet/convnet-d4-hl/v1.yaml").augmentation
CROPS = read_protocol(ROOT / "protocols/imagenet-1k/resnet18-hl/v1.yaml").augmentation


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> torch.Tensor:
    """Sixteen real digits as normalised RGB, [16, 3, 32, 32]."""
    grey = torch.tensor(load_digits().images[:16] / 16 - 0.3, dtype=torch.float32)
    return F.interpolate(grey[:, None].expand(-1, 3, -1, -1), size=32, mode="bilinear") * torch.tensor([1.0, 0.8, 1.2]).view(
        1, 3, 1, 1
    )


def test_one_operation_is_drawn_for_the_whole_batch_and_all_six_occur(images, monkeypatch):
    seen = []
    for name in SETTINGS.strategy:
        monkeypatch.setattr(dsa, name, lambda batch, settings, rng, name=name: seen.append((name, len(batch))) or batch)
    rng = generator()
    for _ in range(120):
        dsa.augment_dsa(images, SETTINGS, rng)
    assert {name for name, _ in seen} == set(SETTINGS.strategy)
    assert all(count == 16 for _, count in seen)
    assert all(8 <= sum(name == op for name, _ in seen) <= 36 for op in SETTINGS.strategy)


@pytest.mark.parametrize("name", SETTINGS.strategy)
def test_every_operation_keeps_shape_gives_each_image_its_own_parameter_and_repeats_with_its_seed(images, name):
    same = images[:1].expand(16, -1, -1, -1).contiguous()
    operation = getattr(dsa, name)
    out = operation(same, SETTINGS, generator(3))
    assert out.shape == same.shape
    assert out.dtype == same.dtype
    assert len({round(float(image.double().sum()), 3) for image in out * torch.arange(32)}) > 1
    assert torch.equal(out, operation(same, SETTINGS, generator(3)))


def test_color_is_brightness_then_saturation_then_contrast(images):
    rng = generator(5)
    bright, saturated, contrasted = (torch.rand((16, 1, 1, 1), generator=rng) for _ in range(3))
    expected = images + (bright - 0.5) * 1.0
    grey = expected.mean(dim=1, keepdim=True)
    expected = (expected - grey) * (saturated * 2.0) + grey
    mean = expected.mean(dim=(1, 2, 3), keepdim=True)
    expected = (expected - mean) * (contrasted + 0.5) + mean
    assert torch.allclose(dsa.color(images, SETTINGS, generator(5)), expected)


def test_crop_is_a_whole_pixel_shift_by_at_most_an_eighth_with_zeros_moving_in(images):
    out = dsa.crop(images, SETTINGS, generator(1))
    padded = F.pad(images, (4, 4, 4, 4))
    shifts = []
    for image, moved in zip(padded, out, strict=True):
        matches = [(y, x) for y in range(9) for x in range(9) if torch.equal(image[:, y : y + 32, x : x + 32], moved)]
        assert matches
        shifts += matches[:1]
    assert len(set(shifts)) > 4


def test_cutout_zeroes_a_square_of_half_the_side_clipped_at_the_border():
    hidden = dsa.cutout(torch.ones(400, 3, 64, 64), SETTINGS, generator(2)) == 0
    assert (hidden[:, 0] == hidden[:, 2]).all()
    heights, widths = hidden[:, 0].any(dim=2).sum(dim=1), hidden[:, 0].any(dim=1).sum(dim=1)
    assert heights.max() == widths.max() == 32
    assert heights.min() >= 16
    assert (hidden[:, 0].sum(dim=(1, 2)) == heights * widths).all()


def test_cutout_centre_runs_over_the_whole_side_both_ends_included():
    spans = dsa._cut_span(8, 0.5, 2000, generator(0), torch.device("cpu"))
    starts_and_ends = {(int(np.flatnonzero(row)[0]), int(np.flatnonzero(row)[-1])) for row in spans.numpy()}
    assert starts_and_ends == {(max(centre - 2, 0), min(centre + 1, 7)) for centre in range(9)}


def test_flip_mirrors_about_half_of_the_images():
    images = torch.arange(8.0).expand(1000, 3, 8, 8)
    mirrored = dsa.flip(images, SETTINGS, generator())[:, 0, 0, 0] == 7
    assert 400 < mirrored.sum() < 600


def test_scale_and_rotate_are_affine_warps_with_zeros_outside(images):
    rng = generator(7)
    factors = torch.rand((2, 16), generator=rng) * (1.2 - 1 / 1.2) + 1 / 1.2
    theta = torch.zeros(16, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = factors
    grid = F.affine_grid(theta, list(images.shape), align_corners=True)
    assert torch.allclose(dsa.scale(images, SETTINGS, generator(7)), F.grid_sample(images, grid, align_corners=True), atol=1e-6)
    angle = (torch.rand(16, generator=generator(7)) - 0.5) * 2 * 15 / 180 * math.pi
    theta = torch.zeros(16, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = angle.cos(), -angle.sin()
    theta[:, 1, 0], theta[:, 1, 1] = angle.sin(), angle.cos()
    grid = F.affine_grid(theta, list(images.shape), align_corners=True)
    assert torch.allclose(dsa.rotate(images, SETTINGS, generator(7)), F.grid_sample(images, grid, align_corners=True), atol=1e-6)


@pytest.mark.parametrize(("box", "size"), [((3, 5, 20, 11), 16), ((0, 0, 32, 32), 8), ((10, 2, 4, 9), 24)])
def test_batched_crop_equals_torchvisions_antialiased_resized_crop(images, box, size):
    expected = resized_crop(images, *box, [size, size], InterpolationMode.BILINEAR, antialias=True)
    boxes = torch.tensor(box).expand(16, 4)
    flipped = torch.arange(16) % 2 == 1
    out = crop_and_flip(images, boxes, flipped, size)
    assert torch.allclose(out[0::2], expected[0::2], atol=1e-5)
    assert torch.allclose(out[1::2], expected[1::2].flip(3), atol=1e-5)


def test_resize_weights_sum_to_one_and_stay_inside_the_box():
    weights = resize_weights(torch.tensor([4]), torch.tensor([9]), 20, 7)[0]
    assert torch.allclose(weights.sum(dim=1), torch.ones(7))
    assert (weights[:, :4] == 0).all()
    assert (weights[:, 13:] == 0).all()


def test_boxes_follow_the_distribution_of_torchvisions_random_resized_crop():
    count = 4000
    boxes = sample_boxes(torch.full((count,), 60), torch.full((count,), 80), CROPS.scale, CROPS.ratio, generator(1)).double()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        reference = [
            RandomResizedCrop.get_params(torch.zeros(3, 60, 80), list(CROPS.scale), list(CROPS.ratio)) for _ in range(count)
        ]
    reference = torch.tensor(reference).double()
    assert torch.allclose(boxes.mean(dim=0), reference.mean(dim=0), atol=1.2)
    assert torch.allclose(boxes.std(dim=0), reference.std(dim=0), atol=1.0)
    assert (boxes[:, 0] + boxes[:, 2]).max() <= 60
    assert (boxes[:, 1] + boxes[:, 3]).max() <= 80


def test_a_box_that_never_fits_falls_back_to_the_largest_central_one():
    box = sample_boxes(torch.tensor([10]), torch.tensor([1000]), (1.0, 1.0), (3 / 4, 4 / 3), generator())
    assert box.tolist() == [[0, 493, 10, 13]]


def test_stitched_sets_are_cropped_from_one_over_their_factor():
    assert crop_scale(CROPS, 1) == CROPS.scale == (0.08, 1.0)
    assert crop_scale(CROPS, 2) == (0.5, 1.0)


def test_patch_shuffle_permutes_columns_then_rows_independently_for_every_image():
    image = torch.tensor([[0.0, 1.0], [2.0, 3.0]]).repeat_interleave(4, 0).repeat_interleave(4, 1).expand(400, 3, 8, 8)
    out = patch_shuffle(image, 2, generator())
    arrangements = {tuple(quadrants) for quadrants in out[:, 0, ::4, ::4].reshape(400, 4).int().tolist()}
    # Rows and columns swap whole: four of the 24 arrangements of the quadrants occur (methods A.6).
    assert arrangements == {(0, 1, 2, 3), (1, 0, 3, 2), (2, 3, 0, 1), (3, 2, 1, 0)}


def test_the_last_strip_takes_the_remainder():
    orders = {tuple(row) for row in shuffled_strips(200, 7, 3, generator()).tolist()}
    strips = ((0, 1), (2, 3), (4, 5, 6))
    assert orders <= {
        sum((strips[i] for i in order), ()) for order in [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    }
    assert len(orders) == 6


def test_factor_one_leaves_images_and_the_generator_alone(images):
    rng = generator()
    before = rng.get_state()
    assert patch_shuffle(images, 1, rng) is images
    assert torch.equal(before, rng.get_state())
