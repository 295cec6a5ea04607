"""A teacher's training goes on where it was stopped, to the same bytes; a checkpoint from elsewhere is refused."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from teacher_checkout import DIGITS, ROOT, slices_for, small

from harness.canonical import file_sha256
from harness.errors import EnvironmentProblem, UsageError
from harness.paths import MARKER
from harness.protocol_models import AdamW, StepSchedule
from harness.teachers import CARD, RECIPE, WEIGHTS, read_card
from harness.training.checkpoint import checkpoint_path, held
from harness.training.train_teacher import train_teacher

ADAMW = AdamW(name="adamw", lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01, decayed_parameters="matrices")
STEP = StepSchedule(name="step", decay_after_epochs=2, factor=0.1, reset_momentum=True)
KINDS = {"sgd with momentum": {}, "adamw": {"optimizer": ADAMW}, "momentum emptied at a step": {"schedule": STEP}}

# `hlbench` that kills itself, as a machine that goes down would, once it has told of the epoch DIE_AFTER.
DYING = """
import os, signal
from harness import cli, cli_teachers
shown = cli_teachers.progress_lines
def progress_lines(*arguments):
    show = shown(*arguments)
    def show_and_die(state):
        show(state)
        if str(state.epochs_done) == os.environ.get("DIE_AFTER"):
            os.kill(os.getpid(), signal.SIGKILL)
    return show_and_die
