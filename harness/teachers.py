"""Teachers: pinned weights that give a student its soft labels. Torch-free; `training/teacher.py` builds the network.

`teachers/<dataset>/<name>/` holds `recipe.yaml` (how it was trained: a protocol under hard labels, on the whole training
split) and, once it was trained, `teacher.yaml` (the card: what it is, where its weights lie, their sha256, what it measures)
beside `weights.safetensors`. Weights too large for the project lie on the Hub at a pinned commit. A teacher never changes:
protocols name its weights by sha256, and another training is another teacher.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, model_validator

from harness.canonical import sha256_hex
from harness.errors import EnvironmentProblem, ProtocolError, UsageError
from harness.protocol_models import TEACHER_ID, Count, Dataset, Evaluation, HardLabels, Input, Numerics, Student
from harness.protocols import Protocol, awaits_teacher, read_protocol
from harness.strict_yaml import StrictModel, as_tuples, load_yaml, parse_model
from harness.whole_files import write_in_one_step

CARD, RECIPE, WEIGHTS = "teacher.yaml", "recipe.yaml", "weights.safetensors"
MOST_BYTES = 5_000_000  # of weights that lie in the project

TeacherId = Annotated[str, Field(pattern=TEACHER_ID)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Percent = Annotated[float, Field(ge=0, le=100)]


class TeacherRecipe(Protocol):
    """How a teacher is trained: as a protocol trains a student under hard labels, but on the whole training split, one seed."""

    id: TeacherId
    labels: HardLabels
    seeds: Annotated[tuple[int, ...], Field(min_length=1, max_length=1)]

    @model_validator(mode="after")
    def _id_names_the_regime(self):
        return self  # a teacher's id has no regime


class Weights(StrictModel):
    """A safetensors file beside the card, or in a Hub model repo at a commit. `sha256` of the file's bytes."""

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*\.safetensors$")]
    bytes: Count
    sha256: Sha256
    repo: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")] | None = None
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None

    @model_validator(mode="after")
    def _repo_at_a_commit(self):
        if (self.repo is None) != (self.revision is None):
            raise ValueError("weights on the Hub have both repo and revision; weights in the project have neither")
        if self.repo is None and self.bytes > MOST_BYTES:
            raise ValueError(f"weights in the project have at most {MOST_BYTES:,} bytes; larger ones lie on the Hub")
        return self

    @property
    def described(self) -> str:
        return f"{self.repo}@{self.revision[:12]}: {self.file}" if self.repo else self.file


class Accuracy(StrictModel):
    """Top-1 in percent on the whole splits, un-augmented. `published`: as its makers state it, not measured by this project."""

    source: Literal["measured", "published"]
    train_top1: Percent | None
    test_top1: Percent


class Fingerprints(StrictModel):
    """Of the real splits that the teacher was trained and measured on; None where this project did neither."""

    train: Sha256 | None
    test: Sha256 | None


class Made(StrictModel):
    """On what the weights were trained. All of it but the time moves rounding, so that another machine gets another teacher.

    `processor` names the CPU or the GPU; `seconds` are those of training, without the pauses between sittings; `code` is the
    commit (`-dirty` where what decides had been changed since), several where training went on at a later one.
    """

    torch: str
    device: str
    processor: str
    threads: Count
    compiled: bool
    seconds: Annotated[float, Field(ge=0)]
    code: Annotated[tuple[Annotated[str, Field(pattern=r"^([0-9a-f]{40}(-dirty)?|unknown)$")], ...], Field(min_length=1)]


class TeacherCard(StrictModel):
    """What a pinned teacher is. Sections named as in a protocol mean what they mean there; `student` is the teacher's network."""

    schema_version: Literal[1] = Field(alias="schema")
    id: TeacherId
    title: str
    notes: str = ""
    dataset: Dataset
    input: Input
    student: Student
    evaluation: Evaluation
    numerics: Numerics
    recipe: str  # `recipe.yaml <sha256 of its canonical JSON>`, or where the recipe is published
    weights: Weights
    accuracy: Accuracy
    fingerprints: Fingerprints
    made: Made | None = None  # None: somebody else's weights, or trained before cards said it


@dataclass(frozen=True)
class PinnedTeacher:
    """A card and the bytes of its weights, which hash to what the card says."""

    card: TeacherCard
    weights: bytes


def teacher_ids(root: Path) -> list[str]:
    """Ids of every teacher of the checkout at `root` that has a card or a recipe, sorted."""
    folder = root / "teachers"
    found = {path.parent.relative_to(folder).as_posix() for name in (CARD, RECIPE) for path in folder.glob(f"*/*/{name}")}
    return sorted(found)


def read_recipe(root: Path, teacher_id: str) -> TeacherRecipe:
    """How `teacher_id` is trained. Raises UsageError when it has no recipe, ProtocolError when that is malformed or misplaced."""
    path = root / "teachers" / teacher_id / RECIPE
    known = [known for known in teacher_ids(root) if (root / "teachers" / known / RECIPE).is_file()]
    if teacher_id not in known:
        raise UsageError(f"no recipe for a teacher {teacher_id!r}", where=str(path), fix=f"choose one of: {', '.join(known)}")
    recipe = read_protocol(path, TeacherRecipe)
    _check_place(recipe.id, teacher_id, path)
    return recipe


