"""Issue 3's rule from files to numbers: a set's own soft labels change no result under HL, SL or SL+KD."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from intake_sets import images_and_labels, read, write_with

from harness.datasets import load_split
from harness.protocols import Protocol, find_protocol
from harness.teachers import find_teacher
from harness.training.evaluate_set import train_and_evaluate

ROOT = Path(__file__).parent.parent
# As wrong as can be, and not even numbers.
OPINIONS = {
    "another class": np.eye(10, dtype=np.float32)[(images_and_labels()[1] + 5) % 10] * 100,
    "NaN": np.full((20, 10), np.nan, np.float32),
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _shortened(regime: str) -> Protocol:
    """The frozen protocol, teacher and all, for 3 epochs."""
    protocol = find_protocol(ROOT, f"digits/resnet18-{regime}/v1")
    return protocol.model_copy(update={"training": protocol.training.model_copy(update={"epochs": {1: 3}})})


@pytest.mark.parametrize(
    ("regime", "suffix"),
    [("sl", ".npz"), ("sl", ".safetensors"), ("sl", ".parquet"), ("sl", ""), ("hl", ".npz"), ("sl-kd", ".npz")],
    ids=["sl npz", "sl safetensors", "sl parquet", "sl folder", "hl npz", "sl-kd npz"],
)
def test_two_sets_that_differ_in_their_own_soft_labels_give_identical_numbers(tmp_path, cache, regime, suffix):
    protocol, test = _shortened(regime), load_split("digits", "test")
    teacher, test = find_teacher(ROOT, protocol), replace(test, images=test.images[:200], labels=test.labels[:200])
    outcomes = []
    for name, opinion in OPINIONS.items():
        (tmp_path / name).mkdir()
        write_with(tmp_path / name, suffix, {"soft_labels": opinion, "logits": opinion})
        image_set, facts = read(tmp_path / name)
        assert "soft_labels" in facts["labels_not_used"]
        outcomes.append(train_and_evaluate(protocol, 2, image_set, test, 0, "cpu", None, teacher))
    assert outcomes[0].result == outcomes[1].result
    assert outcomes[0].curve == outcomes[1].curve
    if regime == "sl":
        assert len(list(cache.rglob("labels/*/*.safetensors"))) == 1  # the teacher's labels of the one set that both are
