"""The DCS of every objective over every pool with losses or students: a pure function of the committed tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from statistics import fmean

from harness.dcs import lookup
from harness.dcs.declared import DECLARED
from harness.dcs.lookup_rows import SEVERITIES
from harness.dcs.loss_table import LossRow, lines_of, losses_path, read_losses
from harness.dcs.losses import identity_of
from harness.dcs.objectives import OBJECTIVE_OF_METHOD
from harness.dcs.pool import RANDOM, Pool, find_pool, pool_ids
from harness.dcs.statistic import TOO_FEW, Point, Score, primary_of, score
from harness.errors import EnvironmentProblem, UsageError
from harness.experts import read_experts_card
from harness.protocols import find_protocol
from harness.scoring.loss_noise import LossNoise, loss_noise


@dataclass(frozen=True)
class ObjectiveScore:
    """One objective over a pool.

    Attributes:
        identity: first 12 hex digits.
        points, score: of the subsets that count.
        of_all: the primary value of every measured subset, those that the pool's rule excludes among them; None where too few
            count.
        without_loss: counted subsets that its table lacks.
        is_own: whether somebody brought the losses along (`hlbench dcs --losses`): the harness did not compute them.
        by_severity: on corrupted images the primary value at severity 1, ..., 5; () on clean ones, and where there is no score.
        noise: of its losses on the subsets that count, on all before a student is looked up; None of own ones, and where no
            subset counts.
        losses: subset id -> its loss, of every subset that has one.
        identity_here: what its settings, its version and the pinned networks give now; None of own losses, and where the networks
            are not pinned here.
    """

    objective: str
    identity: str
    points: tuple[Point, ...]
    score: Score
    of_all: float | None
    without_loss: tuple[str, ...]
    is_own: bool
    losses: Mapping[str, float]
    by_severity: tuple[float | None, ...] = ()
    noise: LossNoise | None = None
    identity_here: str | None = None

    @property
    def is_stale(self) -> bool:
        """Whether another version of it, of its settings or networks gave its losses."""
        return self.identity_here not in (None, self.identity)


@dataclass(frozen=True)
class Errors:
    """Subset id -> top-1 errors in percent, one a seed: of every measured subset, and of those that count.

    `by_severity`: on corrupted images, of those that count, at severity 1, ..., 5.
    """

    measured: Mapping[str, tuple[float, ...]]
    counted: Mapping[str, tuple[float, ...]]
    by_severity: tuple[Mapping[str, tuple[float, ...]], ...] = ()

    @property
    def students(self) -> int:
        return sum(map(len, self.measured.values()))


@dataclass(frozen=True)
class LookedUp:
    """What a look-up table says: errors on clean and on corrupted test images, and subset id -> why it does not count.

    The errors on clean images settle which subsets count, for both. `students`: rows of the table, of which `diverged` have no
    error; `planned`: rows of a complete one.
    """

    students: int
    diverged: int
    planned: int
    clean: Errors
    corrupted: Errors
    excluded: Mapping[str, str]


@dataclass(frozen=True)
class Spread:
    """How far the counted subsets of one IPC are apart: mean top-1 errors in percent."""

    ipc: int
    subsets: int
    lowest: float
    lowest_subset: str
    random: float | None
    highest: float
    highest_subset: str


@dataclass(frozen=True)
class PoolScores:
    """A pool with its look-up table and scores.

    Attributes:
        student: as protocols name it, `resnet18`.
        students, diverged, planned: rows of the look-up table, those without an error, and how many rows a complete one has.
        errors: of its subsets.
        excluded: subset id -> why it does not count.
        objectives: scored against the errors on clean test images.
        corrupted, on_corrupted: errors and scores on corrupted test images; no scores where nothing was measured on them.
    """

    pool: Pool
    student: str
    students: int
    diverged: int
    planned: int
    errors: Errors
    excluded: Mapping[str, str]
    objectives: tuple[ObjectiveScore, ...]
    corrupted: Errors
    on_corrupted: tuple[ObjectiveScore, ...]

    def of_method(self, method: str) -> ObjectiveScore | None:
        """The score of the objective that a method's images descend on; where none is known, of own losses by its name."""
        wanted = OBJECTIVE_OF_METHOD.get(method, method)
        return next((one for one in self.objectives if one.objective == wanted), None)


def read_pool_scores(root: Path) -> tuple[PoolScores, ...]:
    """Of every pool with students or losses in the checkout at `root`, by id. Raises as `lookup.read_table` and `read_losses`."""
    found = [pool for name in pool_ids(root) if (pool := find_pool(root, name)).subsets]
    return tuple(scores for pool in found if (scores := pool_scores(root, pool)).students or scores.objectives)


def pool_scores(root: Path, pool: Pool) -> PoolScores:
    found = look_up(root, pool)
    return PoolScores(
        pool=pool,
        student=find_protocol(root, pool.recipe.protocol).student_name,
        students=found.students,
        diverged=found.diverged,
        planned=found.planned,
        errors=found.clean,
        excluded=found.excluded,
        objectives=score_objectives(root, pool, found.clean),
        corrupted=found.corrupted,
        on_corrupted=score_objectives(root, pool, found.corrupted) if found.corrupted.students else (),
    )


