"""What a distillation objective is here: a loss of a fixed set of real images, under the same random draws for every set.

Nothing is optimised (arXiv 2604.18811, section 4). The sets are subsets of the training split, given as row numbers; a row that
is named twice counts twice. Whatever an objective draws (networks, augmentations, batches of real images, start epochs) depends
on its settings and the number of the draw alone, never on the set, so that sets differ by their images only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness.canonical import digest
from harness.datasets.base import Split
from harness.teachers import PinnedTeacher, TeacherCard

Value = float | int | str | bool
Report = Callable[[int, int], None]  # (done, total) of whatever takes long


@dataclass(frozen=True)
class Scene:
    """What the sets of one pool are scored against.

    Attributes:
        train: the real training split; sets are rows of it, and it is the D of L(S, D).
        backbone: the card whose `student` and `input` sections describe the networks of random initialisation and of experts.
        teacher: a pinned network with batch norm, for the objectives that compare its statistics; None where there is none.
        observer: the pinned network that judges realism; None where there is none.
        experts: folder of expert trajectories (`hlbench teacher train --trajectories`); None where there is none.
        device: cpu or cuda:<i>.
        report: told how far it is.
        kept: folder where draws that are done lie, for the very same sets, scene and settings; None keeps none.
    """

    train: Split
    backbone: TeacherCard
    teacher: PinnedTeacher | None = None
    observer: PinnedTeacher | None = None
    experts: Path | None = None
    device: str = "cpu"
    report: Report = field(default=lambda done, total: None, compare=False)
    kept: Path | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Objective:
    """A loss by name.

    Attributes:
        name, title: `dm`, `Distribution matching`.
        source: section of the paper and public repository file that the formula and the settings come from.
        needs: what of the scene it uses beside the split: "teacher", "observer", "backbone", "experts".
        settings: what moves the loss, by name; part of its identity. A setting may differ by dataset, see `settings_for`.
        losses: float64 [sets, draws] of `sets` (int64 row numbers each), lower = what the method would call better.
            Raises EnvironmentProblem when the scene lacks what it needs.
        by_dataset: settings that differ for some dataset.
        version: raised when the code gives other numbers for the same settings.
        unmoved: the loss of a student that learned nothing from its set, where the loss is about one; greater losses say that
            training on the set leads away from the goal.
        together: whether scoring many sets in one call costs less than one by one, as where they share what an image gives.
    """

    name: str
    title: str
    source: str
    needs: tuple[str, ...]
    settings: Mapping[str, Value]
    losses: Callable[[Sequence[np.ndarray], Scene, Mapping[str, Value]], np.ndarray]
    by_dataset: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    version: int = 1
    together: bool = True
    unmoved: float | None = None

    def settings_for(self, dataset: str) -> dict[str, Value]:
        return {**self.settings, **self.by_dataset.get(dataset, {})}

    def identity(self, dataset: str, used: Mapping[str, str]) -> str:
        """sha256 (64 hex) over name, version, settings for the dataset and `used`: the hashes of what the scene supplies."""
        facts = {"objective": self.name, "version": self.version, "settings": self.settings_for(dataset), "used": dict(used)}
        return digest(facts)


@dataclass(frozen=True)
class NotExpressible:
    """A method whose loss is not a function of its set, and why (methods E.5)."""

    name: str
    title: str
    reason: str
