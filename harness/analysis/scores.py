"""How hard each training image was to a student that learned from hard labels and to one that learned from soft labels.

A score is EL2N or EL2N-SL averaged over the snapshots of a recording (methods F.2, F.3, H.7). Whether one run's scores are more
alike than the other's is said by two measures, as F.3 demands: their deviation in units of the mean at the first snapshot, and in
units of their own mean. Torch-free.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from harness.dynamics.artifact import Dynamics
from harness.dynamics.spec import DynamicsSpec
from harness.errors import UsageError

TEMPERATURES = (1.0, 20.0)  # methods F.3: always both
SCORES = ("EL2N", "EL2N-SL, T = 1", "EL2N-SL, T = 20")
REGIMES = ("HL", "SL")


@dataclass(frozen=True)
class Distribution:
    """One score of every row under one run.

    Attributes:
        scores: float64 [N], 0..sqrt 2: the mean over snapshots; EL2N-SL without its constant factor 1/T, as it is recorded.
        first_mean: mean over the rows at the first snapshot, > 0.
    """

    scores: np.ndarray
    first_mean: float

    @property
    def normalised(self) -> np.ndarray:
        """float64 [N]: the scores in units of the first snapshot's mean."""
        return self.scores / self.first_mean


@dataclass(frozen=True)
class Comparison:
    """Two recordings that may be compared. `distributions[score, regime]`: over SCORES and REGIMES."""

    hl: Dynamics
    sl: Dynamics
    distributions: dict[tuple[str, str], Distribution]

    @property
    def runs(self) -> dict[str, Dynamics]:
        return {"HL": self.hl, "SL": self.sl}


def compare(hl: Dynamics, sl: Dynamics) -> Comparison:
    """The score distributions of two runs over the same rows.

    Raises UsageError when a run is of another regime than it is named for, has no EL2N-SL at T = 1 and 20 or a score that is zero
    everywhere at the first snapshot, or when the two differ in split, student, length, snapshots or teacher.
    """
    for named, run in (("hl", hl), ("sl", sl)):
        require_regime(run, named)
        require_soft_scores(run)
    require_comparable(hl, sl)
    distributions = {
        (score, regime): distribution(recorded(run, score), f"{score} in {run.folder}")
        for score in SCORES
        for regime, run in zip(REGIMES, (hl, sl), strict=True)
    }
    return Comparison(hl, sl, distributions)


def recorded(run: Dynamics, score: str) -> np.ndarray:
    """float32 [snapshots, N]: the array of a name in SCORES."""
    return run.el2n if score == SCORES[0] else run.el2n_sl(TEMPERATURES[SCORES.index(score) - 1])


def distribution(by_snapshot: np.ndarray, where: str) -> Distribution:
    """From a score by snapshot, float [snapshots, N]. Raises UsageError when the first snapshot is zero everywhere."""
    first_mean = float(np.mean(by_snapshot[0], dtype=np.float64))
    if first_mean == 0:
        raise UsageError(
            "the scores cannot be normalised", where=where, why="the first snapshot's mean is 0",
            fix="record the run again with its first snapshot earlier: hlbench dynamics record --snapshots",
        )  # fmt: skip
    return Distribution(np.mean(by_snapshot, axis=0, dtype=np.float64), first_mean)


def require_regime(run: Dynamics, named: str) -> None:
    """Raises UsageError when the run did not train under the regime `named`, hl or sl."""
    if run.spec.regime != named:
        raise UsageError(
            f"the recording for --{named} was not trained under {named}", where=str(run.folder),
            why=f"its protocol is {run.spec.protocol}, regime {run.spec.regime}",
            fix=f"name one whose protocol is an {named} protocol: hlbench dynamics list",
        )  # fmt: skip


def require_soft_scores(run: Dynamics) -> None:
    """Raises UsageError unless EL2N-SL was recorded at T = 1 and T = 20."""
    if missing := [f"{wanted:g}" for wanted in TEMPERATURES if wanted not in run.spec.temperatures]:
        recorded = ", ".join(f"{kept:g}" for kept in run.spec.temperatures)
        raise UsageError(
            f"the recording has no EL2N-SL at T = {' and '.join(missing)}", where=str(run.folder),
            why=f"recorded temperatures: {recorded}" if recorded else "it was recorded without a teacher",
            fix="record it again: hlbench dynamics record --teacher",
        )  # fmt: skip


