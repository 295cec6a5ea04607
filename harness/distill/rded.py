"""RDED (Sun et al., "On the Diversity and Realism of Distilled Dataset"; code LINs-lab/RDED 3f6453d8; methods G.1).

Of each class some random images; of each image the one of a few random crops that the observer finds most realistic; of those the
IPC * f² most realistic, stitched f x f into IPC images. What differs from the official code:
- one seeded generator for each draw and class (the official synthesis is unseeded);
- a crop is rounded to 8 bits before the observer sees it, so that its cross-entropy is that of the pixels in the set. The
  official code judges floats, rounds them down afterwards and does not clamp (methods I.5); here nothing can leave 0..255;
- PNG in place of JPEG at quality 75, and beside it every piece's source row and box;
- factors that do not divide the side are refused (the official code then stretches some pieces by one pixel);
- digits stay at 8 pixels, their own resolution, beyond which intake accepts no set; the observer sees them enlarged to 32, as the
  students do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from harness.canonical import digest, sha256_hex
from harness.datasets.base import Split
from harness.datasets.decode import image_size
from harness.distill.judged import Judged, folder_of, recalled
from harness.distill.method import DistilledSet, Source
from harness.distill.observer import BATCH, Observer
from harness.distill.patches import Layout, Patches, StitchedImages, arranged, cut_all
from harness.environment import cpu_model
from harness.errors import UsageError
from harness.imageset import EncodedImages
from harness.training.crop_flip import sample_boxes
from harness.training.seeding import generator_for

IMAGES_PER_CLASS, CROPS = 300, 5  # RDED scripts: --mipc 300 --num-crop 5
CROP_SCALE, CROP_RATIO = (0.08, 1.0), (1.0, 1.0)  # RDED MultiRandomCrop, torchvision's default scale
JUDGEMENT_VERSION = 1  # raised when the code judges the same crops otherwise
STITCHED_FROM_SIDE = 128  # RDED scripts: factor 2 from 128 pixels, 1 below


def distill_rded(source: Source, ipc: int, draw: int, factor: int | None, images_per_class: int, crops: int) -> DistilledSet:
    """`factor` None: 2 from 128 pixels, else 1. Raises UsageError for too few images in a class, and what cannot be stitched."""
    layout = layout_for(source, ipc, factor)
    pools = random_pools(source.split, layout, draw, images_per_class)
    return stitched_set(source, pools, layout, draw, crops)


def layout_for(source: Source, ipc: int, factor: int | None) -> Layout:
    """Images of the dataset's own side, or of the observer's where they vary (ImageNet-1K)."""
    images = source.split.images
    side = source.observer.resolution if isinstance(images, EncodedImages) else images.shape[-1]
    return Layout(ipc, side, factor if factor is not None else (2 if side >= STITCHED_FROM_SIDE else 1))


def stitched_set(source: Source, pools: Sequence[np.ndarray], layout: Layout, draw: int, crops: int) -> DistilledSet:
    """The set that the images of `pools` (rows of each class, ascending) give."""
    split = source.split
    kept = folder_of(judgement_key(source, pools, layout, draw, crops)) if source.recall else None
    patches = most_realistic(split.images, pools, source.observer, layout, draw, crops, on_class=source.on_class, kept=kept)
    return DistilledSet(StitchedImages(split.images, patches), patches.labels, layout.factor, patches)


def judgement_key(source: Source, pools: Sequence[np.ndarray], layout: Layout, draw: int, crops: int) -> str:
    """Names everything that the observer's judgements hang on, rounding included; the IPC is not among it. 64 hex digits."""
    observer = source.observer
    return digest(
        {
            "split": source.split.fingerprint,
            "version": JUDGEMENT_VERSION,
            "observer": observer.sha256,
            "resolution": observer.resolution,
            "statistics": observer.statistics,
            "device": observer.device,
            "processor": cpu_model() if observer.device == "cpu" else torch.cuda.get_device_name(observer.device),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "batch": BATCH,
            "crop_scale": CROP_SCALE,
            "crop_ratio": CROP_RATIO,
            "pools": [sha256_hex(np.ascontiguousarray(pool, dtype="<i8").tobytes()) for pool in pools],
            "side": layout.side,
            "piece_side": layout.piece_side,
            "draw": draw,
            "crops": crops,
        }
    )


