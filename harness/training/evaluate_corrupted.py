"""The error of a trained student on the whole test split under 15 corruptions x 5 severities (methods E.4, H.9)."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

import torch
from torch import nn

from harness.datasets.base import Split
from harness.datasets.corrupted import CONDITIONS, corrupted_batches
from harness.datasets.corruptions import CORRUPTIONS, SEVERITIES, VERSION
from harness.imageset import ImageSet
from harness.ood_records import OodResult
from harness.protocols import Protocol
from harness.records import Result
from harness.training.engine import Engine
from harness.training.evaluate_set import Outcome, train_and_evaluate
from harness.training.views import normalised


@dataclass(frozen=True)
class OodOutcome:
    """`seconds`: what making the corrupted images and measuring on them took."""

    result: OodResult
    seconds: float


def train_and_evaluate_corrupted(
    expected: Result | None, protocol: Protocol, ipc: int, image_set: ImageSet, test: Split, *rest
) -> tuple[Outcome, OodOutcome | None]:
    """`train_and_evaluate` of the other arguments, with its very outcome, and what the student does on corrupted images.

    None for a student that diverged, and for one whose numbers are not `expected`, those of its record if it has one: an hour of
    measuring another student would be lost. Raises also EnvironmentProblem when the cache of corrupted images cannot be written.
    """
    measured: list[OodOutcome] = []

    def examine(model: nn.Module, engine: Engine, clean: Result) -> None:
        if expected not in (None, clean):
            return
        started = time.perf_counter()
        result = measure_corrupted(model, test, protocol, engine)
        measured.append(OodOutcome(result, round(time.perf_counter() - started, 2)))

    outcome = train_and_evaluate(protocol, ipc, image_set, test, *rest, examine=examine)
    return outcome, measured[0] if measured else None


@torch.inference_mode()
def measure_corrupted(model: nn.Module, test: Split, protocol: Protocol, engine: Engine) -> OodResult:
    """Top-1 errors of `model` on every image of `test` under every corruption and severity."""
    model.eval()
    forward = engine.inference(model)
    labels = torch.from_numpy(test.labels.copy()).to(engine.device)
    wrong = torch.zeros(len(CONDITIONS), dtype=torch.int64, device=engine.device)
    hashers = [hashlib.sha256() for _ in CONDITIONS]
    side = 0
    settings = protocol.evaluation
    for condition, rows, images in corrupted_batches(test, settings.resize_short_side, settings.center_crop):
        place, side = CONDITIONS.index(condition), images.shape[-1]
        hashers[place].update(images)
        logits = forward(normalised(torch.from_numpy(images).to(engine.device), protocol, None))
        wrong[place] += (logits.argmax(dim=1) != labels[rows]).sum()
    shares = [100 * count / len(test) for count in wrong.tolist()]
    return OodResult(
        corruptions=VERSION,
        image_side=side,
        images=len(test),
        images_sha256=hashlib.sha256(b"".join(hasher.digest() for hasher in hashers)).hexdigest(),
        errors={name: tuple(shares[CONDITIONS.index((name, severity))] for severity in SEVERITIES) for name in CORRUPTIONS},
    )
