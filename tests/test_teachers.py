"""Pinned teachers: cards, recipes and bytes; what was altered is refused, what is missing is named."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import safetensors.torch
from teacher_checkout import DIGITS, ROOT, alter_card, make_teacher_checkout

from harness import plan
from harness.canonical import sha256_hex
from harness.errors import EnvironmentProblem, ProtocolError, UsageError
from harness.freeze import differences, freeze, verify
from harness.protocols import awaits_teacher, find_protocol, protocol_ids
from harness.teachers import RECIPE, WEIGHTS, find_teacher, read_card, read_recipe, teacher_ids
from harness.training.schedule import learning_rate
from harness.training.seeding import generator_for
from harness.training.students import build_student
from harness.training.trainer import make_optimizer

SL = "digits/resnet18-sl/v1"
PENDING = "cifar10/convnet-d3-sl/v1"
SOFT = [known for known in protocol_ids(ROOT) if "-sl" in known]
STUDY = {"resnet18-weak-teacher": "digits/convnet-d3-early", "resnet18-mlp-teacher": "digits/mlp"}  # of teacher strength


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A checkout with the shipped protocols, teachers and a submission, whose files a test may spoil."""
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path / "cache"))
    return make_teacher_checkout(tmp_path)


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
        ({"weights": {"bytes": 5_000_001}}, "at most 5,000,000 bytes"),
        ({"accuracy": {"test_top1": 101.0}}, "accuracy.test_top1"),
        ({"made": {"torch": "2.15.0"}}, "made.threads"),
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
    student = soft.student_name.removesuffix("-weak-teacher").removesuffix("-mlp-teacher")
    hard = find_protocol(ROOT, f"{soft.dataset.name}/{student}-hl/v1")
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


@pytest.mark.parametrize("student", STUDY)
def test_a_protocol_of_the_teacher_strength_study_differs_in_its_teacher_alone_and_has_a_board_of_its_own(student):
    base, changed = find_protocol(ROOT, "digits/resnet18-sl-kd/v1"), find_protocol(ROOT, f"digits/{student}-sl-kd/v1")
    assert [row.key for row in differences(base, changed)] == ["labels.teacher", "labels.teacher_sha256"]
    assert changed.labels.teacher == STUDY[student]
    assert (changed.student_name, changed.record_folder) == (student, f"{student}-sl-kd-v1")
    submission = ROOT / "submissions/random/digits-ipc1.yaml"
    units = plan.plan_units(ROOT, [submission], None, "all", None, ROOT / "nowhere", student=student)
    assert {unit.protocol.id for unit in units} == {changed.id}


def test_the_studys_teachers_are_weaker_and_one_is_of_another_architecture():
    strong, early, mlp = (read_card(ROOT, known) for known in (DIGITS, *STUDY.values()))
    assert early.student == strong.student
    assert mlp.student.architecture != strong.student.architecture
    for split in ("train_top1", "test_top1"):
        weakest, between, best = (getattr(card.accuracy, split) for card in (early, mlp, strong))
        assert weakest < between - 10
        assert between < best


def test_the_weak_teacher_is_the_recipe_of_the_strong_one_stopped_early():
    strong, early = (read_recipe(ROOT, known) for known in (DIGITS, "digits/convnet-d3-early"))
    changed = {row.key.split(".")[0] for row in differences(strong, early)}
    assert changed == {"schedule", "training"}
    assert early.epochs(1) < strong.epochs(1)
    steps = -(-early.dataset.train_images // early.batch_size(1, early.dataset.train_images))
    for step in range(steps):
        rates = [learning_rate(recipe, 0, step, steps, recipe.epochs(1)) for recipe in (strong, early)]
        assert rates[0] == pytest.approx(rates[1], rel=1e-3)


@pytest.mark.parametrize("teacher_id", [known for known in teacher_ids(ROOT) if (ROOT / "teachers" / known / RECIPE).is_file()])
def test_every_value_of_a_teachers_recipe_has_a_provenance(teacher_id):
    recipe = read_recipe(ROOT, teacher_id)
    assert {word for word, _ in recipe.provenance.values()} <= {"paper", "official-code", "inferred"}
    assert recipe.labels.regime == "hl"


def test_teachers_are_read_without_torch():
    code = "import sys, harness.teachers; sys.exit('torch' in sys.modules or 'huggingface_hub' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
