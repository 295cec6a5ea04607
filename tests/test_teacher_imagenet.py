"""The ImageNet teacher lies on the Hub: only its pinned bytes are taken, and torchvision's tensor names fit our ResNet-18."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch
import torchvision
from teacher_checkout import alter_card, make_teacher_checkout

from harness import hub
from harness.canonical import sha256_hex
from harness.errors import ProtocolError
from harness.protocols import find_protocol
from harness.teachers import PinnedTeacher, find_teacher, read_card, read_weights
from harness.training.engine import Engine
from harness.training.teacher import build_teacher


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path / "cache"))
    return make_teacher_checkout(tmp_path)


def test_the_imagenet_teacher_is_fetched_at_its_pinned_commit_and_refused_on_other_bytes(root, tmp_path, monkeypatch):
    asked = []

    def fetch_files(repo, revision, patterns, repo_type):
        asked.append((repo, revision, tuple(patterns), repo_type))
        return tmp_path

    monkeypatch.setattr(hub, "fetch_files", fetch_files)
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 46_807_446)
    with pytest.raises(ProtocolError, match="not the pinned ones"):
        find_teacher(root, find_protocol(root, "imagenet-1k/resnet18-sl/v1"))
    pinned = ("timm/resnet18.tv_in1k", "bbd144b3e5565108aad885f145491d11bc6ce807", ("model.safetensors",), "model")
    assert asked == [pinned]


def test_a_file_with_torchvisions_tensor_names_becomes_the_imagenet_teacher(root, tmp_path, monkeypatch):
    reference = torchvision.models.resnet18(weights=None).eval()
    for counters in (True, False):  # some files leave out batch norm's counters
        state = {name: tensor for name, tensor in reference.state_dict().items() if counters or "num_batches" not in name}
        stored = safetensors.torch.save(state)
        (tmp_path / "model.safetensors").write_bytes(stored)
        monkeypatch.setattr(hub, "fetch_files", lambda *_, **__: tmp_path)
        alter_card(root, "imagenet-1k/resnet18", weights={"sha256": sha256_hex(stored), "bytes": len(stored)})
        card = read_card(root, "imagenet-1k/resnet18")
        model = build_teacher(PinnedTeacher(card, read_weights(root, card)), Engine("cpu", 0, False, False, 1, "fp32"))
        images = torch.rand(1, 3, 64, 64)
        with torch.no_grad():
            assert torch.equal(model(images), reference(images))
