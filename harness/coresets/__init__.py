"""Coreset selectors, one file each: scores or features, labels and IPC to an ordered list of rows. `registry.py` names them."""

from __future__ import annotations

from harness.coresets.registry import SELECTORS
from harness.coresets.selector import Selector, Source

__all__ = ["SELECTORS", "Selector", "Source"]
