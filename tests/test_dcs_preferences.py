"""What each loss prefers: mean ranks of selectors within a size, with students and without."""

from __future__ import annotations

import re

import pytest
from looked_up_pool import by_size_and_quality, pool_checkout

from harness.dcs.declared import DECLARED
from harness.dcs.lookup import frozen_pool, table_path
from harness.dcs.loss_table import LossRow, losses_path, subset_hashes, write_losses
from harness.dcs.losses import identity_of
from harness.scoring.board import build_boards
from harness.scoring.dcs_preferences import HEADING, mean_ranks


@pytest.fixture
def root(tmp_path):
    pool_checkout(tmp_path)
    return tmp_path


def put(root, losses):
    """Losses of DM on the digits pool, by subset; those that are None are left out."""
    pool = frozen_pool(root, "digits", None)
    identity, hashes = identity_of(root, pool, DECLARED["dm"]), subset_hashes(pool)
    found = [(one, losses(one)) for one in pool.subsets]
    rows = [LossRow("dm", identity, one.id, hashes[one.id], loss, 0.1, 20) for one, loss in found if loss is not None]
    write_losses(losses_path(root, pool), rows)
    return pool


def preferences(root):
    """Selector -> cells by header, of the section on the page."""
    section = build_boards(root, root / "leaderboards/results")["digits-dcs.md"].split(f"{HEADING}\n")[1].split("\n#")[0]
    header, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in re.findall(r"^\|.*$", section, re.MULTILINE))
    return {cells[0]: dict(zip(header, cells, strict=True)) for cells in rows[1:]}


def test_a_selector_that_is_always_lowest_has_0_and_one_that_is_always_highest_1(root):
    put(root, lambda one: {"cal": 0.0, "graphcut": 9.0}.get(one.method, 1 + one.draw))
    found = preferences(root)
    assert (found["cal"]["`dm`"], found["graphcut"]["`dm`"]) == ("0.00", "1.00")
    assert 0 < float(found["random"]["`dm`"]) < 1


def test_ranks_are_within_a_size_so_that_size_alone_prefers_nothing(root):
    put(root, lambda one: 1000.0 / one.ipc)
    assert {cells["`dm`"] for cells in preferences(root).values()} == {"0.50"}


def test_twins_are_left_out_and_subsets_without_a_loss_are_not_ranked(root):
    pool = put(root, lambda one: None if one.method == "cal" else -5.0 if one.twin_of else float(one.method == "graphcut"))
    found = preferences(root)
    assert (found["cal"]["`dm`"], found["graphcut"]["`dm`"]) == ("-", "1.00")
    draws = {f"ipc1-random-d{draw}": float(draw) for draw in range(3)}
    assert mean_ranks(pool, draws) == {}  # one selector is alone at this size
    assert mean_ranks(pool, draws | {"ipc1-cal-d0": 9.0})["cal"] == 1.0


def test_students_settle_the_order_of_the_rows(root):
    put(root, lambda one: 1.0)
    errors = [float(cells["Error"]) for cells in preferences(root).values()]
    assert errors == sorted(errors)
    assert errors[0] < errors[-1]


def test_losses_without_students_have_a_page_that_says_so_and_no_figure(root):
    pool = put(root, lambda one: by_size_and_quality(one)[0] if one.ipc < 20 else None)
    table_path(root, pool).unlink()
    files = build_boards(root, root / "leaderboards/results")
    page = files["digits-dcs.md"]
    assert ", 0 of 306 looked up" in page
    assert "**No score yet**: no subset has students yet;" in page
    assert re.search(r"\| `dm` +\| too few +\|", page)
    assert "### Errors of the subsets" not in page
    assert not [name for name in files if name.endswith(".svg")]
    assert re.search(
        r"\| `dm` +\| 1 +\| 20 +\| [0-9.]+% \(IPC [0-9]+: [0-9]+%\) +\|", page.split("### Settings")[1]
    )  # draws and noise
    found = preferences(root)
    assert f"of {len(pool.subsets)} with twins: `dm` {sum(one.ipc < 20 for one in pool.subsets)}." in page
    assert "Error" not in found["random"]
    assert found["random"]["Sizes"] == "1, 2, 4, 10"
    assert next(iter(found)) == "random"  # the pool's order


def test_where_students_are_of_fewer_sizes_than_losses_the_page_says_of_which(root):
    pool = put(root, lambda one: 1000.0 / one.ipc)
    assert "Error at IPC" not in preferences(root)["cal"]
    table = table_path(root, pool)
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join([lines[0], *(line for line in lines[1:] if line.startswith("ipc1-"))]))
    cells = preferences(root)["cal"]
    assert cells["Error at IPC"] == "1"
    assert cells["Sizes"].startswith("1, 2, ")
