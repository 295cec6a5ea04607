"""What `hlbench select --list` and `hlbench distill --list` say of every method."""

from __future__ import annotations

from collections.abc import Mapping

from harness.coresets import SELECTORS
from harness.reference import FROM_SCORES
from harness.submissions import FULL_DATASET

NEEDS = {"observer": "observer", "cad": "dynamics"}  # as the options are called that name them


def selector_rows() -> list[dict[str, str]]:
    """A row a method of `hlbench select`."""
    return [
        *(_row(name, found.title, found.needs, found.randomised, found.parameters) for name, found in SELECTORS.items()),
        _row(FROM_SCORES, "From scores", "FILE, --order", False, {"--window": 0}),
        _row(FULL_DATASET, "Full dataset", "nothing", False, {}),
    ]


def distiller_rows() -> list[dict[str, str]]:
    """A row a method of `hlbench distill`."""
    from harness.distill.registry import DISTILLERS  # costs the import of torch

    return [
        _row(name, found.title, ", ".join(["pixels", *(NEEDS[need] for need in found.needs)]), True, found.parameters)
        for name, found in DISTILLERS.items()
    ]


def distillers_defaults() -> str:
    """What a parameter that is None stands for."""
    from harness.distill.ca2d import LARGEST_SHARE
    from harness.distill.rded import IMAGES_PER_CLASS, STITCHED_FROM_SIDE

    return (
        f"factor=None is 2 where images have {STITCHED_FROM_SIDE} pixels a side or more, else 1. pool=None is {IMAGES_PER_CLASS} "
        f"images a class, or {LARGEST_SHARE:.0%} of the smallest class where that is less, and at least 1.5 x IPC x factor²."
    )


def _row(name: str, title: str, needs: str, randomised: bool, parameters: Mapping[str, object]) -> dict[str, str]:
    return {
        "method": name,
        "title": title,
        "needs": needs,
        "draws differ": "yes" if randomised else "no",
        "parameters": ", ".join(f"{key}={value}" for key, value in parameters.items()),
    }
