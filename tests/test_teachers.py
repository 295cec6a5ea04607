"""Pinned teachers: cards, recipes and bytes; what was altered is refused, what is missing is named."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torchvision
import yaml

from harness import cli, hub, plan
from harness.canonical import sha256_hex
from harness.datasets import Split, load_split
from harness.errors import CheckFailed, EnvironmentProblem, ProtocolError, UsageError
from harness.freeze import freeze, verify
from harness.protocols import awaits_teacher, find_protocol, protocol_ids
from harness.teachers import (
    CARD,
    RECIPE,
    WEIGHTS,
    PinnedTeacher,
    find_teacher,
    read_card,
    read_recipe,
    read_weights,
    summaries,
    teacher_ids,
)
from harness.training.engine import Engine
from harness.training.schedule import learning_rate
from harness.training.seeding import generator_for
from harness.training.students import build_student
from harness.training.teacher import build_teacher
from harness.training.train_teacher import train_teacher
from harness.training.trainer import make_optimizer
from harness.training.verify_teacher import verify_teacher, verify_teachers

ROOT = Path(__file__).resolve().parent.parent
DIGITS = "digits/convnet-d3"
SL = "digits/resnet18-sl/v1"
PENDING = "cifar10/convnet-d3-sl/v1"
SOFT = [known for known in protocol_ids(ROOT) if "-sl" in known]


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A checkout with the shipped protocols, teachers and a submission, whose files a test may spoil."""
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path / "cache"))
    for name in ("protocols", "teachers"):
        shutil.copytree(ROOT / name, tmp_path / "checkout" / name)
    folder = tmp_path / "checkout" / "submissions" / "random"
    shutil.copytree(ROOT / "submissions" / "random" / "digits-ipc1", folder / "digits-ipc1")
    shutil.copy(ROOT / "submissions" / "random" / "digits-ipc1.yaml", folder)
    return tmp_path / "checkout"


def alter_card(root: Path, teacher_id: str, **sections) -> None:
    path = root / "teachers" / teacher_id / CARD
    card = yaml.safe_load(path.read_text())
    for name, values in sections.items():
        card[name] = {**card[name], **values} if isinstance(values, dict) else values
    path.write_text(yaml.safe_dump(card))


def small(teacher_id: str, epochs: int = 2):
    """The recipe, shortened to what a test has time for."""
    recipe = read_recipe(ROOT, teacher_id)
    return recipe.model_copy(update={"training": recipe.training.model_copy(update={"epochs": {1: epochs}})})


def as_pictures_of(recipe, split: Split, count: int) -> Split:
    """Real digits enlarged to the recipe's resolution, standing in for a slice of a dataset that has to be downloaded."""
    enlarged = torch.nn.functional.interpolate(torch.from_numpy(split.images[:count]), size=recipe.input.resolution)
    return replace(split, dataset=recipe.dataset.name, images=enlarged.numpy(), labels=split.labels[:count])


# Bytes


