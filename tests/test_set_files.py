"""What a set may consist of: refused from its listing before a byte is downloaded, on the Hub and inside the project."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_cases import PROJECT, digit_files, hub_and_client, refused, sha_of, source
from hub_server import Hub

from harness import hub
from harness.errors import EnvironmentProblem, SubmissionError
from harness.set_files import Limits
from harness.submissions import SetSource


@pytest.fixture
def server(monkeypatch, tmp_path) -> Iterator[Hub]:
    with hub_and_client(monkeypatch, tmp_path) as running:
        yield running


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
