"""Small scoring runs for tests: thirty real digits at 8 x 8 and a student of 1,170 parameters with batch norm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml

from harness.datasets import Split, load_split
from harness.dynamics.plan import Wish
from harness.dynamics.record import Scoring, plan_scoring
from harness.freeze import freeze
from harness.protocols import Protocol, find_protocol
from harness.teachers import PinnedTeacher, read_card, read_weights

ROOT = Path(__file__).resolve().parent.parent
STUDENT = {"architecture": "convnet", "stem": "none", "norm": "batch", "depth": 2, "width": 8, "init": "torch-default"}
PARAMETERS = 1170  # 3*8*9 + 8, 16, 8*8*9 + 8, 16, 32*10 + 10
FEATURES = 32  # 8 channels of 2 x 2 pixels


def small_protocol(regime: str = "hl", epochs: int = 6, batch_size: int = 5) -> Protocol:
    """The digits protocol with the small student, fp32, `epochs` and `batch_size`."""
    whole = find_protocol(ROOT, f"digits/resnet18-{regime}/v1")
    sections = {
        "input": {"resolution": 8, "resize": "none"},
        "student": {**STUDENT, "parameters": PARAMETERS},
        "training": {"epochs": {1: epochs}, "batch_size": {1: batch_size}},
        "numerics": {"precision": "fp32"},
    }
    changed = {name: getattr(whole, name).model_copy(update=values) for name, values in sections.items()}
    return whole.model_copy(update=changed)


def thirty_digits(per_class: int = 3) -> Split:
    """The first rows of each class, in the split's order."""
    train = load_split("digits", "train")
    rows = np.sort(np.concatenate([np.flatnonzero(train.labels == label)[:per_class] for label in range(10)]))
    return Split("digits", "train", train.images[rows].copy(), train.labels[rows].copy(), "5a" * 32)


def small_run(protocol: Protocol, split: Split, teacher: PinnedTeacher | None = None, **wish) -> Scoring:
    return plan_scoring(Wish(**wish), protocol, split, teacher)


def digits_teacher() -> PinnedTeacher:
    card = read_card(ROOT, "digits/convnet-d3")
    return PinnedTeacher(card, read_weights(ROOT, card))


def add_small_protocol(root: Path, epochs: int = 15) -> str:
    """Write and freeze the small student's protocol in the checkout `root`; its id."""
    raw = yaml.safe_load((ROOT / "protocols/digits/resnet18-hl/v1.yaml").read_text())
    raw["id"] = "digits/convnet-d2-hl/v1"
    values = {"input": {"resolution": 8, "resize": "none"}, "student": {**STUDENT, "parameters": PARAMETERS}}
    for section, changed in {**values, "training": {"epochs": {1: epochs}}}.items():
        for key, value in changed.items():
            raw[section][key] = {"value": value, "from": "inferred", "why": "small enough for a test"}
    path = root / "protocols" / f"{raw['id']}.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(raw))
    freeze(root, raw["id"], "2026-11-25")
    return raw["id"]
