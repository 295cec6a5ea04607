"""Sets and real datasets from the Hub: what a fetch brings, and what the cache answers; real client, local Hub."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hub_cases import PROJECT, REVISION, digit_files, hub_and_client, png, refused, source
from hub_server import Fault, Hub
from huggingface_hub import constants

from harness import canonical, hub
from harness.errors import EnvironmentProblem, SubmissionError
from harness.set_files import Limits, ListedFile, Listing, check_listing


@pytest.fixture
def server(monkeypatch, tmp_path) -> Iterator[Hub]:
    with hub_and_client(monkeypatch, tmp_path) as running:
        yield running


# what a fetch brings


def test_a_set_arrives_with_exactly_the_named_files_and_their_bytes(server):
    fetched = hub.fetch_set(source(digit_files()), PROJECT)
    expected = {name: data for name, data in digit_files().items() if name != "README.md"}
    assert fetched.files == tuple(sorted(expected))
    assert {name: (fetched.root / name).read_bytes() for name in fetched.files} == expected
    assert fetched.bytes == sum(map(len, expected.values()))
    assert sorted(p.relative_to(fetched.root).as_posix() for p in fetched.root.rglob("*") if p.is_file()) == sorted(expected)


def test_fetched_files_are_plain_files_below_the_cache_root(server, tmp_path):
    fetched = hub.fetch_set(source(digit_files()), PROJECT)
    assert fetched.root.resolve().is_relative_to(tmp_path / "cache" / "sets" / "lab" / "digits" / REVISION)
    assert not any(path.is_symlink() for path in (tmp_path / "cache").rglob("*"))


def test_large_files_are_fetched_through_the_redirect_to_another_host(server):
    server.repos["lab/digits"].lfs = {"images/3.png"}
    assert "images/3.png" in hub.fetch_set(source(digit_files()), PROJECT).files
    assert len(server.asked("GET /cdn/")) == 1


def test_a_listing_in_several_pages_is_read_to_its_end(server):
    server.page_size = 3
    assert len(hub.list_set(source(digit_files()), PROJECT).files) == 11


def test_file_names_that_look_like_patterns_are_taken_literally(server):
    files = {"a[01].png": png(np.ones((8, 8))), "a0.png": png(np.zeros((8, 8))), "sp ace.png": png(np.eye(8))}
    server.repos["lab/digits"].files = files
    assert hub.fetch_set(source(files, ("a[01].png", "sp ace.png")), PROJECT).files == ("a[01].png", "sp ace.png")


def test_two_draws_of_one_repo_do_not_mix(server):
    first, second = (source(digit_files(), (name,)) for name in ("images/0.png", "images/"))
    assert hub.fetch_set(first, PROJECT).files == ("images/0.png",)
    assert len(hub.fetch_set(second, PROJECT).files) == 10
    server.requests.clear()
    assert hub.fetch_set(first, PROJECT).files == ("images/0.png",)
    assert server.requests == []


def test_a_renamed_repo_is_found_under_its_old_name(server):
    server.repos["lab2/digits"] = server.repos.pop("lab/digits")
    server.renamed["lab/digits"] = "lab2/digits"
    assert len(hub.fetch_set(source(digit_files()), PROJECT).files) == 11


def test_no_credential_travels_even_when_a_token_is_set(server, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    server.repos["lab/digits"].lfs = {"images/3.png"}
    hub.list_set(source(digit_files()), PROJECT)
    hub.fetch_set(source(digit_files()), PROJECT)
    assert len(server.requests) > 20
    assert not [name for _, _, headers in server.requests for name in headers if name.lower() in ("authorization", "cookie")]


# the cache


def test_the_second_fetch_makes_no_request_but_hashes_again(server, monkeypatch):
    hub.fetch_set(source(digit_files()), PROJECT)
    server.requests.clear()
    hashed = []
    monkeypatch.setattr(canonical, "file_sha256", lambda path, real=canonical.file_sha256: hashed.append(path) or real(path))
    hub.fetch_set(source(digit_files()), PROJECT)
    assert server.requests == []
    assert len(hashed) == 11


@pytest.mark.parametrize("damage", ["other bytes", "missing", "added", "link"])
def test_a_cached_copy_that_was_altered_is_fetched_anew(server, tmp_path, damage):
    fetched = hub.fetch_set(source(digit_files()), PROJECT)
    victim, elsewhere = fetched.root / "images/4.png", tmp_path / "elsewhere.png"
    original = victim.read_bytes()
    if damage == "other bytes":
        victim.write_bytes(original[::-1])
    elif damage == "added":
        (fetched.root / "images/extra.png").write_bytes(original)
    else:
        victim.rename(elsewhere)
        if damage == "link":
            victim.symlink_to(elsewhere)
    again = hub.fetch_set(source(digit_files()), PROJECT)
    assert victim.read_bytes() == original
    assert not victim.is_symlink()
    assert len(again.files) == len(list(again.root.rglob("*.*"))) == 11


def test_offline_works_from_the_cache(server, monkeypatch):
    online = hub.fetch_set(source(digit_files()), PROJECT)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    server.requests.clear()
    assert hub.fetch_set(source(digit_files()), PROJECT) == online
    assert hub.list_set(source(digit_files()), PROJECT).bytes == online.bytes
    assert server.requests == []


@pytest.mark.parametrize("call", [hub.list_set, hub.fetch_set])
def test_offline_without_a_cached_copy_explains_itself(server, monkeypatch, call):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused(EnvironmentProblem, "offline mode", "HF_HUB_OFFLINE", call=call)
    assert server.requests == []


def test_two_workers_that_need_one_set_download_it_once(server):
    with ThreadPoolExecutor(2) as workers:
        first, second = workers.map(lambda _: hub.fetch_set(source(digit_files()), PROJECT), range(2))
    assert first == second
    assert len(server.asked("GET /datasets/lab/digits/resolve")) == 11


def test_an_interrupted_fetch_continues_and_keeps_what_had_arrived(server):
    server.faults = [Fault("GET /datasets/lab/digits/resolve", status=403, times=1)]
    refused(EnvironmentProblem, "refuses the request")
    before = len(server.asked("GET /datasets/lab/digits/resolve"))
    hub.fetch_set(source(digit_files()), PROJECT)
    assert 1 <= len(server.asked("GET /datasets/lab/digits/resolve")) - before < 11


def test_a_full_cache_folder_or_unwritable_one_is_an_environment_problem(server, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    refused(EnvironmentProblem, "cannot be read or stored", "HLBENCH_CACHE")


# real datasets


def test_real_datasets_bring_only_what_the_patterns_match_and_once(server, tmp_path):
    folder = hub.fetch_files("lab/digits", REVISION, ["images/*.png"])
    assert sorted(path.name for path in folder.rglob("*.*")) == [f"{index}.png" for index in range(10)]
    assert (folder / "images/7.png").read_bytes() == digit_files()["images/7.png"]
    server.requests.clear()
    assert hub.fetch_files("lab/digits", REVISION, ["images/*.png"]) == folder
    assert server.requests == []


def test_a_gated_real_dataset_explains_terms_and_token_and_then_uses_the_token(server, monkeypatch):
    server.repos["lab/digits"].gated = True
    with pytest.raises(EnvironmentProblem, match="gated") as caught:
        hub.fetch_files("lab/digits", REVISION, ["*.csv"], gated=True)
    assert "https://huggingface.co/datasets/lab/digits" in caught.value.fix
    assert "HF_TOKEN" in caught.value.fix
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    assert (hub.fetch_files("lab/digits", REVISION, ["*.csv"], gated=True) / "labels.csv").is_file()


def test_the_users_token_is_not_sent_to_a_public_dataset(server, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    hub.fetch_files("lab/digits", REVISION, ["*.csv"])
    assert not any("authorization" in map(str.lower, headers) for _, _, headers in server.requests)


def test_the_users_token_does_not_follow_a_redirect_to_another_host(server, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    server.repos["lab/digits"].lfs = {"labels.csv"}
    hub.fetch_files("lab/digits", REVISION, ["*.csv"], gated=True)
    carried = {path.split("/")[1]: "authorization" in map(str.lower, headers) for _, path, headers in server.requests}
    assert carried["cdn"] is False
    assert carried["datasets"] is True


def test_a_real_dataset_that_is_missing_is_nobodys_submission(server, monkeypatch):
    for repo, revision, patterns in [
        ("lab/none", REVISION, ["*"]),
        ("lab/digits", "f" * 40, ["*"]),
        ("lab/digits", REVISION, ["*.tar"]),
    ]:
        with pytest.raises(EnvironmentProblem):
            hub.fetch_files(repo, revision, patterns)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(EnvironmentProblem, match="offline mode"):
        hub.fetch_files("lab/digits", REVISION, ["*.png"])


# the module itself


def test_the_endpoint_in_the_environment_is_asked_and_the_client_is_imported_late(server, tmp_path):
    program = (
        "import sys; from pathlib import Path; from harness import hub; from harness.submissions import SetSource\n"
        "assert not [name for name in sys.modules if name.split('.')[0] in ('huggingface_hub', 'torch', 'httpx2')]\n"
        f"source = SetSource(repo='lab/digits', revision='{REVISION}', files=('labels.csv',), content_sha256='{'0' * 64}')\n"
        "print(hub.list_set(source, Path('.')).names)"
    )
    environment = {**os.environ, "HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "('labels.csv',)", done.stderr
    assert len(server.asked("/tree/")) == 1


def test_only_the_hub_module_imports_the_client():
    package = Path(hub.__file__).parent
    importers = [
        p.name
        for p in package.rglob("*.py")
        if "import huggingface_hub" in p.read_text() or "from huggingface_hub" in p.read_text()
    ]
    assert importers == ["hub.py"]


def test_the_default_limits_are_those_documented():
    gib = 1 << 30
    assert Limits() == Limits(files=20_000, file_bytes=5 * gib, total_bytes=20 * gib, repo_entries=100_000)
    check_listing(Listing("here", tuple(ListedFile(f"{shard}.parquet", 5 * gib) for shard in range(4))), Limits())
    with pytest.raises(SubmissionError, match="too large"):
        check_listing(Listing("here", tuple(ListedFile(f"{shard}.parquet", 5 * gib) for shard in range(5))), Limits())
