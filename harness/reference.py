"""The reference submissions this project ships: which method, under which title, written where."""

from __future__ import annotations

from pathlib import Path

from harness.coresets import SELECTORS
from harness.datasets import load_split
from harness.distill import DISTILLERS
from harness.errors import UsageError
from harness.submissions import FULL_DATASET, SLUG, Submission
from harness.write_submission import write_coreset, write_distilled, write_full

TITLES = {
    "random": "Random Real",
    "kmeans-nearest": "Nearest real image to k-means centroids",
    "kmeans-centroids": "Class-wise k-means centroids",
    FULL_DATASET: "Full dataset",
}
NOTES = {
    "random": "Uniform without replacement in each class. The baseline every set must beat.",
    "kmeans-nearest": "k = IPC pixel-space k-means centres a class; the nearest unused real image to each.",
    "kmeans-centroids": "k = IPC pixel-space k-means centres a class, rounded to 8-bit images. No real image is among them.",
    FULL_DATASET: "The whole training split, seen for as many images as a set of this IPC. A yardstick, in no rank and no test.",
}


def make_reference(
    root: Path, kind: str, method: str, dataset: str, ipc: int, draws: int, data: Path | None = None, slug: str | None = None
) -> Submission:
    """Write `submissions/<slug>/<dataset>-ipc<N>.yaml` and its data files below `root`; same arguments, same bytes.

    `kind` is coreset, distilled or full; `slug` None means the method's name. Raises UsageError for an unknown method or dataset,
    an IPC larger than the smallest class, an unfit slug, and when another submission lies there already.
    """
    if slug is not None and not SLUG.fullmatch(slug):
        raise UsageError(f"{slug!r} is not a slug", where="--slug", fix="use 1 to 64 of a-z, 0-9 and '-'")
    known = {"coreset": tuple(SELECTORS), "distilled": tuple(DISTILLERS), "full": (FULL_DATASET,)}[kind]
    if method not in known:
        raise UsageError(f"no reference method {method!r} for a {kind} set", fix=f"choose one of: {', '.join(known)}")
    train = load_split(dataset, "train", data)
    header = {
        "title": TITLES[method],
        "authors": ["hlbench maintainers"],
        "licence": "CC-BY-4.0" if kind == "distilled" else "CC0-1.0",
        "contact": "open an issue in this repository",
        "notes": NOTES[method],
        "method": method,
    }
    folder = root / "submissions" / (slug or method)
    if kind == "full":
        return write_full(folder, header, train, ipc)
    if kind == "coreset":
        return write_coreset(folder, header, train, ipc, [SELECTORS[method](train, ipc, draw) for draw in range(draws)])
    return write_distilled(folder, header, train, ipc, [DISTILLERS[method](train, ipc, draw) for draw in range(draws)])
