"""Contact sheets: every kind of set is shown as it is stored, one row a class, and the same set gives the same bytes."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from command_line import caller
from PIL import Image

from harness.datasets import load_split
from harness.errors import EnvironmentProblem, SubmissionError, UsageError
from harness.imageset import EncodedImages, ImageSet
from harness.normalization import NORMALIZATIONS
from harness.records import read_records
from harness.show import (
    GAP,
    MARGIN,
    cell_side,
    contact_sheet,
    names_of,
    show_on_boards,
    show_submission,
    shown_classes,
    write_contact_sheet,
)
from harness.submissions import read_submission
from harness.work import Machine

ROOT = Path(__file__).parent.parent
RANDOM = ROOT / "submissions/random/digits-ipc10.yaml"
NAMES = tuple("0123456789")
RECORDS = read_records(ROOT / "leaderboards" / "results")


@pytest.fixture(scope="module")
def digits() -> ImageSet:
    """Two images of each class, as a distilled set."""
    train = load_split("digits", "train")
    rows = np.concatenate([np.flatnonzero(train.labels == label)[:2] for label in range(10)])
    return ImageSet(train.images[rows], train.labels[rows])


def cell(sheet: Image.Image, line: int, column: int, side: int, columns: int) -> np.ndarray:
    """uint8 [side, side, 3] of the image that is shown there."""
    left = sheet.width - MARGIN - (columns - column) * (side + GAP)
    top = MARGIN + line * (side + GAP)
    return np.asarray(sheet)[top : top + side, left : left + side]


def test_a_row_shows_the_first_images_of_its_class_enlarged_with_hard_edges(digits):
    sheet = contact_sheet(digits, NAMES, classes=10, images=2)
    for line in range(10):
        for column in range(2):
            enlarged = digits.images[2 * line + column].transpose(1, 2, 0).repeat(8, axis=0).repeat(8, axis=1)
            assert np.array_equal(cell(sheet, line, column, 64, 2), enlarged)


def test_order_within_a_class_is_the_sets_own_whatever_lies_between(digits):
    mixed = np.random.default_rng(0).permutation(20)
    sheet = contact_sheet(ImageSet(digits.images[mixed], digits.labels[mixed]), NAMES, 10, 1)
    first_seven = digits.images[mixed][digits.labels[mixed] == 7][0]
    assert np.array_equal(cell(sheet, 7, 0, 64, 1)[::8, ::8], first_seven.transpose(1, 2, 0))


def test_normalised_floats_are_shown_as_the_pixels_they_stand_for_and_cut_to_what_can_be_shown(digits):
    mean, std = (np.array(values, np.float32).reshape(3, 1, 1) for values in NORMALIZATIONS["imagenet"])
    floats = ((digits.images / 255 - mean) / std).astype(np.float32)
    shown = contact_sheet(ImageSet(floats, digits.labels, normalization="imagenet"), NAMES, 10, 2)
    assert np.array_equal(np.asarray(shown), np.asarray(contact_sheet(digits, NAMES, 10, 2)))
    outside = contact_sheet(ImageSet(floats * 0 + 50, digits.labels, normalization="imagenet"), NAMES, 1, 1)
    assert (cell(outside, 0, 0, 64, 1) == 255).all()


def test_encoded_images_of_any_size_are_shown_as_squares():
    pictures = []
    for height, width in ((300, 200), (50, 90)):
        buffer = io.BytesIO()
        Image.new("RGB", (width, height), (200, 10, 10)).save(buffer, format="JPEG", quality=95)
        pictures.append(buffer.getvalue())
    sheet = contact_sheet(ImageSet(EncodedImages(2, pictures.__getitem__), np.array([0, 1])), ("a", "b"), 2, 1)
    for line in range(2):
        assert np.abs(cell(sheet, line, 0, 128, 1).astype(int) - (200, 10, 10)).max() <= 3


def test_an_image_that_does_not_decode_is_named():
    broken = ImageSet(EncodedImages(1, lambda row: b"no image"), np.array([0]))
    with pytest.raises(EnvironmentProblem, match="image 0 of the set"):
        contact_sheet(broken, ("a",), 1, 1)


@pytest.mark.parametrize(("side", "shown"), [(8, 64), (28, 84), (32, 64), (64, 64), (96, 96), (128, 128), (224, 128)])
def test_small_images_grow_by_whole_numbers_and_large_ones_shrink(side, shown):
    image_set = ImageSet(np.zeros((1, 3, side, side), np.uint8), np.array([0]))
    assert cell_side(image_set) == shown
    assert contact_sheet(image_set, ("a",), 1, 1).height == shown + 2 * MARGIN + GAP


def test_classes_are_spread_over_all_and_the_same_for_every_set():
    assert shown_classes(10, 10) == list(range(10))
    assert shown_classes(200, 5) == [0, 50, 100, 149, 199]
    assert shown_classes(3, 10) == [0, 1, 2]
    assert shown_classes(7, 1) == [0]


def test_every_name_leaves_its_mark_whatever_it_is_written_in(digits):
    plain = contact_sheet(digits, NAMES, 10, 1)
    for names in (("",) * 10, ("goldfish",) * 10, ("Gürteltier" * 20,) * 10, ("金魚",) * 10):
        sheet = contact_sheet(digits, names, 10, 1)
        assert sheet.size[1] == plain.size[1]
        assert sheet.size[0] < 400
    named = np.asarray(contact_sheet(digits, ("goldfish",) * 10, 1, 1))[:, :-80]
    assert (named == 0).any()


def test_the_same_set_gives_the_same_bytes_and_another_set_others(digits, tmp_path):
    for name, image_set in (("a", digits), ("b", digits), ("c", ImageSet(255 - digits.images, digits.labels))):
        write_contact_sheet(tmp_path / "sheets" / f"{name}.png", image_set, NAMES)
    first, second, third = ((tmp_path / "sheets" / f"{name}.png").read_bytes() for name in "abc")
    assert first == second != third
    assert Image.open(io.BytesIO(first)).info == {}  # no clock, no path, no version


def test_a_coreset_submission_is_shown_with_the_images_its_rows_select(tmp_path):
    submission = read_submission(RANDOM)
    show_submission(submission, Machine(ROOT), tmp_path / "sheet.png", draw=1, classes=10, images=3)
    sheet = Image.open(tmp_path / "sheet.png")
    rows = json.loads((ROOT / submission.sets[1].path).read_bytes())["rows"]
    train = load_split("digits", "train")
    assert np.array_equal(cell(sheet, 4, 2, 64, 3)[::8, ::8], train.images[rows[42]].transpose(1, 2, 0))


def test_a_distilled_submission_is_shown_with_its_own_images(tmp_path):
    submission = read_submission(ROOT / "submissions/kmeans-centroids/digits-ipc5.yaml")
    show_submission(submission, Machine(ROOT), tmp_path / "sheet.png")
    encoded = pq.read_table(ROOT / submission.sets[0].path).column("image")[3 * 5 + 4].as_py()["bytes"]
    shown = cell(Image.open(tmp_path / "sheet.png"), 3, 4, 64, 5)
    assert np.array_equal(shown[::8, ::8], np.asarray(Image.open(io.BytesIO(encoded))))


@pytest.mark.parametrize(("classes", "images"), [(0, 1), (1, 0), (-1, 5), (101, 100)])
def test_sheets_of_no_image_or_of_far_too_many_are_refused(digits, classes, images):
    with pytest.raises(UsageError, match="sheet of"):
        contact_sheet(digits, NAMES, classes, images)


def test_a_draw_the_submission_lacks_and_a_file_that_is_no_png_are_refused(digits, tmp_path):
    with pytest.raises(UsageError, match="no draw 3"):
        show_submission(read_submission(RANDOM), Machine(ROOT), tmp_path / "a.png", draw=3)
    with pytest.raises(UsageError, match="PNG"):
        write_contact_sheet(tmp_path / "a.jpg", digits, NAMES)
    assert not list(tmp_path.iterdir())


def test_an_altered_set_is_not_shown(tmp_path):
    for name in ("digits-ipc1.yaml", "digits-ipc1"):
        copy = shutil.copytree if (RANDOM.parent / name).is_dir() else shutil.copy
        (tmp_path / "submissions/random").mkdir(parents=True, exist_ok=True)
        copy(RANDOM.parent / name, tmp_path / "submissions/random" / name)
    submission = read_submission(tmp_path / "submissions/random/digits-ipc1.yaml")
    (tmp_path / submission.sets[0].path).write_text('{"rows":[1,2,3,4,5,6,7,8,9,10]}')
    with pytest.raises(SubmissionError):
        show_submission(submission, Machine(tmp_path), tmp_path / "a.png")


def test_classes_without_names_are_numbered():
    assert names_of("digits") == NAMES
    assert names_of("cifar100") == tuple(map(str, range(100)))
    with pytest.raises(UsageError, match="no dataset"):
        names_of("mnist")


def test_every_committed_sheet_of_digits_shows_the_set_as_it_is_now(tmp_path):
    committed = sorted((ROOT / "submissions").glob("*/digits-ipc*.png"))
    assert committed
    shutil.copytree(ROOT / "submissions", tmp_path / "submissions", ignore=shutil.ignore_patterns("*.png", "tiny-*"))
    for sheet in committed:
        made = show_on_boards(read_submission(sheet.with_suffix(".yaml")), Machine(tmp_path))
        assert made == tmp_path / sheet.relative_to(ROOT)
        assert np.array_equal(np.asarray(Image.open(made)), np.asarray(Image.open(sheet))), sheet


def test_every_measured_set_has_the_sheet_that_its_boards_link():
    measured = {(path.parents[1].parent.name, path.parents[1].name, path.parents[2].parent.name) for path, _ in RECORDS}
    for slug, ipc, dataset in sorted(measured):
        submission = read_submission(ROOT / "submissions" / slug / f"{dataset}-{ipc}.yaml")
        if submission.kind != "full":
            assert (ROOT / submission.sheet_path).is_file(), f"hlbench show {submission.relative_path}"
            assert f"[sheet](../{submission.sheet_path})" in (ROOT / f"leaderboards/{dataset}.md").read_text()


def test_a_sheet_for_boards_keeps_photographs_to_25_cells(tmp_path, monkeypatch):
    rows = np.repeat(np.arange(200), 10)
    set_of_photographs = ImageSet(np.zeros((2000, 3, 64, 64), np.uint8), rows)
    monkeypatch.setattr("harness.show.load_set", lambda *_: (set_of_photographs, {}))
    submission = read_submission(ROOT / "submissions/random/tiny-imagenet-ipc10.yaml")
    sheet = Image.open(show_on_boards(submission, Machine(tmp_path)))
    assert sheet.height == 2 * MARGIN + 5 * (64 + GAP)


def test_a_draw_or_a_size_without_a_file_of_ones_own_is_refused(monkeypatch, capsys):
    hlbench = caller(monkeypatch, capsys, "show", str(RANDOM))
    for option in (("--draw", "2"), ("--classes", "3"), ("--images", "3")):
        code, _, err = hlbench(*option)
        assert code == 2
        assert "--out" in err
