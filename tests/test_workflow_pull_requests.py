"""Rules of what `.github/` does with a pull request: which submissions it changes, and that records are only added."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from workflow_checkout import ON_MAIN, RECORD, commit, git, make_checkout, script, shell, step_that, stub


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    return make_checkout(tmp_path_factory.mktemp("template"))


@pytest.fixture
def branch(template, tmp_path) -> Path:
    """A checkout on a branch that left main just now."""
    return shutil.copytree(template, tmp_path / "checkout")


# submission.yml: which submissions a pull request changes.


def test_changed_submissions_are_found_also_by_their_data_and_nothing_else_is(branch):
    commit(branch, {"submissions/random/digits-ipc1/draw0.json": "[1]", "submissions/mine/cifar10-ipc10.yaml": "kind: distilled"})
    done = script("changed_submissions.py", branch)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "submissions/mine/cifar10-ipc10.yaml\0submissions/random/digits-ipc1.yaml\0"


def test_what_main_did_meanwhile_is_not_blamed_on_the_branch(branch):
    commit(branch, {"submissions/mine/cifar10-ipc10.yaml": "kind: distilled"})
    git(branch, "switch", "--quiet", "main")
    commit(branch, {"README.md": "newer", "submissions/random/digits-ipc10.yaml": "newer"})
    git(branch, "update-ref", "refs/remotes/origin/main", "HEAD")
    git(branch, "switch", "--quiet", "branch")
    assert script("changed_submissions.py", branch).stdout == "submissions/mine/cifar10-ipc10.yaml\0"


def test_a_branch_without_submissions_may_change_anything(branch):
    commit(branch, {"README.md": "newer", "harness/new.py": ""})
    done = script("changed_submissions.py", branch)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "protocols/LOCK.json",
        ".github/workflows/tests.yml",
        "leaderboards/digits.md",
        "submissions/README.md",
        "submissions/mine/digits-ipc1.yml",
        "submissions/mine/notes.txt",
        "submissions/Mine/digits-ipc1.yaml",
        "submissions/-rf/digits-ipc1.yaml",
        "submissions/random/digits-ipc1.yaml --fetch",
        "submissions/mine/digits ipc1.yaml",
        "submissions/mine/$(id)-ipc1.yaml",
        "submissions/mine\n::add-mask::a/digits-ipc1.yaml",
        "submissions/random/digits-ipc10.yaml\n",
        "submissions/mine/digits-ipc1/a\n::error::b.png",
        "submissions/mine/digits-ipc1/draw0.json",
        "--output=x",
        os.fsdecode(b"submissions/mine/\xff-ipc1.yaml"),
    ],
)
def test_files_that_belong_to_no_submission_are_refused_beside_one(branch, name):
    commit(branch, {"submissions/random/digits-ipc1.yaml": "newer", name: "x"})
    done = script("changed_submissions.py", branch)
    assert (done.returncode, done.stdout) == (1, "")
    assert ascii(name) in done.stderr
    assert not [line for line in done.stderr.splitlines() if line.lstrip().startswith("::")]


@pytest.mark.parametrize(
    "link", ["submissions/mine/digits-ipc1.yaml", "submissions/random/digits-ipc1/draw1.json", "submissions"]
)
def test_a_symbolic_link_is_refused(branch, link):
    if link == "submissions":
        git(branch, "rm", "-r", "--quiet", "submissions")
    (branch / link).parent.mkdir(parents=True, exist_ok=True)
    (branch / link).symlink_to("/etc/passwd")
    commit(branch, {})
    assert script("changed_submissions.py", branch).returncode == 1


def test_a_file_moved_out_of_a_submission_is_refused_and_a_removed_submission_needs_no_check(branch):
    git(branch, "rm", "-r", "--quiet", "submissions/random")
    commit(branch, {})
    assert (script("changed_submissions.py", branch).returncode, script("changed_submissions.py", branch).stdout) == (0, "")
    commit(branch, {"harness/moved.yaml": ON_MAIN["submissions/random/digits-ipc1.yaml"]})
    assert script("changed_submissions.py", branch).returncode == 1


def test_without_history_the_check_says_how_to_get_it(branch):
    git(branch, "update-ref", "-d", "refs/remotes/origin/main")
    done = script("changed_submissions.py", branch)
    assert done.returncode == 1
    assert "git fetch --unshallow" in done.stderr


@pytest.mark.parametrize("changed", [[], ["submissions/mine/digits-ipc1.yaml", "submissions/random/digits-ipc1.yaml"]])
def test_the_step_installs_and_validates_only_when_a_submission_changed(branch, tmp_path, changed):
    stub(branch, "bin/make")
    stub(branch, ".venv/bin/hlbench")
    (tmp_path / "called").touch()
    (tmp_path / "changed").write_text("".join(f"{name}\0" for name in changed))
    assert shell(step_that("submission", "hlbench validate"), branch).returncode == 0
    expected = "".join(f"[{word}]" for word in ["make", "install", "hlbench", "validate", *changed])
    assert (tmp_path / "called").read_text() == (expected if changed else "")


# boards.yml: records are only added.


def test_adding_a_record_passes_and_changing_moving_or_removing_one_fails(branch):
    step = step_that("boards", "git diff")
    commit(branch, {RECORD.replace("seed0", "seed1"): "measured too", "leaderboards/digits.md": "new page"})
    assert shell(step, branch).returncode == 0
    for damage in (["rm", "--quiet", RECORD], ["mv", RECORD, RECORD.replace("seed0", "seed9")]):
        git(branch, *damage)
        commit(branch, {})
        assert shell(step, branch).returncode == 1
        git(branch, "reset", "--quiet", "--hard", "HEAD~1")
    commit(branch, {RECORD: "better"})
    assert shell(step, branch).returncode == 1
