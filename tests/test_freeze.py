"""Rules of `harness/freeze.py`: what was frozen stays as it was, in the files, in the lock and in git's history."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from harness.errors import UsageError
from harness.freeze import differences, freeze, read_lock, summaries, verify
from harness.protocols import find_protocol

ROOT = Path(__file__).resolve().parent.parent
ID = "cifar10/convnet-d3-hl/v1"
LARGE = "imagenet-1k/resnet18-hl/v1"
DAY = "2026-11-21"


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A checkout, not in git, with one protocol that is frozen."""
    for variable in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(variable, raising=False)
    file = tmp_path / "protocols" / f"{ID}.yaml"
    file.parent.mkdir(parents=True)
    shutil.copy(ROOT / "protocols" / f"{ID}.yaml", file)
    (tmp_path / "protocols" / "LOCK.json").write_text("{}\n")
    freeze(tmp_path, ID, DAY)
    return tmp_path


def file_of(project: Path) -> Path:
    return project / "protocols" / f"{ID}.yaml"


def lock_of(project: Path) -> Path:
    return project / "protocols" / "LOCK.json"


def edit(project: Path, old: str, new: str) -> None:
    text = file_of(project).read_text()
    assert old in text
    file_of(project).write_text(text.replace(old, new, 1))


LR = '  lr: {value: 0.01, from: inferred, why: "Table 4, small HL, applied to CIFAR-10"}'


# The lock.


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (LR, LR.replace("0.01", "0.02")),
        (LR, LR.replace("inferred", "paper")),
        (LR, LR.replace("Table 4", "Table 5")),
        ("title: CIFAR-10", "title: CIFAR-X"),
        ("The code wins.", "The paper wins."),
    ],
)
def test_an_edited_value_provenance_or_note_of_a_locked_protocol_fails(project, old, new):
    assert verify(project) == []
    edit(project, old, new)
    [problem] = verify(project)
    assert "edited" in problem
    assert str(file_of(project)) in problem
    assert summaries(project)[0].lock == "edited"


def test_comments_order_of_keys_and_layout_of_a_locked_protocol_may_change(project):
    contents = yaml.safe_load(file_of(project).read_text())
    file_of(project).write_text("# another comment\n" + yaml.safe_dump(contents, sort_keys=True, default_flow_style=False))
    assert verify(project) == []


def test_a_vanished_locked_protocol_fails(project):
    file_of(project).unlink()
    [problem] = verify(project)
    assert "vanished" in problem
    assert ID in problem


def test_a_malformed_locked_protocol_is_a_problem_and_not_a_crash(project):
    file_of(project).write_text("a: [")
    [problem] = verify(project)
    assert "not valid YAML" in problem


def test_a_protocol_that_is_not_locked_fails_and_the_message_says_how_to_lock_it(project):
    lock_of(project).write_text("{}")
    [problem] = verify(project)
    assert f"hlbench protocols freeze {ID}" in problem


@pytest.mark.parametrize("name", ["v1.yml", "draft.yaml", "deeper/v1.yaml"])
def test_a_yaml_file_that_no_id_leads_to_fails(project, name):
    stray = file_of(project).parent / name
    stray.parent.mkdir(exist_ok=True)
    stray.write_text("schema: 1\n")
    [problem] = verify(project)
    assert str(stray) in problem


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"NaN",
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"a": 1}',
        b'{"a": {"sha256": "00", "frozen_on": "2026-11-21"}}',
        b'{"a": {"sha256": "%s", "frozen_on": "2026-13-21"}}' % (b"0" * 64),
        b'{"a": {"sha256": "%s"}}' % (b"0" * 64),
        b'{"a": {"sha256": "%s", "frozen_on": "2026-11-21", "by": "me"}}' % (b"0" * 64),
        b'{"a": {"sha256": "%s", "frozen_on": "2026-11-21", "frozen_on": "2026-11-22"}}' % (b"0" * 64),
        b'{"a": 1, "a": 1}',
        b" " * (1 << 21),
    ],
)
def test_a_malformed_lock_is_one_problem_that_names_the_file(project, text):
    lock_of(project).write_bytes(text)
    [problem] = verify(project)
    assert str(lock_of(project)) in problem


def test_a_lock_entry_that_points_outside_opens_no_file(project):
    entry = {"sha256": "0" * 64, "frozen_on": DAY}
    lock_of(project).write_text(json.dumps(json.loads(lock_of(project).read_text()) | {"../../secret": entry}))
    [problem] = verify(project)
    assert "vanished" in problem


def test_freezing_twice_is_refused_and_points_at_the_next_version(project):
    before = lock_of(project).read_bytes()
    edit(project, LR, LR.replace("0.01", "0.02"))
    with pytest.raises(UsageError, match="frozen already") as caught:
        freeze(project, ID, "2027-01-01")
    assert "v2.yaml" in caught.value.fix
    assert lock_of(project).read_bytes() == before


