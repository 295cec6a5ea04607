import os
import subprocess

import pytest

from harness import environment


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "nobody")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "nobody@example.org")
    checkout = tmp_path / "repository"
    (checkout / "harness").mkdir(parents=True)
    (checkout / "harness" / "code.py").write_text("1\n")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run(["git", "-C", str(checkout), *command], check=True)
    return checkout


def test_records_being_written_do_not_make_the_checkout_dirty(repository):
    (repository / "leaderboards").mkdir()
    (repository / "leaderboards" / "new.json").write_text("{}")
    commit, dirty = environment.git_state(repository)
    assert len(commit) == 40
    assert dirty is False


@pytest.mark.parametrize("name", ["harness/code.py", "harness/new.py", "submissions/new.yaml", "protocols/new.yaml"])
def test_a_change_or_a_new_file_that_decides_results_makes_the_checkout_dirty(repository, name):
    (repository / name).parent.mkdir(exist_ok=True)
    (repository / name).write_text("2\n")
    assert environment.git_state(repository)[1] is True


def test_a_package_installed_inside_another_repository_claims_no_commit(repository):
    (repository / "site-packages").mkdir()
    assert environment.git_state(repository / "site-packages") == (None, None)