@pytest.mark.parametrize("damage", ["one bit", "one byte more", "one byte less", "empty", "another file"])
def test_altered_weights_are_refused_before_anything_parses_them(root, damage, monkeypatch):
    path = root / "teachers" / DIGITS / WEIGHTS
    stored = bytearray(path.read_bytes())
    if damage == "one bit":
        stored[len(stored) // 2] ^= 1
    spoilt = {
        "one byte more": bytes(stored) + b"\0",
        "one byte less": stored[:-1],
        "empty": b"",
        "another file": b"\x80\x04K\x01.",
    }
    path.write_bytes(spoilt.get(damage, stored))
    monkeypatch.setattr(safetensors.torch, "load", lambda *_: pytest.fail("parsed"))
    with pytest.raises(ProtocolError, match="not the pinned ones") as caught:
        find_teacher(root, find_protocol(root, SL))
    assert str(path) in str(caught.value)


def test_weights_that_vanished_are_the_machines_problem(root):
    (root / "teachers" / DIGITS / WEIGHTS).unlink()
    with pytest.raises(EnvironmentProblem, match="cannot read"):
        find_teacher(root, find_protocol(root, SL))


def test_card_and_weights_exchanged_together_do_not_pass_for_the_protocols_teacher(root):
    path = root / "teachers" / DIGITS / WEIGHTS
    state = safetensors.torch.load(path.read_bytes())
    forged = safetensors.torch.save({name: tensor * 1.01 for name, tensor in state.items()})
    path.write_bytes(forged)
    alter_card(root, DIGITS, weights={"sha256": sha256_hex(forged), "bytes": len(forged)})
    with pytest.raises(ProtocolError, match="not the one this protocol was written for"):
        find_teacher(root, find_protocol(root, SL))


@pytest.mark.parametrize("change", [{"input": {"resolution": 28}}, {"dataset": {"classes": 11}}], ids=["pixels", "classes"])
def test_a_teacher_for_other_pixels_or_classes_than_the_students_is_refused(root, change):
    alter_card(root, DIGITS, **change)
    with pytest.raises(ProtocolError, match="not the one this protocol was written for"):
        find_teacher(root, find_protocol(root, SL))


def test_a_hard_label_protocol_has_no_teacher(root):
    assert find_teacher(root, find_protocol(root, "digits/resnet18-hl/v1")) is None


# Teachers that do not exist yet


def test_a_protocol_whose_teacher_has_no_weights_says_so_wherever_it_is_used(root):
    protocol = find_protocol(root, PENDING)
    with pytest.raises(EnvironmentProblem, match="has no weights yet") as caught:
        find_teacher(root, protocol)
    assert "hlbench teacher train cifar10/convnet-d3" in caught.value.fix
    with pytest.raises(EnvironmentProblem, match="has no weights yet"):
        read_card(root, "cifar10/convnet-d3")
    with pytest.raises(EnvironmentProblem, match="has no weights yet"):
        plan.plan_units(root, [root / "submissions/random/digits-ipc1.yaml"], PENDING, "hl", None, root / "results")
    with pytest.raises(UsageError, match="not complete"):
        freeze(root, PENDING, "2026-11-21")
    assert not [problem for problem in verify(root) if PENDING in problem]


def test_an_unknown_teacher_is_answered_with_the_known_ones(root):
    with pytest.raises(UsageError) as caught:
        read_recipe(root, "../../etc")
    assert DIGITS in caught.value.fix


# Files


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"surprise": 1}, "surprise"),
        ({"weights": {"file": "../weights.safetensors"}}, "weights.file"),
        ({"weights": {"file": "weights.pt"}}, "weights.file"),
        ({"weights": {"sha256": "abc"}}, "weights.sha256"),
        ({"weights": {"repo": "some/repo"}}, "both repo and revision"),
        ({"accuracy": {"test_top1": 101.0}}, "accuracy.test_top1"),
        ({"id": "digits/other"}, "disagree"),
    ],
)
def test_a_mistake_in_a_card_is_told(root, sections, told):
    alter_card(root, DIGITS, **sections)
    with pytest.raises(ProtocolError) as caught:
        read_card(root, DIGITS)
    assert told in str(caught.value)


@pytest.mark.parametrize("protocol_id", SOFT)
def test_a_shipped_soft_protocol_names_a_teacher_of_its_pixels_that_can_be_loaded_or_trained(protocol_id):
    protocol = find_protocol(ROOT, protocol_id)
    labels = protocol.labels
    assert labels.teacher in teacher_ids(ROOT)
    described = read_recipe(ROOT, labels.teacher) if awaits_teacher(protocol) else read_card(ROOT, labels.teacher)
    assert (described.dataset, described.input) == (protocol.dataset, protocol.input)
    if not awaits_teacher(protocol):
        assert described.weights.sha256 == labels.teacher_sha256


@pytest.mark.parametrize("protocol_id", SOFT)
def test_a_soft_protocol_differs_from_the_hard_one_in_the_recipe_and_never_in_data_or_measurement(protocol_id):
    soft = find_protocol(ROOT, protocol_id)
    hard = find_protocol(ROOT, protocol_id.replace(f"-{soft.regime}/", "-hl/"))
    for section in ("dataset", "input", "student", "augmentation", "evaluation", "numerics", "seeds"):
        assert getattr(soft, section) == getattr(hard, section), section
    assert (soft.optimizer.name, soft.optimizer.lr, soft.schedule.name, soft.labels.temperature) == (
        "adamw",
        1e-3,
        "cosine",
        20.0,
    )
    assert (soft.labels.cutmix == "none") == (soft.regime == "sl")


def test_the_large_soft_recipe_is_table_4():
    for regime in ("sl", "sl-kd"):
        protocol = find_protocol(ROOT, f"imagenet-1k/resnet18-{regime}/v1")
        assert (protocol.epochs(10), protocol.batch_size(10, 10**4), protocol.batch_size(100, 10**5)) == (200, 128, 128)
        assert (protocol.schedule.warmup_epochs, protocol.schedule.warmup_start, protocol.schedule.stepping) == (5, 0.01, "epoch")
        assert (protocol.optimizer.weight_decay, protocol.optimizer.decayed_parameters) == (0.01, "matrices")
        assert {protocol.provenance[f"labels.{name}"][0] for name in ("loss", "temperature")} == {"paper"}


