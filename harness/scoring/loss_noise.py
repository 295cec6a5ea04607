"""How much of the differences between losses is luck of the draws that a loss is a mean over. From the table of losses alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from harness.dcs.loss_table import LossRow


@dataclass(frozen=True)
class LossNoise:
    """Of the losses of one objective.

    Attributes:
        draws: fewest and most that a loss is the mean of.
        share: mean squared standard error over the variance of losses, each within an IPC, mean over IPCs weighted by their
            subsets; 0 to 1. At most this much is noise: every subset meets the same draws, and what a draw does to all of them
            alike stands in each standard error and moves no rank. None where nothing has a standard error, as of one draw.
        most: the IPC with the largest such share, and that share; None with `share`.
    """

    draws: tuple[int, int]
    share: float | None
    most: tuple[int, float] | None = None


def loss_noise(rows: Sequence[LossRow], ipc_of: Mapping[str, int]) -> LossNoise | None:
    """`ipc_of`: {subset id: IPC} of the subsets that count; rows of others are passed over. None without any row."""
    used = [row for row in rows if row.subset in ipc_of]
    if not used:
        return None
    by_ipc: dict[int, list[LossRow]] = defaultdict(list)
    for row in used:
        if row.standard_error is not None:
            by_ipc[ipc_of[row.subset]].append(row)
    shares = {ipc: share for ipc, of_one in by_ipc.items() if (share := _share(of_one)) is not None}
    weighted = [share for ipc, share in shares.items() for _ in by_ipc[ipc]]
    draws = [row.draws for row in used]
    most = max(shares.items(), key=lambda one: one[1]) if shares else None
    return LossNoise((min(draws), max(draws)), fmean(weighted) if weighted else None, most)


def _share(rows: Sequence[LossRow]) -> float | None:
    """Of one IPC; None where losses do not differ."""
    between = variance(row.loss for row in rows) if len(rows) > 1 else 0.0
    return min(1.0, fmean(row.standard_error**2 for row in rows) / between) if between else None
