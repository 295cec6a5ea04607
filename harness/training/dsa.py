"""Differentiable Siamese augmentation at evaluation (methods C): one of six operations a batch, own parameters for every image.

Formulas: VICO-UoE/DatasetCondensation utils.py (ParamDiffAug, rand_*). All act on normalised images: zero is the mean colour.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.protocol_models import Dsa


def augment_dsa(images: Tensor, settings: Dsa, generator: torch.Generator) -> Tensor:
    """One operation, drawn uniformly from `settings.strategy`, on float [B, 3, H, W]; same shape, dtype and device."""
    operations = {"color": color, "crop": crop, "cutout": cutout, "flip": flip, "scale": scale, "rotate": rotate}
    chosen = torch.randint(len(settings.strategy), (1,), generator=generator).item()
    return operations[settings.strategy[chosen]](images, settings, generator)


def color(images: Tensor, settings: Dsa, generator: torch.Generator) -> Tensor:
    """Brightness, then saturation, then contrast; each image has its own three strengths."""
    images = images + (_uniform(images, generator) - 0.5) * settings.brightness
    grey = images.mean(dim=1, keepdim=True)
    images = (images - grey) * (_uniform(images, generator) * settings.saturation) + grey
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (images - mean) * (_uniform(images, generator) + settings.contrast) + mean


def crop(images: Tensor, settings: Dsa, generator: torch.Generator) -> Tensor:
    """Whole-pixel translation by up to `crop_pad` of the side; zeros move in."""
    count, _, height, width = images.shape
    reach_y, reach_x = int(height * settings.crop_pad + 0.5), int(width * settings.crop_pad + 0.5)
    shift_y = torch.randint(-reach_y, reach_y + 1, (count, 1), generator=generator)
    shift_x = torch.randint(-reach_x, reach_x + 1, (count, 1), generator=generator)
    rows, rows_inside = _shifted(height, shift_y, images.device)
    columns, columns_inside = _shifted(width, shift_x, images.device)
    moved = images.gather(2, rows[:, None, :, None].expand_as(images)).gather(3, columns[:, None, None, :].expand_as(images))
    return moved * (rows_inside[:, None, :, None] & columns_inside[:, None, None, :])


def cutout(images: Tensor, settings: Dsa, generator: torch.Generator) -> Tensor:
    """A zeroed square of `cutout` of the side, its centre anywhere in the image, clipped at the border."""
    count, _, height, width = images.shape
    hidden_rows = _cut_span(height, settings.cutout, count, generator, images.device)
    hidden_columns = _cut_span(width, settings.cutout, count, generator, images.device)
    return images.masked_fill(hidden_rows[:, None, :, None] & hidden_columns[:, None, None, :], 0.0)


def flip(images: Tensor, settings: Dsa, generator: torch.Generator) -> Tensor:
    """Left-right mirror with probability `flip`."""
    return torch.where(_uniform(images, generator) < settings.flip, images.flip(3), images)


def scale(images: Tensor, settings: Dsa, generator: torch.Generator) -> Tensor:
    """Zoom by independent factors in x and y, each uniform in [1/scale, scale]; a factor above 1 shrinks the content."""
    smallest = 1 / settings.scale
    factors = torch.rand((2, len(images)), generator=generator) * (settings.scale - smallest) + smallest
    zero = torch.zeros(len(images))
    return _warp(images, [[factors[0], zero], [zero, factors[1]]], settings.align_corners)


def rotate(images: Tensor, settings: Dsa, generator: torch.Generator) -> Tensor:
    """Rotation by an angle uniform in +- rotate_degrees."""
    turns = (torch.rand(len(images), generator=generator) - 0.5) * 2 * settings.rotate_degrees
    angle = torch.deg2rad(turns)
    return _warp(images, [[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]], settings.align_corners)


def _uniform(images: Tensor, generator: torch.Generator) -> Tensor:
    """U(0, 1) for every image, [B, 1, 1, 1] on the images' device."""
    return torch.rand((len(images), 1, 1, 1), generator=generator).to(images.device, images.dtype)


def _shifted(size: int, shift: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """(source index clamped into the image, whether it lay inside), both [B, size]; `shift` is [B, 1]."""
    source = (torch.arange(size) + shift).to(device)
    return source.clamp(0, size - 1), (source >= 0) & (source < size)


def _cut_span(size: int, share: float, count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Which of `size` positions are hidden, bool [B, size]. An even cut's centre offset runs over [0, size] (DC rand_cutout)."""
    cut = int(size * share + 0.5)
    centre = torch.randint(0, size + (1 - cut % 2), (count, 1), generator=generator)
    offset = torch.arange(size) - (centre - cut // 2)
    return ((offset >= 0) & (offset < cut)).to(device)


def _warp(images: Tensor, matrix: list[list[Tensor]], align_corners: bool) -> Tensor:
    """Bilinear sampling, zeros outside, at the coordinates of a 2 x 2 matrix of [B] tensors."""
    rows = torch.stack([torch.stack([*row, torch.zeros_like(row[0])], dim=1) for row in matrix], dim=1)
    grid = F.affine_grid(rows.to(images.device, images.dtype), list(images.shape), align_corners=align_corners)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=align_corners)