@pytest.mark.parametrize("protocol_id", [known for known in SOFT if known.startswith("imagenet-1k")])
def test_the_large_soft_rate_warms_up_from_a_hundredth_and_falls_to_zero_epoch_by_epoch(protocol_id):
    protocol = find_protocol(ROOT, protocol_id)
    rates = [learning_rate(protocol, epoch, step, 79, 200) for epoch in range(200) for step in (0, 78)]
    assert rates[::2] == rates[1::2]  # one rate an epoch
    assert rates[0] == pytest.approx(1e-5)
    assert rates[2 * 2] == pytest.approx(1e-3 * (0.01 + 0.99 * 2 / 5))
    assert rates[2 * 5] == max(rates) == pytest.approx(1e-3)
    assert rates[2 * 100] == pytest.approx(1e-3 * (1 + math.cos(math.pi * 95 / 195)) / 2)
    assert 0 < rates[-1] < 1e-7


@pytest.mark.parametrize("protocol_id", SOFT)
def test_a_small_soft_protocol_decays_all_weights_and_a_large_one_spares_biases_and_norms(protocol_id):
    protocol = find_protocol(ROOT, protocol_id)
    model = build_student(protocol, generator_for(0, "init"))
    groups = make_optimizer(model, protocol).param_groups
    assert groups[0]["weight_decay"] == 0.01
    spared = [parameter for group in groups[1:] for parameter in group["params"]]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim == 1]
    assert len(spared) == (len(vectors) if protocol_id.startswith("imagenet-1k") else 0)
    assert all(group["weight_decay"] == 0 for group in groups[1:])


def test_the_small_sl_kd_protocols_say_that_they_are_an_extension():
    for protocol_id in SOFT:
        if protocol_id.startswith("imagenet-1k") or "-sl-kd/" not in protocol_id:
            continue
        protocol = find_protocol(ROOT, protocol_id)
        assert "extension" in protocol.title
        assert "extension" in protocol.notes
        assert "paper" not in {
            protocol.provenance[f"labels.{name}"][0] for name in ("regime", "loss", "temperature", "label_view")
        }


@pytest.mark.parametrize("teacher_id", [known for known in teacher_ids(ROOT) if (ROOT / "teachers" / known / RECIPE).is_file()])
def test_every_value_of_a_teachers_recipe_has_a_provenance(teacher_id):
    recipe = read_recipe(ROOT, teacher_id)
    assert {word for word, _ in recipe.provenance.values()} <= {"paper", "official-code", "inferred"}
    assert recipe.labels.regime == "hl"


def test_teachers_are_read_without_torch():
    code = "import sys, harness.teachers; sys.exit('torch' in sys.modules or 'huggingface_hub' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


# ImageNet's teacher


def test_the_imagenet_teacher_is_fetched_at_its_pinned_commit_and_refused_on_other_bytes(root, tmp_path, monkeypatch):
    asked = []

    def fetch_files(repo, revision, patterns, repo_type):
        asked.append((repo, revision, tuple(patterns), repo_type))
        return tmp_path

    monkeypatch.setattr(hub, "fetch_files", fetch_files)
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 46_807_446)
    with pytest.raises(ProtocolError, match="not the pinned ones"):
        find_teacher(root, find_protocol(root, "imagenet-1k/resnet18-sl/v1"))
    pinned = ("timm/resnet18.tv_in1k", "bbd144b3e5565108aad885f145491d11bc6ce807", ("model.safetensors",), "model")
    assert asked == [pinned]


def test_a_file_with_torchvisions_tensor_names_becomes_the_imagenet_teacher(root, tmp_path, monkeypatch):
    reference = torchvision.models.resnet18(weights=None).eval()
    for counters in (True, False):  # some files leave out batch norm's counters
        state = {name: tensor for name, tensor in reference.state_dict().items() if counters or "num_batches" not in name}
        stored = safetensors.torch.save(state)
        (tmp_path / "model.safetensors").write_bytes(stored)
        monkeypatch.setattr(hub, "fetch_files", lambda *_, **__: tmp_path)
        alter_card(root, "imagenet-1k/resnet18", weights={"sha256": sha256_hex(stored), "bytes": len(stored)})
        card = read_card(root, "imagenet-1k/resnet18")
        model = build_teacher(PinnedTeacher(card, read_weights(root, card)), Engine("cpu", 0, False, False, 1, "fp32"))
        images = torch.rand(1, 3, 64, 64)
        with torch.no_grad():
            assert torch.equal(model(images), reference(images))


