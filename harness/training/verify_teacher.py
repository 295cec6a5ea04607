"""Pinned teachers, checked: their bytes hashed, their network built, their accuracy measured again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.datasets import Split, load_split
from harness.errors import CheckFailed, HlbenchError, ProtocolError
from harness.teachers import CARD, RECIPE, PinnedTeacher, TeacherCard, read_card, read_recipe, read_weights, teacher_ids
from harness.training.engine import make_deterministic
from harness.training.teacher import build_teacher
from harness.training.train_teacher import exact_engine, top1

TOLERANCE = 0.2  # points of top-1 by which another machine's rounding, or another decoder's, may move a teacher's accuracy


def verify_teachers(
    root: Path, ids: list[str] | None, device: str, data: Path | None = None
) -> tuple[list[dict[str, Any]], list[HlbenchError]]:
    """(one row for each teacher that is as its card says, the errors of the others). `ids` None: every teacher with a card."""
    rows, errors = [], []
    for teacher_id in ids or [known for known in teacher_ids(root) if (root / "teachers" / known / CARD).is_file()]:
        try:
            rows.append(verify_teacher(root, teacher_id, device, data))
        except HlbenchError as error:
            errors.append(error)
    return rows, errors


def verify_teacher(root: Path, teacher_id: str, device: str, data: Path | None = None) -> dict[str, Any]:
    """What was found. Raises ProtocolError, CheckFailed and EnvironmentProblem (weights or data are out of reach)."""
    card = read_card(root, teacher_id)
    check_recipe(root, card)
    teacher = PinnedTeacher(card, read_weights(root, card))
    measured = {
        split: measured_again(teacher, load_split(card.dataset.name, split, data), device) for split in stated_splits(card)
    }
    return {
        "id": card.id,
        "sha256": card.weights.sha256[:12],
        **{f"{split}_top1": f"{found:.2f}" for split, found in measured.items()},
    }


def measured_again(teacher: PinnedTeacher, split: Split, device: str) -> float:
    """Top-1 in percent on `split`. Raises CheckFailed when split or accuracy is not the card's, ProtocolError."""
    card = teacher.card
    fingerprint, stated = getattr(card.fingerprints, split.name), getattr(card.accuracy, f"{split.name}_top1")
    where = f"teachers/{card.id}/{CARD}"
    if fingerprint not in (None, split.fingerprint):
        raise CheckFailed(
            f"the {split.name} split is not the one this teacher was measured on",
            where=f"{where}: fingerprints.{split.name}",
            why=f"{split.fingerprint[:12]} here, {fingerprint[:12]} on the card",
            fix="restore the dataset's files; see hlbench doctor",
        )
    make_deterministic(card)
    engine = exact_engine(card, device)
    found = top1(build_teacher(teacher, engine), split, card, device)
    if abs(found - stated) > TOLERANCE:
        raise CheckFailed(
            f"teacher {card.id} does not measure what its card says",
            where=f"{where}: accuracy.{split.name}_top1",
            why=f"{found:.2f} % here, {stated:.2f} % on the card; more than {TOLERANCE} apart",
            fix="restore the card and the weights from version control",
        )
    return found


def stated_splits(card: TeacherCard) -> list[str]:
    return ["train", "test"] if card.accuracy.train_top1 is not None else ["test"]


def check_recipe(root: Path, card: TeacherCard) -> None:
    """Raises ProtocolError when the card was made from another recipe than the one beside it."""
    if not card.recipe.startswith(RECIPE):
        return
    found = read_recipe(root, card.id).sha256
    if card.recipe != f"{RECIPE} {found}":
        raise ProtocolError(
            f"teacher {card.id} was trained by another recipe",
            where=f"teachers/{card.id}/{RECIPE}",
            why=f"sha256 {found[:12]} of its values, the card says {card.recipe.removeprefix(RECIPE).strip()[:12]}",
            fix="restore it from version control; another recipe is another teacher",
        )
