"""Recordings, checked: every file hashed, every number looked at; and, when asked, the scoring run trained again."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.dynamics.artifact import Dynamics, open_array
from harness.dynamics.spec import DynamicsSpec
from harness.errors import CheckFailed

if TYPE_CHECKING:
    from harness.dynamics.record import Report, Scoring


def verify_again(found: Dynamics, scoring: Scoring, report: Report = lambda progress: None) -> None:
    """Record `scoring`, the run of `found`, on this machine with as many threads, and compare every byte.

    Raises CheckFailed saying which arrays differ, by how much, and in what the machines do.
    """
    import torch

    from harness.dynamics.record import record_dynamics

    spec = found.spec
    if scoring.protocol.sha256 != spec.protocol_sha256:
        raise CheckFailed(
            "the protocol is not the one that was recorded", where=str(found.folder), why=f"{spec.protocol} has changed",
            fix="restore it from version control",
        )  # fmt: skip
    torch.set_num_threads(spec.made.threads)
    with tempfile.TemporaryDirectory(dir=found.folder.parent, prefix=".again-") as place:
        again = record_dynamics(scoring, Path(place) / "again", spec.made.device.split(":")[0], report)
        if differing := [name for name in spec.files if again.spec.files[name] != spec.files[name]]:
            raise CheckFailed(
                "the scoring run gives other dynamics here", where=str(found.folder),
                why="; ".join([*(_difference(name, found, again) for name in differing), _machines(spec, again.spec)]),
                fix="run it where it was recorded; on the same machine and code, record it again",
            )  # fmt: skip


def _difference(name: str, found: Dynamics, again: Dynamics) -> str:
    form = found.spec.arrays[name]
    before, now = (open_array(some.folder / name, form) for some in (found, again))
    largest = max(np.abs(a.astype(np.float64) - b).max() for a, b in zip(before, now, strict=True))
    return f"{name} differs by up to {largest:.3g}"


def _machines(then: DynamicsSpec, now: DynamicsSpec) -> str:
    before, here = (spec.made.model_dump(exclude={"seconds"}) for spec in (then, now))
    changed = [f"{name} was {before[name]}, is {here[name]}" for name in before if before[name] != here[name]]
    return "; ".join(changed) or "the same machine and code recorded it"
