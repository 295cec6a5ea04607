"""`hlbench analyze scores`: its numbers against loops written out by hand, what it refuses, and what it writes, byte for byte."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from command_line import caller

from harness import cli
from harness.analysis import score_page
from harness.analysis.score_figure import BINS, histograms, score_figure
from harness.analysis.scores import REGIMES, SCORES, compare, facts, spearman
from harness.dynamics.artifact import create_arrays, open_dynamics, read_spec, write_spec
from harness.errors import CheckFailed, UsageError

ROOT = Path(__file__).resolve().parent.parent
HL, SL = "digits/resnet18-hl-v1-full", "digits/resnet18-sl-v1-full"
COMMITTED = ("--dataset", "digits", "--hl", HL, "--sl", SL)
FILES = {"EL2N": "el2n", "EL2N-SL, T = 1": "el2n_sl_t1", "EL2N-SL, T = 20": "el2n_sl_t20"}
LABELS = np.arange(12) % 10
COMMAND = "hlbench analyze scores --dataset digits"


def small_recording(folder, regime, level=0.5, **changes):
    """Twelve rows and a few snapshots of the committed run's form, opened; scores around `level`, 0: zero everywhere."""
    spec = read_spec(ROOT / "dynamics" / (HL if regime == "hl" else SL))
    run = spec.run.model_copy(update={"rows": 12, "features": 4, "snapshots": 3, "images_per_epoch": 12, **changes})
    folder.mkdir(parents=True)
    arrays = create_arrays(folder, run)
    generator = np.random.default_rng([ord(letter) for letter in regime])
    for name in (name for name in run.arrays if name.startswith(("el2n", "true", "prob"))):
        arrays[name][:] = level * generator.random(arrays[name].shape)
    for array in arrays.values():
        array.flush()
    write_spec(folder, run, spec.made)
    return open_dynamics(folder, LABELS[: run.rows], run.split_fingerprint, verify=True)


@pytest.fixture
def pair(tmp_path):
    return small_recording(tmp_path / "digits" / "hl", "hl"), small_recording(tmp_path / "digits" / "sl", "sl")


