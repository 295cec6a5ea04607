"""One immutable JSON file per unit of work: everything a table cell must be traceable to (design; anchors 2.3)."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from harness import canonical
from harness.errors import RecordError
from harness.protocols import Protocol
from harness.strict_yaml import StrictModel, parse_model
from harness.submission_fields import Sha256
from harness.submissions import Submission

Percent = Annotated[float, Field(ge=0, le=100)]


class UnitInfo(StrictModel):
    """Which piece of work this is. `id` = sha256 of (submission digest, draw, protocol sha256, seed)."""

    id: Sha256
    slug: str
    submission_sha256: Sha256
    kind: Literal["distilled", "coreset", "full"]
    method: str
    dataset: str
    ipc: int
    draw: int
    protocol: str
    protocol_sha256: Sha256
    student: str
    regime: str
    seed: int

    @model_validator(mode="after")
    def _id_follows_from_parts(self):
        if self.id != unit_id(self.submission_sha256, self.draw, self.protocol_sha256, self.seed):
            raise ValueError("id is not the sha256 of (submission_sha256, draw, protocol_sha256, seed)")
        return self


class DataInfo(StrictModel):
    """The bytes that were used. `set_sha256` is ImageSet.sha256; fingerprints are those of the real splits."""

    set_source: str
    set_content_sha256: Sha256
    set_sha256: Sha256
    images: int
    patch_shuffle: int
    train_fingerprint: Sha256 | None
    test_fingerprint: Sha256
    audit: dict[str, int | float | str | bool] = Field(default_factory=dict)


class Result(StrictModel):
    """Last-epoch numbers on the whole test split: top-1 and top-5 in percent, mean cross-entropy in nats."""

    top1: Percent
    top5: Percent
    test_loss: float
    train_loss: float
    images_seen: int
    steps: int
    epochs: int


class CurvePoint(StrictModel):
    """Mean training loss of one epoch (0-based) and the learning rate of its last step. Test numbers are not taken on the way."""

    epoch: int
    train_loss: float | None
    lr: float


class Record(StrictModel):
    """The result of one unit. `status`: ok; diverged (loss or weights not finite: no result); failed (error, no result).

    `sha256` is that of the canonical JSON of all other keys, so an edited record is noticed when it is read.
    """

    schema_version: Literal[1] = Field(alias="schema", default=1)
    status: Literal["ok", "diverged", "failed"]
    unit: UnitInfo
    data: DataInfo | None
    result: Result | None
    curve: tuple[CurvePoint, ...] = ()
    error: str | None = None
    wall_seconds: float
    images_per_second: float | None
    finished_at: str
    environment: dict[str, str | int | bool | None]
    engine: dict[str, str | int | bool | None]
    sha256: str = ""

    @model_validator(mode="after")
    def _result_only_when_ok(self):
        if (self.status == "ok") != (self.result is not None):
            raise ValueError("status ok has a result; diverged and failed have none")
        return self


def unit_id(submission_sha256: str, draw: int, protocol_sha256: str, seed: int) -> str:
    """64 hex digits naming the smallest piece of work."""
    return canonical.digest([submission_sha256, draw, protocol_sha256, seed])


def record_path(results: Path, submission: Submission, protocol: Protocol, draw: int, seed: int) -> Path:
    """Where the record of a unit lies below `results` (`leaderboards/results`, or `runs/demo/results`)."""
    folder = results / submission.dataset / submission.slug / f"ipc{submission.ipc}" / protocol.record_folder
    return folder / f"draw{draw}-seed{seed}.json"


def write_record(path: Path, record: Record) -> None:
    """Write once: temporary file in the same folder, fsync, then a link that fails if the record already exists.

    Raises RecordError when a record is already there (records are never rewritten).
    """
    write_sealed(path, record)


def write_sealed(path: Path, model: StrictModel) -> None:
    """As `write_record`, for any model with a `sha256` over its other keys."""
    path.parent.mkdir(parents=True, exist_ok=True)
    contents = model.model_dump(mode="json", by_alias=True, exclude={"sha256"})
    contents["sha256"] = canonical.digest(contents)
    text = json.dumps(contents, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        os.link(temporary, path)
    except FileExistsError as reason:
        raise RecordError(
            "a record is never rewritten", where=str(path), why="it already exists", fix="delete it first if it must go"
        ) from reason
    finally:
        Path(temporary).unlink(missing_ok=True)


def read_record(path: Path) -> Record:
    """Parse and check one record. Raises RecordError when it is not JSON, not a record, altered, or in another unit's place."""
    raw = read_sealed(path)
    if isinstance(raw.get("curve"), list):
        raw["curve"] = tuple(raw["curve"])
    record = parse_model(Record, raw, str(path), RecordError)
    require_place(path, record.unit)
    return record


def read_sealed(path: Path) -> dict:
    """What `write_sealed` wrote. Raises RecordError when it cannot be read, is not JSON, or was altered."""
    try:
        raw = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except OSError as reason:
        raise RecordError("cannot read record", where=str(path), why=str(reason)) from reason
    except ValueError as reason:
        raise RecordError(
            "record is not valid JSON", where=str(path), why=str(reason), fix="delete it and run the unit again"
        ) from reason
    if not isinstance(raw, dict) or raw.get("sha256") != canonical.digest({key: raw[key] for key in raw if key != "sha256"}):
        raise RecordError(
            "record was altered after it was written",
            where=str(path),
            why="its sha256 does not fit its contents",
            fix="restore it from version control, or delete it and run the unit again",
        )
    return raw


def require_place(path: Path, unit: UnitInfo) -> None:
    """Raises RecordError when a file of `unit` lies in another unit's place."""
    expected = f"{unit.dataset}/{unit.slug}/ipc{unit.ipc}/"
    if expected not in path.as_posix() or path.name != f"draw{unit.draw}-seed{unit.seed}.json":
        raise RecordError(
            "record lies in another unit's place",
            where=str(path),
            why=f"it says {expected}...draw{unit.draw}-seed{unit.seed}",
        )


def read_records(results: Path) -> list[tuple[Path, Record]]:
    """Every record below `results`, sorted by path. Raises RecordError at the first bad one."""
    return [(path, read_record(path)) for path in sorted(results.glob("*/*/ipc*/*/draw*-seed*.json"))]


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number a record may hold")
