"""Random resized crop with horizontal flip, and PatchShuffle, on batched tensors.

The resize is torchvision's antialiased bilinear one, written as two matrix products a batch, so that every image has its own crop
and no image is handled alone. Crop sampling: torchvision RandomResizedCrop.get_params. PatchShuffle: RDED validation/utils.py.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from harness.protocol_models import CropFlip

ATTEMPTS = 10  # torchvision tries ten boxes before it falls back to a central crop


def crop_scale(settings: CropFlip, patch_shuffle: int) -> tuple[float, float]:
    """Range of the crop's share of the image area; (1/f, 1) for sets stitched with factor f (methods A.6)."""
    return (1 / patch_shuffle, 1.0) if patch_shuffle > 1 else settings.scale


def sample_boxes(
    heights: Tensor, widths: Tensor, scale: tuple[float, float], ratio: tuple[float, float], generator: torch.Generator
) -> Tensor:
    """Crop boxes (top, left, height, width), int64 [B, 4], for images of the given sizes (int64 [B])."""
    shape = (len(heights), ATTEMPTS)
    area = torch.empty(shape).uniform_(*scale, generator=generator) * (heights * widths)[:, None]
    aspect = torch.empty(shape).uniform_(math.log(ratio[0]), math.log(ratio[1]), generator=generator).exp()
    box_widths, box_heights = (area * aspect).sqrt().round().long(), (area / aspect).sqrt().round().long()
    fits = (box_widths > 0) & (box_widths <= widths[:, None]) & (box_heights > 0) & (box_heights <= heights[:, None])
    first = fits.int().argmax(dim=1, keepdim=True)
    height, width = box_heights.gather(1, first)[:, 0], box_widths.gather(1, first)[:, 0]
    spread = torch.rand((2, len(heights)), generator=generator, dtype=torch.float64)
    top = (spread[0] * (heights - height + 1)).long()
    left = (spread[1] * (widths - width + 1)).long()
    sampled = torch.stack([top, left, height, width], dim=1)
    return torch.where(fits.any(dim=1, keepdim=True), sampled, _central_boxes(heights, widths, ratio))


def _central_boxes(heights: Tensor, widths: Tensor, ratio: tuple[float, float]) -> Tensor:
    """torchvision's fallback: the largest central box whose aspect lies in `ratio`."""
    aspect = (widths / heights).clamp(*ratio)
    width = torch.minimum(widths, (heights * aspect).round().long())
    height = torch.minimum(heights, (widths / aspect).round().long())
    return torch.stack([(heights - height) // 2, (widths - width) // 2, height, width], dim=1)


def crop_and_flip(images: Tensor, boxes: Tensor, flipped: Tensor, size: int) -> Tensor:
    """Each image's box resized to size x size, mirrored where `flipped` (bool [B]). Float [B, 3, H, W] -> [B, 3, size, size]."""
    top, left, height, width = boxes.to(images.device).unbind(1)
    rows = resize_weights(top, height, images.shape[2], size).to(images.dtype)
    columns = resize_weights(left, width, images.shape[3], size).to(images.dtype)
    columns = torch.where(flipped.to(images.device)[:, None, None], columns.flip(1), columns)
    return rows[:, None] @ images @ columns.transpose(1, 2)[:, None]


def resize_weights(start: Tensor, length: Tensor, source: int, size: int) -> Tensor:
    """Triangle-filter weights, float32 [B, size, source], that resize pixels [start, start + length) to `size` pixels.

    As torch's antialiased bilinear interpolation: the filter widens with the scale when shrinking and sees only the box.
    """
    scale = (length / size)[:, None, None]
    position = torch.arange(source, device=start.device)[None, None, :] - start[:, None, None]
    centre = (torch.arange(size, device=start.device)[None, :, None] + 0.5) * scale
    weights = (1 - (position + 0.5 - centre).abs() / scale.clamp(min=1)).clamp(min=0)
    weights = weights * ((position >= 0) & (position < length[:, None, None]))
    return weights / weights.sum(dim=2, keepdim=True)


def patch_shuffle(images: Tensor, factor: int, generator: torch.Generator) -> Tensor:
    """Permute `factor` vertical strips, then as many horizontal strips, independently for every image. Any [B, C, H, W].

    A strip is floor(side / factor) pixels wide; the last takes the remainder (RDED ShufflePatches).
    """
    if factor == 1:
        return images
    for axis in (3, 2):
        order = shuffled_strips(len(images), images.shape[axis], factor, generator).to(images.device)
        shape = [len(images), 1, 1, 1]
        shape[axis] = images.shape[axis]
        images = images.gather(axis, order.view(shape).expand_as(images))
    return images


def shuffled_strips(count: int, side: int, factor: int, generator: torch.Generator) -> Tensor:
    """Source positions, int64 [count, side], of one axis whose strips were permuted."""
    strip = (torch.arange(side) // (side // factor)).clamp(max=factor - 1)
    new_place = torch.rand((count, factor), generator=generator).argsort(dim=1)
    return new_place[:, strip].argsort(dim=1, stable=True)