@pytest.fixture
def hlbench(monkeypatch, capsys, tmp_path):
    """Runs `hlbench analyze scores ARGUMENTS --out <tmp_path>/out`; returns (exit code, standard output, standard error)."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path / "cache"))

    return caller(monkeypatch, capsys, "analyze", "scores", after=("--out", str(tmp_path / "out")))


# Numbers


def averaged_by_hand(run, score):
    """(scores, first snapshot's mean) by loops over the file's numbers."""
    rows = np.load(run.folder / f"{FILES[score]}.npy").tolist()
    scores = [sum(snapshot[row] for snapshot in rows) / len(rows) for row in range(len(rows[0]))]
    return scores, sum(rows[0]) / len(rows[0])


def quantile_by_hand(values, share):
    ordered, place = sorted(values), share * (len(values) - 1)
    below = math.floor(place)
    above = min(below + 1, len(values) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def sd_by_hand(values):
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))


def spearman_by_hand(one, other):
    """Pearson's correlation of ranks; equal values share the mean of their places."""

    def ranks(values):
        return [(sum(b < a for b in values) + sum(b <= a for b in values) + 1) / 2 for a in values]

    a, b = ranks(one), ranks(other)
    mean = (len(a) + 1) / 2
    shared = sum((x - mean) * (y - mean) for x, y in zip(a, b, strict=True))
    return shared / math.sqrt(sum((x - mean) ** 2 for x in a) * sum((y - mean) ** 2 for y in b))


def test_every_statistic_is_that_of_a_literal_loop(pair):
    found = facts(compare(*pair))
    assert [(row["score"], row["regime"]) for row in found["distributions"]] == [(s, r) for s in SCORES for r in REGIMES]
    for row in found["distributions"]:
        scores, first = averaged_by_hand(dict(zip(REGIMES, pair, strict=True))[row["regime"]], row["score"])
        mean, sd = sum(scores) / len(scores), sd_by_hand(scores)
        expected = {
            "mean": mean,
            "sd": sd,
            "coefficient_of_variation": sd / mean,
            "interdecile_range": quantile_by_hand(scores, 0.9) - quantile_by_hand(scores, 0.1),
            "first_snapshot_mean": first,
            "normalised_mean": sum(score / first for score in scores) / len(scores),
            "normalised_sd": sd_by_hand([score / first for score in scores]),
        }
        assert {key: row[key] for key in expected} == pytest.approx(expected, rel=1e-9)


def test_ratios_are_sl_over_hl_by_both_measures(pair):
    found = facts(compare(*pair))
    rows = {(row["score"], row["regime"]): row for row in found["distributions"]}
    for row in found["sl_over_hl"]:
        for measure in ("normalised_sd", "coefficient_of_variation"):
            expected = rows[row["score"], "SL"][measure] / rows[row["score"], "HL"][measure]
            assert row[measure] == pytest.approx(expected, rel=1e-12)


def test_rank_correlations_are_spearmans_between_runs_and_of_el2n_sl_with_el2n_within_a_run(pair):
    found = facts(compare(*pair))["rank_correlations"]
    between = [((score, "HL"), (score, "SL")) for score in SCORES]
    within = [((score, regime), ("EL2N", regime)) for regime in REGIMES for score in SCORES[1:]]
    assert [(tuple(row["of"]), tuple(row["and"])) for row in found] == between + within
    for row in found:
        one, other = (averaged_by_hand(pair[REGIMES.index(regime)], score)[0] for score, regime in (row["of"], row["and"]))
        assert row["spearman"] == pytest.approx(spearman_by_hand(one, other), rel=1e-9)


def test_tied_scores_share_ranks_and_scores_without_any_order_have_no_correlation():
    one, other = [1.0, 1.0, 2.0, 5.0, 5.0], [3.0, 1.0, 1.0, 4.0, 0.0]
    assert spearman(np.array(one), np.array(other)) == pytest.approx(spearman_by_hand(one, other))
    assert spearman(np.ones(5), np.array(other)) is None


def test_histograms_share_their_bins_count_every_row_and_the_last_bin_holds_what_lies_beyond():
    values = {"HL": np.linspace(0, 1, 200), "SL": np.append(np.full(199, 0.2), 50.0)}
    found = histograms(values)
    last = np.quantile(values["HL"], 0.99)
    for regime, rows in values.items():
        literal = [0] * BINS
        for value in rows:
            literal[min(int(value / last * BINS), BINS - 1)] += 1
        assert found[regime].sum() == pytest.approx(100)
        assert np.abs(np.cumsum(found[regime]) - np.cumsum(literal) / 2).max() <= 0.5  # a value on an edge may round either way
    assert found["SL"][-1] == pytest.approx(0.5)


# What the page says


@pytest.mark.parametrize(
    ("measures", "word"),
    [((0.4, 0.9), "more homogeneous"), ((2.4, 2.3), "less homogeneous"), ((0.4, 1.2), "not more"), ((None, 0.5), "not to be")],
)
def test_scores_are_called_more_homogeneous_only_when_both_measures_say_so(measures, word):
    row = dict(zip(("normalised_sd", "coefficient_of_variation"), measures, strict=True))
    assert score_page.verdict(row).startswith(word)


def test_the_caption_holds_the_caveat_and_both_temperatures_are_drawn_raw_and_normalised(pair):
    page = score_page.page_files(compare(*pair), COMMAND)["digits-scores.md"]
    caption = next(line for line in page.split("\n") if line.startswith("*Upper row"))
    for words in ("at T = 20", "close to uniform", "trivial reasons", "first snapshot", "optimiser and learning rate"):
        assert words in caption
    assert "one training seed" in page
    assert "](digits-scores.svg)" in page
    assert f"    {COMMAND}\n" in page


def test_text_of_a_spec_cannot_act_on_the_page(tmp_path):
    nasty = "digits/resnet18-hl|<b>"
    hl = small_recording(tmp_path / "digits" / "hl", "hl", protocol=nasty)
    sl = small_recording(tmp_path / "digits" / "sl", "sl", protocol="digits/resnet18-hl|<b>-sl")
    page = score_page.page_files(compare(hl, sl), COMMAND)["digits-scores.md"]
    assert "<b>" not in page
    assert "hl|" not in page


# Refusals


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rows": 11}, "split"),
        ({"split_fingerprint": "5a" * 32}, "split"),
        ({"protocol": "digits/convnet-d3-sl/v1"}, "student"),
        ({"snapshots": 4}, "snapshots"),
        ({"recipe_epochs": 30}, "times of snapshots"),
        ({"epochs": 30.0, "images_per_epoch": 6}, "epochs"),
        ({"teacher_sha256": "5a" * 32}, "teacher"),
        ({"teacher": "digits/other"}, "teacher"),
    ],
)
def test_runs_that_differ_in_what_their_scores_depend_on_are_refused_by_name(pair, tmp_path, changes, said):
    other = small_recording(tmp_path / "digits" / "other", "sl", **changes)
    with pytest.raises(UsageError, match=f"cannot be compared: they differ in .*{said}"):
        compare(pair[0], other)


def test_runs_without_el2n_sl_at_both_temperatures_are_refused(pair, tmp_path):
    without = small_recording(tmp_path / "a", "hl", teacher=None, teacher_sha256=None, temperatures=())
    with pytest.raises(UsageError, match=r"no EL2N-SL at T = 1 and 20\n.*\n.*without a teacher"):
        compare(without, pair[1])
    with pytest.raises(UsageError, match=r"no EL2N-SL at T = 20\n.*\n.*recorded temperatures: 1\n"):
        compare(pair[0], small_recording(tmp_path / "b", "sl", temperatures=(1.0,)))


def test_a_run_of_the_other_regime_is_refused(pair):
    with pytest.raises(UsageError, match="recording for --hl was not trained under hl"):
        compare(pair[1], pair[0])
    with pytest.raises(UsageError, match="recording for --sl was not trained under sl"):
        compare(pair[0], pair[0])


