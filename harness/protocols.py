"""Frozen protocol files: every degree of freedom that moves a student's accuracy, each with its provenance.

`protocols/<dataset>/<student>-<regime>/v<N>.yaml` holds leaves of the form `{value: 0.01, from: paper, why: "Table 4"}`.
A protocol's identity is its id and the sha256 of the canonical JSON of the parsed file, so a comment may change and a value
(or its provenance) may not. Code reads plain values: `protocol.optimizer.lr`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from harness import canonical
from harness.errors import ProtocolError, UsageError
from harness.strict_yaml import StrictModel, load_yaml, parse_model

PROVENANCES = ("paper", "official-code", "inferred")
Regime = Literal["hl", "sl", "sl-kd"]
PLAIN_KEYS = ("schema", "id", "title", "notes")  # described, not sourced: they move no number

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
ByIpc = Annotated[dict[Count, Count], Field(min_length=1)]


class Dataset(StrictModel):
    """The real data behind the set: test split of every student, train split that coreset rows point into."""

    name: str
    repo: str
    revision: str
    classes: Count
    train_images: Count
    test_images: Count


class Input(StrictModel):
    """What reaches the student's first layer. `resolution` is the side in pixels of the training view."""

    resolution: Count
    resize: Literal["none", "bilinear"]
    normalization: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Student(StrictModel):
    """`parameters` is asserted when the network is built."""

    architecture: Literal["convnet", "resnet18", "resnet50", "resnet101", "mlp"]
    stem: Literal["none", "imagenet", "small"]
    norm: Literal["none", "instance", "batch"]
    depth: Annotated[int, Field(ge=0)]
    width: Annotated[int, Field(ge=0)]
    init: Literal["torch-default", "torchvision-default"]
    parameters: Count

    @model_validator(mode="after")
    def _describes_a_network_that_exists(self):
        built = {
            "convnet": (self.depth >= 1, {"none"}, {"instance", "batch"}),
            "mlp": (self.depth == 2, {"none"}, {"none"}),
            "resnet18": (self.depth == 18 and self.width == 64, {"imagenet", "small"}, {"batch"}),
            "resnet50": (self.depth == 50 and self.width == 64, {"imagenet", "small"}, {"batch"}),
            "resnet101": (self.depth == 101 and self.width == 64, {"imagenet", "small"}, {"batch"}),
        }
        sized, stems, norms = built[self.architecture]
        if not sized or self.stem not in stems or self.norm not in norms:
            raise ValueError(f"no {self.architecture} is built with this depth, width, stem and norm")
        return self


class HardLabels(StrictModel):
    """Integer classes, cross-entropy."""

    regime: Literal["hl"]
    loss: Literal["cross-entropy"]
    label_smoothing: Fraction


class Sgd(StrictModel):
    name: Literal["sgd"]
    lr: Positive
    momentum: Fraction
    nesterov: bool
    weight_decay: Annotated[float, Field(ge=0)]
    decayed_parameters: Literal["all", "matrices"]


class AdamW(StrictModel):
    name: Literal["adamw"]
    lr: Positive
    betas: tuple[Fraction, Fraction]
    eps: Positive
    weight_decay: Annotated[float, Field(ge=0)]
    decayed_parameters: Literal["all", "matrices"]


class StepSchedule(StrictModel):
    """The learning rate is multiplied by `factor` once, after `decay_after_epochs` epochs have been completed."""

    name: Literal["step"]
    decay_after_epochs: Count
    factor: Positive
    reset_momentum: bool


class CosineSchedule(StrictModel):
    """Half-period cosine from lr to `final_lr`; linear warm-up from `warmup_start` x lr over `warmup_epochs` before it."""

    name: Literal["cosine"]
    stepping: Literal["iteration", "epoch"]
    final_lr: Annotated[float, Field(ge=0)]
    warmup_epochs: Annotated[int, Field(ge=0)]
    warmup_start: Fraction


