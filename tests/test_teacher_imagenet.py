"""The ImageNet teacher lies on the Hub: only its pinned bytes are taken, and torchvision's tensor names fit our ResNet-18."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch
import torchvision
from hub_cases import hub_and_client
from hub_server import Fault, Repo
from huggingface_hub import constants
from teacher_checkout import ROOT, alter_card, make_teacher_checkout

from harness import hub
from harness.canonical import sha256_hex
from harness.errors import EnvironmentProblem, ProtocolError
from harness.protocols import find_protocol
from harness.teachers import PinnedTeacher, find_teacher, read_card, read_weights
from harness.training.engine import Engine
from harness.training.teacher import build_teacher

IMAGENET = "imagenet-1k/resnet18"
REPO, REVISION, FILE = "timm/resnet18.tv_in1k", "bbd144b3e5565108aad885f145491d11bc6ce807", "model.safetensors"
PLAIN = Engine("cpu", 0, False, False, 1, "fp32")


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path / "cache"))
    return make_teacher_checkout(tmp_path)


@pytest.fixture
def stored(root):
    """Bytes that stand in for the pinned ones, which the card of the checkout names instead."""
    stored = safetensors.torch.save({"weight": torch.arange(100_000.0)})
    alter_card(root, IMAGENET, weights={"sha256": sha256_hex(stored), "bytes": len(stored)})
    return stored


@pytest.fixture
def server(monkeypatch, tmp_path, stored):
    """A Hub that holds them, as a large file among others."""
    with hub_and_client(monkeypatch, tmp_path) as running:
        files = {FILE: stored, "pytorch_model.bin": b"\x80\x04K\x01.", "README.md": b"# card\n"}
        running.repos[REPO] = Repo(files, REVISION, lfs={FILE, "pytorch_model.bin"})
        yield running


def fetched(root) -> bytes:
    return read_weights(root, read_card(root, IMAGENET))


# Fetching


def test_the_card_pins_the_file_the_project_chose_and_so_do_the_protocols_that_name_it():
    weights = read_card(ROOT, IMAGENET).weights
    assert (weights.repo, weights.revision, weights.file) == (REPO, REVISION, FILE)
    pinned = "694f673df6520a3158624e8a89af086f59923ee4cd7436fe5bc3bc71d295ad81"
    assert (weights.bytes, weights.sha256) == (46_807_446, pinned)
    for regime in ("sl", "sl-kd"):
        assert find_protocol(ROOT, f"imagenet-1k/resnet18-{regime}/v1").labels.teacher_sha256 == pinned


def test_exactly_the_pinned_file_is_fetched_once_and_without_a_token(root, server, stored, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert fetched(root) == stored
    assert len(server.asked("GET /cdn/")) == 1
    assert not server.asked("pytorch_model.bin")
    assert not [name for _, _, headers in server.requests for name in headers if name.lower() in ("authorization", "cookie")]
    server.requests.clear()
    assert fetched(root) == stored
    assert server.requests == []


def test_the_fetched_file_serves_offline(root, server, stored, monkeypatch):
    assert fetched(root) == stored
    server.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetched(root) == stored
    assert server.requests == []


def test_offline_with_nothing_in_the_cache_says_so(root, server, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(EnvironmentProblem, match="offline mode is on"):
        fetched(root)


@pytest.mark.parametrize("change", [-1, 1, 10**12])
def test_a_file_of_another_size_is_refused_before_it_is_downloaded(root, server, stored, change):
    alter_card(root, IMAGENET, weights={"bytes": len(stored) + change})
    with pytest.raises(EnvironmentProblem, match="not of the pinned size") as caught:
        fetched(root)
    assert f"{len(stored):,} bytes listed, {len(stored) + change:,} pinned" in caught.value.why
    assert not server.asked("GET /cdn/")


def test_a_server_that_lists_the_pinned_size_and_sends_more_is_cut_off(root, server, stored):
    server.repos[REPO].served[FILE] = stored + b"\0" * (80 << 20)
    with pytest.raises(EnvironmentProblem, match="far more than it listed"):
        fetched(root)


@pytest.mark.parametrize("place", ["middle", "end"])
def test_other_bytes_of_the_pinned_size_are_refused(root, server, stored, place):
    altered = bytearray(stored)
    altered[-1 if place == "end" else len(stored) // 2] ^= 1
    server.repos[REPO].served[FILE] = bytes(altered)
    with pytest.raises(ProtocolError, match="not the pinned ones") as caught:
        fetched(root)
    assert sha256_hex(bytes(altered)) in caught.value.why
    assert "HF_HOME" in caught.value.fix


def test_another_file_uploaded_to_the_repo_later_changes_nothing(root, server, stored):
    server.repos[REPO] = Repo({FILE: stored[::-1]}, "f" * 40)  # the branch moved on, and the commit is gone
    with pytest.raises(EnvironmentProblem, match="no such commit"):
        fetched(root)


def test_a_vanished_file_and_a_hub_in_trouble_are_told_apart(root, server, stored):
    server.faults.append(Fault("/resolve/", status=503))
    with pytest.raises(EnvironmentProblem, match="trouble of its own"):
        fetched(root)
    server.faults.clear()
    del server.repos[REPO].files[FILE]
    with pytest.raises(EnvironmentProblem, match=r"lists a file that the Hub lacks|no such public repo or file"):
        fetched(root)


def test_a_protocol_never_takes_a_card_that_names_other_bytes(root, server):
    with pytest.raises(ProtocolError, match="not the one this protocol was written for") as caught:
        find_teacher(root, find_protocol(root, "imagenet-1k/resnet18-sl/v1"))
    assert "weights.sha256" in caught.value.why
    assert server.requests == []


# The network


def torchvision_state(counters: bool = True) -> dict[str, torch.Tensor]:
    """Random weights under torchvision's names; some files leave out the `counters` of batch norm."""
    reference = torchvision.models.resnet18(weights=None)
    return {name: tensor for name, tensor in reference.state_dict().items() if counters or "num_batches" not in name}


