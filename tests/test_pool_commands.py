"""`hlbench pool`: what its commands notice that a look at the pool alone would not."""

from __future__ import annotations

import json
import subprocess

import pytest
from runner_checkout import replace_training, run_here
from small_pool import ID, small_pool
from typer.testing import CliRunner

from harness.cli import app
from harness.dcs.lookup import pool_units
from harness.dcs.lookup_rows import CORRUPTIONS
from harness.dcs.pool import pool_rows, workspace
from harness.ood_records import CORRUPTION_NAMES, OodResult, ood_path, write_ood_record
from harness.records import read_record


@pytest.fixture
def hlbench(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["pool", *arguments, "--dataset", "digits"])


def commit(root) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for arguments in (["init", "-q", "-b", "main"], ["add", "protocols"], ["commit", "-q", "-m", "frozen"]):
        subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True)


def test_a_lock_that_was_rewritten_together_with_its_pool_fails_verification(tmp_path, hlbench):
    small_pool(tmp_path, frozen=True)
    commit(tmp_path)
    assert hlbench("verify").exit_code == 0
    lock = tmp_path / "protocols/LOCK.json"
    entries = json.loads(lock.read_text())
    entries[ID]["frozen_on"] = "2020-01-01"
    lock.write_text(json.dumps(entries))
    found = hlbench("verify")
    assert found.exit_code == 1
    assert "a lock entry was changed" in str(found.exception)
    assert ID in str(found.exception)


def test_errors_on_corrupted_images_whose_students_record_is_gone_are_named_and_not_passed_over(tmp_path, monkeypatch, hlbench):
    pool = small_pool(tmp_path, frozen=True)
    replace_training(monkeypatch)
    units = [unit for _, unit in pool_units(tmp_path, pool)][:3]
    pool_rows(tmp_path, pool)
    assert run_here(workspace(tmp_path, pool), units).failures == []
    for unit in units:
        record = read_record(unit.record)
        errors = dict.fromkeys(CORRUPTION_NAMES, (10.0, 20.0, 30.0, 40.0, 50.0))
        result = OodResult(corruptions=CORRUPTIONS, image_side=32, images=20, images_sha256="0" * 64, errors=errors)
        write_ood_record(unit.record, record, record, result, 1.0)
    units[1].record.unlink()
    told = json.loads(hlbench("table", "--json").stdout)
    assert told["ood_without_record"] == [ood_path(units[1].record).relative_to(tmp_path).as_posix()]
    assert (told["rows"], told["rows_with_ood"]) == (2, 2)
    assert f"not used {told['ood_without_record'][0]}: the record of its student is gone" in hlbench("table").stdout
    units[2].record.unlink()  # its row is filled already
    assert json.loads(hlbench("table", "--json").stdout)["ood_without_record"] == told["ood_without_record"]
