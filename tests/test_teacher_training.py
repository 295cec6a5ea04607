"""Teachers trained and measured again: what `hlbench teacher train` writes, and what `hlbench teacher verify` finds out."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
from command_line import caller
from PIL import Image
from teacher_checkout import DIGITS, ROOT, alter_card, as_pictures_of, make_teacher_checkout, slices_for, small

from harness import hub, teachers
from harness.canonical import sha256_hex
from harness.cli_teachers import epoch_line, teachers_train
from harness.datasets import DATASETS, DatasetSpec, load_split
from harness.errors import CheckFailed, EnvironmentProblem, UsageError
from harness.protocols import find_protocol
from harness.teachers import CARD, RECIPE, WEIGHTS, read_card
from harness.training.train_teacher import train_teacher
from harness.training.verify_teacher import verify_teacher, verify_teachers

CIFAR = ["cifar10/convnet-d3", "cifar100/convnet-d3"]
AWAITING_DATA = ["tiny-imagenet/convnet-d4", "tiny-imagenet/convnet-d4-bn", *CIFAR]
MEASURED = [known for known in teachers.teacher_ids(ROOT) if known.startswith("digits/")]
MLP = {"architecture": "mlp", "stem": "none", "norm": "none", "depth": 2, "width": 128, "parameters": 411146}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A checkout in which the command is started."""
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path / "cache"))
    root = make_teacher_checkout(tmp_path)
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def hlbench(root, monkeypatch, capsys):
    """Runs `hlbench teacher ARGUMENTS`; returns (exit code, standard output, standard error)."""
    return caller(monkeypatch, capsys, "teacher")


# Training


@pytest.mark.parametrize("teacher_id", AWAITING_DATA)
def test_the_recipes_that_await_data_train_on_a_small_slice_and_their_cards_verify(root, teacher_id, monkeypatch):
    recipe = small(teacher_id)
    slices = {name: as_pictures_of(recipe, load_split("digits", name), 40) for name in ("train", "test")}
    folder = root / "teachers" / teacher_id
    shutil.copy(ROOT / "teachers" / teacher_id / RECIPE, folder)
    for trained in (CARD, WEIGHTS):
        (folder / trained).unlink(missing_ok=True)
    card = train_teacher(recipe, slices["train"], slices["test"], folder, "cpu")
    assert (folder / WEIGHTS).stat().st_size == card.weights.bytes < 5_000_000
    assert read_card(root, teacher_id) == card
    monkeypatch.setattr("harness.training.verify_teacher.load_split", lambda dataset, split, data: slices[split])
    assert verify_teacher(root, teacher_id, "cpu")["sha256"] == card.weights.sha256[:12]
    with pytest.raises(UsageError, match="there is a teacher already"):
        train_teacher(recipe, slices["train"], slices["test"], folder, "cpu")


