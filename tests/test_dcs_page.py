"""The DCS page: what losses were computed with, how noisy they are, whether they are stale, and how they compare with papers."""

from __future__ import annotations

import importlib
import inspect
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from statistics import fmean, variance

import pytest
from command_line import caller
from looked_up_pool import ROOT, by_size_and_quality, pool_checkout, write_table
from small_checkout import submit

from harness.dcs.declared import DECLARED, DSA_SETTINGS
from harness.dcs.lookup import frozen_pool, table_path
from harness.dcs.loss_table import LossRow, losses_path, subset_hashes, write_losses
from harness.dcs.losses import identity_of
from harness.dcs.objectives import OBJECTIVES, find_objective
from harness.scoring.board import build_boards
from harness.scoring.dcs import read_pool_scores
from harness.scoring.dcs_boards import dcs_column
from harness.scoring.dcs_reported import COLUMNS, holds, read_reported_scores, sign_verdict
from harness.scoring.loss_noise import loss_noise
from harness.scoring.reported import ReportedError
from harness.submissions import read_submission


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path / "cache"))
    pool_checkout(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def pool(root):
    return frozen_pool(root, "digits", None)


def put(root, pool, name, loss, error=None, draws=1, identity=None):
    """Losses of an objective, under the identity that it has here."""
    identity, hashes = identity or identity_of(root, pool, DECLARED[name]), subset_hashes(pool)
    rows = [LossRow(name, identity, one.id, hashes[one.id], loss(one), error, draws) for one in pool.subsets]
    write_losses(losses_path(root, pool), rows)
    return rows


def aligned(subset):
    return fmean(by_size_and_quality(subset))


def page_of(root):
    return build_boards(root, root / "leaderboards/results")["digits-dcs.md"]


def row_of(page, heading, objective):
    section = page.split(f"### {heading}\n")[1].split("\n#")[0]
    (line,) = re.findall(rf"^\| `{objective}` .*$", section, re.MULTILINE)
    return [cell.strip() for cell in line.split("|")[1:-1]]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_declared_objective_finds_its_code_when_it_is_called(name, monkeypatch):
    place = inspect.getclosurevars(DECLARED[name].losses).nonlocals
    module = importlib.import_module(f"harness.dcs.objectives.{place['module']}")
    monkeypatch.setattr(module, place["function"], lambda *given: given)
    assert DECLARED[name].losses([1], "scene", {"a": 1}) == ([1], "scene", {"a": 1})


def test_pages_with_a_dcs_are_built_without_torch(root, pool):
    put(root, pool, "dm", aligned, 0.1, 20)
    program = (
        "import sys; from pathlib import Path; from harness.scoring.board import build_boards; root = Path(sys.argv[1]);"
        "page = build_boards(root, root / 'leaderboards/results')['digits-dcs.md'];"
        "print('Settings' in page, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(root)], capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"


@pytest.mark.parametrize("name", ["dm", "tm"])
def test_the_page_says_with_which_settings_losses_were_computed(root, pool, name):
    put(root, pool, name, aligned, 0.1, 6)
    _, version, draws, _, settings, identity = row_of(page_of(root), "Settings of the losses", name)
    wanted = {key: value for key, value in find_objective(name).settings_for("digits").items() if key not in DSA_SETTINGS}
    assert settings == "`" + ", ".join(f"{key} {value}" for key, value in wanted.items()) + "`"
    assert ("networks 20" if name == "dm" else "experts 3") in settings
    assert (version, draws, identity) == (str(find_objective(name).version), "6", identity_of(root, pool, DECLARED[name]))


def test_noise_is_the_mean_squared_standard_error_over_the_variance_of_losses_within_ipc():
    def row(subset, loss, error, draws=4):
        return LossRow("dm", "a" * 12, subset, "b" * 12, loss, error, draws)

    rows = [row("a", 1.0, 0.1), row("b", 2.0, 0.2), row("c", 4.0, 0.3), row("d", 1000.0, 5.0), row("e", 1010.0, 5.0, 3)]
    sizes = {"a": 1, "b": 1, "c": 1, "d": 50, "e": 50}
    first, second = (0.01 + 0.04 + 0.09) / 3 / variance([1.0, 2.0, 4.0]), 25 / 50
    found = loss_noise(rows, sizes)
    assert found.share == pytest.approx((3 * first + 2 * second) / 5)
    assert found.draws == (3, 4)
    assert loss_noise(rows, {"a": 1, "b": 1, "c": 1}).share == pytest.approx(first)  # subsets that do not count do not
    assert loss_noise([row("a", 1.0, 9.0), row("b", 2.0, 9.0)], sizes).share == 1.0
    assert loss_noise([row("a", 1.0, None, 1), row("b", 2.0, None, 1)], sizes).share is None
    assert loss_noise([row("a", 1.0, 0.0), row("b", 1.0, 0.0)], sizes).share is None
    assert loss_noise(rows, {}) is None


@pytest.mark.parametrize(
    ("name", "error", "draws", "told"),
    [
        ("dm", None, 1, ["1", "not known: one draw has no standard error"]),
        ("rded_realism", None, 1, ["nothing drawn", "none"]),
        ("dm", 0.0, 20, ["20", "0.0% (IPC 1: 0%)"]),
        ("dm", 1e3, 20, ["20", "100.0% (IPC 1: 100%)"]),
    ],
)
def test_the_page_says_how_much_of_a_loss_is_noise_and_where_nobody_can_tell(root, pool, name, error, draws, told):
    put(root, pool, name, aligned, error, draws)
    assert row_of(page_of(root), "Settings of the losses", name)[2:4] == told


@pytest.mark.parametrize(("name", "shift", "told"), [("tm", 0.8, True), ("tm", -200, False), ("dm", 0.8, False)])
def test_the_page_says_on_how_many_sets_trajectory_matching_leads_away_from_its_goal(root, pool, name, shift, told):
    losses = {row.subset: row.loss for row in put(root, pool, name, lambda subset: aligned(subset) / 100 + shift)}
    counted = next(one for one in read_pool_scores(root)[0].objectives if one.objective == name).points
    away = sum(losses[point.subset] > 1 for point in counted)
    assert 0 < away < len(counted) or not told
    sentence = f"`{name}`: {away} of {len(counted)} losses exceed 1, that of a student that does not move"
    assert (sentence in page_of(root)) == told
    assert ("that does not move" in page_of(root)) == told


def test_losses_of_another_identity_are_called_stale_on_the_page_and_on_boards_and_their_settings_are_not_told(root, pool):
    put(root, pool, "rded_realism", aligned, identity="0" * 12)
    page, now = page_of(root), identity_of(root, pool, DECLARED["rded_realism"])
    assert f"`rded_realism`: **stale**. Its losses are of identity {'0' * 12}" in page
    assert f"now give {now}; to renew them: `hlbench dcs rded_realism --dataset digits`" in page
    assert row_of(page, "Settings of the losses", "rded_realism")[4] == f"**not those of the code here**, which gives {now}"
    distilled = {"kind": "distilled", "split_fingerprint": None, "images": {"pixel_space": "uint8", "resolution": 8}}
    submission = read_submission(submit(root, "rded", "rded", **distilled))
    assert dcs_column([submission], read_pool_scores(root)[0])[1][0].endswith(", stale losses")
    put(root, pool, "rded_realism", aligned)
    assert "stale" not in page_of(root)
    reported(root, "A paper,Fig. 1,RDED,resnet18,digits,test images,+1,rded_realism,1,1")
    assert "(stale)" not in page_of(root)
    put(root, pool, "rded_realism", aligned, identity="0" * 12)
    assert row_of(page_of(root), "Beside what papers print", "rded_realism")[4].endswith(" (stale)")


def test_check_fails_when_an_objectives_version_is_raised_and_its_old_losses_stay(root, pool, monkeypatch, capsys):
    hlbench = caller(monkeypatch, capsys)
    put(root, pool, "dm", aligned, 0.1, 20)
    assert hlbench("leaderboard")[0] == 0
    assert hlbench("leaderboard", "--check")[0] == 0
    monkeypatch.setitem(DECLARED, "dm", replace(DECLARED["dm"], version=DECLARED["dm"].version + 1))
    code, _, err = hlbench("leaderboard", "--check")
    assert code == 1
    assert "digits-dcs.md: row dm" in err.replace("`", "")


def test_a_page_depends_on_no_experts_in_somebodys_cache(root, pool):
    """Without a card beside the recipe the identity is not known here, whatever the cache holds."""
    put(root, pool, "tm", aligned, 0.1, 6)
    shutil.rmtree(root / "teachers")
    page = page_of(root)
    assert "stale" not in page
    assert row_of(page, "Settings of the losses", "tm")[4] == "not known: its networks are not pinned here"


def test_the_page_says_what_chance_gives_and_answers_before_it_explains(root, pool):
    put(root, pool, "dm", aligned, 0.1, 20)
    page, score = page_of(root), read_pool_scores(root)[0].objectives[0].score
    (line,) = re.findall(r"^\| `dm` +\| \*\*.*$", page, re.MULTILINE)
    cells = [cell.strip() for cell in line.split("|")[2:]]
    assert cells[0].startswith(f"**{score.primary:+.2f}** [")
    assert cells[1].startswith(f"{score.chance:+.2f} [")
    assert cells[2] == "<0.001"
    assert cells[3].startswith(f"{score.without_twins.value:+.2f} [")
    told = ("- Aligned (p < 0.05 with twins and without): `dm`.", line, "### How far the scores hold", "## How to read this page")
    assert [page.index(text) for text in told] == sorted(map(page.index, told))


def test_subsets_that_the_rule_leaves_out_stand_by_size_with_their_errors_and_its_limit(root, pool):
    def errors(subset):
        return (99.0,) * 2 if subset.id == "ipc4-el2n-hard-d0" else (20.0 + (subset.method == "random"),) * 2

    write_table(root, pool, errors)
    put(root, pool, "dm", aligned, 0.1, 20)
    text = page_of(root).split("Not counted, by the rule")[1].split("\n![")[0]
    assert [line for line in text.split("\n") if line.startswith("- ")] == [
        "- IPC 4, above 31.00 (Random 21.00): ipc4-el2n-hard-d0 99.00."
    ]


def test_the_page_says_which_losses_turn_round_over_sizes(root, pool):
    put(root, pool, "dm", lambda one: aligned(one) if one.ipc > 4 else -aligned(one), 0.1, 20)
    assert re.search(r"They turn round over sizes, .*: `dm` \(-1\.00 at IPC 1, \+1\.00 at IPC 10\)\.", page_of(root))
    put(root, pool, "dm", aligned, 0.1, 20)
    assert "turn round" not in page_of(root)


def test_the_page_says_which_losses_are_mostly_luck_of_their_draws(root, pool):
    put(root, pool, "dm", aligned, 1e3, 20)
    assert "so that their scores say little: `dm` (100% at IPC 1)." in page_of(root)
    put(root, pool, "dm", aligned, 0.0, 20)
    assert "luck of their draws" not in page_of(root)


def test_a_pool_with_few_students_says_what_a_score_asks_for(root, pool):
    put(root, pool, "dm", aligned, 0.1, 20)
    table = table_path(root, pool)
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:9]))
    page = page_of(root)
    assert re.search(
        r"\*\*No score yet\*\*: \d subsets at 1 size have a loss and students; a score asks for 30 at 3 sizes\.", page
    )
    table.unlink()
    assert "**No score yet**: no subset has students yet; a score" in page_of(root)


