"""The 15 corruptions: deterministic per image, right where it can be worked out by hand, and checked when they come from disk."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from harness.datasets import load_split
from harness.datasets.corrupted import CONDITIONS, KEPT_GB, clean_batches, corrupted_batches, enlarged, is_kept, kept_split
from harness.datasets.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from harness.datasets.corruptions.blur import disk, sources
from harness.datasets.corruptions.digital import affine_between
from harness.datasets.corruptions.sampling import clipped_zoom, motion_blur
from harness.datasets.corruptions.severities import PUBLISHED, parameters
from harness.datasets.corruptions.weather import plasma
from harness.errors import UsageError
from harness.imageset import EncodedImages
from harness.ood_records import CORRUPTION_NAMES

# Published severities that trade one kind of damage for another, so that the mean change of the pixels goes down somewhere.
NOT_MONOTONE = {
    "glass_blur": "more rounds of moving with less smoothing at severities 3 and 4",
    "frost": "from severity 3 on the image itself is dimmed, which undoes part of the brightening",
    "elastic_transform": "from one large affine jolt to many small displacements",
}


@pytest.fixture(scope="module")
def digits():
    """Forty real digits at the 32 px at which they are corrupted."""
    return enlarged(load_split("digits", "test").images[:40])


@pytest.fixture(scope="module")
def test_split():
    split = load_split("digits", "test")
    return replace(split, images=split.images[:30], labels=split.labels[:30])


def change(images: np.ndarray, name: str, severity: int) -> float:
    changed = corrupt(images, np.arange(len(images)), name, severity)
    return np.abs(changed.astype(int) - images).mean()


def constant(value: int, side: int = 64) -> np.ndarray:
    return np.full((1, 3, side, side), value, np.uint8)


def one(images: np.ndarray, name: str, severity: int, row: int = 0) -> np.ndarray:
    return corrupt(images, np.array([row]), name, severity)


def test_the_names_are_those_that_records_hold_and_every_published_side_has_five_severities():
    assert tuple(CORRUPTIONS) == CORRUPTION_NAMES == tuple(PUBLISHED)
    assert len(CORRUPTIONS) == 15
    assert {(side, len(table)) for sides in PUBLISHED.values() for side, table in sides.items()} == {(32, 5), (64, 5), (224, 5)}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_image_looks_the_same_whatever_batch_it_comes_in(name, digits):
    rows = np.arange(40)
    together = corrupt(digits, rows, name, 3)
    backwards = corrupt(digits[::-1], rows[::-1], name, 3)[::-1]
    assert np.array_equal(together, backwards)
    for row in (0, 17, 39):
        assert np.array_equal(together[row], one(digits[row : row + 1], name, 3, row)[0])


@pytest.mark.parametrize("name", ["gaussian_noise", "shot_noise", "impulse_noise", "snow", "frost", "fog", "elastic_transform"])
def test_noise_is_another_for_every_row_and_severity_and_leaves_the_global_generator_alone(name, digits):
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    same = np.repeat(digits[:1], 2, axis=0)
    first, second = corrupt(same, np.array([4, 5]), name, 5)
    assert not np.array_equal(first, second)
    assert np.array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize("side", [32, 64, 96, 224])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_side_keeps_shape_and_dtype_and_is_changed_but_not_erased(name, side):
    coarse = Image.fromarray(np.random.default_rng(3).integers(0, 256, (16, 16, 3), dtype=np.uint8))
    image = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)).transpose(2, 0, 1)[None]
    for severity in SEVERITIES:
        changed = one(image, name, severity)
        assert (changed.shape, changed.dtype) == (image.shape, np.uint8)
        assert not np.array_equal(changed, image)
        assert changed.std() > 0.5


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name not in NOT_MONOTONE])
def test_each_severity_changes_real_digits_at_least_as_much_as_the_one_before(name, digits):
    changes = [change(digits, name, severity) for severity in SEVERITIES]
    assert changes == sorted(changes)
    assert changes[-1] > 1.5 * changes[0]


@pytest.mark.parametrize("name", NOT_MONOTONE)
def test_the_listed_exceptions_are_exceptions(name, digits):
    changes = [change(digits, name, severity) for severity in SEVERITIES]
    assert changes != sorted(changes)


@pytest.mark.parametrize(
    "name", ["defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "contrast", "elastic_transform", "pixelate"]
)
def test_what_only_moves_or_mixes_pixels_leaves_a_constant_image_as_it_is(name):
    for severity in SEVERITIES:
        assert np.array_equal(one(constant(137), name, severity), constant(137))


def test_brightness_raises_the_largest_channel_and_keeps_hue_and_saturation():
    image = constant(0)
    image[:, 0], image[:, 1], image[:, 2] = 102, 51, 0
    brighter = one(image, "brightness", 2)  # 64 px: 0.2 of 255 is 51
    assert [set(brighter[0, channel].ravel().tolist()) for channel in range(3)] == [{153}, {76}, {0}]  # 76.5 rounds to even
    assert np.array_equal(one(constant(0), "brightness", 5), constant(128))  # black has no hue: 0.5 of 255, grey
    assert np.array_equal(one(constant(255), "brightness", 5), constant(255))


def test_contrast_shrinks_the_distance_to_each_channels_mean():
    image = constant(50)
    image[..., 32:] = 150
    image[:, 2] = 80
    flat = one(image, "contrast", 3)  # 64 px: 0.2
    assert (flat[0, 0, 0, 0], flat[0, 0, 0, 63], flat[0, 2, 5, 40]) == (90, 110, 80)


def test_pixelate_averages_the_boxes_of_a_checkerboard():
    board = np.zeros((1, 3, 64, 64), np.uint8)
    board[..., ::2, 1::2] = board[..., 1::2, ::2] = 200
    assert np.array_equal(one(board, "pixelate", 5), constant(100))  # 64 px: half the side, boxes of 2 x 2


def test_gaussian_noise_has_the_published_deviation_and_impulses_the_published_share():
    grey = np.repeat(constant(128), 8, axis=0)
    noisy = corrupt(grey, np.arange(8), "gaussian_noise", 1)  # 64 px: 0.04
    assert noisy.mean() == pytest.approx(128, abs=0.3)
    assert noisy.std() == pytest.approx(0.04 * 255, rel=0.02)
    struck = corrupt(grey, np.arange(8), "impulse_noise", 5)  # 64 px: 0.14
    assert [(struck == value).mean() for value in (0, 255)] == pytest.approx([0.07, 0.07], rel=0.05)
    assert set(np.unique(struck)) == {0, 128, 255}


def test_shot_noise_has_the_spread_of_a_poisson_count():
    noisy = corrupt(np.repeat(constant(102), 8, axis=0), np.arange(8), "shot_noise", 3)  # 64 px: 50 photons at 255, so 20 here
    assert noisy.mean() == pytest.approx(102, rel=0.01)
    assert noisy.std() == pytest.approx(math.sqrt(20) / 50 * 255, rel=0.03)


def test_fog_is_bright_and_never_black():
    foggy = corrupt(np.repeat(constant(128), 8, axis=0), np.arange(8), "fog", 5)
    assert foggy.mean() > 40
    assert np.array_equal(one(constant(0), "fog", 5), constant(0))  # the authors' formula: no light, no fog, and no NaN


def test_plasma_spans_0_to_1_and_follows_a_hand_worked_square():
    drawn = np.array([[1.0, -1.0, 0.0]])  # size 2: the centre, then the point to the right, then the one below
    centre = 100.0**2
    right = (centre * 2) / 4 - 100.0**2
    below = (centre * 2) / 4
    expected = (np.array([[0, right], [below, centre]]) - right) / (centre - right)
    assert np.allclose(plasma(drawn, 2, 3.0)[0], expected)


def test_motion_smears_to_one_side_with_half_a_gaussian():
    image = np.zeros((1, 9, 9), np.float32)
    image[0, 4, 4] = 1
    smeared = motion_blur(image, 2, 1.0, 0.0)[0]
    weights = np.exp(-(np.arange(5) ** 2) / 2)
    assert smeared[4, 4::-1] == pytest.approx(weights / weights.sum(), abs=1e-6)
    assert smeared.sum() == pytest.approx(1)


def test_zoom_by_one_is_the_image_and_by_two_shows_its_middle():
    image = np.arange(64, dtype=np.float32).reshape(1, 8, 8)
    assert np.array_equal(clipped_zoom(image, 1.0), image)
    zoomed = clipped_zoom(image, 2.0)
    assert (zoomed[0, 0, 0], zoomed[0, 7, 7]) == (image[0, 2, 2], image[0, 5, 5])


def test_the_disk_of_defocus_is_round_and_sums_to_one():
    kernel = disk(3, 0.1)
    assert kernel.shape == (7, 7)
    assert kernel.sum() == pytest.approx(1)
    assert np.allclose(kernel, kernel.T)
    assert kernel[0, 0] == pytest.approx(0, abs=1e-9)
    assert np.count_nonzero(kernel > 0.01) == 29  # points within 3 of the centre


def test_an_affine_map_takes_three_points_to_three_points():
    three, others = np.array([[8.0, 8], [8, 2], [2, 2]]), np.array([[9.0, 7], [8, 3], [1, 2.5]])
    matrix, offset = affine_between(three, others)
    assert np.allclose(three @ matrix.T + offset, others)


@pytest.mark.parametrize(("reach", "rounds"), [(1, 1), (2, 3), (4, 2)])
def test_glass_moves_pixels_as_the_authors_loop_does(reach, rounds):
    side, generator = 16, np.random.default_rng(8)
    inner = side - 2 * reach
    offsets = generator.integers(-reach, reach, (rounds, 2, inner, inner))
    image = np.arange(side * side).reshape(side, side)
    for down, right in offsets:
        for row in range(side - reach, reach, -1):
            for column in range(side - reach, reach, -1):
                at = row - reach - 1, column - reach - 1
                image[row, column] = image[row + down[at], column + right[at]]
    assert np.array_equal(sources(offsets, side, reach), image.ravel())


def test_parameters_are_the_published_ones_and_lie_between_them_elsewhere():
    assert parameters("gaussian_noise", 5, 224) == (0.38,)
    assert parameters("glass_blur", 4, 64) == (0.7, 2, 1)
    assert parameters("contrast", 1, 512) == parameters("contrast", 1, 224)
    (between,) = parameters("shot_noise", 5, 96)
    assert 3 < between < 15
    assert parameters("fog", 2, round(math.sqrt(64 * 224))) == pytest.approx((1.35, 2.5), rel=0.01)


def test_images_below_32_px_and_other_shapes_names_and_severities_are_refused():
    with pytest.raises(UsageError, match="cannot be corrupted"):
        one(constant(1, side=8), "fog", 1)
    with pytest.raises(UsageError, match="cannot be corrupted"):
        one(constant(1).astype(np.float32), "fog", 1)
    with pytest.raises(UsageError, match="no corruption"):
        one(constant(1), "rain", 1)
    with pytest.raises(UsageError, match="no severity"):
        one(constant(1), "fog", 6)


def whole(split) -> dict:
    """Condition -> all its images, put together from batches."""
    found = {condition: [] for condition in CONDITIONS}
    for condition, rows, images in corrupted_batches(split):
        assert rows.start == sum(map(len, found[condition]))
        found[condition].append(images)
    return {condition: np.concatenate(parts) for condition, parts in found.items()}


def test_kept_images_are_those_that_are_made_in_passing(test_split, tmp_path, monkeypatch):
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path))
    monkeypatch.setenv(KEPT_GB, "0")
    fresh = whole(test_split)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.delenv(KEPT_GB)
    assert is_kept(test_split)
    kept, again = whole(test_split), whole(test_split)
    assert len(list(tmp_path.rglob("images.npy"))) == len(fresh) == 75
    assert all(np.array_equal(fresh[key], kept[key]) and np.array_equal(fresh[key], again[key]) for key in CONDITIONS)


@pytest.mark.parametrize("damage", ["truncated", "altered"])
def test_damaged_kept_images_are_made_again(damage, test_split, tmp_path, monkeypatch):
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path))
    expected = np.array(kept_split(test_split, ("fog", 2)))
    (path,) = tmp_path.rglob("images.npy")
    contents = path.read_bytes()
    path.write_bytes(contents[:-100] if damage == "truncated" else contents[:-1] + bytes([contents[-1] ^ 1]))
    assert np.array_equal(kept_split(test_split, ("fog", 2)), expected)
    assert path.read_bytes() == contents


def test_the_whole_test_split_is_used_and_digits_are_enlarged_first():
    split = load_split("digits", "test")
    batches = list(clean_batches(split))
    assert sum(len(images) for _, images in batches) == len(split) == 899
    assert {images.shape[1:] for _, images in batches} == {(3, 32, 32)}
    assert [rows.stop for rows, _ in batches] == [256, 512, 768, 899]


def test_large_splits_are_not_kept_unless_asked_and_encoded_ones_never(test_split, monkeypatch):
    tiny = replace(test_split, images=np.broadcast_to(np.uint8(0), (10_000, 3, 64, 64)), labels=np.zeros(10_000, np.int64))
    assert not is_kept(tiny)
    monkeypatch.setenv(KEPT_GB, "10")
    assert is_kept(tiny)
    assert not is_kept(replace(test_split, images=EncodedImages(30, lambda row: b"")))
    monkeypatch.setenv(KEPT_GB, "much")
    with pytest.raises(UsageError, match="number of GB"):
        is_kept(tiny)
