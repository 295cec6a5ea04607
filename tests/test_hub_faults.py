"""What goes wrong on the way from the Hub, whose fault it is, and that nothing damaged stays; real client, local Hub."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hub_cases import PROJECT, REVISION, cached_files, digit_files, hub_and_client, refused, sha_of, source
from hub_server import Fault, Hub
from huggingface_hub import constants

from harness import hub, hub_bounds
from harness.errors import EnvironmentProblem, SubmissionError


@pytest.fixture
def server(monkeypatch, tmp_path) -> Iterator[Hub]:
    with hub_and_client(monkeypatch, tmp_path) as running:
        yield running


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
def test_a_short_rate_limit_is_waited_for(server, at):
    files = {"labels.csv": digit_files()["labels.csv"]}
    server.faults = [Fault(at, status=429, headers={"Retry-After": "17"}, times=2)]
    assert hub.fetch_set(source(files, ("labels.csv",)), PROJECT).files == ("labels.csv",)
    assert max(server.naps) >= 17


def test_the_end_of_the_hubs_own_window_is_waited_for(server):
    headers = {"RateLimit": '"api";r=0;t=55', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}
    server.faults = [Fault("/tree/", status=429, headers=headers, times=1)]
    hub.list_set(source(digit_files()), PROJECT)
    assert max(server.naps) >= 55


@pytest.mark.parametrize("headers", [{"Retry-After": "86400"}, {"RateLimit": '"api";r=0;t=86400'}, {"Retry-After": "9" * 5000}])
def test_nobody_waits_as_long_as_a_server_likes(server, headers):
    server.faults = [Fault("/tree/", status=429, headers=headers)]
    refused(EnvironmentProblem, "limits the rate", "asks to wait", call=hub.list_set)
    assert sum(server.naps) <= hub_bounds.LONGEST_WAIT


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
    for timeout in ("HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT"):
        monkeypatch.setattr(constants, timeout, 0.2)
    monkeypatch.setattr("huggingface_hub.file_download._ETAG_RETRY_TIMEOUT", 0.2)
    monkeypatch.setattr(hub_bounds, "SILENCE", 0.2)
    server.faults = [Fault(at, hang=True)]
    files = {"labels.csv": digit_files()["labels.csv"]}
    with pytest.raises(EnvironmentProblem, match="did not answer in time"):
        hub.fetch_set(source(files, ("labels.csv",)), PROJECT)


def test_no_network_is_said_so(server, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    refused(EnvironmentProblem, "cannot be reached", "HF_ENDPOINT")