@pytest.mark.parametrize("today", ["", "tomorrow", "2026-13-01", "21.11.2026", "2026-11-21T00:00"])
def test_a_bad_date_freezes_nothing(project, today):
    lock_of(project).write_text("{}")
    with pytest.raises(UsageError, match="schema"):
        freeze(project, ID, today)
    assert lock_of(project).read_text() == "{}"


def test_freezing_keeps_the_other_entries_sorts_by_id_and_leaves_no_other_file(project):
    first = read_lock(project)[ID]
    for new in ("cifar10/convnet-d3-hl/v2", "a-dataset/convnet-d3-hl/v1"):
        target = project / "protocols" / f"{new}.yaml"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(file_of(project).read_text().replace(f"id: {ID}", f"id: {new}"))
        freeze(project, new, DAY)
    lock = read_lock(project)
    assert lock[ID] == first
    assert list(lock) == sorted(lock)
    assert len(lock) == 3
    assert [path.name for path in lock_of(project).parent.iterdir() if path.is_file()] == ["LOCK.json"]
    assert verify(project) == []


# The lock against git's history.


def git(project: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=project, check=True, capture_output=True)


def commit(project: Path, message: str) -> None:
    git(project, "add", "-A")
    git(project, "commit", "-m", message)


def tamper(project: Path) -> None:
    """Edit the locked protocol and freeze it anew: file and lock agree, history does not."""
    edit(project, LR, LR.replace("0.01", "0.02"))
    lock_of(project).write_text("{}")
    freeze(project, ID, DAY)


@pytest.fixture
def repository(project) -> Path:
    git(project, "init", "-b", "main")
    commit(project, "freeze")
    assert verify(project) == []
    return project


def test_editing_a_protocol_together_with_its_lock_entry_fails_against_head(repository):
    tamper(repository)
    [problem] = verify(repository)
    assert "changed" in problem
    assert ID in problem


def test_committing_the_edit_on_a_branch_does_not_hide_it_from_origin_main(repository):
    git(repository, "update-ref", "refs/remotes/origin/main", "HEAD")
    tamper(repository)
    commit(repository, "tamper")
    [problem] = verify(repository)
    assert "changed" in problem


def test_dropping_a_protocol_together_with_its_lock_entry_fails(repository):
    file_of(repository).unlink()
    lock_of(repository).write_text("{}")
    [problem] = verify(repository)
    assert "removed" in problem


def test_a_new_date_on_an_old_entry_fails(repository):
    lock_of(repository).write_text(lock_of(repository).read_text().replace(DAY, "2026-11-22"))
    [problem] = verify(repository)
    assert "changed" in problem


def test_what_origin_main_froze_after_this_branch_left_it_is_not_missed_here(repository):
    git(repository, "checkout", "-b", "branch")
    git(repository, "checkout", "main")
    new = repository / "protocols" / "cifar10" / "convnet-d3-hl" / "v2.yaml"
    new.write_text(file_of(repository).read_text().replace("hl/v1", "hl/v2"))
    freeze(repository, "cifar10/convnet-d3-hl/v2", DAY)
    commit(repository, "next version")
    git(repository, "update-ref", "refs/remotes/origin/main", "HEAD")
    git(repository, "checkout", "branch")
    assert verify(repository) == []


def test_a_history_that_does_not_reach_origin_main_is_a_problem(repository):
    git(repository, "update-ref", "refs/remotes/origin/main", "HEAD")
    git(repository, "checkout", "--orphan", "unrelated")
    commit(repository, "begin anew")
    [problem] = verify(repository)
    assert "origin/main" in problem


def test_without_git_only_the_files_are_checked(repository, monkeypatch):
    tamper(repository)
    monkeypatch.setenv("PATH", "")
    assert verify(repository) == []


# Differences.


def test_differences_name_key_both_values_and_both_provenances(project):
    a = find_protocol(project, ID)
    edit(project, LR, '  lr: {value: 0.02, from: paper, why: "Table 9"}')
    [row] = differences(a, find_protocol(project, ID))
    assert row == ("optimizer.lr", 0.01, 0.02, a.provenance["optimizer.lr"], ("paper", "Table 9"))


def test_a_changed_provenance_word_is_a_difference_and_changed_wording_is_not(project):
    a = find_protocol(project, ID)
    edit(project, LR, LR.replace("Table 4", "Table 5"))
    assert differences(a, find_protocol(project, ID)) == []
    edit(project, LR.replace("Table 4", "Table 5"), LR.replace("inferred", "paper"))
    assert [row.key for row in differences(a, find_protocol(project, ID))] == ["optimizer.lr"]


def test_a_key_that_only_one_side_has_shows_none_on_the_other():
    rows = {row.key: row for row in differences(find_protocol(ROOT, ID), find_protocol(ROOT, LARGE))}
    assert rows["schedule.factor"][1:] == (0.1, None, rows["schedule.factor"].provenance_a, None)
    assert rows["schedule.final_lr"][1:4] == (None, 0.0001, None)


# The protocols that ship.


def test_the_shipped_protocols_are_as_they_were_frozen():
    assert verify(ROOT) == []


def test_freezing_and_verifying_do_not_import_torch():
    code = "import sys, harness.freeze; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
