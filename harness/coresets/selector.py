"""What a selector is to the rest of the harness: its name, what it needs, its parameters, and how it is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.coresets.by_class import class_rows
from harness.datasets.base import Split
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.dynamics.artifact import Dynamics

Value = float | int | str | None


@dataclass(frozen=True)
class Source:
    """What rows are selected from: the training split, and the dynamics of a scoring run on it where a selector needs them."""

    split: Split
    dynamics: Dynamics | None = None

    @property
    def labels(self) -> np.ndarray:
        """int64 [N]."""
        return self.split.labels


@dataclass(frozen=True)
class Parameter:
    """A number or word that changes what is selected.

    Attributes:
        default: its value when nobody names one; None stands for what `source` says.
        type: int, float or str.
        origin: `paper`, `official-code` or `inferred`.
        source: where the default comes from, or why it was chosen.
        choices: the only accepted words, or () when every value of the type is (the method itself checks ranges).
        derived: (source, all parameters) -> the value that a default of None stands for.
    """

    default: Value
    type: type
    origin: Literal["paper", "official-code", "inferred"]
    source: str
    choices: tuple[str, ...] = ()
    derived: Callable[[Source, Mapping[str, Value]], Value] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Selector:
    """One way to choose a coreset.

    Attributes:
        name, title, notes: as in a submission; the notes name the paper.
        choose: (source, ipc, draw, **parameters) -> int64 rows [classes * ipc], class by class, best first.
        settings: name -> Parameter.
        needs: `nothing` beyond the labels, `pixels`, or the training `dynamics`.
        reads: what it looks at of a recording beside the labels: names of arrays, in which `{name}` is a parameter's value.
        randomised: whether another draw selects other rows.
        version: of its code, 1 or more, for the record; raised when it selects other rows from the same source.
    """

    name: str
    title: str
    notes: str
    choose: Callable[..., np.ndarray] = field(repr=False)
    settings: Mapping[str, Parameter] = field(default_factory=dict)
    needs: Literal["nothing", "pixels", "dynamics"] = "dynamics"
    randomised: bool = False
    version: int = 1
    reads: tuple[str, ...] = ()

    @property
    def parameters(self) -> dict[str, Value]:
        """Name -> default."""
        return {name: setting.default for name, setting in self.settings.items()}

    def run(self, source: Source, ipc: int, draw: int = 0, **parameters: Value) -> np.ndarray:
        """int64 rows [classes * ipc] of the training split, exactly `ipc` of each class, class by class, best first.

        Raises UsageError for an unknown or unfit parameter, an IPC below 1 or above the smallest class, and missing or
        foreign dynamics.
        """
        settled = self.settle(parameters)
        if ipc < 1:
            raise UsageError(f"IPC is {ipc}", why="a coreset has at least one image of each class", fix="choose --ipc 1 or more")
        class_rows(source.labels, ipc, source.split.dataset)
        if self.needs == "dynamics":
            self._check_dynamics(source)
        return self.choose(source, ipc, draw, **self.used(source, settled))

    def __call__(self, split: Split, ipc: int, draw: int) -> np.ndarray:
        """As `run`, with the defaults and without dynamics."""
        return self.run(Source(split), ipc, draw)

    def settle(self, parameters: Mapping[str, Value]) -> dict[str, Value]:
        """All parameters of a selection, given or default, in their own types; texts (`"0.3"`) are read as the type says.

        Raises UsageError for a name that is none of them, and for a value of another type.
        """
        if unknown := [name for name in parameters if name not in self.settings]:
            known = ", ".join(self.settings)
            raise UsageError(
                f"{self.name} has no parameter {unknown[0]!r}", fix=f"choose from: {known}" if known else "leave it out"
            )
        given = {name: _typed(self.name, name, value, self.settings[name]) for name, value in parameters.items()}
        return {**self.parameters, **given}

    def used(self, source: Source, parameters: Mapping[str, Value]) -> dict[str, Value]:
        """As `settle`, and in the place of a None the value that it stands for on this source."""
        settled = self.settle(parameters)
        for name, setting in self.settings.items():
            if settled[name] is None and setting.derived is not None:
                settled[name] = setting.derived(source, settled)
        return settled

    def files(self, settled: Mapping[str, Value]) -> list[str]:
        """Names of the files of a recording that are read with these parameters, all of which are given."""
        return [f"{name.format(**settled)}.npy" for name in self.reads]

    def _check_dynamics(self, source: Source) -> None:
        if source.dynamics is None:
            raise UsageError(
                f"{self.name} selects by the dynamics of a training run, and none were given",
                fix="record a scoring run on this dataset (hlbench dynamics record), and name its folder",
            )
        if not np.array_equal(source.dynamics.labels, source.labels):
            raise UsageError(
                f"the training dynamics do not belong to this split of {source.split.dataset}",
                where=str(source.dynamics.folder),
                why=f"{len(source.dynamics.labels):,} rows or their classes differ from the split's {len(source.labels):,}",
                fix="name the dynamics of a scoring run on this dataset (hlbench dynamics list)",
            )


def _typed(selector: str, name: str, value: Value, setting: Parameter) -> Value:
    """`value` as the parameter's type; a whole number passes for a float, nothing else is converted but text."""
    if value is None and setting.default is None:
        return None
    try:
        if isinstance(value, bool) or not isinstance(value, (str, setting.type, int)):
            raise ValueError(f"{value!r} is a {type(value).__name__}")
        typed = setting.type(value)
        if setting.type is float and not np.isfinite(typed):
            raise ValueError("it is not finite")
    except ValueError as reason:
        raise UsageError(
            f"parameter {name} of {selector} cannot be {value!r}", why=str(reason), fix=f"give a {setting.type.__name__}"
        ) from None
    if setting.choices and typed not in setting.choices:
        raise UsageError(f"parameter {name} of {selector} cannot be {value!r}", fix=f"choose from: {', '.join(setting.choices)}")
    return typed
