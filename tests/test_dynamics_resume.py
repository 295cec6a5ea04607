"""A recording that was interrupted goes on to the bytes it would have had, whenever and however it was interrupted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from command_line import caller
from dynamics_runs import add_small_protocol, digits_teacher, small_protocol, small_run, thirty_digits
from filelock import FileLock
from runner_checkout import make_checkout

from harness.dynamics import record, unfinished
from harness.dynamics.artifact import SPEC
from harness.dynamics.record import record_dynamics
from harness.dynamics.unfinished import CHECKPOINT, LOCK, unfinished_folder
from harness.errors import EnvironmentProblem, UsageError

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def split():
    return thirty_digits()


class Stopped(Exception):
    pass


def stop_after(epochs):
    def report(progress):
        if progress.done == epochs:
            raise Stopped

    return report


def contents(folder):
    """File name -> bytes, but for the time that it took."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    spec = json.loads(files.pop(SPEC))
    spec["made"].pop("seconds")
    return files, spec


@pytest.mark.parametrize("regime", ["hl", "sl"])
@pytest.mark.parametrize("every_epoch", [True, False])
def test_a_recording_stopped_anywhere_ends_with_the_same_bytes(split, tmp_path, monkeypatch, regime, every_epoch):
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(record, "SECONDS_BETWEEN_CHECKPOINTS", 0 if every_epoch else 1e9)
    protocol, teacher = small_protocol(regime), digits_teacher() if regime == "sl" else None
    run = small_run(protocol, split, teacher, epochs=2.6, snapshots=3)
    whole = record_dynamics(run, tmp_path / "whole", "cpu")
    for epoch in range(7):
        with pytest.raises(Stopped):
            record_dynamics(run, tmp_path / "stopped", "cpu", stop_after(epoch))
        assert not (tmp_path / "stopped").exists()
    again = record_dynamics(run, tmp_path / "stopped", "cpu")
    assert contents(again.folder) == contents(whole.folder)
    assert not unfinished_folder(again.folder).exists()


def test_only_what_came_after_the_last_saved_state_is_done_again(split, tmp_path):
    protocol = small_protocol()
    run = small_run(protocol, split, epochs=2.6, snapshots=3)
    with pytest.raises(Stopped):
        record_dynamics(run, tmp_path / "run", "cpu", report=stop_after(5))
    seen = []
    record_dynamics(run, tmp_path / "run", "cpu", report=lambda progress: seen.append(progress.done))
    assert seen == [4, 5, 6]  # snapshots lie after epochs 2, 4 and 6


def test_a_damaged_checkpoint_is_named_and_without_it_the_recording_begins_anew(split, tmp_path):
    protocol = small_protocol()
    run = small_run(protocol, split, epochs=2.6, snapshots=3)
    whole = record_dynamics(run, tmp_path / "whole", "cpu")
    with pytest.raises(Stopped):
        record_dynamics(run, tmp_path / "run", "cpu", report=stop_after(5))
    checkpoint = unfinished_folder(tmp_path / "run") / CHECKPOINT
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    with pytest.raises(EnvironmentProblem, match=r"is damaged.*\n.*checkpoint\.safetensors"):
        record_dynamics(run, tmp_path / "run", "cpu")
    checkpoint.unlink()
    assert contents(record_dynamics(run, tmp_path / "run", "cpu").folder) == contents(whole.folder)


def test_another_run_or_another_number_of_threads_does_not_go_on_from_there(split, tmp_path, monkeypatch):
    protocol = small_protocol()
    run = small_run(protocol, split, epochs=2.6, snapshots=3)
    with pytest.raises(Stopped):
        record_dynamics(run, tmp_path / "run", "cpu", report=stop_after(5))
    with pytest.raises(EnvironmentProblem, match="seed: 0 then, 1 now"):
        record_dynamics(replace(run, run=run.run.model_copy(update={"seed": 1})), tmp_path / "run", "cpu")
    threads = torch.get_num_threads()
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads + 1)
    with pytest.raises(EnvironmentProblem, match=f"threads: {threads} then, {threads + 1} now"):
        record_dynamics(run, tmp_path / "run", "cpu")


def test_two_processes_do_not_record_the_same(split, tmp_path):
    protocol = small_protocol()
    unfinished = unfinished_folder(tmp_path / "run")
    unfinished.mkdir()
    run = small_run(protocol, split, epochs=2.6)
    with FileLock(unfinished / LOCK), pytest.raises(UsageError, match="another process"):
        record_dynamics(run, tmp_path / "run", "cpu")


