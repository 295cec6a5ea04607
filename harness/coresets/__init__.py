"""Coreset selectors, one file each: pure functions of scores, features or pixels to an ordered list of rows, IPC per class."""

from __future__ import annotations

from harness.coresets import registry

# Those that need the split alone; `registry.SELECTORS` holds all.
SELECTORS = {name: selector for name, selector in registry.SELECTORS.items() if selector.needs != "dynamics"}
