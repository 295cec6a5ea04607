"""Siamese augmentation (methods C): one operation with one draw of its parameters for all images, as DSA and DM match sets.

DC utils.py (DiffAugment with a seed, aug_mode S) gives every image the parameters of the batch's first; here the operations of
`dsa.py` see one image at a time under `vmap`, whose randomness "same" draws once. What an image becomes does not depend on the
images beside it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness.protocol_models import Dsa
from harness.training.dsa import augment_dsa


def augment_siamese(images: Tensor, settings: Dsa, generator: torch.Generator) -> Tensor:
    """One operation of `settings.strategy`, with one draw, on float [B, 3, H, W]; same shape, dtype and device."""

    def augment(image: Tensor) -> Tensor:
        return augment_dsa(image[None], settings, generator)[0]

    return torch.func.vmap(augment, randomness="same")(images)