cli_teachers.progress_lines = progress_lines
cli.main()
"""


class Stopped(Exception):
    pass


def stop(state):
    raise Stopped


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def stopped(tmp_path):
    """(recipe, splits, folder, checkpoint) of a training stopped after its first epoch."""
    recipe, folder = small(DIGITS), tmp_path / "teacher"
    slices = slices_for(recipe)
    with pytest.raises(Stopped):
        train_teacher(recipe, *slices, folder, "cpu", stop)
    return recipe, slices, folder, checkpoint_path(recipe, folder)


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_stopped_after_each_of_its_epochs_gives_the_bytes_of_an_unbroken_one(tmp_path, kind):
    recipe = small(DIGITS, epochs=3).model_copy(update=KINDS[kind])
    slices = slices_for(recipe)
    unbroken = train_teacher(recipe, *slices, tmp_path / "unbroken", "cpu")
    for _ in range(3):
        with pytest.raises(Stopped):
            train_teacher(recipe, *slices, tmp_path / "broken", "cpu", stop)
    seen = []
    broken = train_teacher(recipe, *slices, tmp_path / "broken", "cpu", seen.append)
    assert seen == []  # all three epochs were done
    assert broken.weights == unbroken.weights
    assert broken.accuracy == unbroken.accuracy
    assert (tmp_path / "broken" / WEIGHTS).read_bytes() == (tmp_path / "unbroken" / WEIGHTS).read_bytes()


def test_a_killed_command_goes_on_and_writes_the_bytes_of_an_unbroken_one(tmp_path):
    root = tmp_path / "checkout"
    (root / "teachers" / DIGITS).mkdir(parents=True)
    (root / MARKER).parent.mkdir()
    shutil.copy(ROOT / MARKER, root / MARKER)
    recipe = (ROOT / "teachers" / DIGITS / RECIPE).read_text()
    for value, smaller in {"epochs: {value: {1: 60}": "epochs: {value: {1: 3}", "width: {value: 64": "width: {value: 8",
                           "parameters: {value: 86282": "parameters: {value: 2730"}.items():  # fmt: skip
        assert value in recipe
        recipe = recipe.replace(value, smaller)
    (root / "teachers" / DIGITS / RECIPE).write_text(recipe)

    def train(out: str, die_after: str = "never") -> subprocess.CompletedProcess:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "DIE_AFTER": die_after}
        command = [sys.executable, "-c", DYING, "teacher", "train", DIGITS, "--out", out, "--device", "cpu"]
        return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)

    assert train("unbroken").returncode == 0
    killed = train("broken", die_after="2")
    assert killed.returncode == -signal.SIGKILL
    assert "epoch 2/3" in killed.stderr
    assert not (root / "broken").exists()
    resumed = train("broken")
    assert resumed.returncode == 0, resumed.stderr
    assert "epoch 3/3" in resumed.stderr
    assert "epoch 2/3" not in resumed.stderr
    assert file_sha256(root / "broken" / WEIGHTS) == file_sha256(root / "unbroken" / WEIGHTS)
    assert sorted(path.name for path in (root / "broken").iterdir()) == [CARD, WEIGHTS]


def test_the_checkpoint_is_gone_once_the_teacher_is_written(stopped, cache):
    recipe, slices, folder, path = stopped
    assert path.is_file()
    path.with_name(f".{path.name}.abc").touch()  # of a process killed while it wrote
    train_teacher(recipe, *slices, folder, "cpu")
    assert [found.suffix for found in (cache / "teacher-training").iterdir()] == [".lock"]


def test_a_crash_while_a_checkpoint_is_written_leaves_the_one_before(stopped, monkeypatch):
    recipe, slices, folder, path = stopped
    before = path.read_bytes()
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        train_teacher(recipe, *slices, folder, "cpu")
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", ["one bit", "cut short", "empty", "a pickle", "another safetensors file"])
def test_a_damaged_checkpoint_is_refused_and_left_alone(stopped, damage):
    recipe, slices, folder, path = stopped
    stored = bytearray(path.read_bytes())
    stored[-5] ^= 1
    spoilt = {
        "one bit": bytes(stored),
        "cut short": bytes(stored[: len(stored) // 2]),
        "empty": b"",
        "a pickle": b"\x80\x04K\x01.",
        "another safetensors file": (ROOT / "teachers" / DIGITS / WEIGHTS).read_bytes(),
    }[damage]
    path.write_bytes(spoilt)
    with pytest.raises(EnvironmentProblem, match="damaged") as caught:
        train_teacher(recipe, *slices, folder, "cpu")
    assert str(path) in str(caught.value)
    assert "remove the file" in caught.value.fix
    assert path.read_bytes() == spoilt


def test_a_checkpoint_left_with_other_threads_is_refused_because_its_bytes_could_not_be_reached(stopped, monkeypatch):
    recipe, slices, folder, _ = stopped
    before = torch.get_num_threads()
    monkeypatch.setattr(torch, "get_num_threads", lambda: before + 1)
    with pytest.raises(EnvironmentProblem, match="another setting") as caught:
        train_teacher(recipe, *slices, folder, "cpu")
    assert f"threads: {before} then, {before + 1} now" in caught.value.why
    assert "OMP_NUM_THREADS" in caught.value.fix


def test_a_checkpoint_left_on_other_data_is_refused(stopped):
    recipe, (train, test), folder, _ = stopped
    with pytest.raises(EnvironmentProblem, match="another setting") as caught:
        train_teacher(recipe, replace(train, fingerprint="0" * 64), test, folder, "cpu")
    assert "train_split" in caught.value.why


def test_a_changed_recipe_or_another_folder_begins_anew(stopped, tmp_path):
    recipe, slices, folder, path = stopped
    slower = recipe.model_copy(update={"optimizer": recipe.optimizer.model_copy(update={"lr": 0.005})})
    for other, out in ((slower, folder), (recipe, tmp_path / "elsewhere")):
        seen = []
        train_teacher(other, *slices, out, "cpu", seen.append)
        assert [state.epochs_done for state in seen] == [1, 2]
        shutil.rmtree(out)
    assert path.is_file()


def test_two_processes_never_train_the_same_teacher_at_once(stopped):
    recipe, slices, folder, path = stopped
    with held(path), pytest.raises(UsageError, match="another process"):
        train_teacher(recipe, *slices, folder, "cpu")
    train_teacher(recipe, *slices, folder, "cpu")


def test_a_card_tells_on_what_its_weights_were_made(stopped):
    recipe, slices, folder, _ = stopped
    made = train_teacher(recipe, *slices, folder, "cpu").made
    assert (made.torch, made.device, made.threads) == (torch.__version__.split("+")[0], "cpu", torch.get_num_threads())
    assert made.processor
    assert made.seconds > 0
    assert len(made.code) == 1


def test_time_and_code_of_earlier_sittings_are_in_the_card(tmp_path, monkeypatch):
    import harness.training.train_teacher as module

    recipe, folder = small(DIGITS), tmp_path / "teacher"
    slices = slices_for(recipe)
    real = module.describe_environment("cpu")
    for commit in ("a" * 40, "b" * 40):
        monkeypatch.setattr(
            module, "describe_environment", lambda device, c=commit: {**real, "git_commit": c, "git_dirty": False}
        )
        with pytest.raises(Stopped):
            train_teacher(recipe, *slices, folder, "cpu", stop)
    monkeypatch.setattr(module.time, "perf_counter", lambda: 0.0)  # the last sitting takes no time
    made = train_teacher(recipe, *slices, folder, "cpu").made
    assert made.code == ("a" * 40, "b" * 40)
    assert made.seconds > 0


def test_cards_from_before_they_told_are_still_read():
    assert read_card(ROOT, DIGITS).made is None
