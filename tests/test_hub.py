"""The real Hub client over HTTP against a local Hub (`hub_server.py`): what is fetched, what is refused, what is said."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hub_server import Fault, Hub, Repo, running_hub
from huggingface_hub import constants
from huggingface_hub.utils import disable_progress_bars
from PIL import Image
from sklearn.datasets import load_digits

from harness import canonical, hub, hub_bounds
from harness.errors import EnvironmentProblem, HlbenchError, SubmissionError
from harness.set_files import Limits, ListedFile, Listing, check_listing
from harness.submissions import SetSource

REVISION = "0123456789abcdef0123456789abcdef01234567"
PROJECT = Path("/nowhere")


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray((pixels * 15).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def digit_files() -> dict[str, bytes]:
    """Ten real digits as PNG in a folder, a label table, a card that is not part of the set."""
    digits = load_digits()
    images = {f"images/{index}.png": png(digits.images[index]) for index in range(10)}
    return {**images, "labels.csv": b"file,label\n" + b"".join(b"%d,%d\n" % (i, i) for i in range(10)), "README.md": b"# card\n"}


def sha_of(files: dict[str, bytes]) -> str:
    """content_sha256 from its definition in `SetSource`, not from the code under test."""
    listed = [{"path": path, "sha256": canonical.sha256_hex(data), "size": len(data)} for path, data in sorted(files.items())]
    return canonical.digest(listed)


def source(
    files: dict[str, bytes], names: tuple[str, ...] = ("images/", "labels.csv"), repo="lab/digits", **changes
) -> SetSource:
    """A source that names the files of `files` which `names` covers."""
    covered = {
        path: data for path, data in files.items() if any(path == n or (n[-1] == "/" and path.startswith(n)) for n in names)
    }
    return SetSource(**{"repo": repo, "revision": REVISION, "files": names, "content_sha256": sha_of(covered), **changes})


@pytest.fixture
def naps(monkeypatch) -> list[float]:
    """Seconds that anyone wanted to sleep; nobody does."""
    asked: list[float] = []
    monkeypatch.setattr(time, "sleep", asked.append)
    return asked


@pytest.fixture
def server(monkeypatch, tmp_path, naps) -> Hub:
    """A Hub with `lab/digits`, a client that knows no other, and an empty cache."""
    disable_progress_bars()
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub_bounds, "SILENCE", 0.3)
    with running_hub() as running:
        client = {
            "ENDPOINT": running.url, "HUGGINGFACE_CO_URL_TEMPLATE": running.url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_CACHE": str(tmp_path / "hf"), "HF_TOKEN_PATH": str(tmp_path / "no-token"), "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True, "HF_HUB_DISABLE_TELEMETRY": True,
            "HF_HUB_DOWNLOAD_TIMEOUT": 0.3, "HF_HUB_ETAG_TIMEOUT": 0.3,
        }  # fmt: skip
        for name, value in client.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setattr("huggingface_hub.file_download._ETAG_RETRY_TIMEOUT", 0.3)
        running.repos["lab/digits"] = Repo(digit_files(), REVISION)
        yield running


def refused(error: type[HlbenchError], *words: str, call=hub.fetch_set, **source_changes) -> str:
    """The message of the error that fetching `lab/digits` must raise; every one of `words` must be in it."""
    with pytest.raises(error) as caught:
        call(source(digit_files(), **source_changes), PROJECT)
    message = str(caught.value)
    missing = [word for word in (*words, "where:", "why:", "fix:") if word not in message]
    assert not missing, f"{missing} not in {message}"
    return message


def cached_files(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "cache").rglob("*.png") if path.is_file()]


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


# refused before anything is downloaded


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(files=10), "11 files; limit 10"),
        (Limits(total_bytes=500), "bytes in all; limit 500"),
        (Limits(file_bytes=60), "limit 60 for one file"),
        (Limits(repo_entries=11), "more than 11 entries"),
    ],
)
def test_too_much_is_refused_from_the_listing_alone(server, limits, words):
    for call in (hub.list_set, hub.fetch_set):
        with pytest.raises(SubmissionError, match=words):
            call(source(digit_files()), PROJECT, limits)
    assert server.asked("/resolve/") == []


def test_limits_are_inclusive(server):
    listing = hub.list_set(source(digit_files()), PROJECT)
    exact = Limits(len(listing.files), max(file.size for file in listing.files), listing.bytes, len(digit_files()))
    assert hub.list_set(source(digit_files()), PROJECT, exact) == listing


@pytest.mark.parametrize("name", ["set.pt", "set.PTH", "a/b.pkl", "x.pickle", "pytorch_model.bin", "last.ckpt", "d.joblib"])
def test_pickles_are_refused_by_name_with_lines_that_convert_them(server, name):
    files = {name: b"\x80\x04."}
    server.repos["lab/digits"].files = files
    with pytest.raises(SubmissionError, match="are not accepted") as caught:
        hub.fetch_set(source(files, (name,)), PROJECT)
    steps = caught.value.fix.partition("\n")[2]
    assert Path(name).name in steps
    compile("\n".join(line.strip() for line in steps.splitlines()), "steps", "exec")
    assert server.asked("/resolve/") == []


@pytest.mark.parametrize("name", ["data.zip", "d.tar.gz", "load.py", "run.sh", "x.arrow", "notes.md", "noending", "x.png.exe"])
def test_archives_scripts_and_unknown_kinds_are_refused(server, name):
    server.repos["lab/digits"].files = {name: b"x"}
    with pytest.raises(SubmissionError, match="are not accepted"):
        hub.list_set(source({name: b"x"}, (name,)), PROJECT)


def test_a_refused_kind_hidden_in_a_named_folder_is_found(server):
    server.repos["lab/digits"].files["images/deep/er/weights.pt"] = b"x"
    refused(SubmissionError, "images/deep/er/weights.pt", call=hub.list_set)


@pytest.mark.parametrize(
    "name",
    ["images/../../evil.png", "images/../.cache/x.json", "images//x.png", "images/.cache/huggingface/x.json", "images/a\\b.png",
     "images/a\nb.png", "images/C:x.png", "images/" + "x" * 250 + ".png"],
)  # fmt: skip
def test_a_name_in_the_listing_that_could_leave_its_folder_is_refused(server, tmp_path, name):
    server.repos["lab/digits"].listed_only = (name,)
    refused(SubmissionError, "unsafe name")
    assert not list(tmp_path.rglob("evil.png"))
    assert server.asked("/resolve/") == []


def test_names_that_differ_only_in_case_are_refused(server):
    server.repos["lab/digits"].files["images/A.png"] = server.repos["lab/digits"].files["images/a.png"] = b"x"
    refused(SubmissionError, "upper and lower case", call=hub.list_set)


def test_named_files_that_do_not_exist_are_listed_with_what_was_meant(server):
    named = ("images", "label.csv", "nothing/", "labels.csv")
    message = refused(SubmissionError, "3 of the named files", call=hub.list_set, names=named)
    assert "write 'images/'" in message
    assert "is it 'labels.csv'?" in message


def test_a_full_disk_is_noticed_before_the_download(server, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, hub.DISK_RESERVE))
    refused(EnvironmentProblem, "not enough free disk", "HLBENCH_CACHE")
    assert server.asked("/resolve/") == []


# the repo is at fault: its author must act


def test_an_unknown_commit_is_the_authors_fault(server):
    refused(SubmissionError, "no such commit", "lab/digits@ffff", revision="f" * 40)


def test_a_missing_or_private_repo_is_the_authors_fault(server):
    refused(SubmissionError, "no such public repo", repo="lab/elsewhere")


def test_a_repo_name_the_client_refuses_is_the_authors_fault(server):
    refused(SubmissionError, "repo name", repo="lab/a--b")


def test_a_gated_repo_cannot_be_submitted(server, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    server.repos["lab/digits"].gated = True
    refused(SubmissionError, "gated", "turn gating off")


def test_a_gated_listing_is_refused_as_well(server):
    server.faults = [Fault("/tree/", status=403, headers={"X-Error-Code": "GatedRepo"})]
    refused(SubmissionError, "gated", call=hub.list_set)


def test_a_listed_file_that_is_gone_is_the_authors_fault(server):
    server.repos["lab/digits"].listed_only = ("images/lost.png",)
    refused(SubmissionError, "the Hub lacks")


def test_wrong_bytes_of_the_right_length_are_refused_and_removed(server, tmp_path):
    original = server.repos["lab/digits"].files["images/5.png"]
    server.repos["lab/digits"].served["images/5.png"] = wrong = original[:-1] + b"?"
    actual = sha_of({name: data for name, data in {**digit_files(), "images/5.png": wrong}.items() if name != "README.md"})
    refused(SubmissionError, "not the ones that were submitted", actual, source(digit_files()).content_sha256)
    assert cached_files(tmp_path) == []
    server.repos["lab/digits"].served.clear()
    assert (hub.fetch_set(source(digit_files()), PROJECT).root / "images/5.png").read_bytes() == original


def test_bytes_that_differ_from_the_hubs_own_checksum_are_a_transfer_fault(server, tmp_path):
    repo = server.repos["lab/digits"]
    repo.lfs = {"images/5.png"}
    repo.served["images/5.png"] = repo.files["images/5.png"][:-1] + b"?"
    refused(EnvironmentProblem, "damaged on the way", "images/5.png")
    assert cached_files(tmp_path) == []
    repo.served.clear()
    hub.fetch_set(source(digit_files()), PROJECT)


# the network is at fault: nobody's submission is


def test_a_listing_that_lies_about_sizes_is_noticed(server, tmp_path):
    server.repos["lab/digits"].listed_sizes["images/5.png"] = 7
    refused(EnvironmentProblem, "differ", "images/5.png: listed 7")
    assert cached_files(tmp_path) == []


def test_far_more_bytes_than_listed_are_refused_before_they_are_sent(server, monkeypatch):
    monkeypatch.setattr(hub_bounds, "LARGEST_ANSWER", 100_000)
    server.repos["lab/digits"].files["images/5.png"] = bytes(200_000)
    server.repos["lab/digits"].listed_sizes["images/5.png"] = 7
    refused(EnvironmentProblem, "far more than it listed", "200,000 bytes")
    assert server.asked("GET /datasets/lab/digits/resolve/" + REVISION + "/images/5.png") == []


@pytest.mark.parametrize("size", [None, -1, "12"])
def test_a_listing_without_usable_sizes_is_not_a_hubs(server, size):
    server.repos["lab/digits"].listed_sizes["images/5.png"] = size
    refused(EnvironmentProblem, "not what a Hub sends", call=hub.list_set)


def test_an_answer_that_is_no_listing_is_not_a_hubs(server):
    server.faults = [Fault("/tree/", status=200)]
    refused(EnvironmentProblem, "not what a Hub sends", call=hub.list_set)


def test_a_body_cut_once_is_completed_with_a_range_request(server):
    server.faults = [Fault("GET /datasets/lab/digits/resolve", keep=20, times=1)]
    assert len(hub.fetch_set(source(digit_files()), PROJECT).files) == 11


def test_a_body_that_is_always_cut_is_given_up(server, tmp_path):
    server.faults = [Fault("/images/5.png", keep=20)]
    refused(EnvironmentProblem, "connection to the Hub broke")
    assert len(server.asked("GET /datasets/lab/digits/resolve/" + REVISION + "/images/5.png")) < 10
    server.faults.clear()
    hub.fetch_set(source(digit_files()), PROJECT)


@pytest.mark.parametrize("at", ["GET /api", "HEAD /datasets/lab/digits/resolve", "GET /datasets/lab/digits/resolve"])
def test_a_short_rate_limit_is_waited_for(server, naps, at):
    files = {"labels.csv": digit_files()["labels.csv"]}
    server.faults = [Fault(at, status=429, headers={"Retry-After": "17"}, times=2)]
    assert hub.fetch_set(source(files, ("labels.csv",)), PROJECT).files == ("labels.csv",)
    assert max(naps) >= 17


def test_the_end_of_the_hubs_own_window_is_waited_for(server, naps):
    headers = {"RateLimit": '"api";r=0;t=55', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}
    server.faults = [Fault("/tree/", status=429, headers=headers, times=1)]
    hub.list_set(source(digit_files()), PROJECT)
    assert max(naps) >= 55


@pytest.mark.parametrize("headers", [{"Retry-After": "86400"}, {"RateLimit": '"api";r=0;t=86400'}, {"Retry-After": "9" * 5000}])
def test_nobody_waits_as_long_as_a_server_likes(server, naps, headers):
    server.faults = [Fault("/tree/", status=429, headers=headers)]
    refused(EnvironmentProblem, "limits the rate", "asks to wait", call=hub.list_set)
    assert sum(naps) <= hub_bounds.LONGEST_WAIT


def test_an_endless_rate_limit_is_given_up(server):
    server.faults = [Fault("/tree/", status=429)]
    refused(EnvironmentProblem, "limits the rate", call=hub.list_set)
    assert len(server.requests) < 10


@pytest.mark.parametrize("at", ["/tree/", "HEAD /datasets/lab/digits/resolve", "GET /datasets/lab/digits/resolve"])
def test_a_server_error_is_tried_again(server, at):
    server.faults = [Fault(at, status=500, times=2)]
    assert len(hub.fetch_set(source(digit_files()), PROJECT).files) == 11


@pytest.mark.parametrize("at", ["/tree/", "HEAD /datasets/lab/digits/resolve", "GET /datasets/lab/digits/resolve"])
def test_a_server_that_stays_broken_is_given_up(server, at):
    server.faults = [Fault(at, status=503)]
    refused(EnvironmentProblem, "trouble of its own")
    assert len(server.asked(at)) < 100


@pytest.mark.parametrize("at", ["/tree/", "HEAD /datasets/lab/digits/resolve", "GET /datasets/lab/digits/resolve"])
def test_a_server_that_never_answers_runs_into_the_timeout(server, monkeypatch, at):
    server.faults = [Fault(at, hang=True)]
    files = {"labels.csv": digit_files()["labels.csv"]}
    with pytest.raises(EnvironmentProblem, match="did not answer in time"):
        hub.fetch_set(source(files, ("labels.csv",)), PROJECT)


def test_no_network_is_said_so(server, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    refused(EnvironmentProblem, "cannot be reached", "HF_ENDPOINT")


# sets inside the project


@pytest.fixture
def project(tmp_path) -> Path:
    root = tmp_path / "project"
    (root / "sets/digits/images").mkdir(parents=True)
    for name, data in digit_files().items():
        if name != "README.md":
            (root / "sets/digits" / name).write_bytes(data)
    return root


def local_source(path: str, files: dict[str, bytes]) -> SetSource:
    return SetSource(path=path, content_sha256=sha_of(files))


def test_a_folder_in_the_project_is_hashed_like_a_repo(project):
    files = {name: data for name, data in digit_files().items() if name != "README.md"}
    fetched = hub.fetch_set(local_source("sets/digits", files), project)
    assert (fetched.root, fetched.files) == (project / "sets/digits", tuple(sorted(files)))


def test_a_file_in_the_project_is_named_by_its_file_name(project):
    fetched = hub.fetch_set(local_source("sets/digits/labels.csv", {"labels.csv": digit_files()["labels.csv"]}), project)
    assert (fetched.root / fetched.files[0]).read_bytes() == digit_files()["labels.csv"]


def test_altered_local_files_are_refused_but_never_deleted(project):
    (project / "sets/digits/labels.csv").write_bytes(b"file,label\n")
    with pytest.raises(SubmissionError, match="not the ones") as caught:
        hub.fetch_set(local_source("sets/digits", digit_files()), project)
    actual = sha_of({p.relative_to(project / "sets/digits").as_posix(): p.read_bytes() for p in project.rglob("*.*")})
    assert actual in caught.value.why
    assert (project / "sets/digits/labels.csv").exists()


@pytest.mark.parametrize("where", ["sets/link", "sets/link/images", "sets/loop", "sets/nothing"])
def test_a_path_that_is_missing_or_leads_out_of_the_project_is_refused(project, tmp_path, where):
    (project / "sets/digits").rename(tmp_path / "outside")
    (project / "sets/link").symlink_to(tmp_path / "outside")
    (project / "sets/loop").symlink_to(project / "sets/loop")
    with pytest.raises(SubmissionError, match="not in this project"):
        hub.fetch_set(local_source(where, digit_files()), project)


@pytest.mark.parametrize("kind", ["link to a file", "link to a folder", "broken link", "pipe"])
def test_a_link_or_a_device_inside_a_local_set_is_refused(project, tmp_path, kind):
    odd = project / "sets/digits/images/odd.png"
    (tmp_path / "secret.png").write_bytes(b"x")
    targets = {"link to a file": tmp_path / "secret.png", "link to a folder": tmp_path, "broken link": tmp_path / "gone"}
    if kind in targets:
        odd.symlink_to(targets[kind])
    else:
        os.mkfifo(odd)
    for call in (hub.list_set, hub.fetch_set):
        with pytest.raises(SubmissionError, match="plain files"):
            call(local_source("sets/digits", digit_files()), project)


def test_an_empty_folder_is_no_set(project):
    (project / "sets/empty").mkdir()
    with pytest.raises(SubmissionError, match="no files"):
        hub.fetch_set(local_source("sets/empty", {}), project)


def test_local_sets_keep_to_the_same_limits_and_kinds(project):
    for limits in (Limits(files=3), Limits(total_bytes=3), Limits(file_bytes=3)):
        with pytest.raises(SubmissionError, match="limit 3"):
            hub.list_set(local_source("sets/digits", {}), project, limits)
    (project / "sets/digits/set.pt").write_bytes(b"x")
    with pytest.raises(SubmissionError, match="pt files are not accepted"):
        hub.list_set(local_source("sets/digits", {}), project)


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
        hub.fetch_files("lab/digits", REVISION, ["*.csv"])
    assert "https://huggingface.co/datasets/lab/digits" in caught.value.fix
    assert "HF_TOKEN" in caught.value.fix
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    assert (hub.fetch_files("lab/digits", REVISION, ["*.csv"]) / "labels.csv").is_file()


def test_the_users_token_does_not_follow_a_redirect_to_another_host(server, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    server.repos["lab/digits"].lfs = {"labels.csv"}
    hub.fetch_files("lab/digits", REVISION, ["*.csv"])
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
