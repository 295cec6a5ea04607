"""How much the ranking of a pool's subsets hangs on the number of random networks that DM and DC average over.

    python benchmarks/dcs_draws.py [dm dc] [--dataset digits] [--draws 20]

Per IPC, of the subsets that the DCS counts: the reliability of a mean over k networks, which is the variance between subsets
over itself plus a k-th of the rest (what a draw does to all subsets alike is taken out), and for one network Spearman's
correlation with the mean over all the others.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr
from tabulate import tabulate

from harness.datasets import load_split
from harness.dcs.lookup import frozen_pool
from harness.dcs.losses import scene_of
from harness.dcs.objectives import find_objective
from harness.dcs.pool import Pool, Subset, pool_rows
from harness.paths import project_root
from harness.scoring.dcs import look_up

MEANS_OVER = (1, 2, 7, 10, 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("objectives", nargs="*", default=["dm", "dc"])
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--draws", type=int, default=20, help="3 or more")
    arguments = parser.parse_args()
    if arguments.draws < 3 or not set(arguments.objectives) <= {"dm", "dc"}:
        parser.error("objectives are dm and dc, draws 3 or more")
    pool = frozen_pool(project_root(), arguments.dataset, None)
    counted = look_up(project_root(), pool).clean.counted
    subsets = [subset for subset in pool.subsets if subset.id in counted]
    for name in arguments.objectives:
        print(name)
        print(tabulate(table(losses(name, pool, subsets, arguments.draws), subsets), headers="keys", floatfmt=".4f"))


def losses(name: str, pool: Pool, subsets: list[Subset], draws: int) -> np.ndarray:
    """float64 [subsets, draws]."""
    root, data = project_root(), os.environ.get("HLBENCH_DATA")
    objective, folder = find_objective(name), Path(data) if data else None
    train = load_split(pool.recipe.dataset, "train", folder)
    scene = scene_of(root, pool, train, objective, "cpu", lambda done, total: None)
    rows = pool_rows(root, pool, folder, [subset.id for subset in subsets])
    settings = {**objective.settings_for(pool.recipe.dataset), "networks": draws}
    return objective.losses(list(rows.values()), scene, settings)


def table(values: np.ndarray, subsets: list[Subset]) -> list[dict[str, float]]:
    sizes = np.array([subset.ipc for subset in subsets])
    return [{"IPC": ipc, "subsets": int((sizes == ipc).sum()), **measures(values[sizes == ipc])} for ipc in np.unique(sizes)]


def measures(values: np.ndarray) -> dict[str, float]:
    centred = values - values.mean(axis=0)
    means, draws = centred.mean(axis=1), values.shape[1]
    rest = np.square(centred - means[:, None]).sum() / ((len(values) - 1) * (draws - 1))
    between = means.var(ddof=1) - rest / draws
    alone = np.mean([spearmanr(one, means - one / draws).statistic for one in centred.T])
    return {**{f"k = {k}": between / (between + rest / k) for k in MEANS_OVER}, "one, rank": alone}


if __name__ == "__main__":
    main()