def test_a_disk_without_room_is_refused_before_anything_is_trained(split, tmp_path, monkeypatch):
    monkeypatch.setattr(unfinished.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(EnvironmentProblem, match="not enough disk space"):
        record_dynamics(small_run(small_protocol(), split, epochs=2.6), tmp_path / "run", "cpu", stop_after(0))


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A small checkout with the small student's protocol, in which the command is started."""
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HLBENCH_DATA", "")
    root = make_checkout(tmp_path)
    add_small_protocol(root)
    monkeypatch.chdir(root)
    return root


RECORD = ("dynamics", "record", "--dataset", "digits", "--protocol", "digits/convnet-d2-hl/v1", "--device", "cpu")


def start(root, *arguments):
    """`hlbench ARGUMENTS` in a process of its own, its standard error a pipe."""
    code = "from harness.cli import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_process_killed_while_it_records_all_of_digits_is_resumed_by_the_same_command_to_the_same_bytes(root):
    killed = start(root, *RECORD, "--out", "killed")  # 15 epochs and snapshots
    snapshots = (line for line in killed.stderr if "snapshot:" in line)
    for _ in range(3):  # each but the last is in a checkpoint by then
        next(snapshots)
    killed.kill()
    killed.communicate()
    assert killed.returncode == -9
    assert not (root / "killed").exists()
    assert (root / ".killed.unfinished" / CHECKPOINT).exists()
    resumed = start(root, *RECORD, "--out", "killed")
    whole = start(root, *RECORD, "--out", "whole")
    said = [process.communicate()[1] for process in (resumed, whole)]
    assert [process.returncode for process in (resumed, whole)] == [0, 0], said
    assert "\n0.00 of 15.00 epochs" in said[1]
    assert "\n0.00 of 15.00 epochs" not in said[0]
    assert contents(root / "killed") == contents(root / "whole")


@pytest.fixture
def hlbench(root, monkeypatch, capsys):
    """Runs `hlbench ARGUMENTS`; returns (exit code, standard output, standard error)."""
    return caller(monkeypatch, capsys)


def test_the_verbs_record_list_and_verify(hlbench, root):
    assert "hlbench dynamics record" in hlbench("dynamics", "list")[1]
    code, out, err = hlbench(*RECORD, "--epochs", "2", "--snapshots", "3", "--out", "dynamics/digits/mine")
    assert code == 0, err
    assert "train top1" in out
    assert err.count("snapshot:") == 3
    code, out, _ = hlbench("dynamics", "list", "--json")
    (row,) = json.loads(out)
    assert (row["name"], row["epochs"], row["snapshots"]) == ("digits/mine", 2.0, 3)
    assert hlbench("dynamics", "verify", "--again")[0] == 0
    assert hlbench("dynamics", "verify", "digits/mine", "--json")[0] == 0
    (root / "dynamics/digits/mine/correct.npy").unlink()
    code, out, err = hlbench("dynamics", "verify")
    assert code == 1
    assert "correct.npy" in err


def test_without_out_a_recording_lies_in_the_cache_under_a_name_that_says_what_it_is(hlbench, tmp_path):
    assert hlbench(*RECORD, "--epochs", "1", "--snapshots", "2")[0] == 0
    assert (tmp_path / "cache/dynamics/digits/convnet-d2-hl-v1-k1-s2-seed0" / SPEC).is_file()
    assert hlbench("dynamics", "verify", "digits/convnet-d2-hl-v1-k1-s2-seed0")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--protocol", "digits/resnet18-hl/v9"), 2, "no protocol"),
        (("--protocol", "cifar10/convnet-d3-hl/v1"), 2, "do not belong together"),
        (("--protocol", "digits/resnet18-sl-kd/v1"), 2, "CutMix"),
        (("--teacher", "digits/nobody"), 3, "no weights"),
        (("--epochs", "1000"), 2, "out of range"),
        (("--ipc", "1", "--snapshots", "16"), 2, "at most 15"),
        (("--device", "tpu"), 2, "no device"),
        (("--out", "protocols"), 2, "no recording"),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else "",
)
def test_what_cannot_be_recorded_is_refused_in_words(hlbench, arguments, code, says):
    found, _, err = hlbench(*RECORD, *arguments)
    assert (found, says in err) == (code, True), err


def test_an_edited_protocol_is_not_recorded_under_its_name(hlbench, root):
    path = root / "protocols/digits/convnet-d2-hl/v1.yaml"
    path.write_text(path.read_text().replace("0.005", "0.5"))
    code, _, err = hlbench(*RECORD, "--ipc", "1")
    assert code == 2
    assert "not as it was frozen" in err


def test_list_and_help_do_not_wait_for_torch(root):
    for arguments in (("dynamics", "--help"), ("dynamics", "list"), ("dynamics", "record", "--help")):
        code = (
            "import sys\nfrom harness.cli import main\ntry:\n    main()\nexcept SystemExit:\n    pass\n"
            "assert 'torch' not in sys.modules"
        )
        environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
        subprocess.run([sys.executable, "-c", code, *arguments], cwd=root, check=True, capture_output=True, env=environment)
