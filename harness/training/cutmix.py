"""CutMix as relabelling pipelines use it: the teacher labels the mixed image, so labels are never mixed (methods A.5).

Source: VILA-Lab/SRe2L relabel/utils_fkd.py (mix_aug, rand_bbox).
"""

from __future__ import annotations

import math

import torch
from scipy.special import betaincinv
from torch import Tensor

from harness.protocol_models import CutMix


def cutmix(images: Tensor, settings: CutMix, generator: torch.Generator) -> Tensor:
    """Float [B, 3, H, W]: every image with one box pasted from another of the batch; one box and one permutation for all.

    A new tensor, or `images` themselves where the probability says so. Every batch draws the same count of random numbers.
    """
    applied, quantile, row, column = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
    partner = torch.randperm(len(images), generator=generator).to(images.device)
    if applied >= settings.probability:
        return images
    share_kept = float(betaincinv(settings.beta_alpha, settings.beta_alpha, quantile))  # lambda ~ Beta(alpha, alpha)
    top, bottom, left, right = cut_box(*images.shape[2:], share_kept, row, column)
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images[partner, :, top:bottom, left:right]
    return mixed


def cut_box(height: int, width: int, share_kept: float, row: float, column: float) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of a box of the image's shape and 1 - `share_kept` of its area, clipped at the border.

    `row`, `column` in [0, 1) choose the pixel of its centre. Half sides are whole pixels, so odd sides lose one.
    """
    ratio = math.sqrt(1 - share_kept)
    half_height, half_width = int(height * ratio) // 2, int(width * ratio) // 2
    y, x = int(row * height), int(column * width)
    return max(y - half_height, 0), min(y + half_height, height), max(x - half_width, 0), min(x + half_width, width)
