"""What a recording, a teacher and experts state of the machine and the code that made them."""

from __future__ import annotations

from collections.abc import Mapping

from harness.environment import processor_of
from harness.training.engine import Engine

Environment = Mapping[str, str | int | bool | None]  # of `describe_environment`


def machine_facts(engine: Engine, environment: Environment) -> dict[str, str | int | bool]:
    """The facts on which rounding depends."""
    return {
        "torch": environment["torch"],
        "device": engine.device,
        "processor": processor_of(environment),
        "threads": engine.threads,
        "compiled": engine.compiled,
    }


def commit_of(environment: Environment) -> str:
    """As `Made.code`."""
    commit, dirty = environment["git_commit"], environment["git_dirty"]
    return "unknown" if commit is None else f"{commit}-dirty" if dirty else commit
