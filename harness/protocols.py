"""Frozen protocol files: every degree of freedom that moves a student's accuracy, each with its provenance.

`protocols/<dataset>/<student>-<regime>/v<N>.yaml` holds leaves of the form `{value: 0.01, from: paper, why: "Table 4"}`.
A protocol's identity is its id and the sha256 of the canonical JSON of the parsed file, so a comment may change and a value
(or its provenance) may not. Code reads plain values: `protocol.optimizer.lr`.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, model_validator

from harness import canonical
from harness.errors import ProtocolError, UsageError
from harness.protocol_models import (
    AdamW,
    CosineSchedule,
    CropFlip,
    Dataset,
    Dsa,
    Evaluation,
    HardLabels,
    Input,
    Numerics,
    Sgd,
    SoftLabels,
    StepSchedule,
    Student,
    Training,
)
from harness.strict_yaml import StrictModel, as_tuples, load_yaml, parse_model

PROVENANCES = ("paper", "official-code", "inferred")
Regime = Literal["hl", "sl", "sl-kd"]
POOL = "dcs-pool"  # the folder of a dataset's pool of subsets (harness/dcs/pool.py), which lies among its protocols
PLAIN_KEYS = ("schema", "id", "title", "notes")  # described, not sourced: they move no number


class Protocol(StrictModel):
    """One student recipe under one label regime on one dataset. `sha256` and `provenance` come from the file it was read from."""

    schema_version: Literal[1] = Field(alias="schema")
    id: Annotated[str, Field(pattern=r"^[a-z0-9-]+/[a-z0-9-]+-(hl|sl|sl-kd)/v[1-9][0-9]*$")]
    title: str
    notes: str = ""
    dataset: Dataset
    input: Input
    student: Student
    labels: Annotated[HardLabels | SoftLabels, Field(discriminator="regime")]
    optimizer: Annotated[Sgd | AdamW, Field(discriminator="name")]
    schedule: Annotated[StepSchedule | CosineSchedule, Field(discriminator="name")]
    training: Training
    augmentation: Annotated[Dsa | CropFlip, Field(discriminator="name")]
    evaluation: Evaluation
    numerics: Numerics
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]
    sha256: str = Field(default="", exclude=True)
    provenance: dict[str, tuple[str, str]] = Field(default_factory=dict, exclude=True)

    @model_validator(mode="after")
    def _id_names_the_regime(self):
        if not self.id.split("/")[1].endswith(f"-{self.labels.regime}"):
            raise ValueError(f"id {self.id} does not name the regime of its labels, {self.labels.regime}")
        return self

    @property
    def regime(self) -> Regime:
        return self.labels.regime

    @property
    def student_name(self) -> str:
        """`convnet-d4` of `tiny-imagenet/convnet-d4-hl/v1`."""
        return self.id.split("/")[1].removesuffix(f"-{self.regime}")

    @property
    def record_folder(self) -> str:
        """`convnet-d4-hl-v1`, the folder of this protocol's records below a submission's (design, "Files on disk")."""
        return "-".join(self.id.split("/")[1:])

    def epochs(self, ipc: int) -> int:
        return _entry_for(self.training.epochs, ipc)

    def batch_size(self, ipc: int, set_size: int) -> int:
        listed = _entry_for(self.training.batch_size, ipc)
        return min(listed, set_size) if self.training.cap_batch_at_set_size else listed


ProtocolT = TypeVar("ProtocolT", bound=Protocol)


def _entry_for(table: dict[int, int], ipc: int) -> int:
    return table[max(listed for listed in table if listed <= ipc)]


def read_protocol(path: Path, model: type[ProtocolT] = Protocol) -> ProtocolT:
    """Parse one protocol file, or a teacher's recipe. Raises ProtocolError naming file, key and the valid keys."""
    raw = load_yaml(path, ProtocolError)
    values, provenance = _split_provenance(raw, str(path))
    protocol = parse_model(model, values, str(path), ProtocolError)
    return protocol.model_copy(update={"sha256": canonical.digest(raw), "provenance": provenance})


def awaits_teacher(protocol: Protocol) -> bool:
    """Whether the protocol's labels come from a teacher that has no weights yet, so that it can be neither frozen nor run."""
    return isinstance(protocol.labels, SoftLabels) and protocol.labels.teacher_sha256 == "pending"


def find_protocol(root: Path, protocol_id: str) -> Protocol:
    """The protocol `protocol_id` of the checkout at `root`. Raises UsageError listing the known ids when there is none."""
    path = root / "protocols" / f"{protocol_id}.yaml"
    if is_pool(protocol_id):
        raise UsageError(f"{protocol_id} is a pool of subsets, not a protocol", fix="see it with hlbench pool show")
    known = protocol_ids(root)
    if protocol_id not in known:
        raise UsageError(f"no protocol {protocol_id!r}", where=str(path), fix=f"choose one of: {', '.join(known)}")
    protocol = read_protocol(path)
    if protocol.id != protocol_id:
        raise ProtocolError(
            "id and path disagree", where=f"{path}: id", why=f"file says {protocol.id!r}", fix=f"write id: {protocol_id}"
        )
    return protocol


def protocol_ids(root: Path) -> list[str]:
    """Ids of every protocol file below `root/protocols`, sorted."""
    folder = root / "protocols"
    found = (path.relative_to(folder).with_suffix("").as_posix() for path in folder.glob("*/*/v*.yaml"))
    return sorted(name for name in found if not is_pool(name))


def is_pool(name: str) -> bool:
    """Whether an id below protocols/ is that of a pool of subsets: `digits/dcs-pool/v1`, `<dataset>/dcs-pool-<student>/v1`."""
    return f"{PurePosixPath(name).parent.name}-".startswith(f"{POOL}-")


def _split_provenance(raw: dict[str, Any], where: str) -> tuple[dict[str, Any], dict[str, tuple[str, str]]]:
    """(`raw` with every `{value, from, why}` leaf replaced by its value, {dotted key: (from, why)}). Raises ProtocolError."""
    provenance: dict[str, tuple[str, str]] = {}

    def strip(node: Any, key: str) -> Any:
        if isinstance(node, dict) and "value" in node:
            malformed = set(node) - {"value", "from", "why"} or _is_section(node["value"])
            if (
                malformed
                or node.get("from") not in PROVENANCES
                or not isinstance(node.get("why"), str)
                or not node["why"].strip()
            ):
                raise ProtocolError(
                    "a leaf is not well formed",
                    where=f"{where}: {key}",
                    why=f"found keys {sorted(node)} and from: {node.get('from')!r}",
                    fix=f"write {{value: ..., from: {'|'.join(PROVENANCES)}, why: 'where the value comes from'}}",
                )
            provenance[key] = (node["from"], node["why"])
            return as_tuples(node["value"])
        if isinstance(node, dict):
            return {name: strip(child, f"{key}.{name}") for name, child in node.items()}
        raise ProtocolError(
            "a value has no provenance",
            where=f"{where}: {key}",
            why=f"found the bare value {node!r}",
            fix=f"write {{value: {node!r}, from: {'|'.join(PROVENANCES)}, why: 'where the value comes from'}}",
        )

    values = {name: node if name in PLAIN_KEYS else strip(node, name) for name, node in raw.items()}
    return values, provenance


def _is_section(value: Any) -> bool:
    """Whether a leaf's value holds named values, each of which needs a provenance of its own (tables by IPC: integer keys)."""
    return isinstance(value, dict) and any(isinstance(key, str) for key in value)
