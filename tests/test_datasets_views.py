"""Views of encoded images equal torchvision's; the batch pipeline is ordered, bounded and names what fails."""

from __future__ import annotations

import io
import threading

import numpy as np
import pytest
from PIL import Image
from small_parquet import encode, varied_rows

from harness.datasets.decode import decode_rgb, decode_view, eval_view, image_size
from harness.datasets.loader import PREFETCHED_BATCHES, iterate_batches
from harness.errors import EnvironmentProblem
from harness.imageset import EncodedImages

# --- views


@pytest.mark.parametrize("row", range(8))
def test_views_are_those_of_torchvision(row):
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize
    from torchvision.transforms.functional import resized_crop

    encoded, _ = varied_rows()[row]
    image = Image.open(io.BytesIO(encoded)).convert("RGB")
    assert image_size(encoded) == (image.height, image.width)
    np.testing.assert_array_equal(decode_rgb(encoded), np.asarray(image))
    for resize, crop in ((33, 24), (33, 33), (40, 31), (100, 64)):
        theirs = Compose([Resize(resize), CenterCrop(crop)])(image)
        np.testing.assert_array_equal(eval_view(encoded, resize, crop).transpose(1, 2, 0), np.asarray(theirs))
    for box in ((0, 0, 40, 60), (7, 3, 20, 31), (1, 2, 5, 4)):
        theirs = resized_crop(image, *box, [24, 24], InterpolationMode.BILINEAR, antialias=True)
        np.testing.assert_array_equal(decode_view(encoded, box, 24).transpose(1, 2, 0), np.asarray(theirs))


def test_an_evaluation_view_without_resize_and_crop_is_the_image():
    encoded, _ = varied_rows()[0]
    np.testing.assert_array_equal(eval_view(encoded, 0, 0).transpose(1, 2, 0), decode_rgb(encoded))


@pytest.mark.parametrize("box", [(-1, 0, 5, 5), (0, 0, 61, 5), (0, 86, 5, 5), (0, 0, 0, 5)])
def test_a_box_that_leaves_the_image_is_refused(box):
    with pytest.raises(ValueError, match="leaves the image"):
        decode_view(varied_rows()[0][0], box, 8)


def test_a_crop_larger_than_the_image_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        eval_view(varied_rows()[0][0], 0, 61)


def test_formats_no_dataset_uses_are_not_decoded():
    with pytest.raises(ValueError, match="not an image"):
        decode_rgb(encode(np.zeros((8, 8, 3), np.uint8), kind="GIF"))


# --- the batch pipeline


def counting_images(count: int) -> EncodedImages:
    return EncodedImages(count, lambda row: row.to_bytes(4, "little"))


def as_pixels(encoded: bytes, position: int) -> np.ndarray:
    """One pixel: (row, position, 0)."""
    return np.array([int.from_bytes(encoded, "little"), position, 0], np.uint8).reshape(3, 1, 1)


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_follow_the_order_with_repeats_and_end_with_the_rest(workers):
    order = np.array([5, 3, 3, 0, 9, 1, 2])
    batches = list(iterate_batches(counting_images(10), order, 3, as_pixels, workers))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    seen = np.concatenate(batches)[..., 0, 0]
    assert seen[:, 0].tolist() == order.tolist()
    assert seen[:, 1].tolist() == list(range(7))


def test_a_slow_image_delays_but_does_not_reorder():
    second_done = threading.Event()

    def view(encoded, position):
        if position == 0:
            assert second_done.wait(10)
        if position == 1:
            second_done.set()
        return as_pixels(encoded, position)

    (batch,) = iterate_batches(counting_images(4), np.array([2, 1, 0]), 3, view, workers=2)
    assert batch[:, 0, 0, 0].tolist() == [2, 1, 0]


def test_the_pipeline_runs_a_bounded_number_of_batches_ahead_and_stops_when_closed():
    begun = []
    batches = iterate_batches(counting_images(250), np.arange(250), 2, lambda *a: begun.append(a) or as_pixels(*a), workers=2)
    next(batches)
    batches.close()
    assert len(begun) <= 2 * (PREFETCHED_BATCHES + 1)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("view")]


def test_an_image_that_does_not_decode_is_named_by_its_row():
    rows = [image for image, _ in varied_rows()]
    rows[6] = rows[6][:200]
    batches = iterate_batches(EncodedImages(8, rows.__getitem__), np.array([0, 6, 1]), 2, lambda b, _: eval_view(b, 16, 16), 2)
    with pytest.raises(EnvironmentProblem, match="row 6 of the images"):
        list(batches)


def test_an_error_in_the_view_itself_keeps_its_kind_and_gains_the_row():
    with pytest.raises(ZeroDivisionError) as error:
        list(iterate_batches(counting_images(9), np.array([8]), 2, lambda *_: 1 // 0, 2))
    assert error.value.__notes__ == ["while preparing row 8"]
