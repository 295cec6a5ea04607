"""SL's labels: the teacher's logits of every un-augmented image of a set, computed once and kept by (teacher, set).

`cache_root()/labels/<teacher sha256>/<set sha256>.safetensors` holds `logits` and, in its header, their sha256. A file
that is not what was written is computed again.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from harness.canonical import sha256_hex
from harness.imageset import ImageSet
from harness.paths import cache_root
from harness.teachers import PinnedTeacher
from harness.training.engine import Engine
from harness.training.teacher import build_teacher
from harness.training.views import evaluation_views
from harness.whole_files import write_in_one_step


def image_logits(teacher: PinnedTeacher, image_set: ImageSet, engine: Engine) -> Tensor:
    """float32 [N, classes] on the engine's device, in the set's order."""
    path = cache_root() / "labels" / teacher.card.weights.sha256 / f"{image_set.sha256}.safetensors"
    shape = (len(image_set), teacher.card.dataset.classes)
    logits = read_logits(path, shape)
    if logits is None:
        logits = compute_logits(teacher, image_set, engine).cpu()
        write_logits(path, logits)
    return logits.to(engine.device)


@torch.no_grad()
def compute_logits(teacher: PinnedTeacher, image_set: ImageSet, engine: Engine) -> Tensor:
    """float32 [N, classes]. Without autocast, whatever the student's precision: the labels belong to set and teacher alone."""
    exact = replace(engine, precision="fp32", compiled=False)
    forward = exact.inference(build_teacher(teacher, exact))
    views = evaluation_views(image_set, teacher.card, engine.device)
    return torch.cat([forward(images) for images, _ in views])


def read_logits(path: Path, shape: tuple[int, int]) -> Tensor | None:
    """The logits stored at `path`; None when there are none, or not the ones that were written."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            stated = (file.metadata() or {}).get("logits_sha256")
        logits = load_file(path)["logits"]
    except (OSError, safetensors.SafetensorError, KeyError):
        return None
    intact = logits.dtype == torch.float32 and tuple(logits.shape) == shape and _sha256(logits) == stated
    return logits if intact else None


def write_logits(path: Path, logits: Tensor) -> None:
    write_in_one_step(path, save({"logits": logits.contiguous()}, metadata={"logits_sha256": _sha256(logits)}))


def _sha256(logits: Tensor) -> str:
    return sha256_hex(logits.contiguous().numpy().tobytes())