def test_a_page_of_a_pool_that_lacks_students_calls_itself_provisional_and_says_where(root, pool):
    put(root, pool, "dm", aligned, 0.1, 20)
    assert "Provisional" not in page_of(root)
    of_ipc = Counter(subset.ipc for subset in pool.subsets)
    planned, last = len(pool.subsets) * len(pool.recipe.seeds), pool.subsets[-1]
    kept = [line for line in table_path(root, pool).read_text().splitlines(keepends=True) if not line.startswith(f"{last.id},")]
    table_path(root, pool).write_text("".join(kept))
    page = page_of(root)
    sizes = ", ".join(f"{count - (ipc == last.ipc)} of {count} at IPC {ipc}" for ipc, count in of_ipc.items())
    told = f"**Provisional**: {planned - len(pool.recipe.seeds)} of {planned} students are trained."
    assert f"{told} Subsets and twins that have one: {sizes}.\n" in page
    assert page.index("- Aligned (") < page.index(told) < page.index("| `dm`")
    smallest = [line for line in kept if line.startswith(("subset,", "ipc1-"))]
    table_path(root, pool).write_text("".join(smallest))
    larger = ", ".join(str(ipc) for ipc in of_ipc if ipc > 1)
    assert f"that have one: {of_ipc[1]} of {of_ipc[1]} at IPC 1, none at IPC {larger}.\n" in page_of(root)