def test_scores_that_begin_at_zero_cannot_be_normalised(pair, tmp_path):
    with pytest.raises(UsageError, match="cannot be normalised"):
        compare(pair[0], small_recording(tmp_path / "zero", "sl", level=0.0))


def test_the_command_refuses_unknown_damaged_and_foreign_recordings(hlbench, pair, tmp_path):
    code, _, said = hlbench(*COMMITTED[:4], "--sl", "digits/nothing")
    assert code == 2
    assert "no training dynamics 'digits/nothing'" in said
    assert SL in said  # what there is
    code, _, said = hlbench(*COMMITTED[:4], "--sl", str(pair[1].folder))
    assert code == 2
    assert "recorded on another split" in said
    (pair[1].folder / "el2n.npy").unlink()
    with pytest.raises(CheckFailed, match="missing"):
        open_dynamics(pair[1].folder, LABELS, pair[1].spec.split_fingerprint)
    assert not (tmp_path / "out").exists()


# What is written


def test_the_committed_recordings_were_made_by_code_as_it_was_committed():
    made = [commit for name in (HL, SL) for commit in read_spec(ROOT / "dynamics" / name).made.code]
    assert all(len(commit) == 40 for commit in made), made  # `-dirty` or an unknown commit has another length


def test_check_fails_for_a_page_or_figure_that_is_missing_or_edited_and_mends_nothing(hlbench, tmp_path):
    assert hlbench(*COMMITTED, "--check")[0] == 1
    assert not (tmp_path / "out").exists()
    assert hlbench(*COMMITTED)[0] == 0
    assert hlbench(*COMMITTED, "--check")[0] == 0
    assert hlbench(*COMMITTED[:2], "--hl", f"dynamics/{HL}", "--sl", SL, "--check")[0] == 0  # the same, named by its folder
    page, figure = tmp_path / "out/digits-scores.md", tmp_path / "out/digits-scores.svg"
    page.write_text(page.read_text().replace("0.0615", "0.0614"))
    figure.write_text(figure.read_text().replace("#d55e00", "#ff0000"))
    edited = page.read_bytes(), figure.read_bytes()
    code, _, said = hlbench(*COMMITTED, "--check")
    assert code == 1
    assert "digits-scores.md: not what they give" in said
    assert "digits-scores.svg: the right recordings, drawn otherwise" in said
    assert (page.read_bytes(), figure.read_bytes()) == edited


def test_the_figure_holds_no_date_no_version_and_none_of_the_users_settings(pair):
    before = score_figure(compare(*pair))
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "none", "lines.linewidth": 9, "svg.hashsalt": None}):
        assert score_figure(compare(*pair)) == before
        assert matplotlib.rcParams["font.size"] == 30
    assert ElementTree.fromstring(before).tag.endswith("svg")
    assert not any(word in before for word in ("<text", "<dc:date", matplotlib.__version__))


def test_the_figure_changes_with_the_recordings(pair, tmp_path):
    other = small_recording(tmp_path / "other", "sl", level=0.4)
    assert score_figure(compare(pair[0], other)) != score_figure(compare(*pair))


def test_json_holds_the_numbers_of_the_page(hlbench, tmp_path):
    code, printed, _ = hlbench(*COMMITTED, "--json")
    assert code == 0
    found, page = json.loads(printed), (tmp_path / "out/digits-scores.md").read_text()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.split("\n") if line.startswith("|")]
    for row in found["distributions"]:
        numbers = [f"{row[key]:.4f}" for key, _ in score_page.COLUMNS]
        assert [row["score"], row["regime"], *numbers] in cells
    for row in found["sl_over_hl"]:
        assert [row["score"], f"{row['normalised_sd']:.2f}", f"{row['coefficient_of_variation']:.2f}"] in cells
    for row in found["rank_correlations"]:
        assert f"{row['spearman']:.3f}" in [line[2] for line in cells if line[0] == "{}, {}-trained".format(*row["of"])]
    for run in found["runs"]:
        assert f"{run['first_snapshot_train_top1']:.2f}" in next(line for line in cells if run["sha256"][:12] in line)


def modules_after(*arguments):
    """Names of the modules a fresh process holds after `hlbench analyze ARGUMENTS`, which must succeed."""
    code = (
        "import sys\nfrom harness.cli import main\ntry:\n    main()\nexcept SystemExit as ended:\n"
        "    print(ended.code or 0, *sys.modules, file=sys.stderr)"
    )
    started = [sys.executable, "-c", code, "analyze", *arguments]
    done = subprocess.run(started, cwd=ROOT, capture_output=True, text=True, check=True)
    code, *names = done.stderr.split()
    assert code == "0", done.stderr
    return set(names)


def test_another_process_finds_the_committed_page_to_be_what_the_recordings_give_and_imports_no_torch():
    assert "torch" not in modules_after("scores", *COMMITTED, "--check")


def test_help_imports_no_science():
    assert not modules_after("--help") & {"torch", "numpy", "scipy", "matplotlib"}


def test_the_command_explains_itself_with_an_example(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["hlbench", "analyze", "scores", "--help"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "Example: hlbench analyze scores" in capsys.readouterr().out
