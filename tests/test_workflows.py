"""Rules of `.github/workflows/`: what a stranger's pull request can reach, and that every command named there exists."""

from __future__ import annotations

import re

import pytest
import typer
from workflow_checkout import FILES, ROOT, SCRIPTS, STEPS, WORKFLOWS

from harness.cli import app

JOBS = [pytest.param(name, job, id=f"{name}-{key}") for name, flow in WORKFLOWS.items() for key, job in flow["jobs"].items()]
COMMANDS = [line for _, step in STEPS for line in step.get("run", "").splitlines()]

# What the workflows may do.


def test_the_four_workflows_start_only_on_harmless_events():
    assert {name: set(flow["on"]) for name, flow in WORKFLOWS.items()} == {
        "tests": {"push", "pull_request"},
        "boards": {"push", "pull_request"},
        "submission": {"pull_request"},
        "evaluate": {"workflow_dispatch"},
    }


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_reads_by_default_and_names_no_secret(name):
    assert WORKFLOWS[name]["permissions"] == {"contents": "read"}
    assert "secrets" not in (ROOT / ".github" / "workflows" / f"{name}.yml").read_text()


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_only_the_job_that_runs_no_project_code_may_write(name, job):
    may_write = "write" in job.get("permissions", {}).values()
    assert may_write == ("propose_records.sh" in str(job["steps"]))
    if may_write:
        assert (name, job["runs-on"]) == ("evaluate", "ubuntu-latest")
        assert not re.search(r"hlbench|make|pip", str([step.get("run") for step in job["steps"]]))


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_only_the_reviewed_evaluation_of_main_runs_on_our_own_machine(name, job):
    if "self-hosted" in job["runs-on"]:
        assert (name, job["environment"], job["if"]) == ("evaluate", "gpu-eval", "github.ref == 'refs/heads/main'")
    else:
        assert job["runs-on"] == "ubuntu-latest"


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_every_job_ends_and_no_checkout_leaves_a_token_behind_or_follows_another_ref(name, job):
    assert int(job["timeout-minutes"]) > 0
    for step in job["steps"]:
        if "checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] == "false"
            assert "ref" not in step["with"]


def test_every_action_is_pinned_to_a_commit_and_says_which_version_that_is():
    used = [line for path in FILES for line in path.read_text().splitlines() if "uses:" in line]
    assert len(used) >= len(FILES)
    for line in used:
        assert re.fullmatch(r" *-? *uses: [\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_no_expression_is_expanded_inside_a_shell_command():
    assert COMMANDS
    assert not [line for line in COMMANDS if "${{" in line]


@pytest.mark.parametrize("command", ["git diff", "changed_submissions.py", "make test"])
def test_whatever_compares_with_main_has_the_whole_history(command):
    jobs = [job for flow in WORKFLOWS.values() for job in flow["jobs"].values() if command in str(job["steps"])]
    assert [job["steps"][0]["with"].get("fetch-depth") for job in jobs] == ["0"]


# The commands that the workflows name.


def test_every_hlbench_verb_and_option_in_a_workflow_exists():
    lines = [line.partition("hlbench ")[2] for line in COMMANDS if "hlbench " in line]
    assert len(lines) >= 6
    for line in lines:
        words = line.replace("${SHARD:+", "").split()
        command = typer.main.get_command(app)
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, line


def test_every_make_target_and_script_in_a_workflow_exists():
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = [match for line in COMMANDS for match in re.findall(r"\bmake ([a-z-]+)", line)]
    assert named
    assert set(named) <= set(targets)
    scripts = {match for line in COMMANDS for match in re.findall(r"\.github/scripts/(\S+)", line)}
    assert scripts == {path.name for path in SCRIPTS.iterdir() if path.is_file()}
