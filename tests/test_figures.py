"""Figures of a board: drawn only when regimes can be compared, the same bytes every time, checked like pages."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest
from looked_up_pool import ROOT
from matplotlib.axes import Axes
from regime_rows import board, fill_regimes, single
from small_checkout import check, checkout, fill, measure, protocol_id, publish, rebuild, submit

from harness.dcs.pool import find_pool, pool_ids
from harness.dcs.statistic import Point, score
from harness.scoring import dcs_figures
from harness.scoring.dcs_figures import MARKERS, places_of, pool_figure
from harness.scoring.figures import board_figures, row_label

THREE = {"random": single(30.0, 31.0, 32.0), "herding": single(40.0, 41.0, 42.0), "lone": single(50.0)}
NAMES = ["figures/digits-resnet18-ipc1-regimes.svg", "figures/digits-resnet18-ipc1-ranks.svg"]


def names(*regimes) -> list[str]:
    return [figure.name for figure in board_figures(board(*regimes))]


def test_two_regimes_give_accuracy_by_regime_and_rank_against_rank():
    assert names(THREE, THREE) == names(THREE, THREE, THREE) == NAMES


def test_figures_need_two_regimes_with_results_and_ranks_need_hl_and_two_shared_rows():
    assert names(THREE) == []
    assert names(THREE, {"random": single(None, None)}) == []
    assert names(THREE, {"random": single(60.0)}) == NAMES[:1]
    assert names(None, THREE, THREE) == NAMES[:1]


@pytest.mark.parametrize("many", [1, 12, 60])
def test_any_number_of_rows_ties_and_a_full_dataset_can_be_drawn(many):
    rows = {f"m{place}": single(30.0 + place % 5, 31.0 + place % 5) for place in range(many)}
    for figure in board_figures(board(rows | {"full-dataset": single(80.0)}, rows, rows)):
        root = ElementTree.fromstring(figure.svg)
        assert root.tag.endswith("svg")


def test_the_words_say_which_regimes_and_how_many_rows():
    accuracy, ranks = board_figures(board(THREE, THREE, {"random": single(60.0), "lone": single(61.0)}))
    assert accuracy.alt == "Top-1 accuracy of every row of resnet18 at IPC 1 under HL, SL and SL+KD, with 95% intervals."
    assert ranks.alt == "Rank under HL against rank under SL+KD of the 2 rows of resnet18 at IPC 1 with both."


def test_the_bytes_hold_no_date_no_version_and_none_of_the_users_settings():
    before = [figure.svg for figure in board_figures(board(THREE, THREE))]
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "none", "lines.linewidth": 9, "svg.hashsalt": None}):
        assert [figure.svg for figure in board_figures(board(THREE, THREE))] == before
        assert matplotlib.rcParams["font.size"] == 30
    assert not any(word in svg for svg in before for word in ("<text", "<dc:date", matplotlib.__version__))


def test_figures_change_with_the_numbers():
    other = THREE | {"herding": single(40.0, 41.0, 43.0)}
    assert board_figures(board(THREE, THREE))[0].svg != board_figures(board(other, THREE))[0].svg


@pytest.fixture
def root(tmp_path):
    return checkout(tmp_path / "checkout", ("hl", "sl", "sl-kd"))


def test_boards_are_written_with_their_figures_and_embed_them(root):
    fill_regimes(root, random=(30, 60, 70), herding=(41, 63, 70.5))
    publish(root)
    page = (root / "leaderboards/digits.md").read_text()
    assert all(f"]({name})" in page and (root / "leaderboards" / name).is_file() for name in NAMES)
    assert check(root) == []


def test_another_process_draws_the_same_bytes(root):
    fill_regimes(root, random=(30, 60, 70), herding=(41, 63, 70.5))
    publish(root)
    program = (
        "import sys; from pathlib import Path; from harness.scoring.check import check_boards; root = Path(sys.argv[1]);"
        "print(check_boards(root, root / 'leaderboards/results', root / 'leaderboards'))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(root)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_check_names_figures_that_differ_are_missing_or_belong_to_no_record(root):
    fill_regimes(root, random=(30, 60, 70), herding=(41, 63, 70.5))
    publish(root)
    folder = root / "leaderboards/figures"
    accuracy, ranks = (root / "leaderboards" / name for name in NAMES)
    (folder / "old.svg").write_text(ranks.read_text())
    (folder / "own.svg").write_text("<svg/>")
    accuracy.write_text(accuracy.read_text().replace("#0072b2", "#000000"))
    ranks.unlink()
    otherwise = "the right numbers, drawn otherwise: edited, or by another matplotlib than constraints.txt names"
    assert check(root) == [
        f"leaderboards/{NAMES[0]}: {otherwise}",
        f"leaderboards/{NAMES[1]}: missing",
        "leaderboards/figures/old.svg: extra, no record belongs to it",
    ]
    publish(root)
    assert check(root) == []
    assert sorted(path.name for path in folder.iterdir()) == sorted([accuracy.name, ranks.name, "own.svg"])


def test_check_tells_figures_of_stale_numbers_from_other_drawings(root):
    fill_regimes(root, random=(30, 60, 70), herding=(41, 63, 70.5))
    publish(root)
    measure(root, submit(root, "late", "late"), (50.0, 51.0, 52.0), protocol=protocol_id("sl"))
    stale = [line for line in check(root) if ".svg" in line]
    assert stale == [f"leaderboards/{name}: drawn from other numbers than the records give" for name in NAMES]


def test_markers_at_0_and_100_percent_are_not_cut(monkeypatch):
    limits = []
    monkeypatch.setattr(Axes, "legend", lambda axes, *_, **__: limits.append(axes.get_ylim()))
    board_figures(board({"random": single(0.0)}, {"random": single(100.0)}))
    assert [low < 0 and high > 100 for low, high in limits] == [True]


def test_long_names_are_shown_whole_on_several_lines():
    slug = "a-slug-of-sixty-four-letters-is-shown-whole-and-does-not-squeeze"
    words = row_label(slug)
    assert words.replace("\n", "") == slug
    assert max(map(len, words.split("\n"))) <= 32


def test_boards_of_one_regime_never_import_matplotlib(root):
    fill(root)
    program = (
        "import sys; from pathlib import Path; from harness.scoring.board import build_boards; root = Path(sys.argv[1]);"
        "build_boards(root, root / 'leaderboards/results'); print({'matplotlib', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(root)], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
    assert not any(name.endswith(".svg") for name in rebuild(root))


def scattered(methods: int = 8) -> list[Point]:
    """Subsets and twins at four sizes, of which size settles error and loss almost alone."""
    random, points = np.random.default_rng(0), []
    for ipc in (1, 2, 10, 50):
        for method in range(methods):
            for twin in ("", "-twin"):
                error, loss = random.normal(size=2) + 100 / ipc
                base = f"ipc{ipc}-m{method}-d0"
                points.append(Point(base + twin, base, ipc, f"m{method}", (error, error + 0.1), loss + 0.4 * error))
    return points


def test_a_scatter_plot_shows_what_the_score_correlates_and_not_size():
    points = scattered()
    x, y = np.array(list(places_of(points).values())).T
    found = score(points, resamples=20, permutations=20)
    assert np.corrcoef(x, y)[0, 1] == pytest.approx(found.primary)
    assert abs(found.primary) < found.raw - 0.2
    for ipc in (1, 2, 10, 50):
        of_one = [place for name, place in places_of(points).items() if name.startswith(f"ipc{ipc}-")]
        assert np.mean(of_one, axis=0) == pytest.approx(0.5)
        assert 0 < np.min(of_one) < np.max(of_one) < 1


def test_ties_share_a_place_in_a_scatter_plot():
    points = [Point(name, name, 1, "m", (error,), loss) for name, error, loss in (("a", 1, 2), ("b", 1, 2), ("c", 3, 1))]
    assert places_of(points) == {"a": pytest.approx((2 / 3, 1 / 3)), "b": pytest.approx((2 / 3, 1 / 3)),
                                 "c": pytest.approx((1 / 6, 5 / 6))}  # fmt: skip


def test_every_selector_of_every_pool_has_a_marker_of_its_own(monkeypatch):
    most = max(len(find_pool(ROOT, name).recipe.methods) for name in pool_ids(ROOT))
    assert most <= len(MARKERS) == len({str(marker) for marker in MARKERS})
    drawn = {}
    plot = Axes.plot

    def noted(axes, *given, **style):
        if "label" in style:
            drawn[style["label"]] = str(style["marker"])
        return plot(axes, *given, **style)

    monkeypatch.setattr(Axes, "plot", noted)
    pool_figure("digits-v1", "dm", scattered(len(MARKERS)))
    markers = [marker for label, marker in drawn.items() if label.startswith("m")]
    assert len(set(markers)) == len(markers) == len(MARKERS)


def test_a_scatter_plot_changes_with_a_loss_that_changes_no_rank_only_in_its_digest():
    points = scattered()
    moved = [Point(**{**vars(point), "loss": point.loss + 1000}) for point in points]
    before, after = (pool_figure("digits-v1", "dm", one).svg for one in (points, moved))
    differing = [(old, new) for old, new in zip(before.split("\n"), after.split("\n"), strict=True) if old != new]
    assert len(differing) == 1
    assert dcs_figures._numbers("dm", moved) in differing[0][1]
