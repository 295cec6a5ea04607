"""What `hlbench run --ood` adds to a unit: the student's error on corrupted test images, in a file beside its record.

A record is never rewritten, so this is a file of its own, `ood/draw<k>-seed<s>.json` below the record's folder, written once and
tied to the record by its sha256. Weights are not kept: the student is trained again, and must have the record's very numbers.
Nothing here imports torch, numpy or scipy.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Annotated, Literal

from pydantic import Field, model_validator

from harness.errors import EnvironmentProblem, RecordError
from harness.records import Percent, Record, UnitInfo, read_sealed, require_place, write_sealed
from harness.strict_yaml import StrictModel, as_tuples, parse_model
from harness.submission_fields import Sha256

# The names of harness/datasets/corruptions, whose import costs a second that a reader of records need not spend.
CORRUPTION_NAMES = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow", "frost",
    "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip
FOLDER = "ood"

FiveErrors = Annotated[tuple[Percent, ...], Field(min_length=5, max_length=5)]


class OodResult(StrictModel):
    """Top-1 errors in percent of one student on the whole test split, per corruption at severities 1 to 5.

    `corruptions`: version of harness/datasets/corruptions; errors of different versions are not comparable. `image_side`: side in
    pixels at which images were corrupted. `images_sha256`: of all 75 corrupted splits, so that machines can be compared.
    """

    corruptions: int
    image_side: int
    images: int
    images_sha256: Sha256
    errors: dict[str, FiveErrors]

    @model_validator(mode="after")
    def _all_are_there(self):
        if set(self.errors) != set(CORRUPTION_NAMES):
            missing, foreign = set(CORRUPTION_NAMES) - set(self.errors), set(self.errors) - set(CORRUPTION_NAMES)
            raise ValueError(f"errors: missing {sorted(missing)}, unknown {sorted(foreign)}")
        return self

    @property
    def by_severity(self) -> tuple[float, ...]:
        """Mean over the 15 corruptions, for severities 1 to 5."""
        return tuple(fmean(errors[place] for errors in self.errors.values()) for place in range(5))

    @property
    def by_corruption(self) -> dict[str, float]:
        """Mean over the five severities."""
        return {name: fmean(self.errors[name]) for name in CORRUPTION_NAMES}

    @property
    def mean(self) -> float:
        """Over all 75 (methods E.4)."""
        return fmean(self.by_severity)


class OodRecord(StrictModel):
    """`record_sha256`: of the record this belongs to. `seconds`: of the corrupted evaluation alone."""

    schema_version: Literal[1] = Field(alias="schema", default=1)
    unit: UnitInfo
    record_sha256: Sha256
    test_fingerprint: Sha256
    result: OodResult
    seconds: float
    finished_at: str
    environment: dict[str, str | int | bool | None]
    engine: dict[str, str | int | bool | None]
    sha256: str = ""


def ood_path(record: Path) -> Path:
    """`.../ood/draw0-seed0.json` for `.../draw0-seed0.json`; a level deeper than `records.read_records` looks."""
    return record.parent / FOLDER / record.name


def write_ood_record(path: Path, record: Record, again: Record, result: OodResult, seconds: float) -> None:
    """Write the file of the record at `path`; `again` tells of the student that was measured, see `require_same_student`.

    Raises RecordError when there is one already.
    """
    described = OodRecord(
        unit=record.unit,
        record_sha256=record.sha256,
        test_fingerprint=again.data.test_fingerprint,
        result=result,
        seconds=seconds,
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        environment=again.environment,
        engine=again.engine,
    )
    write_sealed(ood_path(path), described)


def require_same_student(path: Path, record: Record, again: Record) -> None:
    """Raises EnvironmentProblem unless two records of one unit have the same images and results, to the last digit."""
    if _numbers(record) == _numbers(again):
        return
    keys = sorted({*record.environment, *again.environment})
    differing = [key for key in keys if record.environment.get(key) != again.environment.get(key)]
    raise EnvironmentProblem(
        "the student trained again is not the record's",
        where=str(path),
        why=f"{_described(record)} in the record, {_described(again)} now; "
        f"the two environments differ in: {', '.join(differing) or 'nothing'}",
        fix="run --ood where the record was made (its `environment` says where), or with --results in a folder of its own",
    )


def read_ood_record(path: Path) -> OodRecord:
    """Parse and check one. Raises RecordError when it is not JSON, not such a record, altered, or in another unit's place."""
    found = parse_model(OodRecord, as_tuples(read_sealed(path)), str(path), RecordError)
    require_place(path, found.unit)
    return found


def ood_record_of(path: Path, record: Record) -> OodRecord | None:
    """The one that belongs to `record`, which lies at `path`; None when there is none.

    Raises RecordError when the file there is malformed or altered, or belongs to another record.
    """
    place = ood_path(path)
    if not place.exists():
        return None
    found = read_ood_record(place)
    if found.record_sha256 != record.sha256:
        raise RecordError(
            "corrupted-image errors belong to another record",
            where=str(place),
            why=f"they name the record {found.record_sha256[:12]}, the one beside them is {record.sha256[:12]}",
            fix="restore that record from version control, or delete this file and run --ood again",
        )
    return found


def read_ood_records(records: Iterable[tuple[Path, Record]]) -> dict[str, OodRecord]:
    """By unit id, for those of `records` (as `records.read_records` returns them) that have one. Raises RecordError."""
    found = {record.unit.id: ood_record_of(path, record) for path, record in records}
    return {unit: ood for unit, ood in found.items() if ood is not None}


def _numbers(record: Record) -> tuple:
    images = record.data and (record.data.set_sha256, record.data.test_fingerprint)
    return record.status, record.result, images


def _described(record: Record) -> str:
    if record.result is None:
        return record.status
    return f"top-1 {record.result.top1} %, test loss {record.result.test_loss}"
