"""A small checkout on a branch, and the steps and scripts of `.github/` run in it as GitHub runs them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / ".github" / "scripts"
FILES = sorted((ROOT / ".github" / "workflows").glob("*.y*ml"))
WORKFLOWS = {path.stem: yaml.load(path.read_text(), yaml.BaseLoader) for path in FILES}  # BaseLoader: `on` stays a word
STEPS = [(name, step) for name, flow in WORKFLOWS.items() for job in flow["jobs"].values() for step in job["steps"]]

RECORD = "leaderboards/results/digits/random/ipc1/resnet18-hl-v1/draw0-seed0.json"
ON_MAIN = {
    "README.md": "readme",
    "protocols/LOCK.json": "{}",
    "leaderboards/digits.md": "old page",
    "leaderboards/reported/paper.csv": "1,2",
    RECORD: "measured",
    "submissions/random/digits-ipc1.yaml": "kind: coreset",
    "submissions/random/digits-ipc1/draw0.json": "[]",
    "submissions/random/digits-ipc10.yaml": "kind: coreset",
}


def step_that(name: str, text: str) -> str:
    """The shell text of the one step of workflow `name` that holds `text`."""
    [found] = [step["run"] for owner, step in STEPS if owner == name and text in step.get("run", "")]
    return found


def shell(command: str, folder: Path, **variables: str) -> subprocess.CompletedProcess:
    """Run a step as GitHub does, with `python` being this one."""
    path = f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {"PATH": path, "HOME": str(folder), "RUNNER_TEMP": str(folder.parent), "GIT_CONFIG_NOSYSTEM": "1", **variables}
    return subprocess.run(["bash", "-e", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False)


def script(name: str, folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    runner = "bash" if name.endswith(".sh") else "python"
    return shell(shlex.join([runner, str(SCRIPTS / name), *arguments]), folder, **variables)


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = shell(shlex.join(["git", *identity, *arguments]), folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def commit(folder: Path, files: dict[str, str]) -> None:
    write(folder, files)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "change")


def stub(folder: Path, name: str) -> None:
    """A command that appends its arguments, each in brackets, to `called` beside the checkout."""
    write(folder, {name: f"#!/bin/sh\nprintf '[%s]' {Path(name).name} \"$@\" >> '{folder.parent / 'called'}'\n"})
    (folder / name).chmod(0o755)


def make_checkout(folder: Path) -> Path:
    """A git checkout with ON_MAIN on main, on a branch that left main just now."""
    git(folder, "init", "--quiet", "--initial-branch", "main")
    commit(folder, ON_MAIN)
    git(folder, "update-ref", "refs/remotes/origin/main", "HEAD")
    git(folder, "switch", "--quiet", "--create", "branch")
    return folder
