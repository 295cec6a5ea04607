"""What a distillation method is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from harness.datasets.base import Split
from harness.distill.patches import Patches
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.distill.observer import Observer


@dataclass(frozen=True)
class Source:
    """What is distilled, and by whose help: `Distiller.needs` says which of it must be there.

    Attributes:
        split: the training split.
        observer: a pinned teacher of that dataset.
        cad: CAD-Prune scores (methods F.11), float [N], higher is picked first.
        on_class: told (classes done, classes in all) by the methods that take minutes.
        recall: whether those may take from the cache what the observer said before, so that an interrupted one goes on.
    """

    split: Split
    observer: Observer | None = None
    cad: np.ndarray | None = None
    on_class: Callable[[int, int], None] | None = None
    recall: bool = False


@dataclass(frozen=True)
class DistilledSet:
    """Exactly IPC images of every class.

    Attributes:
        images: a uint8 array [N, 3, R, R], or a sequence of uint8 [3, R, R] that are made as they are asked for.
        labels: int64 [N].
        patch_shuffle: f of stitched images (methods A.6), which the submission declares; 1 means none.
        patches: where the pieces come from, for methods that cut real images.
    """

    images: Sequence[np.ndarray] | np.ndarray
    labels: np.ndarray
    patch_shuffle: int = 1
    patches: Patches | None = None


@dataclass(frozen=True)
class Distiller:
    """One way to distil a training split.

    Attributes:
        name, title, notes: as in a submission; the notes name the paper.
        make: (source, ipc, draw, **parameters) -> DistilledSet; the same arguments give the same set.
        needs: which of `observer` and `cad` the source must hold.
        parameters: name -> default, whole numbers; None stands for what `make` says.
        version: of its code, 1 or more, for the record; raised when it gives other sets for the same source.
    """

    name: str
    title: str
    notes: str
    make: Callable[..., DistilledSet] = field(repr=False)
    needs: tuple[str, ...] = ()
    parameters: Mapping[str, int | None] = field(default_factory=dict)
    version: int = 1

    def run(self, source: Source, ipc: int, draw: int = 0, **parameters: int | str | None) -> DistilledSet:
        """Exactly `ipc` images of each class. Raises UsageError for a lacking need, an unfit parameter, and too few images."""
        if lacking := [need for need in self.needs if getattr(source, need) is None]:
            raise UsageError(f"{self.name} needs {' and '.join(lacking)}, and none was given", fix="see `hlbench distill --help`")
        if ipc < 1:
            raise UsageError(f"IPC is {ipc}", why="a set has at least one image of each class", fix="choose --ipc 1 or more")
        return self.make(source, ipc, draw, **self.settle(parameters))

    def settle(self, parameters: Mapping[str, int | str | None]) -> dict[str, int | None]:
        """All parameters, given (a number, or its text) or default. Raises UsageError for an unknown name and another value."""
        settled = dict(self.parameters)
        for name, value in parameters.items():
            if name not in settled:
                known = ", ".join(settled)
                raise UsageError(
                    f"{self.name} has no parameter {name!r}", fix=f"choose from: {known}" if known else "leave it out"
                )
            if value is None and settled[name] is not None:
                raise UsageError(f"parameter {name} of {self.name} is needed", fix="give a whole number, or leave it out")
            settled[name] = None if value is None else _whole(self.name, name, value)
        return settled


def _whole(method: str, name: str, value: int | str) -> int:
    try:
        if isinstance(value, bool | float):
            raise ValueError
        return int(value)
    except (TypeError, ValueError):
        raise UsageError(f"parameter {name} of {method} cannot be {value!r}", fix="give a whole number") from None
