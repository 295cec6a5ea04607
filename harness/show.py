"""Contact sheets: a look at a set, a row of images for each of some classes, with the classes' names (the paper's appendix I).

Pixels are shown as they are stored: float images are un-normalised, small ones enlarged with hard edges, large ones reduced. The
text is Pillow's built-in bitmap font, so that the same set gives the same bytes wherever the same Pillow is.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from harness.datasets import dataset_spec
from harness.datasets.decode import eval_view
from harness.errors import EnvironmentProblem, UsageError
from harness.imageset import EncodedImages, ImageSet
from harness.normalization import NORMALIZATIONS
from harness.submissions import Submission
from harness.work import Machine, load_set

CELL_AT_LEAST, CELL_AT_MOST = 64, 128  # pixels a side of a shown image
GAP, MARGIN = 2, 6
FONT_SCALE = 2  # the bitmap font is 11 pixels high
LONGEST_NAME = 30  # letters; longer names are cut, and those that are wide at twice the size are written at the font's own
MOST_CELLS = 10_000
BOARD_CLASSES, BOARD_IMAGES, BOARD_CELLS = 10, 10, 25  # at most; the last where a cell is a photograph of 10 kB
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def show_submission(
    submission: Submission, machine: Machine, path: Path, draw: int = 0, classes: int = 10, images: int = 10
) -> None:
    """Write the contact sheet of one draw. Raises as `load_set` and `write_contact_sheet`, and UsageError for a draw it lacks."""
    if not 0 <= draw < submission.draws:
        raise UsageError(f"no draw {draw}", where=submission.relative_path, fix=f"its draws are 0 to {submission.draws - 1}")
    image_set, _ = load_set(submission, draw, machine)
    write_contact_sheet(path, image_set, names_of(submission.dataset), classes, images)


def show_on_boards(submission: Submission, machine: Machine) -> Path:
    """Write the contact sheet of draw 0 that boards link, and return where. Raises as `show_submission`."""
    path = machine.root / submission.sheet_path
    image_set, _ = load_set(submission, 0, machine)
    columns, rows = min(submission.ipc, BOARD_IMAGES), BOARD_CLASSES
    if isinstance(image_set.images, EncodedImages) or image_set.images.shape[-1] >= CELL_AT_LEAST:
        columns = min(columns, int(BOARD_CELLS**0.5))
        rows = min(rows, BOARD_CELLS // columns)
    write_contact_sheet(path, image_set, names_of(submission.dataset), rows, columns)
    return path


def names_of(dataset: str) -> tuple[str, ...]:
    """The dataset's class names in label order, or the numbers of its classes. Raises UsageError for an unknown dataset."""
    spec = dataset_spec(dataset)
    return spec.class_names or tuple(map(str, range(spec.classes)))


def write_contact_sheet(path: Path, image_set: ImageSet, class_names: Sequence[str], classes: int = 10, images: int = 10) -> None:
    """As `contact_sheet`, to a PNG file; its folder is made. Raises UsageError, EnvironmentProblem and OSError."""
    if path.suffix.lower() != ".png":
        raise UsageError("a contact sheet is a PNG file", where=str(path), fix="name it something.png")
    buffer = io.BytesIO()
    contact_sheet(image_set, class_names, classes, images).save(buffer, format="PNG", compress_level=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())


def contact_sheet(image_set: ImageSet, class_names: Sequence[str], classes: int = 10, images: int = 10) -> Image.Image:
    """An RGB picture with one row a class: its name, then its first `images` images in the set's order.

    `classes` of them, spread evenly over all; fewer classes or images than asked for are all shown. `class_names` in label order.
    Raises UsageError for numbers below 1 or more than 10,000 images in all, EnvironmentProblem for an image that does not decode.
    """
    if classes < 1 or images < 1 or classes * images > MOST_CELLS:
        raise UsageError(
            f"a sheet of {classes} classes x {images} images",
            where="--classes, --images",
            fix=f"choose 1 or more of each, at most {MOST_CELLS} images in all",
        )
    labels = shown_classes(len(class_names), classes)
    rows = [np.flatnonzero(image_set.labels == label)[:images] for label in labels]
    side = cell_side(image_set)
    captions = [_caption(class_names[label], 3 * side) for label in labels]
    indent = MARGIN + max(caption.width for caption in captions) + MARGIN
    width = indent + max(1, *map(len, rows)) * (side + GAP) + MARGIN
    height = MARGIN + len(labels) * (side + GAP) + MARGIN
    sheet = Image.new("RGB", (width, height), WHITE)
    for line, (caption, members) in enumerate(zip(captions, rows, strict=True)):
        top = MARGIN + line * (side + GAP)
        sheet.paste(caption, (indent - MARGIN - caption.width, top + (side - caption.height) // 2))
        for column, row in enumerate(members):
            sheet.paste(_cell(image_set, int(row), side), (indent + column * (side + GAP), top))
    return sheet


def shown_classes(classes: int, wanted: int) -> list[int]:
    """Labels spread evenly over 0..classes-1, both ends among them; the same for every set of a dataset."""
    return np.linspace(0, classes - 1, min(wanted, classes)).round().astype(int).tolist()


def cell_side(image_set: ImageSet) -> int:
    """Pixels: images below 64 are enlarged by a whole number, those above 128 and encoded ones (they may vary) reduced to 128."""
    if isinstance(image_set.images, EncodedImages):
        return CELL_AT_MOST
    side = image_set.images.shape[-1]
    return min(side * max(1, -(-CELL_AT_LEAST // side)), CELL_AT_MOST)


def pixels_shown(image_set: ImageSet, row: int) -> np.ndarray:
    """uint8 [H, W, 3] of a decoded set, as it is looked at: floats are un-normalised, rounded and cut to 0..255."""
    image = np.asarray(image_set.images[row])
    if image_set.normalization is not None:
        mean, std = (np.array(values).reshape(3, 1, 1) for values in NORMALIZATIONS[image_set.normalization])
        image = np.clip(np.rint((image * std + mean) * 255), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(image.transpose(1, 2, 0))


def _cell(image_set: ImageSet, row: int, side: int) -> Image.Image:
    if isinstance(image_set.images, EncodedImages):
        try:
            return Image.fromarray(eval_view(image_set.images.read(row), side, side).transpose(1, 2, 0))
        except ValueError as reason:
            raise EnvironmentProblem(f"image {row} of the set cannot be decoded", why=str(reason)) from reason
    image = Image.fromarray(pixels_shown(image_set, row))
    if image.width == side:
        return image
    return image.resize((side, side), Image.Resampling.NEAREST if image.width < side else Image.Resampling.BILINEAR)


def _caption(name: str, widest: int) -> Image.Image:
    """The name, right-hand edge to the images; letters that the font lacks become question marks."""
    text = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 2] + ".."
    font = ImageFont.load_default_imagefont()
    text = text.encode("latin-1", "replace").decode("latin-1")
    left, top, right, bottom = font.getbbox(text)
    caption = Image.new("RGB", (max(1, int(right - left)), max(1, int(bottom - top))), WHITE)
    ImageDraw.Draw(caption).text((-left, -top), text, fill=BLACK, font=font)
    scale = FONT_SCALE if caption.width * FONT_SCALE <= widest else 1
    return caption.resize((caption.width * scale, caption.height * scale), Image.Resampling.NEAREST)