class Training(StrictModel):
    """`epochs` and `batch_size` by IPC: an unlisted IPC takes the entry of the largest listed IPC below it."""

    epochs: ByIpc
    batch_size: ByIpc
    cap_batch_at_set_size: bool
    order: Literal["reshuffled-each-epoch"]
    drop_last: Literal[False]

    @model_validator(mode="after")
    def _smallest_ipc_listed(self):
        for table in (self.epochs, self.batch_size):
            if 1 not in table:
                raise ValueError("epochs and batch_size need an entry for IPC 1, which smaller listed IPCs fall back to")
        return self


class Dsa(StrictModel):
    """Differentiable Siamese augmentation, methods C."""

    name: Literal["dsa"]
    strategy: tuple[Literal["color", "crop", "cutout", "flip", "scale", "rotate"], ...]
    mode: Literal["one-op-per-batch"]
    brightness: float
    saturation: float
    contrast: float
    crop_pad: Fraction
    cutout: Fraction
    flip: Fraction
    scale: Positive
    rotate_degrees: float
    align_corners: bool


class CropFlip(StrictModel):
    """Random resized crop and horizontal flip. Sets with patch_shuffle f > 1 are shuffled, then cropped with scale (1/f, 1)."""

    name: Literal["random-resized-crop-flip"]
    scale: tuple[Fraction, Fraction]
    ratio: tuple[Positive, Positive]
    interpolation: Literal["bilinear"]
    antialias: Literal[True]
    flip: Fraction
    patch_shuffle_scale: Literal["one-over-factor"]


class Evaluation(StrictModel):
    """How the test split is seen. Nothing is chosen on it: the last epoch is the one that is measured."""

    resize_short_side: Annotated[int, Field(ge=0)]  # 0: images keep their size
    center_crop: Annotated[int, Field(ge=0)]  # 0: no crop
    interpolation: Literal["none", "bilinear"]
    epoch: Literal["last"]
    test_time_augmentation: Literal["none"]


class Numerics(StrictModel):
    """`precision` holds for training and for the forward passes of the measurement; loss and accuracy are taken in float32."""

    precision: Literal["fp32", "bf16-autocast"]
    tf32: bool
    world_size: Literal[1]


class Protocol(StrictModel):
    """One student recipe under one label regime on one dataset. `sha256` and `provenance` come from the file it was read from."""

    schema_version: Literal[1] = Field(alias="schema")
    id: Annotated[str, Field(pattern=r"^[a-z0-9-]+/[a-z0-9-]+-(hl|sl|sl-kd)/v[1-9][0-9]*$")]
    title: str
    notes: str = ""
    dataset: Dataset
    input: Input
    student: Student
    labels: HardLabels
    optimizer: Annotated[Sgd | AdamW, Field(discriminator="name")]
    schedule: Annotated[StepSchedule | CosineSchedule, Field(discriminator="name")]
    training: Training
    augmentation: Annotated[Dsa | CropFlip, Field(discriminator="name")]
    evaluation: Evaluation
    numerics: Numerics
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]
    sha256: str = Field(default="", exclude=True)
    provenance: dict[str, tuple[str, str]] = Field(default_factory=dict, exclude=True)

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


def _entry_for(table: dict[int, int], ipc: int) -> int:
    return table[max(listed for listed in table if listed <= ipc)]


def read_protocol(path: Path) -> Protocol:
    """Parse one protocol file. Raises ProtocolError naming file, key and the valid keys."""
    raw = load_yaml(path, ProtocolError)
    values, provenance = _split_provenance(raw, str(path))
    protocol = parse_model(Protocol, values, str(path), ProtocolError)
    return protocol.model_copy(update={"sha256": canonical.digest(raw), "provenance": provenance})


def find_protocol(root: Path, protocol_id: str) -> Protocol:
    """The protocol `protocol_id` of the checkout at `root`. Raises UsageError listing the known ids when there is none."""
    path = root / "protocols" / f"{protocol_id}.yaml"
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
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.glob("*/*/v*.yaml"))


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
            return _tuples(node["value"])
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


def _tuples(value: Any) -> Any:
    """YAML lists as the tuples the strict models hold."""
    return tuple(_tuples(part) for part in value) if isinstance(value, list) else value