@pytest.mark.parametrize(
    ("value", "interval", "printed", "told"),
    [
        (0.76, (0.64, 0.84), (0.41, 0.41), ("same", False)),
        (0.30, (0.10, 0.50), (0.41, 0.41), ("same", True)),
        (-0.30, (-0.50, -0.1), (0.41, 0.41), ("other", False)),
        (0.19, (-0.06, 0.42), (-1, 0), ("other", True)),
        (-0.19, (-0.50, -0.1), (-1, 0), ("same", True)),
        (0.0, (-0.1, 0.1), (-1, 0), ("same", True)),
        (0.17, (-0.09, 0.47), (0, 0), ("-", True)),
        (0.50, (0.30, 0.60), (0, 0), ("-", False)),
    ],
)
def test_a_printed_value_is_compared_by_sign_and_by_whether_the_interval_holds_it(value, interval, printed, told):
    assert (sign_verdict(value, *printed), holds(interval, *printed)) == told


def reported(root, *lines):
    folder = root / "leaderboards/reported/dcs"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "paper.csv").write_text("\n".join([",".join(COLUMNS), *lines, ""]))
    return folder


def test_the_page_compares_each_printed_value_with_the_score_here_and_says_what_differs(root, pool):
    put(root, pool, "dm", aligned, 0.1, 20)
    lines = [
        "A paper,Fig. 1,DM,resnet18,imagenet-1k,test images,+0.41,dm,0.41,0.41",
        "A paper,Fig. 2,DM,mlp,digits,test images,a lot,dm,0.9,1",
        "A paper,Fig. 3,TM,resnet18,digits,test images,none,tm,0,0",  # no losses of it here
        "A paper,Fig. 4,DM,resnet18,digits,corrupted images,+0.41,dm,0.41,0.41",  # no errors on them here
    ]
    reported(root, *lines)
    page = page_of(root)
    section = page.split("### Beside what papers print")[1].split("\n#")[0]
    first, second = re.findall(r"^\| `dm` .*$", section, re.MULTILINE)
    cells = [[cell.strip() for cell in line.split("|")[3:-1]] for line in (first, second)]
    assert [one[0] for one in cells] == ["+0.41", "+0.90 or above"]
    assert [one[3:] for one in cells] == [
        ["same", "no", "dataset (imagenet-1k) and subsets"],
        ["same", "yes", "student (mlp) and subsets"],
    ]
    assert cells[0][2].startswith("+1.00 [")
    assert "`tm`" not in section
    reported(root)
    assert "Beside what papers print" not in page_of(root)


@pytest.mark.parametrize(
    "line",
    [
        "A,b,DM,s,d,test images,+0.41,no-such,0,0",
        "A,b,DM,s,d,test images,+0.41,dm,0.5,0.4",
        "A,b,DM,s,d,test images,+0.41,dm,nan,0.4",
        "A,b,DM,s,d,test images,+0.41,dm,0,2",
        "A,b,DM,s,d,other images,+0.41,dm,0,0",
        "A,b,DM,s,d,test images,+0.41,dm,x,0",
        "A,b,DM,s,d,test images,+0.41",
    ],
)
def test_a_line_of_reported_scores_that_cannot_be_compared_is_named(root, line):
    with pytest.raises(ReportedError, match=r"paper.csv:2"):
        read_reported_scores(reported(root, line))


def test_every_committed_printed_value_is_of_an_objective_here():
    found = read_reported_scores(ROOT / "leaderboards/reported/dcs")
    assert {name for one in found for name in one.compares} == {"sre2l_bn", "sre2l_total", "dwa", "dm", "tm"}
    assert [(one.low, one.high) for one in found if one.objective == "DM"] == [(0.41, 0.41)]
