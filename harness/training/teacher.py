"""A pinned teacher as a network that never changes: its bytes parsed, its weights frozen, in evaluation mode."""

from __future__ import annotations

import safetensors
import safetensors.torch
from torch import nn

from harness.errors import ProtocolError
from harness.teachers import PinnedTeacher
from harness.training.engine import Engine
from harness.training.students import build_network

UNUSED = "num_batches_tracked"  # a counter of batch norm that some files leave out


def build_teacher(teacher: PinnedTeacher, engine: Engine) -> nn.Module:
    """The network on the engine's device. Takes float images [B, 3, R, R] normalised as its card says, returns logits.

    ImageNet's weights have the names torchvision's ResNet-18 gives them. Raises ProtocolError when the tensors do not fit.
    """
    card = teacher.card
    model = build_network(card.student, card.dataset.classes, card.input.resolution, f"teachers/{card.id}")
    try:
        missing, unexpected = model.load_state_dict(safetensors.torch.load(teacher.weights), strict=False)
    except (safetensors.SafetensorError, RuntimeError) as reason:
        raise _misfit(teacher, str(reason)) from reason
    if wrong := [name for name in (*missing, *unexpected) if not name.endswith(UNUSED)]:
        raise _misfit(teacher, f"tensors that one side lacks: {', '.join(wrong[:5])}")
    return engine.place(model.requires_grad_(False).eval())


def _misfit(teacher: PinnedTeacher, why: str) -> ProtocolError:
    return ProtocolError(
        f"the weights of teacher {teacher.card.id} do not fit its network",
        where=teacher.card.weights.described,
        why=why,
        fix="mend the card's student section",
    )