def teacher_with(root, state: dict[str, torch.Tensor]) -> PinnedTeacher:
    stored = safetensors.torch.save(state)
    alter_card(root, IMAGENET, weights={"sha256": sha256_hex(stored), "bytes": len(stored)})
    return PinnedTeacher(read_card(root, IMAGENET), stored)


@pytest.mark.parametrize("counters", [True, False], ids=["with counters", "without counters"])
def test_a_file_with_torchvisions_tensor_names_becomes_the_imagenet_teacher(root, counters):
    state = torchvision_state(counters)
    reference = torchvision.models.resnet18(weights=None).eval()
    reference.load_state_dict(state, strict=False)
    model = build_teacher(teacher_with(root, state), PLAIN)
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(model(images), reference(images))
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("change", ["renamed", "missing", "one more", "prefixed", "another shape", "another network", "none"])
def test_a_file_with_other_tensors_is_refused(root, change):
    state = torchvision_state()
    changed = {
        "renamed": {("head" + name.removeprefix("fc") if name.startswith("fc") else name): t for name, t in state.items()},
        "missing": {name: tensor for name, tensor in state.items() if name != "layer3.0.conv2.weight"},
        "one more": state | {"layer5.0.conv1.weight": torch.zeros(3)},
        "prefixed": {f"module.{name}": tensor for name, tensor in state.items()},
        "another shape": state | {"fc.weight": torch.zeros(10, 512)},
        "another network": torchvision.models.mobilenet_v2(weights=None).state_dict(),
        "none": {},
    }[change]
    with pytest.raises(ProtocolError, match="do not fit its network") as caught:
        build_teacher(teacher_with(root, changed), PLAIN)
    assert REPO in caught.value.where


def test_the_pinned_bytes_are_hashed_before_they_are_parsed(root, server, stored, monkeypatch):
    server.repos[REPO].served[FILE] = stored[::-1]
    monkeypatch.setattr(safetensors.torch, "load", lambda *_: pytest.fail("parsed"))
    with pytest.raises(ProtocolError, match="not the pinned ones"):
        fetched(root)


def test_the_hub_is_asked_for_nothing_when_a_teacher_lies_in_the_project(root, monkeypatch):
    monkeypatch.setattr(hub, "fetch_file", lambda *_: pytest.fail("asked"))
    assert find_teacher(root, find_protocol(root, "digits/resnet18-sl/v1")).card.id == "digits/convnet-d3"
