"""Which selectors' subsets each loss prefers, and which students do: mean ranks within a size. Needs no student."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from statistics import fmean

from scipy.stats import rankdata

from harness.dcs.points import DECIMALS
from harness.dcs.pool import Pool
from harness.scoring.cells import NOTHING, listed
from harness.scoring.dcs import PoolScores
from harness.scoring.markdown import escape, table

HEADING = "### What each loss prefers"
MEANING = """\
Rank of a selector's subsets among those of their IPC, by loss{errors}, averaged over the sizes:
0 for the lowest of a size, 1 for the highest, 0.5 where nothing is told apart. Twins are left out; subsets that the pool's rule
leaves out of the score are not. *Sizes*: those at which something is known of the selector's subsets. `-`: nothing is."""
FEWER_ERRORS = """\
*Error at IPC*: the sizes at which students are trained. Compare the columns with care: errors and losses are of other sizes."""
OF_ERRORS = " and by students' test error"


def preferences_section(scores: PoolScores) -> list[str]:
    """A row for each selector with its parameters, by rising error where students were looked up, else in the pool's order."""
    errors = {name: round(fmean(values), DECIMALS) for name, values in scores.errors.measured.items()}
    columns = {"Error": mean_ranks(scores.pool, errors)} if errors else {}
    columns |= {f"`{one.objective}`": mean_ranks(scores.pool, one.losses) for one in scores.objectives}
    if not scores.objectives:
        return []
    sizes = _sizes(scores.pool, set(errors).union(*(one.losses for one in scores.objectives)))
    of_errors = _sizes(scores.pool, errors)
    order = sorted(sizes, key=lambda method: columns["Error"].get(method, 1.0)) if errors else list(sizes)
    heads, known = ["Selector", "Sizes"], {method: [escape(method), listed(sorted(sizes[method]))] for method in order}
    text = MEANING.format(errors=OF_ERRORS if errors else "")
    if errors and of_errors != sizes:
        heads, text = [*heads, "Error at IPC"], f"{text}\n{FEWER_ERRORS}"
        known = {method: [*cells, listed(sorted(of_errors.get(method, ()))) or NOTHING] for method, cells in known.items()}
    rows = [[*known[method], *(_rank(ranks.get(method)) for ranks in columns.values())] for method in order]
    return [HEADING, text, table([*heads, *columns], rows), *_incomplete(scores)]


def _sizes(pool: Pool, ids: Collection[str]) -> dict[str, set[int]]:
    """Selector -> the IPCs of those of its subsets that are in `ids`, in the pool's order."""
    found: dict[str, set[int]] = defaultdict(set)
    for subset in pool.subsets:
        if subset.id in ids:
            found[subset.method].add(subset.ipc)
    return dict(found)


def _incomplete(scores: PoolScores) -> list[str]:
    """Of which losses not all subsets are known, so that their ranks are among fewer. Nothing where all are."""
    of_all = len(scores.pool.subsets)
    lacking = [f"`{one.objective}` {len(one.losses)}" for one in scores.objectives if len(one.losses) < of_all]
    return [f"Ranked among the subsets that have the loss, of {of_all} with twins: {listed(lacking)}."] if lacking else []


def mean_ranks(pool: Pool, values: Mapping[str, float]) -> dict[str, float]:
    """Selector -> mean over its base subsets that have a value of (r - 1) / (n - 1), r the mid-rank among the n of their IPC.

    Sizes at which fewer than two selectors have a value say nothing and are left out.
    """
    ranks: dict[str, list[float]] = defaultdict(list)
    for ipc in pool.recipe.ipc:
        subsets = [one for one in pool.subsets if one.ipc == ipc and one.twin_of is None and one.id in values]
        if len({one.method for one in subsets}) > 1:
            found = (rankdata([values[one.id] for one in subsets]) - 1) / (len(subsets) - 1)
            for subset, rank in zip(subsets, found, strict=True):
                ranks[subset.method].append(float(rank))
    return {method: fmean(of_method) for method, of_method in ranks.items()}


def _rank(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}"