def cifar_folder(data: Path, spec: DatasetSpec) -> None:
    """`spec`'s rows in the Hub's layout: 32 px PNGs of enlarged digits, whose labels go through all classes."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    for split, files, count in (("train", spec.train_files, spec.train_rows), ("test", spec.test_files, spec.test_rows)):
        pictures = load_split("digits", split).images[:count].repeat(4, axis=2).repeat(4, axis=3)
        rows = []
        for picture in pictures:
            buffer = io.BytesIO()
            Image.fromarray(picture.transpose(1, 2, 0)).save(buffer, "PNG")
            rows.append({"bytes": buffer.getvalue(), "path": None})
        path = data / spec.name / files.replace("*", "00000-of-00001")
        path.parent.mkdir(parents=True, exist_ok=True)
        labels = pa.array(np.arange(count) % spec.classes)
        pq.write_table(pa.table({spec.image_column: pa.array(rows, kind), spec.label_column: labels}), path)


@pytest.mark.parametrize("teacher_id", CIFAR)
def test_the_command_trains_a_cifar_teacher_from_parquet_files_and_never_writes_over_it(root, tmp_path, teacher_id, monkeypatch):
    name = teacher_id.partition("/")[0]
    monkeypatch.setitem(DATASETS, name, replace(DATASETS[name], train_rows=120, test_rows=100))
    cifar_folder(tmp_path / "data", DATASETS[name])
    monkeypatch.setattr(teachers, "read_recipe", lambda root, known: small(known, epochs=1))
    teachers_train(teacher_id, device="cpu", data=tmp_path / "data")
    card = read_card(root, teacher_id)
    weights = (root / "teachers" / teacher_id / WEIGHTS).read_bytes()
    assert (card.weights.bytes, card.weights.sha256) == (len(weights), sha256_hex(weights))
    assert card.recipe == f"{RECIPE} {small(teacher_id).sha256}"
    assert (card.dataset.name, card.student) == (name, small(teacher_id).student)
    splits = {split: load_split(name, split, tmp_path / "data") for split in ("train", "test")}
    assert (card.fingerprints.train, card.fingerprints.test) == (splits["train"].fingerprint, splits["test"].fingerprint)
    assert sum(tensor.numel() for tensor in safetensors.torch.load(weights).values()) == card.student.parameters
    row = verify_teacher(root, teacher_id, "cpu", tmp_path / "data")
    assert float(row["test_top1"]) == pytest.approx(card.accuracy.test_top1, abs=0.2)
    with pytest.raises(UsageError, match="there is a teacher already"):
        teachers_train(teacher_id, device="cpu", data=tmp_path / "data")
    assert (root / "teachers" / teacher_id / WEIGHTS).read_bytes() == weights


def test_a_recipe_trained_twice_gives_the_same_bytes(root, tmp_path):
    recipe = small(DIGITS, epochs=1)
    slices = slices_for(recipe)
    cards = [train_teacher(recipe, *slices, tmp_path / name, "cpu").model_copy(update={"made": None}) for name in ("a", "b")]
    assert cards[0] == cards[1]


def test_a_teacher_that_diverges_is_not_written(root, tmp_path):
    recipe = small(DIGITS)
    recipe = recipe.model_copy(update={"optimizer": recipe.optimizer.model_copy(update={"lr": 1e30})})
    with pytest.raises(CheckFailed, match="diverged"):
        train_teacher(recipe, *slices_for(recipe), tmp_path / "teacher", "cpu")
    assert not (tmp_path / "teacher").exists()


def test_a_teacher_too_large_for_the_project_is_refused_before_it_is_trained(root, tmp_path):
    recipe = small(DIGITS).model_copy(update={"student": find_protocol(ROOT, "digits/resnet18-hl/v1").student})
    with pytest.raises(CheckFailed, match="too large") as caught:
        train_teacher(recipe, *slices_for(recipe), tmp_path / "teacher", "cpu", lambda state: pytest.fail("trained"))
    assert "44,726,568 bytes" in caught.value.why
    assert not (tmp_path / "teacher").exists()


def test_weights_that_somebody_left_without_a_card_are_not_written_over(root, tmp_path):
    recipe = small(DIGITS)
    (tmp_path / WEIGHTS).write_bytes(b"precious")
    with pytest.raises(UsageError, match="without a card"):
        train_teacher(recipe, *slices_for(recipe), tmp_path, "cpu")
    assert (tmp_path / WEIGHTS).read_bytes() == b"precious"


def test_teacher_train_refuses_to_touch_a_pinned_teacher(root, hlbench):
    before = (root / "teachers" / DIGITS / WEIGHTS).read_bytes()
    code, _, told = hlbench("train", DIGITS)
    assert code == 2
    assert "there is a teacher already" in told
    assert (root / "teachers" / DIGITS / WEIGHTS).read_bytes() == before


def test_every_epoch_is_told_with_its_loss_its_seconds_and_the_expected_end():
    line = epoch_line("digits/mlp", 3, 10, 0.43216, 600.0, datetime(2026, 11, 25, 23, 30))
    assert line == "digits/mlp: epoch 3/10, loss 0.4322, 10 min, the last one ends about Thu 00:40"
    assert epoch_line("digits/mlp", 10, 10, 0.1, 5.0, datetime(2026, 11, 25)) == "digits/mlp: epoch 10/10, loss 0.1000, 5 s"


# Verifying


@pytest.mark.parametrize("teacher_id", MEASURED)
def test_a_shipped_digits_teacher_is_small_and_measures_what_its_card_says(teacher_id):
    row, card = verify_teacher(ROOT, teacher_id, "cpu"), read_card(ROOT, teacher_id)
    assert float(row["test_top1"]) == pytest.approx(card.accuracy.test_top1, abs=0.2)
    assert float(row["train_top1"]) == pytest.approx(card.accuracy.train_top1, abs=0.2)
    assert (ROOT / "teachers" / teacher_id / WEIGHTS).stat().st_size < 5_000_000


def spoil(root: Path, damage: str) -> None:
    folder = root / "teachers" / DIGITS
    stored = (folder / WEIGHTS).read_bytes()
    bytes_of = {
        "one bit": stored[:-1] + bytes([stored[-1] ^ 1]),
        "cut short": stored[: len(stored) // 2],
        "longer": stored + stored,
        "no safetensors, and pinned": b"\x80\x04K\x01.",
        "other tensors, and pinned": safetensors.torch.save({"weight": safetensors.torch.load(stored)["0.weight"]}),
    }
    if damage == "missing":
        (folder / WEIGHTS).unlink()
    elif damage in bytes_of:
        (folder / WEIGHTS).write_bytes(bytes_of[damage])
    if damage.endswith("and pinned"):
        spoilt = bytes_of[damage]
        alter_card(root, DIGITS, weights={"sha256": sha256_hex(spoilt), "bytes": len(spoilt)})
    if damage == "another architecture":
        alter_card(root, DIGITS, student=MLP)
    if damage == "another size":
        alter_card(root, DIGITS, student={"width": 32})
    if damage == "another recipe":
        recipe = (folder / RECIPE).read_text()
        (folder / RECIPE).write_text(recipe.replace("value: 0.9,", "value: 0.8,", 1))
    if damage == "no recipe":
        (folder / RECIPE).unlink()


@pytest.mark.parametrize(
    ("damage", "code", "told"),
    [
        ("one bit", 1, "not the pinned ones"),
        ("cut short", 1, "the file has 173060"),
        ("longer", 1, "the card says 346,120 bytes, the file has more"),
        ("no safetensors, and pinned", 1, "do not fit its network"),
        ("other tensors, and pinned", 1, "tensors that one side lacks"),
        ("missing", 3, "cannot read a teacher's weights"),
        ("another architecture", 1, "do not fit its network"),
        ("another size", 1, "the built network has"),
        ("another recipe", 1, "was trained by another recipe"),
        ("no recipe", 2, "no recipe for a teacher"),
    ],
)
def test_teacher_verify_refuses_what_is_not_as_the_card_says(root, hlbench, damage, code, told):
    spoil(root, damage)
    found, shown, text = hlbench("verify", DIGITS, "--device", "cpu", "--json")
    assert (found, json.loads(shown)) == (code, [])
    assert told in text
    assert "where:" in text
    assert "Traceback" not in text


def test_an_enormous_file_in_place_of_the_weights_is_not_read_whole(root):
    path = root / "teachers" / DIGITS / WEIGHTS
    with path.open("r+b") as file:
        file.truncate(1 << 42)  # takes no space on the disk, and would not fit into memory
    rows, errors = verify_teachers(root, [DIGITS], "cpu")
    assert rows == []
    assert "has more" in errors[0].why


def test_a_card_that_boasts_is_found_out(root):
    alter_card(root, DIGITS, accuracy={"test_top1": 99.9})
    with pytest.raises(CheckFailed, match="does not measure"):
        verify_teacher(root, DIGITS, "cpu")


def test_a_card_measured_on_other_data_is_found_out(root):
    alter_card(root, DIGITS, fingerprints={"test": "0" * 64})
    with pytest.raises(CheckFailed, match="the test split is not the one"):
        verify_teacher(root, DIGITS, "cpu")


def test_one_bad_teacher_does_not_hide_the_others(root, monkeypatch):
    offline = EnvironmentProblem("offline")
    monkeypatch.setattr(hub, "fetch_file", lambda *_: (_ for _ in ()).throw(offline))
    for known in AWAITING_DATA:
        (root / "teachers" / known / CARD).unlink(missing_ok=True)
    rows, errors = verify_teachers(root, None, "cpu")
    assert [row["id"] for row in rows] == MEASURED
    assert errors == [offline]


def test_teacher_verify_prints_what_it_measured(hlbench):
    code, shown, _ = hlbench("verify", DIGITS, "--device", "cpu")
    assert code == 0
    assert DIGITS in shown
    assert "98.44" in shown


def test_verifying_a_teacher_nobody_knows_says_how_to_get_one(hlbench):
    code, _, told = hlbench("verify", "digits/nobody")
    assert code == 3
    assert "has no weights yet" in told


# Listing


def test_the_list_shows_what_each_teacher_is_and_which_await_training(hlbench):
    code, shown, _ = hlbench("list", "--json")
    rows = {row["id"]: row for row in json.loads(shown)}
    assert code == 0
    assert rows[DIGITS]["state"] == "measured"
    assert rows[DIGITS]["sha256"] == read_card(ROOT, DIGITS).weights.sha256
    assert rows["imagenet-1k/resnet18"]["state"] == "published"
    assert "teacher train" in rows["cifar10/convnet-d3"]["state"]
    assert rows["cifar10/convnet-d3"]["sha256"] is None
    assert len({tuple(row) for row in rows.values()}) == 1  # every row has the same keys


def test_the_listed_table_has_every_teacher(hlbench):
    shown = hlbench("list")[1]
    assert all(known in shown for known in teachers.teacher_ids(ROOT))
