"""What a recording of training dynamics is: the scoring run it watches, the arrays it holds, how it is named and hashed.

The scoring run trains the student of a protocol on the whole training split with the protocol's schedule compressed to K
full-data epochs (methods F.0, F.11): the student's E epochs stay, and each shows K * N / E images instead of all N. Warm-up,
cosine and decay so keep their places in the run, and a K matched to an IPC gives the steps of a set of that IPC.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from harness import canonical
from harness.protocol_models import TEACHER_ID, Count
from harness.strict_yaml import StrictModel
from harness.submission_fields import Sha256
from harness.teachers import Made

PRESENTED_CORRECT, PRESENTED_WRONG, NOT_PRESENTED = 1, 0, 255
LONGEST_DISTANCE = 1.4143  # sqrt(2) and float32's rounding: no two distributions are farther apart


@dataclass(frozen=True)
class ArrayForm:
    """`dtype` as numpy writes it (`<f4`); every number lies in `lowest`..`highest`."""

    dtype: str
    shape: tuple[int, ...]
    lowest: float = -math.inf
    highest: float = math.inf

    @property
    def bytes(self) -> int:
        return int(self.dtype[2:]) * math.prod(self.shape)


class ScoringRun(StrictModel):
    """Everything the arrays follow from, but for the machine's rounding.

    Attributes:
        rows, classes, features: N and C of the split; F, the inputs of the student's last linear layer.
        ipc: the set size whose entries of the protocol (epochs, batch size) the run uses; None: that of the whole split.
        epochs: K in full-data epochs, as asked for; matched to `ipc` it is E * IPC * C / N.
        recipe_epochs, images_per_epoch, batch_size: the student's E epochs, the images each shows, and those of a batch.
        snapshots: evenly spaced over the run; the last is its end.
        teacher, teacher_sha256, temperatures: of the EL2N-SL arrays; None and () when there are none.
    """

    schema_version: Literal[1] = Field(alias="schema", default=1)
    dataset: str
    split_fingerprint: Sha256
    rows: Count
    classes: Count
    features: Count
    protocol: str
    protocol_sha256: Sha256
    regime: Literal["hl", "sl"]
    ipc: Count | None
    epochs: Annotated[float, Field(gt=0)]
    recipe_epochs: Count
    images_per_epoch: Count
    batch_size: Count
    snapshots: Count
    seed: Annotated[int, Field(ge=0)]
    teacher: Annotated[str, Field(pattern=TEACHER_ID)] | None = None
    teacher_sha256: Sha256 | None = None
    temperatures: tuple[Annotated[float, Field(gt=0)], ...] = ()

    @property
    def recipe_ipc(self) -> int:
        """The IPC whose entries of the protocol apply."""
        return self.ipc or max(1, self.rows // self.classes)

    @property
    def images_seen(self) -> int:
        return self.recipe_epochs * self.images_per_epoch

    @property
    def passes(self) -> int:
        """Passes over the split that the run begins, the last of them in part unless K is whole."""
        return -(-self.images_seen // self.rows)

    @property
    def snapshot_epochs(self) -> tuple[int, ...]:
        """After how many of the E epochs each snapshot is taken."""
        return tuple(number * self.recipe_epochs // self.snapshots for number in range(1, self.snapshots + 1))

    @property
    def arrays(self) -> dict[str, ArrayForm]:
        """File name -> form."""
        by_snapshot = (self.snapshots, self.rows)
        return {
            "true_probability.npy": ArrayForm("<f4", by_snapshot, 0, 1.000001),
            "el2n.npy": ArrayForm("<f4", by_snapshot, 0, LONGEST_DISTANCE),
            "correct.npy": ArrayForm("|u1", by_snapshot, 0, 1),
            "presented.npy": ArrayForm("|u1", (self.passes, self.rows)),
            "probabilities.npy": ArrayForm("<f2", (self.rows, self.classes), 0, 1),
            "features.npy": ArrayForm("<f2", (self.rows, self.features)),
            **{el2n_sl_file(kept): ArrayForm("<f4", by_snapshot, 0, LONGEST_DISTANCE) for kept in self.temperatures},
        }

    @property
    def bytes(self) -> int:
        """Of all arrays together, without the files' headers."""
        return sum(form.bytes for form in self.arrays.values())


class DynamicsSpec(ScoringRun):
    """`spec.json`. `files`: sha256 of every array file; `made`: the machine, the code and the time that it took."""

    files: dict[str, Sha256]
    made: Made

    @property
    def run(self) -> ScoringRun:
        return ScoringRun(**self.model_dump(by_alias=True, include=set(ScoringRun.model_fields)))

    @property
    def sha256(self) -> str:
        """64 hex digits naming run and arrays, whatever machine recorded them."""
        return canonical.digest(self.model_dump(mode="json", by_alias=True, exclude={"made"}))


def el2n_sl_file(temperature: float) -> str:
    return f"el2n_sl_t{temperature:g}.npy"
