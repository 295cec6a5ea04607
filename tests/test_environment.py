import os
import subprocess

import pytest

from harness import doctor, environment
from harness.environment import cpu_extensions, cpu_model, processor_of, same_processor


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


CPUINFO = """processor\t: 0
model name\t: AMD EPYC
flags\t\t: fpu {flags}

processor\t: 1
model name\t: another
flags\t\t: none
"""


@pytest.mark.parametrize(
    ("flags", "found"),
    [("avx2 avx512bw avx512_bf16 xsave", "avx2 avx512bw avx512_bf16"), ("sse2 avx2", "avx2"), ("avx512_bf16x avx", "")],
)
def test_what_a_processor_can_do_stands_beside_its_name_which_may_not_tell(tmp_path, monkeypatch, flags, found):
    (tmp_path / "cpuinfo").write_text(CPUINFO.format(flags=flags))
    monkeypatch.setattr(environment, "CPUINFO", tmp_path / "cpuinfo")
    assert (cpu_model(), cpu_extensions()) == ("AMD EPYC", found)
    assert same_processor({"cpu": "AMD EPYC", "cpu_extensions": found})
    assert not same_processor({"cpu": "AMD EPYC", "cpu_extensions": f"{found} more"})
    assert not same_processor({"cpu": "AMD EPYC"})  # as records say that were made before extensions were kept


def test_where_the_system_lists_nothing_no_extension_is_claimed(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "CPUINFO", tmp_path / "nothing")
    assert cpu_model()
    assert cpu_extensions() is None


def test_doctor_says_that_bf16_is_emulated(tmp_path, monkeypatch):
    for flags, told in (("avx2", ["AVX-512"]), ("avx2 avx512bw", [])):
        (tmp_path / "cpuinfo").write_text(CPUINFO.format(flags=flags))
        monkeypatch.setattr(environment, "CPUINFO", tmp_path / "cpuinfo")
        assert [finding.item for finding in doctor.examine(offline=True) if "emulated" in finding.how_to_get] == told


def test_what_made_something_is_the_gpu_or_the_processor_with_its_extensions():
    assert processor_of({"gpu": "H100", "cpu": "AMD EPYC", "cpu_extensions": "avx2"}) == "H100"
    assert processor_of({"gpu": None, "cpu": "AMD EPYC", "cpu_extensions": "avx2"}) == "AMD EPYC (avx2)"
    assert processor_of({"gpu": None, "cpu": "arm", "cpu_extensions": None}) == "arm"
