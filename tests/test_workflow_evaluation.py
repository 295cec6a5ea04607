"""Rules of the evaluate workflow: what a person may type, and what the GPU machine may hand over."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from workflow_checkout import ON_MAIN, RECORD, WORKFLOWS, git, make_checkout, script, shell, step_that, stub, write


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    return make_checkout(tmp_path_factory.mktemp("template"))


@pytest.fixture
def branch(template, tmp_path) -> Path:
    """A checkout on a branch that left main just now."""
    return shutil.copytree(template, tmp_path / "checkout")


# evaluate.yml: what a person types, and what the GPU machine hands over.


GOOD = {"SUBMISSION": "submissions/random/digits-ipc1.yaml", "REGIME": "hl", "SHARD": ""}


@pytest.mark.parametrize("given", [{}, {"SHARD": "2/4"}])
def test_well_formed_inputs_pass_and_reach_hlbench_as_single_arguments(branch, tmp_path, given):
    assert script("check_inputs.py", branch, **{**GOOD, **given}).returncode == 0
    stub(branch, ".venv/bin/hlbench")
    assert shell(step_that("evaluate", "hlbench run"), branch, **{**GOOD, **given}).returncode == 0
    shard = "[--shard][2/4]" if given else ""
    expected = f"[hlbench][run][submissions/random/digits-ipc1.yaml][--regime][hl][--device][cuda]{shard}"
    assert (tmp_path / "called").read_text() == expected


@pytest.mark.parametrize(
    "given",
    [
        {"SUBMISSION": ""},
        {"SUBMISSION": "--help"},
        {"SUBMISSION": "submissions/random"},
        {"SUBMISSION": "submissions/../protocols/digits-ipc1.yaml"},
        {"SUBMISSION": "/etc/digits-ipc1.yaml"},
        {"SUBMISSION": "submissions/random/digits-ipc1.yaml\n"},
        {"SUBMISSION": "submissions/random/digits-ipc1.yaml; id"},
        {"SUBMISSION": "submissions/$(id)/digits-ipc1.yaml"},
        {"SUBMISSION": "submissions/absent/digits-ipc1.yaml"},
        {"REGIME": ""},
        {"REGIME": "hl --results /tmp"},
        {"SHARD": "0/4"},
        {"SHARD": "1/4 --results /tmp"},
        {"SHARD": "1/4\n"},
    ],
)
def test_inputs_of_another_form_or_of_a_submission_not_on_main_are_refused(branch, given):
    done = script("check_inputs.py", branch, **{**GOOD, **given})
    assert done.returncode == 1
    assert "fix:" in done.stderr


def test_the_regimes_on_offer_are_those_that_are_accepted(branch):
    offered = WORKFLOWS["evaluate"]["on"]["workflow_dispatch"]["inputs"]["regime"]["options"]
    assert [script("check_inputs.py", branch, **{**GOOD, "REGIME": regime}).returncode for regime in offered] == [0] * len(
        offered
    )


def unpack(folder: Path, members: list[tarfile.TarInfo | tuple[str, bytes]]) -> subprocess.CompletedProcess:
    archive = folder.parent / "records.tar"
    with tarfile.open(archive, "w") as opened:
        for member in members:
            if isinstance(member, tuple):
                name, data = member
                member = tarfile.TarInfo(name)
                member.size = len(data)
                opened.addfile(member, io.BytesIO(data))
            else:
                opened.addfile(member)
    return script("unpack_records.py", folder, str(archive), SUBMISSION=GOOD["SUBMISSION"])


def link(name: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "protocols/LOCK.json"
    return member


NEW = RECORD.replace("seed0", "seed1")
FIGURE = "leaderboards/figures/digits-resnet18-ipc1-ranks.svg"


def test_what_the_gpu_machine_packs_is_unpacked_without_claims(branch, tmp_path):
    before = tmp_path / "gpu"
    write(
        before,
        {
            **ON_MAIN,
            NEW: "new",
            "leaderboards/digits.md": "new page",
            FIGURE: "<svg/>",
            NEW.replace("draw0-seed1.json", ".draw0-seed2.claim"): "",
        },
    )
    assert shell(step_that("evaluate", "tar "), before).returncode == 0
    done = script("unpack_records.py", branch, str(tmp_path / "records.tar"), SUBMISSION=GOOD["SUBMISSION"])
    assert done.returncode == 0, done.stderr
    assert git(branch, "status", "--porcelain", "--untracked-files=all").split() == [
        "M", "leaderboards/digits.md", "??", FIGURE, "??", NEW,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "bad",
    [
        ("../evil.md", b"x"),
        ("leaderboards/../protocols/LOCK.json", b"{}"),
        ("leaderboards/results/../../README.md", b"x"),
        ("/tmp/evil.md", b"x"),
        ("protocols/LOCK.json", b"{}"),
        (".github/workflows/tests.yml", b"x"),
        ("submissions/random/digits-ipc1.yaml", b"x"),
        ("leaderboards/.git/config", b"x"),
        ("leaderboards/-x.md", b"x"),
        ("leaderboards/figures/page.html", b"x"),
        ("leaderboards/figures/../../protocols/x.svg", b"x"),
        ("leaderboards/x.svg", b"x"),
        ("leaderboards/a\n::error::b.md", b"x"),
        ("leaderboards/reported/new.csv", b"x"),
        ("leaderboards/reported/paper.csv", b"1,3"),
        (RECORD, b"better"),
        (NEW.replace("/random/", "/rival/"), b"x"),
        (NEW.replace("seed1.json", "seed1.py"), b"x"),
        ("leaderboards/huge.md", bytes((8 << 20) + 1)),
        link("leaderboards/README.md", tarfile.SYMTYPE),
        link("leaderboards/README.md", tarfile.LNKTYPE),
        link("leaderboards/README.md", tarfile.FIFOTYPE),
        link("leaderboards/results", tarfile.SYMTYPE),
    ],
    ids=lambda bad: ascii(getattr(bad, "name", bad[0] if isinstance(bad, tuple) else bad)),
)
def test_an_archive_that_holds_anything_else_is_refused_as_a_whole(branch, bad):
    done = unpack(branch, [(NEW, b"fine"), bad])
    assert done.returncode == 1
    assert done.stderr.startswith("refused the records")
    assert not [line for line in done.stderr.splitlines() if line.lstrip().startswith("::")]
    assert git(branch, "status", "--porcelain") == ""
    assert sorted(path.name for path in branch.parent.iterdir()) == ["checkout", "records.tar"]


def test_an_archive_that_names_a_file_twice_is_cut_short_or_is_compressed_is_refused(branch, tmp_path):
    assert unpack(branch, [(NEW, b"fine"), (NEW, b"other")]).returncode == 1
    assert unpack(branch, [(NEW, bytes(5000))]).returncode == 0
    archive = tmp_path / "records.tar"
    whole = archive.read_bytes()
    for damaged in (whole[:2000], b"\x1f\x8b" + whole, b""):
        archive.write_bytes(damaged)
        assert script("unpack_records.py", branch, str(archive), SUBMISSION=GOOD["SUBMISSION"]).returncode == 1
    assert script("unpack_records.py", branch, str(archive), SUBMISSION="").returncode == 1


GITHUB = {
    "GITHUB_RUN_ID": "7",
    "GITHUB_RUN_ATTEMPT": "1",
    "GITHUB_SHA": "c0ffee",
    "GITHUB_SERVER_URL": "https://example.org",
    "GITHUB_REPOSITORY": "a/b",
}


def test_records_are_proposed_on_a_branch_of_their_own_and_main_stays(branch, tmp_path):
    git(branch, "init", "--quiet", "--bare", "--initial-branch", "main", str(tmp_path / "origin.git"))
    git(branch, "remote", "add", "origin", str(tmp_path / "origin.git"))
    git(branch, "push", "--quiet", "origin", "main")
    stub(tmp_path / "checkout", "bin/gh")
    assert script("propose_records.sh", branch, **GOOD, **GITHUB).returncode == 0
    assert not (tmp_path / "called").exists()  # nothing is new

    write(branch, {NEW: "new", "README.md": "not a record"})
    done = script("propose_records.sh", branch, **GOOD, **GITHUB)
    assert done.returncode == 0, done.stderr
    assert git(branch, "ls-remote", "--heads", "origin").split()[1::2] == ["refs/heads/main", "refs/heads/records/7-1"]
    assert git(branch, "diff", "--name-only", "origin/main", "origin/records/7-1").split() == [NEW]
    opened = (tmp_path / "called").read_text()
    assert opened.startswith(
        "[gh][pr][create][--base][main][--head][records/7-1][--title][Records of submissions/random/digits-ipc1.yaml]"
    )
    assert "https://example.org/a/b/actions/runs/7" in opened
