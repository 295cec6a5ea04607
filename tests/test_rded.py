"""RDED: the published procedure, step by step, on real digits; seeds, batches, and what the observer sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from rded_cases import DIGITS, encode, few_digits, pixels, source, toy_observer
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as TF

from harness.datasets import load_split
from harness.datasets.base import Split
from harness.distill.method import Source
from harness.distill.observer import Observer, load_observer
from harness.distill.patches import Layout, StitchedImages
from harness.distill.provenance import provenance_bytes
from harness.distill.rded import crop_boxes, judgement_key, most_realistic, random_pools
from harness.distill.registry import DISTILLERS
from harness.errors import ProtocolError, UsageError
from harness.imageset import EncodedImages
from harness.teachers import read_card
from harness.training.seeding import generator_for
from harness.training.views import normalised

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def few() -> Split:
    return few_digits()


@pytest.fixture(scope="module")
def train() -> Split:
    return load_split("digits", "train")


def literal_rded(split: Split, observer: Observer, ipc: int, factor: int, draw: int, images_per_class: int, crops: int):
    """RDED's published steps, one piece at a time; only the random numbers are drawn as the project draws them."""
    side = split.images.shape[-1]
    sets, origins = [], []
    for label in range(10):
        rows = [row for row in range(len(split)) if split.labels[row] == label]
        order = torch.randperm(len(rows), generator=generator_for(draw, f"rded/images/class{label}")).tolist()
        chosen = sorted(rows[at] for at in order[:images_per_class])
        boxes = crop_boxes(split.images, np.array(chosen), crops, generator_for(draw, f"rded/crops/class{label}"))
        best_of_images = []
        for row, row_boxes in zip(chosen, boxes.tolist(), strict=True):
            candidates = []
            for number, box in enumerate(row_boxes):
                whole = Image.fromarray(split.images[row].transpose(1, 2, 0).copy())
                piece = TF.resized_crop(whole, *box, [side // factor] * 2, InterpolationMode.BILINEAR, antialias=True)
                view = TF.normalize(TF.to_tensor(piece), *map(list, observer.statistics))
                margin = side - side // factor
                view = F.pad(view, (margin // 2, margin - margin // 2, margin // 2, margin - margin // 2))
                probabilities = observer.logits(view[None])[0].softmax(dim=0)
                candidates.append((-probabilities[label].log().item(), number, row, box, np.asarray(piece)))
            best_of_images.append(min(candidates, key=lambda candidate: candidate[:2]))
        ranked = sorted(best_of_images, key=lambda best: (best[0], best[2]))
        for image in range(ipc):
            ranks = [quadrant * ipc + image for quadrant in range(factor**2)]
            lines = [np.hstack([ranked[rank][4] for rank in ranks[at : at + factor]]) for at in range(0, factor**2, factor)]
            sets.append(np.vstack(lines).transpose(2, 0, 1))
            origins += [(ranked[rank][2], tuple(ranked[rank][3])) for rank in ranks]
    return np.stack(sets), origins


@pytest.mark.parametrize(("factor", "ipc", "images_per_class"), [(1, 4, 9), (2, 2, 12), (3, 1, 10)])
def test_the_set_is_that_of_a_literal_rded(few, factor, ipc, images_per_class):
    found = DISTILLERS["rded"].run(source(few), ipc, 3, factor=factor, images_per_class=images_per_class, crops=4)
    images, origins = literal_rded(few, toy_observer(12), ipc, factor, 3, images_per_class, 4)
    assert np.array_equal(pixels(found), images)
    assert list(zip(found.patches.rows.tolist(), map(tuple, found.patches.boxes.tolist()), strict=True)) == origins
    assert found.labels.tolist() == [label for label in range(10) for _ in range(ipc)]
    assert found.patch_shuffle == factor


def test_the_observers_batch_size_changes_nothing(few):
    pools = random_pools(few, Layout(3, 12, 2), 0, 12)
    whole, single = (most_realistic(few.images, pools, toy_observer(12), Layout(3, 12, 2), 0, 5, batch) for batch in (256, 1))
    assert np.array_equal(whole.rows, single.rows)
    assert np.array_equal(whole.boxes, single.boxes)
    assert np.array_equal(whole.cross_entropy, single.cross_entropy)


def test_a_draw_repeats_and_another_draw_differs(train):
    first, again, other = (pixels(DISTILLERS["rded"].run(source(train), 3, draw, images_per_class=20)) for draw in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_crops_of_a_class_do_not_depend_on_the_other_classes(few):
    layout, observer = Layout(2, 12), toy_observer(12)
    pools = random_pools(few, layout, 0, 8)
    both = most_realistic(few.images, pools, observer, layout, 0)
    emptier = most_realistic(few.images, [pools[0][:2], *pools[1:]], observer, layout, 0)
    assert np.array_equal(both.boxes[2:], emptier.boxes[2:])


def test_pools_are_random_rows_of_their_class_nested_in_size_and_another_for_another_draw(train):
    layout = Layout(1, 8)
    small, large, other = (random_pools(train, layout, draw, size) for draw, size in ((0, 10), (0, 40), (1, 10)))
    for label, rows in enumerate(small):
        assert len(set(rows.tolist())) == 10
        assert (train.labels[rows] == label).all()
        assert set(rows) < set(large[label])
    assert any(set(ours) != set(theirs) for ours, theirs in zip(small, other, strict=True))
    everything = random_pools(train, layout, 0, 300)
    assert [len(rows) for rows in everything] == np.bincount(train.labels).tolist()


def test_pieces_stand_in_the_quadrants_row_by_row_best_ranks_spread_over_all_images(few):
    distilled = DISTILLERS["rded"].run(source(few), 2, 0, factor=2)
    patches = distilled.patches
    ranks = patches.cross_entropy.reshape(10, 2, 4)  # class, image, quadrant
    in_order = ranks.transpose(0, 2, 1).reshape(10, 8)
    assert (np.diff(in_order, axis=1) >= 0).all()
    for image in (0, 7, 19):
        for quadrant, (top, left) in enumerate([(0, 0), (0, 6), (6, 0), (6, 6)]):
            at = image * 4 + quadrant
            y, x, height, width = patches.boxes[at]
            piece = Image.fromarray(few.images[patches.rows[at]].transpose(1, 2, 0)[y : y + height, x : x + width].copy())
            expected = np.asarray(piece.resize((6, 6), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
            assert np.array_equal(distilled.images[image][:, top : top + 6, left : left + 6], expected)


@pytest.mark.parametrize("factor", [1, 2])
def test_a_smaller_set_follows_from_a_larger_one_without_the_observer(few, factor):
    larger = DISTILLERS["rded"].run(source(few), 3, 0, factor=factor).patches
    for ipc in (1, 2, 3):
        smaller, directly = larger.of_ipc(ipc), DISTILLERS["rded"].run(source(few), ipc, 0, factor=factor).patches
        assert provenance_bytes(smaller) == provenance_bytes(directly)
    with pytest.raises(UsageError, match="IPC 4 of pieces ranked for IPC 3"):
        larger.of_ipc(4)


def test_an_image_gives_at_most_one_piece_and_only_to_its_own_class(few):
    patches = DISTILLERS["rded"].run(source(few), 3, 0, factor=2).patches
    assert len(set(patches.rows.tolist())) == len(patches.rows) == 120
    assert np.array_equal(few.labels[patches.rows], np.repeat(patches.labels, 4))


def test_crops_are_squares_of_8_to_100_percent_inside_the_image_as_torchvision_draws_them():
    encoded = EncodedImages(2, [encode(np.zeros((3, 40, 90), np.uint8)), encode(np.zeros((3, 90, 40), np.uint8))].__getitem__)
    boxes = crop_boxes(encoded, np.array([0, 1]), 2000, generator_for(0, "test"))
    top, left, height, width = boxes.reshape(-1, 4).T
    assert (height == width).all()
    assert (boxes.reshape(-1, 4) >= 0).all()
    assert (top[:2000] + height[:2000]).max() == (left[2000:] + width[2000:]).max() == 40
    assert height.min() == round((0.08 * 3600) ** 0.5)
    assert height.max() == 40  # ten larger boxes do not fit: torchvision falls back to the largest central one
    share_below_30 = (29.5**2 / 3600 - 0.08) / (40.5**2 / 3600 - 0.08)  # of areas drawn uniformly from those that fit
    assert abs((height < 30).mean() - share_below_30) < 0.04


def test_encoded_images_give_what_the_same_images_decoded_give(few):
    encoded = EncodedImages(len(few), [encode(image) for image in few.images].__getitem__)
    decoded_set = DISTILLERS["rded"].run(source(few), 1, 0, factor=3, images_per_class=10)
    kept = Split("digits", "train", encoded, few.labels, few.fingerprint)
    encoded_set = DISTILLERS["rded"].run(Source(kept, toy_observer(12)), 1, 0, factor=3, images_per_class=10)
    assert np.array_equal(pixels(decoded_set), pixels(encoded_set))


def test_only_the_pool_of_one_class_is_read_before_its_images_are_judged(few):
    asked: list[int] = []

    def read(row: int) -> bytes:
        asked.append(row)
        return encode(few.images[row])

    layout = Layout(1, 12)
    images, pools = EncodedImages(len(few), read), random_pools(few, layout, 0, 4)
    seen = []
    most_realistic(
        images, pools, toy_observer(12), layout, 0, on_class=lambda done, total: seen.append((done, total, set(asked)))
    )
    assert [(done, total) for done, total, _ in seen] == [(done, 10) for done in range(1, 11)]
    assert seen[0][2] == set(pools[0].tolist())
    assert set(asked) == set(np.concatenate(pools).tolist())


def test_the_factor_is_one_below_128_pixels_and_two_from_there_on(few):
    assert DISTILLERS["rded"].run(source(few), 1, 0).patch_shuffle == 1
    large = EncodedImages(len(few), [encode(image) for image in few.images].__getitem__)
    split = Split("imagenet-1k", "train", large, few.labels, few.fingerprint)
    distilled = DISTILLERS["rded"].run(Source(split, toy_observer(128)), 1, 0, images_per_class=4, crops=1)
    assert distilled.patch_shuffle == 2
    assert distilled.images[0].shape == (3, 128, 128)


def test_the_observer_sees_a_small_piece_in_the_middle_of_the_mean_colour():
    view = toy_observer(8).view(torch.full((1, 3, 3, 3), 255, dtype=torch.uint8), 8)
    assert view[0, :, 2:5, 2:5].eq(view.max()).all()  # 5 pixels of margin: 2 before, 3 after, as the official pad
    assert view.ne(0).sum() == 27


def test_the_observer_sees_whole_images_as_the_students_of_its_dataset_do(train):
    observer = load_observer(ROOT, "digits", 100, device="cpu")
    images = torch.from_numpy(train.images[:5])
    seen = normalised(images, read_card(ROOT, "digits/convnet-d3"), None)
    assert torch.allclose(observer.view(images, 8), seen, atol=1e-6)


def test_the_pinned_teacher_judges_its_own_digits_right(train):
    observer = load_observer(ROOT, "digits", 100, device="cpu")
    sevens = torch.from_numpy(train.images[train.labels == 7])
    assert observer.cross_entropy(sevens, 7, 8).mean() < 0.2
    assert observer.cross_entropy(sevens, 3, 8).mean() > 2


def test_pieces_of_which_the_observer_is_sure_are_still_ranked(few):
    def logits(images: torch.Tensor) -> torch.Tensor:
        return F.one_hot(torch.full((len(images),), 4), 10) * (30 + images.mean(dim=(1, 2, 3)))[:, None]

    pieces = torch.from_numpy(few.images[few.labels == 4])
    observer = Observer(logits, 12, DIGITS)
    in_float32 = F.cross_entropy(logits(observer.view(pieces, 12)), torch.full((12,), 4), reduction="none")
    assert len(in_float32.unique()) == 1
    brightness = observer.view(pieces, 12).mean(dim=(1, 2, 3))
    assert observer.cross_entropy(pieces, 4, 12).argsort().tolist() == brightness.argsort(descending=True).tolist()


def test_an_observer_that_gives_no_number_stops_the_method(few):
    broken = Observer(lambda images: torch.full((len(images), 10), torch.nan), 12, DIGITS, teacher="broken")
    with pytest.raises(ProtocolError, match="no number"):
        DISTILLERS["rded"].run(Source(few, broken), 1, 0)


def test_images_are_made_anew_each_time_and_end_where_the_set_ends(few):
    distilled = DISTILLERS["rded"].run(source(few), 1, 0)
    assert isinstance(distilled.images, StitchedImages)
    assert len(distilled.images) == len(list(distilled.images)) == 10
    with pytest.raises(IndexError):
        distilled.images[10]


def test_an_interrupted_pass_goes_on_and_another_ipc_asks_the_observer_nothing(few, tmp_path):
    layout, asked = Layout(2, 12), []
    pools = random_pools(few, layout, 0, 8)

    def stop_at_class_4(done: int, total: int) -> None:
        asked.append(done)
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        most_realistic(few.images, pools, toy_observer(12), layout, 0, on_class=stop_at_class_4, kept=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"class{label}.safetensors" for label in range(4)]
    resumed = most_realistic(few.images, pools, toy_observer(12), layout, 0, kept=tmp_path)
    unbroken = most_realistic(few.images, pools, toy_observer(12), layout, 0)
    for ours, theirs in ((resumed.rows, unbroken.rows), (resumed.boxes, unbroken.boxes)):
        assert np.array_equal(ours, theirs)
    deaf = Observer(logits=lambda batch: pytest.fail("asked again"), resolution=12, statistics=toy_observer(12).statistics)
    smaller = most_realistic(few.images, pools, deaf, Layout(1, 12), 0, kept=tmp_path)
    assert np.array_equal(smaller.rows, unbroken.of_ipc(1).rows)


@pytest.mark.parametrize("damage", [lambda file: file.write_bytes(b""), lambda file: file.write_bytes(file.read_bytes()[:-3])])
def test_a_damaged_judgement_is_made_anew(few, tmp_path, damage):
    layout = Layout(2, 12)
    pools = random_pools(few, layout, 0, 8)
    first = most_realistic(few.images, pools, toy_observer(12), layout, 0, kept=tmp_path)
    damage(tmp_path / "class3.safetensors")
    again = most_realistic(few.images, pools, toy_observer(12), layout, 0, kept=tmp_path)
    assert np.array_equal(first.boxes, again.boxes)


def test_judgements_of_another_draw_pool_or_number_of_crops_are_others(few):
    layout, pools = Layout(2, 12), random_pools(few, Layout(2, 12), 0, 8)
    keys = [judgement_key(source(few), pools, layout, 0, 5), judgement_key(source(few), pools, layout, 1, 5)]
    keys += [judgement_key(source(few), pools, layout, 0, 4), judgement_key(source(few), pools[::-1], layout, 0, 5)]
    assert len(set(keys)) == 4
    assert judgement_key(source(few), pools, Layout(1, 12), 0, 5) == keys[0]