def require_comparable(hl: Dynamics, sl: Dynamics) -> None:
    """Raises UsageError naming everything that differs between the runs and makes a comparison of their scores void."""
    ours, theirs = comparable_facts(hl.spec), comparable_facts(sl.spec)
    if differing := [name for name in ours if ours[name] != theirs[name]]:
        raise UsageError(
            f"the two recordings cannot be compared: they differ in {', '.join(differing)}",
            where=f"{hl.folder} and {sl.folder}",
            why="; ".join(f"{name}: {ours[name]} (hl), {theirs[name]} (sl)" for name in differing),
            fix="record one of them again with the other's options: hlbench dynamics record",
        )


def comparable_facts(spec: DynamicsSpec) -> dict[str, Any]:
    """What two runs must share for their scores to be of the same rows, against the same teacher, over the same time."""
    return {
        "split": f"{spec.dataset} {spec.split_fingerprint[:12]}, {spec.rows:,} rows",
        "student": student_of(spec),
        "epochs": spec.epochs,
        "snapshots": spec.snapshots,
        "times of snapshots": [round(after * spec.images_per_epoch / spec.rows, 9) for after in spec.snapshot_epochs],
        "teacher": f"{spec.teacher} {str(spec.teacher_sha256)[:12]}",
    }


def student_of(spec: DynamicsSpec) -> str:
    """`resnet18` of `digits/resnet18-hl/v1`."""
    return spec.protocol.removeprefix(f"{spec.dataset}/").split("/")[0].removesuffix(f"-{spec.regime}")


def facts(comparison: Comparison) -> dict[str, Any]:
    """Every number of the page, unrounded: what was compared, each distribution, rank correlations, SL over HL."""
    spec = comparison.hl.spec
    return {
        "dataset": spec.dataset,
        "split_fingerprint": spec.split_fingerprint,
        "rows": spec.rows,
        "student": student_of(spec),
        "teacher": spec.teacher,
        "epochs": spec.epochs,
        "snapshots": spec.snapshots,
        "first_snapshot_after_epochs": spec.snapshot_epochs[0] * spec.images_per_epoch / spec.rows,
        "runs": [run_facts(regime, run) for regime, run in comparison.runs.items()],
        "distributions": [
            {"score": score, "regime": regime, **statistics(found)} for (score, regime), found in comparison.distributions.items()
        ],
        "rank_correlations": rank_correlations(comparison),
        "sl_over_hl": [{"score": score, **sl_over_hl(comparison, score)} for score in SCORES],
    }


def run_facts(regime: str, run: Dynamics) -> dict[str, Any]:
    """Accuracies are those on the training split, in percent, evaluation mode."""
    spec = run.spec
    return {
        "regime": regime,
        "recording": f"{run.folder.resolve().parent.name}/{run.folder.resolve().name}",
        "sha256": run.sha256,
        "protocol": spec.protocol,
        "seed": spec.seed,
        "first_snapshot_train_top1": 100 * float(np.mean(run.correct[0], dtype=np.float64)),
        "last_snapshot_train_top1": 100 * float(np.mean(run.correct[-1], dtype=np.float64)),
    }


def statistics(found: Distribution) -> dict[str, float]:
    """Over all N rows; sd with divisor N, for the rows are the whole split. The last two are of the normalised scores."""
    lower, upper = np.quantile(found.scores, [0.1, 0.9])
    mean, sd = float(np.mean(found.scores)), float(np.std(found.scores))
    return {
        "mean": mean,
        "sd": sd,
        "coefficient_of_variation": sd / mean,
        "interdecile_range": float(upper - lower),
        "first_snapshot_mean": found.first_mean,
        "normalised_mean": mean / found.first_mean,
        "normalised_sd": sd / found.first_mean,
    }


def rank_correlations(comparison: Comparison) -> list[dict[str, Any]]:
    """Spearman's rho over the rows: each score between the two runs, and each EL2N-SL with EL2N within a run."""
    scores = {key: found.scores for key, found in comparison.distributions.items()}
    pairs = [((score, "HL"), (score, "SL")) for score in SCORES]
    pairs += [((score, regime), (SCORES[0], regime)) for regime in REGIMES for score in SCORES[1:]]
    return [{"of": list(one), "and": list(other), "spearman": spearman(scores[one], scores[other])} for one, other in pairs]


def spearman(one: np.ndarray, other: np.ndarray) -> float | None:
    """Rank correlation of two arrays [N], -1..1, ties sharing the middle rank; None when either has no order."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(spearmanr(one, other).statistic)


def sl_over_hl(comparison: Comparison, score: str) -> dict[str, float | None]:
    """The SL-trained run's spread over the HL-trained one's, by both measures: below 1, SL's scores are the more alike.

    None where the HL-trained run's scores are all the same.
    """
    hl, sl = (statistics(comparison.distributions[score, regime]) for regime in REGIMES)
    measures = ("normalised_sd", "coefficient_of_variation")
    return {name: sl[name] / hl[name] if hl[name] else None for name in measures}
