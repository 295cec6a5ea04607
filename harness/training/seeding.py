"""One random generator per purpose, derived from the unit's seed alone: never the global one, the clock, or the order of work."""

from __future__ import annotations

import hashlib

import torch


def generator_for(seed: int, purpose: str) -> torch.Generator:
    """A CPU generator for one purpose (`init`, `order`, `augmentation`, `cutmix`) of one seed.

    Numbers are drawn on the CPU and moved, so that a unit sees the same draws on every device.
    """
    derived = int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:8], "big") >> 1
    return torch.Generator().manual_seed(derived)
