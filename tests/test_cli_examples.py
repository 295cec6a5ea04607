"""The example below the help of every verb, and the README's on reference sets, are such that a fresh clone can run them: they
parse, and what they name is there."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from harness.cli import app
from harness.cli_sets import FROM_SCORES, FULL_DATASET
from harness.coresets import SELECTORS
from harness.datasets import load_split
from harness.datasets.specs import DATASETS
from harness.dcs.declared import DECLARED
from harness.dcs.pool import read_pool
from harness.distill.registry import DISTILLERS
from harness.dynamics.artifact import read_spec
from harness.dynamics.places import FOLDER
from harness.dynamics.plan import Wish, run_name
from harness.dynamics.record import plan_scoring
from harness.errors import HlbenchError
from harness.protocols import find_protocol
from harness.submissions import read_submission
from harness.teachers import read_card, read_recipe

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = "Example: hlbench "


def commands(group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, object]]:
    """(verb, command) of all, `protocols show` for one of a group."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


VERBS = dict(commands(typer.main.get_command(app)))


def example_of(verb: str) -> dict[str, object]:
    """Parameter -> value, of those that the verb's example names. Fails where it is of another verb or does not parse."""
    line = VERBS[verb].epilog.removeprefix(EXAMPLE)
    assert f"{line} ".startswith(f"{verb} ")
    return given(verb, line)


def given(verb: str, line: str) -> dict[str, object]:
    context = VERBS[verb].make_context(verb, shlex.split(line.removeprefix(verb), comments=True))
    return {name: value for name, value in context.params.items() if context.get_parameter_source(name).name == "COMMANDLINE"}


def readme_lines() -> list[tuple[str, str]]:
    """(verb, command line after `hlbench`) of the section about reference sets."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## Make the reference sets")[1].split("\n## ")[0]
    lines = [line.removeprefix("hlbench ") for line in section.splitlines() if line.startswith("hlbench ")]
    return [(next(verb for verb in VERBS if f"{line} ".startswith(f"{verb} ")), line) for line in lines]


def a_file(verb: str, path: str) -> None:
    assert (ROOT / path).exists()


def a_submission(verb: str, path: str) -> None:
    files = [ROOT / path] if path.endswith(".yaml") else list((ROOT / path).glob("*.yaml"))
    assert len([read_submission(file) for file in files])


def a_dataset(verb: str, name: str) -> None:
    assert name in DATASETS
    if verb.split()[0] in ("pool", "dcs"):
        read_pool(ROOT, name)


def a_protocol(verb: str, name: str) -> None:
    """Of `freeze` the next version, which is not there yet."""
    if verb == "protocols freeze":
        series, version = name.rsplit("/v", 1)
        name = f"{series}/v{int(version) - 1}"
    find_protocol(ROOT, name)


def a_recording(verb: str, name: str) -> None:
    """In the project, or what the example of `dynamics record` records."""
    assert name == recorded_by_the_example() or read_spec(ROOT / FOLDER / name)


def recorded_by_the_example() -> str:
    asked = example_of("dynamics record")
    protocol, train = find_protocol(ROOT, asked["protocol"]), load_split(asked["dataset"], "train")
    run = plan_scoring(Wish(asked["ipc"]), protocol, train, None).run
    return f"{run.dataset}/{run_name(run, protocol)}"


def a_teacher(verb: str, name: str) -> None:
    read_recipe(ROOT, name)
    if verb != "teacher train":
        read_card(ROOT, name)


def a_method(verb: str, name: str) -> None:
    assert name in {"select": [*SELECTORS, FROM_SCORES, FULL_DATASET], "distill": DISTILLERS}[verb]


def an_objective(verb: str, name: str) -> None:
    assert name in DECLARED


CHECKS = {
    "submissions": a_submission,
    "verify": a_submission,
    "paths": a_file,
    "dataset": a_dataset,
    "protocol": a_protocol,
    "protocol_id": a_protocol,
    "a": a_protocol,
    "b": a_protocol,
    "dynamics": a_recording,
    "names": a_recording,
    "hl": a_recording,
    "sl": a_recording,
    "teacher_id": a_teacher,
    "teacher_ids": a_teacher,
    "method": a_method,
    "objectives": an_objective,
}
NAME_NOTHING = {"ipc", "draws", "seeds", "workers", "regime", "fetch", "check", "offline", "listed", "slug", "order", "author"}
WRITTEN = {"out", "scores"}  # by the command, or by the README's line above it


def check_names(verb: str, parameters: dict[str, object]) -> None:
    for parameter, values in parameters.items():
        if parameter not in NAME_NOTHING | WRITTEN:
            for value in values if isinstance(values, (list, tuple)) else [values]:
                CHECKS[parameter](verb, str(value))


@pytest.mark.parametrize("verb", VERBS)
def test_what_the_example_of_a_verb_names_is_in_the_project(verb):
    check_names(verb, example_of(verb))


@pytest.mark.parametrize(("verb", "line"), readme_lines())
def test_what_the_readme_names_is_in_the_project_or_made_by_the_line_before(verb, line):
    check_names(verb, given(verb, line))


@pytest.mark.parametrize(
    ("check", "verb", "name"),
    [
        (a_recording, "select", "digits/resnet18-hl-v1-k6"),
        (a_submission, "show", "submissions/nobody/digits-ipc10.yaml"),
        (a_submission, "plan", "submissions/nobody"),
        (a_protocol, "protocols show", "digits/resnet18-hl/v99"),
        (a_teacher, "teacher verify", "cifar10/convnet-d3"),
        (a_dataset, "dcs", "cifar10"),
        (a_method, "distill", "random"),
        (an_objective, "dcs", "sre2l"),
        (a_file, "hash", "submissions/random/nothing.json"),
    ],
)
def test_an_example_that_names_what_is_not_there_would_be_found(check, verb, name):
    with pytest.raises((HlbenchError, AssertionError)):
        check(verb, name)
