"""RDED and CA2D: the published procedure, step by step, on real digits; seeds, provenance, and arguments that do not fit."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as TF

from harness.datasets import DATASETS, load_split
from harness.datasets.base import Split
from harness.distill.ca2d import cad_pools
from harness.distill.method import Source
from harness.distill.observer import OBSERVERS, Observer, load_observer
from harness.distill.patches import Layout, StitchedImages
from harness.distill.provenance import made_again, provenance_bytes, read_provenance
from harness.distill.rded import class_rows, crop_boxes, most_realistic, random_pools
from harness.distill.registry import DISTILLERS
from harness.errors import EnvironmentProblem, ProtocolError, SubmissionError, UsageError
from harness.imageset import EncodedImages
from harness.teachers import read_card, teacher_ids
from harness.training.seeding import generator_for
from harness.training.views import normalised

ROOT = Path(__file__).parent.parent
DIGITS = ((0.31, 0.31, 0.31), (0.38, 0.38, 0.38))


def toy_observer(side: int, resolution: int | None = None) -> Observer:
    """A fixed linear classifier; each image on its own and in float64, so that no batch can change its logits."""
    size = resolution or side
    weights = torch.randn(10, 3 * size * size, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) / size

    def logits(images: torch.Tensor) -> torch.Tensor:
        assert images.shape[1:] == (3, size, size)
        assert images.dtype == torch.float32
        return torch.stack([(weights * image.flatten().double()).sum(dim=1) for image in images])

    return Observer(logits, size, DIGITS, teacher="toy")


@pytest.fixture(scope="module")
def train() -> Split:
    return load_split("digits", "train")


@pytest.fixture(scope="module")
def few(train) -> Split:
    """The 12 first images of each class, enlarged to 12 pixels so that they can be stitched by 1, 2 and 3."""
    rows = np.sort(np.concatenate([rows[:12] for rows in class_rows(train.labels)]))
    images = np.stack([TF.resize(torch.from_numpy(image), [12, 12]).numpy() for image in train.images[rows]])
    return Split("digits", "train", images, train.labels[rows], "0" * 64)


def source(split: Split, **given) -> Source:
    return Source(split, **{"observer": toy_observer(split.images.shape[-1]), **given})


def pixels(distilled) -> np.ndarray:
    return np.stack(list(distilled.images))


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
    encoded = EncodedImages(2, [_png(40, 90), _png(90, 40)].__getitem__)
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
    encoded = EncodedImages(len(few), [_encode(image) for image in few.images].__getitem__)
    decoded_set = DISTILLERS["rded"].run(source(few), 1, 0, factor=3, images_per_class=10)
    kept = Split("digits", "train", encoded, few.labels, few.fingerprint)
    encoded_set = DISTILLERS["rded"].run(Source(kept, toy_observer(12)), 1, 0, factor=3, images_per_class=10)
    assert np.array_equal(pixels(decoded_set), pixels(encoded_set))


def test_only_the_pool_of_one_class_is_read_before_its_images_are_judged(few):
    asked: list[int] = []

    def read(row: int) -> bytes:
        asked.append(row)
        return _encode(few.images[row])

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
    large = EncodedImages(len(few), [_encode(image) for image in few.images].__getitem__)
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


# provenance


@pytest.mark.parametrize("factor", [1, 2])
def test_the_provenance_alone_makes_the_same_set_again(few, factor):
    distilled = DISTILLERS["rded"].run(source(few), 2, 0, factor=factor)
    contents = provenance_bytes(distilled.patches)
    assert contents == provenance_bytes(DISTILLERS["rded"].run(source(few), 2, 0, factor=factor).patches)
    again = made_again(contents, few, Layout(2, 12, factor), "draw0.provenance.parquet")
    assert np.array_equal(pixels(again), pixels(distilled))
    assert np.array_equal(again.labels, distilled.labels)
    assert again.patch_shuffle == factor


def test_the_cross_entropy_beside_a_piece_is_the_observers_on_the_pixels_in_the_set(few):
    distilled = DISTILLERS["rded"].run(source(few), 2, 0, factor=2)
    lines = pq.read_table(io.BytesIO(provenance_bytes(distilled.patches))).to_pylist()
    for line in lines[::7]:
        top, left = 6 * (line["quadrant"] // 2), 6 * (line["quadrant"] % 2)
        piece = torch.from_numpy(distilled.images[line["image"]][:, top : top + 6, left : left + 6].copy())
        value = toy_observer(12).cross_entropy(piece[None], line["image"] // 2, 12)
        assert value.item() == pytest.approx(line["cross_entropy"], rel=1e-6)


def altered(contents: bytes, column: str, line: int, value: int | None) -> bytes:
    table = pq.read_table(io.BytesIO(contents))
    values = table.column(column).to_pylist()
    values[line] = value
    at = table.schema.get_field_index(column)
    sink = io.BytesIO()
    pq.write_table(table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type)), sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("column", "value", "match"),
    [
        ("row", 10**9, "line 43"),
        ("row", -1, "line 43"),
        ("row", 0, "line 43"),  # of another class
        ("image", 1, "line 43"),
        ("quadrant", 0, "line 43"),
        ("top", -1, "leaves row"),
        ("left", 12, "leaves row"),
        ("height", 0, "leaves row"),
        ("width", 2**31 - 1, "leaves row"),
        ("row", None, "missing"),
    ],
)
def test_a_provenance_that_does_not_describe_the_set_is_refused(few, column, value, match):
    contents = provenance_bytes(DISTILLERS["rded"].run(source(few), 2, 0, factor=2).patches)
    with pytest.raises(SubmissionError, match=rf"draw0[\s\S]*{match}"):
        read_provenance(altered(contents, column, 43, value), few, Layout(2, 12, 2), "draw0.provenance.parquet")


def test_a_provenance_of_another_size_or_that_is_no_parquet_is_refused(few):
    contents = provenance_bytes(DISTILLERS["rded"].run(source(few), 2, 0, factor=2).patches)
    for bad, layout in ((contents, Layout(1, 12, 2)), (b"PAR1", Layout(2, 12, 2)), (contents[:200], Layout(2, 12, 2))):
        with pytest.raises(SubmissionError, match="does not describe the set"):
            read_provenance(bad, few, layout, "draw0.provenance.parquet")


# CA2D


def test_ca2d_looks_at_the_highest_cad_scores_of_each_class_and_at_all_of_them(few):
    cad = np.random.default_rng(0).random(len(few))
    judged = []
    observer = toy_observer(12)
    counting = Observer(lambda images: judged.append(len(images)) or observer.logits(images), 12, DIGITS)
    distilled = DISTILLERS["ca2d"].run(Source(few, counting, cad), 1, 0, factor=2, pool=6, crops=3)
    assert sum(judged) == 10 * 6 * 3
    for label in range(10):
        rows = np.flatnonzero(few.labels == label)
        top = set(sorted(rows, key=lambda row: (-cad[row], row))[:6])
        assert set(distilled.patches.rows[label * 4 : label * 4 + 4]) <= top


def test_the_ca2d_pool_is_300_or_half_again_as_many_as_pieces_and_never_more_than_the_class(train):
    labels = np.repeat(np.arange(2), 1000)
    split = Split("toy", "train", np.zeros((2000, 3, 2, 2), np.uint8), labels, "0" * 64)
    cad = np.zeros(2000)
    assert [len(rows) for rows in cad_pools(split, cad, Layout(50, 2, 2))] == [300, 300]
    assert [len(rows) for rows in cad_pools(split, cad, Layout(100, 2, 2))] == [600, 600]
    assert cad_pools(split, cad, Layout(10, 2))[1].tolist() == list(range(1000, 1300))  # ties: the lowest rows
    assert [len(rows) for rows in cad_pools(train, np.zeros(len(train)), Layout(1, 8))] == np.bincount(train.labels).tolist()


def test_ca2d_on_the_whole_class_is_rded_on_the_whole_class(few):
    cad = np.arange(len(few), dtype=np.float32)
    ca2d = DISTILLERS["ca2d"].run(source(few, cad=cad), 2, 5, factor=2)
    assert np.array_equal(pixels(ca2d), pixels(DISTILLERS["rded"].run(source(few), 2, 5, factor=2)))


@pytest.mark.parametrize("cad", [np.zeros(7), np.zeros((120, 1)), np.full(120, np.nan), np.full(120, np.inf)])
def test_cad_scores_that_do_not_fit_the_split_are_refused(few, cad):
    with pytest.raises(UsageError, match="do not fit the training split"):
        DISTILLERS["ca2d"].run(source(few, cad=cad), 1, 0)


# arguments


@pytest.mark.parametrize(
    ("method", "ipc", "parameters", "match"),
    [
        ("rded", 4, {"factor": 2}, r"IPC x factor² = 4 x 4 = 16 .*12 images are looked at, the class has 12\n.*--ipc 3 or less"),
        ("rded", 2, {"factor": 2, "images_per_class": 7}, r"= 8 .*7 images are looked at.*12\n.*images_per_class of 8 or more"),
        ("rded", 13, {}, r"= 13 .*\n.*--ipc 12 or less$"),
        ("ca2d", 2, {"factor": 2, "pool": 7}, r"= 8 .*7 images are looked at.*\n.*choose pool of 8 or more"),
        ("ca2d", 4, {"factor": 2}, r"--ipc 3 or less, or factor 1"),
        ("rded", 1, {"images_per_class": 0}, "0 images are looked at"),
        ("rded", 1, {"images_per_class": -5}, "0 images are looked at"),
        ("rded", 1, {"factor": 5}, "divides 12"),
        ("rded", 1, {"factor": 0}, "factor 0"),
        ("rded", 1, {"factor": -1}, "factor -1"),
        ("rded", 1, {"factor": 12}, "factor 12"),
        ("rded", 1, {"crops": 0}, "0 crops"),
        ("rded", 1, {"crops": None}, "crops of rded is needed"),
        ("rded", 1, {"crops": "many"}, "'many'"),
        ("rded", 1, {"crops": 2.5}, "2.5"),
        ("rded", 1, {"factr": 2}, r"no parameter 'factr'\n.*factor, images_per_class, crops"),
        ("rded", 0, {}, "IPC is 0"),
        ("rded", -1, {}, "IPC is -1"),
        ("kmeans-centroids", 0, {}, "IPC is 0"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_with_the_numbers(few, method, ipc, parameters, match):
    with pytest.raises(UsageError) as refusal:
        DISTILLERS[method].run(source(few, cad=np.zeros(len(few))), ipc, 0, **parameters)
    assert re.search(match, str(refusal.value)), str(refusal.value)


def test_a_factor_that_does_not_divide_64_pixels_is_refused():
    with pytest.raises(UsageError, match="factor 3 does not fit images of 64 pixels"):
        Layout(1, 64, 3)


def test_parameters_are_read_from_text_as_the_command_line_gives_them(few):
    as_text = DISTILLERS["rded"].run(source(few), 1, 0, factor="2", crops="3")
    assert np.array_equal(pixels(as_text), pixels(DISTILLERS["rded"].run(source(few), 1, 0, factor=2, crops=3)))


@pytest.mark.parametrize(("method", "lacking"), [("rded", "observer"), ("ca2d", "observer and cad")])
def test_a_method_says_what_it_lacks(few, method, lacking):
    with pytest.raises(UsageError, match=f"{method} needs {lacking}"):
        DISTILLERS[method].run(Source(few), 1, 0)


def test_a_method_that_needs_only_the_split_still_gives_its_set(train):
    distilled = DISTILLERS["kmeans-centroids"].run(Source(train), 2, 0)
    assert distilled.images.shape == (20, 3, 8, 8)
    assert distilled.patches is None
    assert distilled.patch_shuffle == 1


def test_a_teacher_of_another_dataset_is_no_observer():
    with pytest.raises(UsageError, match="digits/convnet-d3 knows the classes of digits, not of cifar10"):
        load_observer(ROOT, "cifar10", 100, "digits/convnet-d3")


def test_a_dataset_without_a_teacher_has_no_observer(tmp_path):
    with pytest.raises(EnvironmentProblem, match="digits/convnet-d3 has no weights yet"):
        load_observer(tmp_path, "digits", 100)
    with pytest.raises(UsageError, match="no observer of mnist"):
        load_observer(ROOT, "mnist", 100)


@pytest.mark.parametrize(("dataset", "teacher"), OBSERVERS.items())
def test_the_default_observer_of_a_dataset_is_a_teacher_of_it(dataset, teacher):
    assert dataset in DATASETS
    assert teacher in teacher_ids(ROOT)
    assert teacher.startswith(f"{dataset}/")


def test_images_are_made_anew_each_time_and_end_where_the_set_ends(few):
    distilled = DISTILLERS["rded"].run(source(few), 1, 0)
    assert isinstance(distilled.images, StitchedImages)
    assert len(distilled.images) == len(list(distilled.images)) == 10
    with pytest.raises(IndexError):
        distilled.images[10]


def _png(height: int, width: int) -> bytes:
    return _encode(np.zeros((3, height, width), np.uint8))


def _encode(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(buffer, format="PNG")
    return buffer.getvalue()
