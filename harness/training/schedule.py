"""Learning rate at a point of the run (methods A.2, A.3)."""

from __future__ import annotations

import math

from harness.protocol_models import CosineSchedule
from harness.protocols import Protocol


def learning_rate(protocol: Protocol, epoch: int, step: int, steps_per_epoch: int, epochs: int) -> float:
    """Rate of 0-based `step` of 0-based `epoch`."""
    schedule, base = protocol.schedule, protocol.optimizer.lr
    if not isinstance(schedule, CosineSchedule):
        return base * schedule.factor if epoch >= schedule.decay_after_epochs else base
    # Position in epochs; with per-epoch stepping it is the same for all steps of an epoch.
    position = epoch + (step / steps_per_epoch if schedule.stepping == "iteration" else 0)
    if position < schedule.warmup_epochs:
        return base * (schedule.warmup_start + (1 - schedule.warmup_start) * position / schedule.warmup_epochs)
    share = (position - schedule.warmup_epochs) / (epochs - schedule.warmup_epochs)
    return schedule.final_lr + (base - schedule.final_lr) * (1 + math.cos(math.pi * share)) / 2