def random_pools(split: Split, layout: Layout, draw: int, images_per_class: int) -> list[np.ndarray]:
    """For every class `images_per_class` of its rows (all, if it has fewer), int64, ascending. Nested in `images_per_class`."""
    pools = []
    for label, rows in enumerate(class_rows(split.labels)):
        order = torch.randperm(len(rows), generator=generator_for(draw, f"rded/images/class{label}")).numpy()
        pools.append(np.sort(rows[order[: max(images_per_class, 0)]]))
    check_pools(split, pools, layout, "images_per_class")
    return pools


def class_rows(labels: np.ndarray) -> list[np.ndarray]:
    return [np.flatnonzero(labels == label) for label in range(int(labels.max()) + 1)]


def check_pools(split: Split, pools: Sequence[np.ndarray], layout: Layout, parameter: str) -> None:
    """Raises UsageError, with the numbers, when a class has fewer pool images than pieces: an image gives at most one."""
    label = min(range(len(pools)), key=lambda at: len(pools[at]))
    if len(pools[label]) >= layout.needed:
        return
    available = int(np.bincount(split.labels)[label])
    smaller = [f"--ipc {available // layout.pieces} or less"] if available >= layout.pieces else []
    smaller += ["factor 1"] if layout.factor > 1 else []
    raise UsageError(
        f"class {label} of {split.dataset} has too few images for IPC {layout.ipc}",
        where=parameter,
        why=f"IPC x factor² = {layout.ipc} x {layout.pieces} = {layout.needed} pieces, one an image; "
        f"{len(pools[label])} images are looked at, the class has {available}",
        fix=f"choose {parameter} of {layout.needed} or more" if available >= layout.needed else f"choose {', or '.join(smaller)}",
    )


def most_realistic(
    images: np.ndarray | EncodedImages,
    pools: Sequence[np.ndarray],
    observer: Observer,
    layout: Layout,
    draw: int,
    crops: int = CROPS,
    batch: int = BATCH,
    on_class: Callable[[int, int], None] | None = None,
    kept: Path | None = None,
) -> Patches:
    """The pieces of a stitched set: of each image of `pools` its most realistic crop, of those the lowest cross-entropies.

    Ties go to the first crop and the lowest row. Only one class is decoded at a time. `batch`: pieces per pass of the observer;
    no random number depends on it. `kept`: folder of this pass's judgements, used where they are there; None asks anew.
    """
    if crops < 1:
        raise UsageError(f"{crops} crops an image", where="crops", fix="choose 1 or more")
    rows, boxes, values = [], [], []
    for label, pool in enumerate(pools):
        ask = partial(judge_class, images, pool, label, observer, layout, draw, crops, batch)
        judged = recalled(kept / f"class{label}.safetensors", len(pool), ask) if kept else ask()
        order = np.argsort(judged.cross_entropy, kind="stable")[arranged(layout)]
        rows.append(pool[order])
        boxes.append(judged.boxes[order])
        values.append(judged.cross_entropy[order])
        if on_class:
            on_class(label + 1, len(pools))
    return Patches(layout, np.concatenate(rows), np.concatenate(boxes), np.concatenate(values).astype(np.float32))


def judge_class(
    images: np.ndarray | EncodedImages,
    pool: np.ndarray,
    label: int,
    observer: Observer,
    layout: Layout,
    draw: int,
    crops: int,
    batch: int,
) -> Judged:
    """The most realistic of `crops` random crops of every image of `pool`, and how realistic it is."""
    found = crop_boxes(images, pool, crops, generator_for(draw, f"rded/crops/class{label}"))
    pieces = torch.from_numpy(cut_all(images, pool, found, layout.piece_side))
    cross_entropy = observer.cross_entropy(pieces.flatten(0, 1), label, layout.side, batch).view(len(pool), crops).numpy()
    best = cross_entropy.argmin(axis=1)
    return Judged(found[np.arange(len(pool)), best].astype(np.int32), cross_entropy.min(axis=1))


def crop_boxes(images: np.ndarray | EncodedImages, rows: np.ndarray, crops: int, generator: torch.Generator) -> np.ndarray:
    """int64 [n, crops, 4]: square boxes of 8 to 100 % of the area, as torchvision's RandomResizedCrop draws them."""
    if isinstance(images, EncodedImages):
        sizes = torch.tensor([image_size(images.read(int(row))) for row in rows])
    else:
        sizes = torch.tensor(images.shape[2:]).expand(len(rows), 2)
    heights, widths = sizes.repeat_interleave(crops, dim=0).unbind(1)
    return sample_boxes(heights, widths, CROP_SCALE, CROP_RATIO, generator).view(len(rows), crops, 4).numpy()