# Training and verifying


def test_the_shipped_digits_teacher_measures_what_its_card_says():
    row = verify_teacher(ROOT, DIGITS, "cpu")
    assert float(row["test_top1"]) == pytest.approx(read_card(ROOT, DIGITS).accuracy.test_top1, abs=0.2)


def test_the_shipped_digits_teacher_is_small_enough_for_the_project():
    assert (ROOT / "teachers" / DIGITS / WEIGHTS).stat().st_size < 5_000_000


def test_a_card_that_boasts_is_found_out(root):
    alter_card(root, DIGITS, accuracy={"test_top1": 99.9})
    with pytest.raises(CheckFailed, match="does not measure"):
        verify_teacher(root, DIGITS, "cpu")


def test_a_recipe_changed_after_training_is_found_out(root):
    path = root / "teachers" / DIGITS / RECIPE
    path.write_text(path.read_text().replace("value: 0.9,", "value: 0.8,", 1))
    with pytest.raises(ProtocolError, match="another recipe"):
        verify_teacher(root, DIGITS, "cpu")


def test_one_bad_teacher_does_not_hide_the_others(root, monkeypatch):
    offline = EnvironmentProblem("offline")
    monkeypatch.setattr(hub, "fetch_files", lambda *_, **__: (_ for _ in ()).throw(offline))
    rows, errors = verify_teachers(root, None, "cpu")
    assert [row["id"] for row in rows] == [DIGITS]
    assert errors == [offline]


@pytest.mark.parametrize("teacher_id", ["tiny-imagenet/convnet-d4", "cifar100/convnet-d3", "cifar10/convnet-d3"])
def test_the_recipes_that_await_data_train_on_a_small_slice_and_their_cards_verify(root, teacher_id, monkeypatch):
    recipe = small(teacher_id)
    slices = {name: as_pictures_of(recipe, load_split("digits", name), 40) for name in ("train", "test")}
    folder = root / "teachers" / teacher_id
    card = train_teacher(recipe, slices["train"], slices["test"], folder, "cpu")
    assert (folder / WEIGHTS).stat().st_size == card.weights.bytes < 5_000_000
    assert read_card(root, teacher_id) == card
    monkeypatch.setattr("harness.training.verify_teacher.load_split", lambda dataset, split, data: slices[split])
    assert verify_teacher(root, teacher_id, "cpu")["sha256"] == card.weights.sha256[:12]
    with pytest.raises(UsageError, match="there is a teacher already"):
        train_teacher(recipe, slices["train"], slices["test"], folder, "cpu")


def test_a_recipe_trained_twice_gives_the_same_bytes(tmp_path):
    recipe = small(DIGITS, epochs=1)
    slices = [as_pictures_of(recipe, load_split("digits", name), 60) for name in ("train", "test")]
    cards = [train_teacher(recipe, *slices, tmp_path / name, "cpu") for name in ("a", "b")]
    assert cards[0] == cards[1]


def test_a_teacher_that_diverges_is_not_written(tmp_path):
    recipe = small(DIGITS)
    recipe = recipe.model_copy(update={"optimizer": recipe.optimizer.model_copy(update={"lr": 1e30})})
    slices = [as_pictures_of(recipe, load_split("digits", name), 60) for name in ("train", "test")]
    with pytest.raises(CheckFailed, match="diverged"):
        train_teacher(recipe, *slices, tmp_path / "teacher", "cpu")
    assert not (tmp_path / "teacher").exists()


# The command


def test_the_list_shows_what_each_teacher_is_and_which_await_training():
    rows = {row["id"]: row for row in summaries(ROOT)}
    assert rows[DIGITS]["state"] == "measured"
    assert rows["imagenet-1k/resnet18"]["state"] == "published"
    assert "teacher train" in rows["cifar10/convnet-d3"]["state"]


def test_teacher_train_refuses_to_touch_a_pinned_teacher(root, monkeypatch, capsys):
    monkeypatch.chdir(root)
    before = (root / "teachers" / DIGITS / WEIGHTS).read_bytes()
    monkeypatch.setattr(sys, "argv", ["hlbench", "teacher", "train", DIGITS])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "there is a teacher already" in capsys.readouterr().err
    assert (root / "teachers" / DIGITS / WEIGHTS).read_bytes() == before


def test_teacher_verify_prints_what_it_measured(root, monkeypatch, capsys):
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "argv", ["hlbench", "teacher", "verify", DIGITS, "--device", "cpu"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert DIGITS in capsys.readouterr().out
