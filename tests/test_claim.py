import json
import os
import platform
import subprocess

import pytest

from harness import claim


def write_claim(record, pid, host=None, age=0.0):
    path = claim.claim_path(record)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"host": host or platform.node(), "pid": pid}))
    then = path.stat().st_mtime - age
    os.utime(path, (then, then))
    return path


def dead_pid():
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_a_claim_of_a_dead_process_is_taken_over(tmp_path):
    record = tmp_path / "draw0-seed0.json"
    path = write_claim(record, dead_pid())
    with claim.claimed(record) as ours:
        assert ours
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not path.exists()


def test_a_claim_left_by_an_earlier_process_with_our_own_number_is_taken_over(tmp_path):
    record = tmp_path / "draw0-seed0.json"
    write_claim(record, os.getpid())
    with claim.claimed(record) as ours:
        assert ours


@pytest.mark.parametrize(("age", "taken"), [(0.0, False), (540.0, False), (660.0, True)])
def test_a_claim_of_another_host_is_respected_until_its_heartbeat_stops(tmp_path, age, taken):
    record = tmp_path / "draw0-seed0.json"
    write_claim(record, 1, host="elsewhere", age=age)
    with claim.claimed(record) as ours:
        assert ours == taken


def test_an_unreadable_claim_is_respected_until_its_heartbeat_stops(tmp_path):
    record = tmp_path / "draw0-seed0.json"
    path = write_claim(record, 1)
    path.write_text("")
    assert claim.is_claimed(record)
    os.utime(path, (0, 0))
    assert not claim.is_claimed(record)


def test_a_heartbeat_keeps_a_long_unit_claimed(tmp_path, monkeypatch):
    monkeypatch.setattr(claim, "HEARTBEAT_SECONDS", 0.01)
    record = tmp_path / "draw0-seed0.json"
    with claim.claimed(record):
        path = claim.claim_path(record)
        os.utime(path, (0, 0))
        for _ in range(500):
            if path.stat().st_mtime > 0:
                break
            claim.threading.Event().wait(0.01)
        assert path.stat().st_mtime > 0


def test_a_claim_that_was_taken_over_is_not_removed_by_its_former_holder(tmp_path):
    record = tmp_path / "draw0-seed0.json"
    with claim.claimed(record):
        path = write_claim(record, 1, host="elsewhere")
    assert path.exists()