def look_up(root: Path, pool: Pool) -> LookedUp:
    """Raises as `lookup.read_table`."""
    rows = lookup.read_table(root, pool)
    measured = lookup.errors(pool, rows)
    excluded = lookup.excluded(pool, measured)

    def counted(errors: Mapping[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
        return {name: values for name, values in errors.items() if name not in excluded}

    corrupted = lookup.ood_errors(pool, rows)
    by_severity = tuple(counted(lookup.ood_errors(pool, rows, severity)) for severity in SEVERITIES)
    return LookedUp(
        students=len(rows),
        diverged=sum(row.top1_error is None for row in rows),
        planned=len(pool.subsets) * len(pool.recipe.seeds),
        clean=Errors(measured, counted(measured)),
        corrupted=Errors(corrupted, counted(corrupted), by_severity),
        excluded=excluded,
    )


def score_objectives(root: Path, pool: Pool, errors: Errors) -> tuple[ObjectiveScore, ...]:
    """Every objective of the pool's table of losses, by name. Raises as `read_losses`."""
    table = read_losses(losses_path(root, pool))
    identities = {row.objective: row.identity for row in table}
    return tuple(score_lines(root, pool, errors, table, name, identities[name]) for name in sorted(identities))


def score_lines(root: Path, pool: Pool, errors: Errors, table: Sequence[LossRow], name: str, identity: str) -> ObjectiveScore:
    lines = lines_of(table, name, pool)
    losses = {subset: line.loss for subset, line in lines.items()}
    if name not in DECLARED:
        return score_losses(pool, errors, losses, name, identity, is_own=True)
    ipc_of = {subset.id: subset.ipc for subset in pool.subsets if subset.id in errors.counted or not errors.measured}
    return replace(
        score_losses(pool, errors, losses, name, identity, is_own=False),
        noise=loss_noise(list(lines.values()), ipc_of),
        identity_here=identity_here(root, pool, name),
    )


def identity_here(root: Path, pool: Pool, name: str) -> str | None:
    """The identity of a declared objective's losses as things are in the checkout at `root`, the same on every machine.

    None where a network has no card there, as experts that lie in somebody's cache alone. Raises as `losses.identity_of`.
    """
    objective, experts = DECLARED[name], pool.recipe.experts
    if "experts" in objective.needs and experts and read_experts_card(root / "teachers" / experts) is None:
        return None
    try:
        return identity_of(root, pool, objective)
    except (EnvironmentProblem, UsageError):  # a network without a card; a backbone without a recipe
        return None


def points_of(pool: Pool, errors: Mapping[str, Sequence[float]], losses: Mapping[str, float]) -> tuple[Point, ...]:
    """The subsets that have both, in the pool's order."""
    return tuple(
        Point(subset.id, subset.base, subset.ipc, subset.method, tuple(errors[subset.id]), losses[subset.id])
        for subset in pool.subsets
        if subset.id in errors and subset.id in losses
    )


def spreads(scores: PoolScores) -> list[Spread]:
    """By rising IPC, of the subsets that count."""
    means = {name: fmean(errors) for name, errors in scores.errors.counted.items()}
    found = []
    for ipc in scores.pool.recipe.ipc:
        subsets = [subset for subset in scores.pool.subsets if subset.ipc == ipc and subset.id in means]
        random = [means[subset.id] for subset in subsets if subset.method == RANDOM and subset.twin_of is None]
        if subsets:
            ordered = sorted(subsets, key=lambda subset: (means[subset.id], subset.id))
            low, high = ordered[0].id, ordered[-1].id
            found.append(Spread(ipc, len(subsets), means[low], low, fmean(random) if random else None, means[high], high))
    return found


@lru_cache(maxsize=256)
def cached_score(points: tuple[Point, ...], uncounted: tuple[Point, ...]) -> Score:
    """`score`, once for the same points: pages are built and checked in one process."""
    return score(points, uncounted=uncounted)


def score_losses(
    pool: Pool, errors: Errors, losses: Mapping[str, float], objective: str, identity: str, is_own: bool
) -> ObjectiveScore:
    """The score of {subset id: loss}."""
    points = points_of(pool, errors.counted, losses)
    others = points_of(pool, {subset.id: () for subset in pool.subsets if subset.id not in errors.counted}, losses)
    without, found = tuple(name for name in errors.counted if name not in losses), cached_score(points, others)
    of_all = None if found.reason == TOO_FEW else primary_of(points_of(pool, errors.measured, losses))
    severities = () if found.primary is None else errors.by_severity
    by_severity = tuple(primary_of(points_of(pool, one, losses)) for one in severities)
    return ObjectiveScore(objective, identity, points, found, of_all, without, is_own, dict(losses), by_severity)
