"""Why a coreset is good or bad on digits: accuracy under HL against hardness, diversity and coverage of its images.

    python benchmarks/coverage.py [--ipc 10]

One line a draw that has HL records. Coverage: the mean distance, in pixel space (0..1), of a training image to the nearest one in
the set of its class; lower covers better. Diversity: the mean distance between two images of the set in one class. Hardness: the
mean rank of its images in their class by EL2N over a full run, 0 easiest, 1 hardest. Below, Spearman's rho of each with accuracy.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict

import numpy as np
from scipy.spatial.distance import cdist, pdist
from scipy.stats import rankdata, spearmanr
from tabulate import tabulate

from harness.coresets.by_class import class_rows
from harness.datasets import load_split
from harness.datasets.base import Split
from harness.dynamics.artifact import open_dynamics
from harness.paths import project_root
from harness.records import read_records
from harness.submissions import read_submission
from harness.work import Machine, load_set

RECORDING = "dynamics/digits/resnet18-hl-v1-full"
PROTOCOL = "digits/resnet18-hl/v1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ipc", type=int, default=10)
    ipc = parser.parse_args().ipc
    root, train = project_root(), load_split("digits", "train")
    hardness = hardness_ranks(open_dynamics(root / RECORDING, train.labels, train.fingerprint).el2n, train.labels)
    rows = []
    for (slug, draw), accuracy in sorted(measured(ipc).items(), key=lambda entry: entry[1]):
        submission = read_submission(root / f"submissions/{slug}/digits-ipc{ipc}.yaml")
        if submission.kind == "coreset":
            image_set, _ = load_set(submission, draw, Machine(root))
            picked = image_set.source_rows
            rows.append([slug, draw, accuracy, coverage(train, picked), diversity(train, picked), hardness[picked].mean()])
    headers = ["coreset", "draw", "HL top-1", "coverage", "diversity", "hardness"]
    print(tabulate(rows, headers=headers, floatfmt=(None, "d", ".2f", ".3f", ".3f", ".2f")))
    for column, name in enumerate(headers[3:], start=3):
        rho = spearmanr([row[2] for row in rows], [row[column] for row in rows]).statistic
        print(f"Spearman's rho of accuracy with {name}, {len(rows)} draws: {rho:+.2f}")


def measured(ipc: int) -> dict[tuple[str, int], float]:
    """{(slug, draw): mean top-1 over seeds} of the committed records."""
    found = defaultdict(list)
    for _, record in read_records(project_root() / "leaderboards/results"):
        unit = record.unit
        if (unit.protocol, unit.ipc) == (PROTOCOL, ipc) and record.result:
            found[unit.slug, unit.draw].append(record.result.top1)
    return {key: statistics.fmean(values) for key, values in found.items()}


def hardness_ranks(el2n: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """float64 [N]: rank of each image's mean EL2N within its class, 0 to 1."""
    ranks, mean = np.empty(len(labels)), np.asarray(el2n, dtype=np.float64).mean(axis=0)
    for rows in class_rows(labels, 1):
        ranks[rows] = (rankdata(mean[rows]) - 1) / max(len(rows) - 1, 1)
    return ranks


def coverage(train: Split, picked: np.ndarray) -> float:
    pixels = _pixels(train)
    return statistics.fmean(
        float(cdist(pixels[train.labels == label], pixels[picked[train.labels[picked] == label]]).min(axis=1).mean())
        for label in np.unique(train.labels)
    )


def diversity(train: Split, picked: np.ndarray) -> float:
    pixels = _pixels(train)
    found = [pdist(pixels[picked[train.labels[picked] == label]]) for label in np.unique(train.labels)]
    return statistics.fmean(float(one.mean()) if len(one) else 0.0 for one in found)


def _pixels(train: Split) -> np.ndarray:
    return train.images[:, 0].reshape(len(train), -1) / 255  # digits are grey: three equal channels


if __name__ == "__main__":
    main()
