"""The page of `hlbench analyze scores`: what was compared, the figure with its caveat, the numbers, what they show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.analysis.score_figure import GENERATED, score_figure
from harness.analysis.scores import SCORES, Comparison, facts
from harness.scoring.markdown import escape, table, visible
from harness.scoring.svg import numbers_of

# Methods F.3, and what the runs of one pair leave open.
CAVEAT = (
    "Read with care: at T = 20 the softened outputs of student and teacher are both close to uniform, so EL2N-SL at T = 20 is "
    "small for trivial reasons, whatever the student learned; only the lower row, in units of each run's own mean at its first "
    "snapshot, may be compared between temperatures. That unit depends on how much a student had learned by then, which differs "
    "between the runs (table of runs). T = 20 is also the temperature of the loss that the SL-trained student minimised. And the "
    "protocols of the two regimes differ in optimiser and learning rate, too, so a difference need not come from the labels."
)
COLUMNS = (
    ("mean", "mean"),
    ("sd", "sd"),
    ("coefficient_of_variation", "sd / mean"),
    ("interdecile_range", "inter-decile range"),
    ("first_snapshot_mean", "mean at first snapshot"),
    ("normalised_mean", "mean, normalised"),
    ("normalised_sd", "sd, normalised"),
)


def page_files(comparison: Comparison, command: str) -> dict[str, str]:
    """File name -> text: the page and its figure. `command`: what makes them."""
    name = f"{comparison.hl.spec.dataset}-scores"
    return {f"{name}.md": page(facts(comparison), f"{name}.svg", command), f"{name}.svg": score_figure(comparison)}


def stale(files: dict[str, str], out: Path) -> list[str]:
    """One sentence for each of `files` that does not lie in `out` with these very bytes."""
    differences = []
    for name, text in files.items():
        path = out / name
        if not path.is_file():
            differences.append(f"{path}: missing")
        elif (committed := path.read_bytes()) != text.encode():
            same = name.endswith(".svg") and numbers_of(committed.decode("utf-8", errors="replace")) == numbers_of(text)
            why = "the right recordings, drawn otherwise: edited, or by another matplotlib" if same else "not what they give"
            differences.append(f"{path}: {why}")
    return differences


def page(found: dict[str, Any], figure: str, command: str) -> str:
    """Markdown of `facts`; `figure`: its path from the page."""
    student, dataset = escape(found["student"]), escape(found["dataset"])
    parts = [
        GENERATED,
        f"# Scores of {dataset} under HL and SL training ({student})",
        f"How far each of the {found['rows']:,} training images was from its target, for a student trained on hard labels (HL) "
        f"and one trained on the teacher's soft labels (SL): the mean over {found['snapshots']} snapshots of {found['epochs']:g} "
        "epochs. EL2N is the distance of the student's softmax from the one-hot label; EL2N-SL at T that of its temperature-T "
        f"softmax from the one of the teacher {escape(str(found['teacher']))} (without the constant factor 1/T, which changes no "
        "rank and no normalised number).",
        f"**What it shows.** {finding(found)}",
        f"![{alt_text(found)}]({figure})",
        f"*{caption(found)}*",
        "## Runs",
        runs_table(found),
        "## Distributions",
        distributions_table(found),
        f"Over the {found['rows']:,} images; sd with divisor N. *Normalised*: divided by the run's mean at its first snapshot.",
        "## Spread under SL in units of that under HL",
        ratios_table(found),
        "Below 1: the scores of the SL-trained student are the more alike.",
        "## Rank correlations",
        correlations_table(found),
        "Spearman's rho over the images.",
        "Made by:",
        f"    {visible(command)}",
    ]
    return "\n\n".join(parts) + "\n"


def finding(found: dict[str, Any]) -> str:
    """What EL2N-SL shows at each temperature, with its numbers, and how far that reaches."""
    first, second = (row for row in found["sl_over_hl"] if row["score"] != SCORES[0])
    return (
        f"Next to those of the HL-trained student, the EL2N-SL scores of the SL-trained one are {verdict(first)} at T = 1 "
        f"(sd {ratio(first['normalised_sd'])} times as large in units of the mean at the first snapshot, "
        f"{ratio(first['coefficient_of_variation'])} times in units of their own mean) and {verdict(second)} at T = 20 "
        f"({ratio(second['normalised_sd'])} and {ratio(second['coefficient_of_variation'])} times); this describes one student, "
        "one training seed a regime and one dataset, and how much another seed would move it was not measured."
    )


def verdict(row: dict[str, Any]) -> str:
    """More or less homogeneous only where both measures say so."""
    values = (row["normalised_sd"], row["coefficient_of_variation"])
    if any(value is None for value in values):
        return "not to be compared"
    if all(value < 1 for value in values):
        return "more homogeneous"
    if all(value > 1 for value in values):
        return "less homogeneous"
    return "not more homogeneous by both measures"


def caption(found: dict[str, Any]) -> str:
    """What the panels hold, and the caveat."""
    after = found["first_snapshot_after_epochs"]
    return (
        "Upper row: scores averaged over the snapshots; lower row: the same divided by the run's mean at its first snapshot, "
        f"taken after {after:g} epochs; vertical lines: means. Both runs of a panel share their bins, the last of which holds "
        f"all images beyond it, too; panels do not share their scales. {CAVEAT}"
    )


def alt_text(found: dict[str, Any]) -> str:
    means = "; ".join(f"{row['score']} {row['regime']} {number(row['mean'])}" for row in found["distributions"])
    return (
        f"Histograms of EL2N and of EL2N-SL at T = 1 and T = 20 over the {found['rows']:,} training images of "
        f"{escape(found['dataset'])}, HL-trained against SL-trained {escape(found['student'])}: time-averaged above, divided by "
        f"the mean at the first snapshot below. Means: {means}."
    )


def runs_table(found: dict[str, Any]) -> str:
    headers = ("Trained under", "Protocol", "Seed", "Recording", "sha256", "Train top-1 at first snapshot, %", "at last, %")
    rows = [
        [
            run["regime"], escape(run["protocol"]), str(run["seed"]), escape(run["recording"]), run["sha256"][:12],
            f"{run['first_snapshot_train_top1']:.2f}", f"{run['last_snapshot_train_top1']:.2f}",
        ]
        for run in found["runs"]
    ]  # fmt: skip
    return table(headers, rows)


def distributions_table(found: dict[str, Any]) -> str:
    rows = [[row["score"], row["regime"], *(number(row[key]) for key, _ in COLUMNS)] for row in found["distributions"]]
    return table(("Score", "Trained under", *(title for _, title in COLUMNS)), rows)


def ratios_table(found: dict[str, Any]) -> str:
    rows = [[row["score"], ratio(row["normalised_sd"]), ratio(row["coefficient_of_variation"])] for row in found["sl_over_hl"]]
    return table(("Score", "sd, normalised by first snapshot", "sd / mean"), rows)


def correlations_table(found: dict[str, Any]) -> str:
    rows = [
        [
            f"{row['of'][0]}, {row['of'][1]}-trained",
            f"{row['and'][0]}, {row['and'][1]}-trained",
            "-" if row["spearman"] is None else f"{row['spearman']:.3f}",
        ]
        for row in found["rank_correlations"]
    ]
    return table(("Score", "with", "rho"), rows)


def number(value: float) -> str:
    return f"{value:.4f}"


def ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
