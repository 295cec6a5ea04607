"""A function of the author's own: interrupted and run again, kept under a name, and as the documentation shows one."""

from __future__ import annotations

import json
import sys
import textwrap

import pytest
from command_line import caller
from looked_up_pool import pool_checkout

from harness import dcs_scores
from harness.dcs import custom
from harness.dcs.kept_losses import read_kept
from harness.dcs.lookup import frozen_pool


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path / "cache"))
    pool_checkout(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    forget()


@pytest.fixture
def pool(root):
    return frozen_pool(root, "digits", None)


@pytest.fixture
def hlbench(root, monkeypatch, capsys):
    return caller(monkeypatch, capsys)


COUNTING = """
from pathlib import Path
import helper

def loss(images, labels):
    with Path("calls").open("a") as file:
        file.write("x")
    if Path("calls").stat().st_size == {stop}:
        raise KeyboardInterrupt
    return float(images.mean()) + helper.SHIFT
"""


def interrupted(root, stop):
    """A function of the author's own that is interrupted in its call number `stop`, run with `--most-ipc 1`."""
    (root / "helper.py").write_text("SHIFT = 0.0\n")
    (root / "mine.py").write_text(COUNTING.format(stop=stop))
    forget()
    with pytest.raises(KeyboardInterrupt):
        dcs_scores.score_function(root, frozen_pool(root, "digits", None), "mine:loss", None, 1, None, lambda *_: None)
    assert calls(root) == stop
    forget()


def forget():
    for name in ("mine", "helper", "package", "package.mine"):
        sys.modules.pop(name, None)


def calls(root) -> int:
    return len((root / "calls").read_text())


def test_an_interrupted_function_goes_on_where_it_was_and_leaves_nothing_behind(root, pool, hlbench):
    interrupted(root, 5)
    count = sum(subset.ipc == 1 for subset in pool.subsets)
    code, out, err = hlbench("dcs", "--dataset", "digits", "--objective", "mine:loss", "--most-ipc", "1", "--json")
    assert code == 0, err
    assert f"4 of {count} losses are there from an earlier run of helper.py, mine.py" in err
    assert calls(root) == count + 1
    assert list((root / "cache/dcs-own").iterdir()) == []
    forget()
    whole = hlbench("dcs", "--dataset", "digits", "--objective", "mine:loss", "--most-ipc", "1", "--json")[1]
    assert json.loads(whole)["objectives"] == json.loads(out)["objectives"]  # among them the hash of all losses
    assert calls(root) == 2 * count + 1


@pytest.mark.parametrize(("file", "text"), [
    ("mine.py", COUNTING.format(stop=0)), ("helper.py", "SHIFT = 1.0\n"), (None, None),
])  # fmt: skip
def test_losses_of_an_interrupted_function_count_only_while_its_files_are_what_they_were(root, pool, hlbench, file, text):
    interrupted(root, 5)
    if file:
        (root / file).write_text(text)
    code, _, err = hlbench("dcs", "--dataset", "digits", "--objective", "mine:loss", "--most-ipc", "1")
    assert code == 0, err
    count = sum(subset.ipc == 1 for subset in pool.subsets)
    assert calls(root) == 5 + (count if file else count - 4)


def test_a_module_imported_from_the_working_folder_counts_though_the_function_lies_below_it(root, pool, hlbench, capsys):
    (root / "package").mkdir()
    (root / "package" / "mine.py").write_text(COUNTING.format(stop=5))
    (root / "helper.py").write_text("SHIFT = 0.0\n")
    with pytest.raises(KeyboardInterrupt):
        dcs_scores.score_function(root, pool, "package.mine:loss", None, 1, None, lambda *_: None)
    assert "4 losses are kept; the same command goes on" in capsys.readouterr().err
    forget()
    (root / "helper.py").write_text("SHIFT = 1.0\n")
    assert hlbench("dcs", "--dataset", "digits", "--objective", "package.mine:loss", "--most-ipc", "1")[0] == 0
    assert calls(root) == 5 + sum(subset.ipc == 1 for subset in pool.subsets)


def test_losses_kept_of_an_interruption_that_cannot_be_read_are_computed_again(root, pool, hlbench):
    interrupted(root, 5)
    (path,) = (root / "cache/dcs-own").iterdir()
    for damage in (b"", b"[1]", b'{"a": "x"}', b"\xff", b'{"a": NaN}'):
        path.write_bytes(damage)
        assert read_kept(path) == {}
    count = sum(subset.ipc == 1 for subset in pool.subsets)
    assert hlbench("dcs", "--dataset", "digits", "--objective", "mine:loss", "--most-ipc", "1")[0] == 0
    assert calls(root) == 5 + count


def test_a_name_that_cannot_be_kept_is_refused_before_the_function_is_called(root, pool, hlbench):
    (root / "mine.py").write_text("def loss(images, labels):\n    raise SystemError('called')\n")
    forget()
    code, _, err = hlbench("dcs", "--dataset", "digits", "--objective", "mine:loss", "--save", "dm")
    assert code == 2
    assert "called" not in err
    assert "would be taken for dm" in err


def test_the_function_that_the_documentation_shows_runs(root, pool, hlbench):
    text = custom.__doc__.split("itself, once:\n")[1]
    (root / "mine.py").write_text(textwrap.dedent(text))
    forget()
    code, out, err = hlbench("dcs", "--dataset", "digits", "--objective", "mine:loss", "--most-ipc", "1", "--json")
    assert code == 0, err
    assert json.loads(out)["objectives"][0]["score"]["points"] > 0


def test_losses_of_the_small_sizes_alone_are_scored_but_not_kept_under_a_name(root, pool, hlbench):
    (root / "mine.py").write_text(COUNTING.format(stop=0))
    (root / "helper.py").write_text("SHIFT = 0.0\n")
    asked = ["dcs", "--dataset", "digits", "--objective", "mine:loss", "--most-ipc", "1"]
    code, out, err = hlbench(*asked, "--save", "mine")
    assert (code, out) == (2, "")
    assert "not kept" in err
    assert not (root / "calls").exists()  # said before anything is computed
    code, _, err = hlbench(*asked)
    assert code == 0
    assert "scored and not kept" in err