def read_card(root: Path, teacher_id: str) -> TeacherCard:
    """Raises EnvironmentProblem when the teacher has no weights yet, ProtocolError when its card is malformed or misplaced."""
    path = root / "teachers" / teacher_id / CARD
    if teacher_id not in teacher_ids(root) or not path.is_file():
        raise EnvironmentProblem(
            f"teacher {teacher_id} has no weights yet", where=str(path), why="it has no card",
            fix=f"train it: hlbench teacher train {teacher_id}",
        )  # fmt: skip
    card = parse_model(TeacherCard, as_tuples(load_yaml(path, ProtocolError)), str(path), ProtocolError)
    _check_place(card.id, teacher_id, path)
    return card


def summaries(root: Path) -> list[dict[str, str | float | None]]:
    """One row per teacher of the checkout at `root`, for `hlbench teacher list`; None where there are no weights yet."""
    rows = []
    for known in teacher_ids(root):
        card = read_card(root, known) if has_card(root, known) else None
        student = (card or read_recipe(root, known)).student
        rows.append({
            "id": known,
            "network": student.architecture,
            "parameters": student.parameters,
            "weights": card and card.weights.described,
            "sha256": card and card.weights.sha256,
            "top1": card and card.accuracy.test_top1,
            "state": card.accuracy.source if card else "recipe only: hlbench teacher train",
        })  # fmt: skip
    return rows


def has_card(root: Path, teacher_id: str) -> bool:
    return (root / "teachers" / teacher_id / CARD).is_file()


def find_teacher(root: Path, protocol: Protocol) -> PinnedTeacher | None:
    """The teacher a protocol's labels name, its bytes checked; None under hard labels.

    Raises EnvironmentProblem (no weights yet, or the Hub is out of reach) and ProtocolError (other weights than the protocol was
    frozen with, altered bytes, another dataset or input than the student's).
    """
    labels = protocol.labels
    if isinstance(labels, HardLabels):
        return None
    check_teacher_exists(protocol)
    card = read_card(root, labels.teacher)
    wrong = [name for name in ("dataset", "input") if getattr(card, name) != getattr(protocol, name)]
    if card.weights.sha256 != labels.teacher_sha256:
        wrong.append("weights.sha256")
    if wrong:
        raise ProtocolError(
            f"teacher {card.id} is not the one this protocol was written for",
            where=f"{protocol.id}: labels.teacher",
            why=f"the card's {', '.join(wrong)} differ from the protocol's",
            fix="restore the teacher from version control; a new teacher gets a new name, and a protocol that names it is a v2",
        )
    return PinnedTeacher(card, read_weights(root, card))


def check_teacher_exists(protocol: Protocol) -> None:
    """Raises EnvironmentProblem when the protocol's soft labels wait for a teacher that nobody has trained yet."""
    if awaits_teacher(protocol):
        raise EnvironmentProblem(
            f"teacher {protocol.labels.teacher} has no weights yet",
            where=f"{protocol.id}: labels.teacher_sha256",
            why="the protocol is complete but for the weights that give its labels",
            fix=f"hlbench teacher train {protocol.labels.teacher}, write the card's sha256 there, then hlbench protocols freeze",
        )


def read_weights(root: Path, card: TeacherCard) -> bytes:
    """The weights' bytes, hashed before anything parses them. Raises ProtocolError on any other bytes, EnvironmentProblem."""
    weights = card.weights
    if weights.repo:
        from harness.hub import fetch_file  # weights in the project need no Hub client

        path = fetch_file(weights.repo, weights.revision, weights.file, weights.bytes)
    else:
        path = root / "teachers" / card.id / weights.file
    try:
        with path.open("rb") as file:
            found = file.read(weights.bytes + 1)
    except OSError as reason:
        raise EnvironmentProblem(
            "cannot read a teacher's weights", where=str(path), why=reason.strerror or str(reason), fix=_restore(card)
        ) from reason
    if sha256_hex(found) != weights.sha256:
        raise ProtocolError(
            f"the weights of teacher {card.id} are not the pinned ones",
            where=str(path),
            why=f"sha256 {sha256_hex(found)}, the card says {weights.sha256}"
            if len(found) == weights.bytes
            else f"the card says {weights.bytes:,} bytes, the file has {'more' if len(found) > weights.bytes else len(found)}",
            fix=_restore(card),
        )
    return found


def write_card(folder: Path, card: TeacherCard) -> None:
    """`teacher.yaml` in `folder`."""
    text = yaml.safe_dump(card.model_dump(mode="json", by_alias=True, exclude_none=False), sort_keys=False, width=120)
    write_in_one_step(folder / CARD, text.encode())


def _restore(card: TeacherCard) -> str:
    if card.weights.repo:
        return f"remove {card.weights.repo} from the Hub cache (HF_HOME) and run the command again"
    return "restore them from version control"


def _check_place(found: str, expected: str, path: Path) -> None:
    if found != expected:
        raise ProtocolError("id and path disagree", where=f"{path}: id", why=f"file says {found!r}", fix=f"write id: {expected}")
