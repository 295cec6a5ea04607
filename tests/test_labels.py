"""The three label regimes: what the student is told, what the teacher sees, and that nothing else gets through."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch
from intake_sets import pngs, read, write_parquet
from torch import nn

from harness.canonical import sha256_hex
from harness.datasets import load_split
from harness.errors import ProtocolError, UsageError
from harness.imageset import ImageSet
from harness.protocol_models import CutMix
from harness.protocols import find_protocol
from harness.teachers import Accuracy, Fingerprints, PinnedTeacher, TeacherCard, Weights
from harness.training import labels as regimes
from harness.training.cutmix import cut_box, cutmix
from harness.training.engine import Engine, choose_engine
from harness.training.evaluate_set import train_and_evaluate
from harness.training.label_cache import compute_logits, image_logits
from harness.training.labels import fresh_soft_labels, hard_labels, summed_divergence, supervise
from harness.training.schedule import learning_rate
from harness.training.seeding import generator_for
from harness.training.students import build_student
from harness.training.teacher import build_teacher
from harness.training.trainer import gradient_step, make_optimizer, train
from harness.training.views import normalised, training_views

OWN = ("soft_label", "soft_labels", "logits", "teacher_logits", "label_syn")
ROOT = Path(__file__).parent.parent
HL, SL, SLKD = (find_protocol(ROOT, f"digits/resnet18-{regime}/v1") for regime in ("hl", "sl", "sl-kd"))
CONVNET = find_protocol(ROOT, "cifar10/convnet-d3-hl/v1")
ENGINE = Engine("cpu", 0, False, True, 1, "fp32")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def digits():
    train_split, test = load_split("digits", "train"), load_split("digits", "test")
    rows = np.concatenate([np.flatnonzero(train_split.labels == label)[:2] for label in range(10)])
    image_set = ImageSet(train_split.images[rows].copy(), train_split.labels[rows].copy())
    return image_set, replace(test, images=test.images[:200], labels=test.labels[:200])


@pytest.fixture(scope="module")
def teacher():
    """A small ConvNet with random weights, which is a teacher like any other."""
    student = CONVNET.student.model_copy(
        update={"width": 8, "parameters": 3 * 72 + 8 + 16 + 2 * (8 * 72 + 8 + 16) + 8 * 16 * 10 + 10}
    )
    described = HL.model_copy(update={"student": student})
    state = build_student(described, generator_for(7, "init")).state_dict()
    state = {name: tensor * 3 for name, tensor in state.items()}  # opinions strong enough to matter
    weights = safetensors.torch.save(state)
    card = TeacherCard(
        schema=1, id="digits/tiny", title="random weights", dataset=HL.dataset, input=HL.input, student=student,
        evaluation=HL.evaluation, numerics=HL.numerics, recipe="none",
        weights=Weights(file="weights.safetensors", bytes=len(weights), sha256=sha256_hex(weights)),
        accuracy=Accuracy(source="measured", train_top1=10.0, test_top1=10.0), fingerprints=Fingerprints(train=None, test=None),
    )  # fmt: skip
    return PinnedTeacher(card, weights)


def for_teacher(protocol, teacher, epochs: int = 3):
    """The protocol, shortened, as if it had been written for this teacher."""
    named = {"teacher": teacher.card.id, "teacher_sha256": teacher.card.weights.sha256}
    training = protocol.training.model_copy(update={"epochs": {1: epochs}})
    return protocol.model_copy(update={"labels": protocol.labels.model_copy(update=named), "training": training})


def logits_pair(count: int = 5, classes: int = 7):
    generator = torch.Generator().manual_seed(0)
    return (8 * torch.randn((count, classes), generator=generator) for _ in range(2))


# The loss


@pytest.mark.parametrize(("temperature", "squared"), [(20.0, False), (20.0, True), (1.0, False), (3.0, True)])
def test_the_loss_is_kl_from_teacher_to_student_both_at_the_temperature(temperature, squared):
    student, teacher = logits_pair()
    settings = SL.labels.model_copy(update={"temperature": temperature, "t_squared": squared})
    expected = 0.0
    for student_row, teacher_row in zip(student.double().tolist(), teacher.double().tolist(), strict=True):
        q = [math.exp(z / temperature) for z in teacher_row]
        p = [math.exp(z / temperature) for z in student_row]
        expected += sum(a / sum(q) * math.log((a / sum(q)) / (b / sum(p))) for a, b in zip(q, p, strict=True))
    expected *= temperature**2 if squared else 1
    targets = regimes.soft_targets(teacher, settings)
    assert summed_divergence(student, targets, settings).item() == pytest.approx(expected, rel=1e-4)


def test_a_batchs_loss_is_the_mean_over_its_images_of_the_sum_over_classes():
    student, teacher = logits_pair()
    settings = SL.labels.model_copy(update={"temperature": 2.0})
    targets = regimes.soft_targets(teacher, settings)
    step = gradient_step(nn.Identity(), lambda z, q: summed_divergence(z, q, settings), replace(ENGINE, channels_last=False))
    loss, _ = step(student.requires_grad_(), targets)
    assert loss.item() == pytest.approx(summed_divergence(student, targets, settings).item() / len(student), rel=1e-6)
    # d KL / d z = (p - q) / T, a share of the batch each
    expected = ((student / 2).softmax(1) - targets) / 2 / len(student)
    assert torch.allclose(student.grad, expected, atol=1e-6)


def test_a_student_that_agrees_with_its_teacher_has_nothing_to_lose():
    logits, other = logits_pair()
    same = summed_divergence(logits, regimes.soft_targets(logits, SL.labels), SL.labels).item()
    assert same == pytest.approx(0, abs=1e-6)
    assert summed_divergence(logits, regimes.soft_targets(other, SL.labels), SL.labels).item() > 1e-3


def test_a_certain_teacher_does_not_make_the_loss_infinite():
    certain = torch.tensor([[1e6, 0.0, 0.0]])
    assert torch.isfinite(summed_divergence(torch.zeros(1, 3), regimes.soft_targets(certain, SL.labels), SL.labels))


def test_soft_targets_follow_their_images_into_micro_batches(digits, teacher):
    image_set, _ = digits
    settings = SL.labels
    images = normalised(torch.from_numpy(image_set.images), HL, None)
    targets = regimes.soft_targets(compute_logits(teacher, image_set, ENGINE), settings)
    gradients = []
    for size in (0, 8, 3):
        engine = replace(ENGINE, micro_batch=size)
        model = engine.place(build_student(CONVNET, generator_for(0, "init")))
        gradient_step(model, lambda z, q: summed_divergence(z, q, settings), engine)(images, targets)
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    assert torch.allclose(gradients[0], gradients[1], rtol=1e-3, atol=1e-6)
    assert torch.allclose(gradients[0], gradients[2], rtol=1e-3, atol=1e-6)


# HL


def test_hard_labels_train_bit_for_bit_as_the_plain_loop_does(digits):
    image_set, _ = digits
    protocol = HL.model_copy(update={"training": HL.training.model_copy(update={"epochs": {1: 4}, "batch_size": {1: 8}})})
    trained = ENGINE.place(build_student(protocol, generator_for(3, "init")))
    train(trained, training_views(image_set, protocol, "cpu"), protocol, 2, 3, ENGINE, hard_labels(protocol.labels))

    plain = ENGINE.place(build_student(protocol, generator_for(3, "init"))).train()
    optimizer = make_optimizer(plain, protocol)
    views, order, augmentation = (
        training_views(image_set, protocol, "cpu"), generator_for(3, "order"), generator_for(3, "augmentation"),
    )  # fmt: skip
    for epoch in range(4):
        for step, (images, classes) in enumerate(views.epoch(torch.randperm(20, generator=order), 8, augmentation)):
            optimizer.param_groups[0]["lr"] = learning_rate(protocol, epoch, step, 3, 4)
            optimizer.zero_grad(set_to_none=True)
            images = images.contiguous(memory_format=torch.channels_last)
            (nn.functional.cross_entropy(plain(images), classes, reduction="sum") / len(classes)).backward()
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(trained.state_dict().values(), plain.state_dict().values(), strict=True))


# SL


def test_sl_labels_are_the_teachers_word_on_the_un_augmented_images(digits, teacher):
    image_set, _ = digits
    plain = normalised(torch.from_numpy(image_set.images), HL, None)
    with torch.no_grad():
        expected = build_teacher(teacher, ENGINE)(plain)
    assert torch.allclose(image_logits(teacher, image_set, ENGINE), expected, atol=1e-4)


def test_sl_labels_stay_with_their_images_whatever_the_order_and_the_view(digits, teacher):
    image_set, _ = digits
    protocol = for_teacher(SL, teacher)
    logits = image_logits(teacher, image_set, ENGINE)
    supervision, views = supervise(protocol, image_set, teacher, 0, ENGINE), training_views(image_set, protocol, "cpu")
    seen = {}
    for epoch in range(3):
        order = torch.randperm(20, generator=generator_for(epoch, "order"))
        batches = zip(order.split(6), views.epoch(order, 6, generator_for(epoch, "augmentation")), strict=True)
        for rows, (images, classes) in batches:
            shown, targets = supervision.batch(images, classes, rows)
            assert shown is images
            assert torch.equal(targets, (logits[rows] / protocol.labels.temperature).softmax(1))
            for row, target in zip(rows.tolist(), targets, strict=True):
                assert torch.equal(seen.setdefault(row, target), target)
    assert len(seen) == 20


def test_sl_labels_of_a_stitched_set_are_taken_before_it_is_shuffled(digits, teacher):
    image_set, _ = digits
    assert torch.equal(
        compute_logits(teacher, replace(image_set, patch_shuffle=2), ENGINE), compute_logits(teacher, image_set, ENGINE)
    )


def test_sl_labels_are_computed_once_for_a_set_and_a_teacher(digits, teacher, monkeypatch):
    image_set, _ = digits
    first = image_logits(teacher, image_set, ENGINE)
    monkeypatch.setattr("harness.training.label_cache.compute_logits", lambda *_: pytest.fail("computed again"))
    assert torch.equal(image_logits(teacher, image_set, ENGINE), first)
    with pytest.raises(pytest.fail.Exception):
        image_logits(teacher, replace(image_set, labels=np.roll(image_set.labels, 1)), ENGINE)


@pytest.mark.parametrize("damage", ["one byte", "cut short", "empty", "another set's"])
def test_stored_labels_that_are_not_what_was_written_are_computed_again(digits, teacher, cache, damage):
    image_set, _ = digits
    first = image_logits(teacher, image_set, ENGINE)
    (path,) = cache.rglob("*.safetensors")
    stored = bytearray(path.read_bytes())
    if damage == "one byte":
        stored[-1] ^= 1
    elif damage == "another set's":
        image_logits(teacher, ImageSet(image_set.images[:10], image_set.labels[:10]), ENGINE)
        stored = next(other for other in cache.rglob("*.safetensors") if other != path).read_bytes()
    path.write_bytes(stored[: {"cut short": -4, "empty": 0}.get(damage, len(stored))])
    assert torch.equal(image_logits(teacher, image_set, ENGINE), first)


# SL+KD


class Recorder:
    """A teacher that keeps what it is shown."""

    def __init__(self):
        self.shown = []

    def __call__(self, images):
        self.shown.append(images.clone())
        return images.mean(dim=(2, 3)).repeat(1, 4)[:, :10]


def test_the_sl_kd_teacher_is_shown_exactly_the_pixels_of_the_student(digits, teacher):
    image_set, _ = digits
    protocol, recorder = for_teacher(SLKD, teacher), Recorder()
    supervision = fresh_soft_labels(protocol.labels, recorder, generator_for(0, "cutmix"), ENGINE)
    seen_by_student = []
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
    model.register_forward_pre_hook(lambda module, inputs: seen_by_student.append(inputs[0].clone()))
    train(model, training_views(image_set, protocol, "cpu"), protocol, 2, 0, ENGINE, supervision)
    assert len(recorder.shown) == 3
    assert all(torch.equal(a, b) for a, b in zip(recorder.shown, seen_by_student, strict=True))
    assert not torch.equal(recorder.shown[0], recorder.shown[1])


def test_sl_kd_targets_are_the_teachers_word_on_the_mixed_views_without_gradients(digits, teacher):
    image_set, _ = digits
    protocol = for_teacher(SLKD, teacher)
    supervision = supervise(protocol, image_set, teacher, 0, ENGINE)
    views = normalised(torch.from_numpy(image_set.images), HL, None)
    images, targets = supervision.batch(views, torch.from_numpy(image_set.labels), torch.arange(20))
    assert torch.equal(images, cutmix(views, protocol.labels.cutmix, generator_for(0, "cutmix")))
    assert not targets.requires_grad
    with torch.no_grad():
        expected = (build_teacher(teacher, ENGINE)(images) / 20).softmax(1)
    assert torch.allclose(targets, expected, atol=1e-6)


def test_the_teacher_labels_a_batch_in_micro_batches_as_it_does_whole(digits, teacher):
    image_set, _ = digits
    views = normalised(torch.from_numpy(image_set.images), HL, None)
    with torch.no_grad():
        whole, parts = (
            engine.inference(build_teacher(teacher, engine))(views) for engine in (ENGINE, replace(ENGINE, micro_batch=3))
        )
    assert torch.allclose(whole, parts, atol=1e-4)


def test_cutmix_pastes_one_box_from_one_permutation_into_the_whole_batch():
    images = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 3, 16, 12).contiguous()
    generator = torch.Generator().manual_seed(5)
    mixed = cutmix(images, CutMix(probability=1.0, beta_alpha=1.0), generator)
    changed = (mixed != images).any(dim=1)
    assert changed.any()
    inside = changed.any(dim=0)
    rows, columns = inside.any(dim=1).nonzero()[:, 0], inside.any(dim=0).nonzero()[:, 0]
    box = (slice(None), slice(None), slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    partners = mixed[box].flatten(1)[:, 0]
    assert sorted(partners.tolist()) == [0, 1, 2, 3, 4, 5]
    expected = images.clone()
    expected[box] = partners.view(6, 1, 1, 1).expand_as(expected[box])
    assert torch.equal(mixed, expected)
    assert torch.equal(images[:, 0, 0, 0], torch.arange(6.0))  # the views themselves are left alone


def test_the_box_has_the_images_shape_and_is_clipped_at_its_border():
    assert cut_box(32, 16, 0.75, 0.5, 0.5) == (8, 24, 4, 12)  # half the sides: a quarter of the area
    assert cut_box(32, 16, 0.75, 0.0, 0.999) == (0, 8, 11, 16)
    assert cut_box(7, 7, 0.5, 0.5, 0.5) == (1, 5, 1, 5)  # 4.95 -> 4 pixels
    top, bottom, left, right = cut_box(32, 32, 1.0, 0.3, 0.3)
    assert (bottom - top) * (right - left) == 0
    assert cut_box(32, 32, 0.0, 0.5, 0.5) == (0, 32, 0, 32)


def test_the_mean_pasted_share_is_that_of_a_uniform_lambda():
    settings, generator = CutMix(probability=1.0, beta_alpha=1.0), torch.Generator().manual_seed(0)
    images = torch.zeros(2, 1, 32, 32)
    images[1] = 1
    mixes = [cutmix(images, settings, generator) for _ in range(600)]
    shares = [mixed[0].mean().item() for mixed in mixes if mixed[0].any()]
    assert 0.30 < np.mean(shares) < 0.42  # E[1 - lambda] = 0.5, less what the border clips; measured on boxes that were pasted


def test_cutmix_can_be_left_out_and_then_draws_the_same_numbers():
    images = torch.rand(4, 3, 8, 8)
    never, always = (torch.Generator().manual_seed(1) for _ in range(2))
    assert cutmix(images, CutMix(probability=0.0, beta_alpha=1.0), never) is images
    cutmix(images, CutMix(probability=1.0, beta_alpha=1.0), always)
    assert torch.equal(never.get_state(), always.get_state())


# Whole units


@pytest.mark.parametrize("protocol", [SL, SLKD], ids=lambda protocol: protocol.regime)
def test_a_soft_unit_run_twice_gives_bit_identical_numbers_from_a_cold_and_a_warm_cache(digits, teacher, protocol):
    image_set, test = digits
    run = [train_and_evaluate(for_teacher(protocol, teacher), 2, image_set, test, 0, "cpu", None, teacher) for _ in range(2)]
    assert run[0].result == run[1].result
    assert run[0].curve == run[1].curve


def test_the_three_regimes_give_three_different_students(digits, teacher):
    image_set, test = digits
    losses = set()
    for protocol in (SL, SLKD):
        outcome = train_and_evaluate(for_teacher(protocol, teacher), 2, image_set, test, 0, "cpu", None, teacher)
        losses.add(outcome.result.train_loss)
    shortened = HL.model_copy(update={"training": HL.training.model_copy(update={"epochs": {1: 3}})})
    losses.add(train_and_evaluate(shortened, 2, image_set, test, 0, "cpu").result.train_loss)
    assert len(losses) == 3


@pytest.mark.parametrize("protocol", [SL, SLKD], ids=lambda protocol: protocol.regime)
def test_classes_do_not_reach_a_student_under_soft_labels(digits, teacher, protocol):
    image_set, test = digits
    relabelled = replace(image_set, labels=np.roll(image_set.labels, 1))
    results = [
        train_and_evaluate(for_teacher(protocol, teacher), 2, given, test, 0, "cpu", None, teacher).result
        for given in (image_set, relabelled)
    ]
    assert results[0] == results[1]


def test_labels_that_a_distilled_set_brings_along_do_not_change_what_is_trained(tmp_path, digits, teacher):
    """Columns as authors name them, with opinions as wrong as can be."""
    _, test = digits
    sets = []
    for name, brought in (("plain", {}), ("own", {column: np.eye(10, dtype=np.float32)[::-1].tolist() * 2 for column in OWN})):
        (tmp_path / name).mkdir()
        write_parquet(tmp_path / name / "set.parquet", pngs())
        table = pq.read_table(tmp_path / name / "set.parquet")
        for column, values in brought.items():
            table = table.append_column(column, pa.array(values))
        pq.write_table(table, tmp_path / name / "set.parquet")
        sets.append(read(tmp_path / name)[0])
    assert sets[0].sha256 == sets[1].sha256
    results = [train_and_evaluate(for_teacher(SL, teacher), 2, each, test, 0, "cpu", None, teacher).result for each in sets]
    assert results[0] == results[1]


def test_soft_labels_without_the_named_teacher_are_refused(digits, teacher):
    image_set, test = digits
    with pytest.raises(UsageError, match="need the teacher"):
        train_and_evaluate(for_teacher(SL, teacher), 2, image_set, test, 0, "cpu")
    other = PinnedTeacher(
        teacher.card.model_copy(update={"weights": teacher.card.weights.model_copy(update={"sha256": "0" * 64})}), teacher.weights
    )
    with pytest.raises(UsageError, match="need the teacher"):
        train_and_evaluate(for_teacher(SL, teacher), 2, image_set, test, 0, "cpu", None, other)


def test_a_teacher_is_frozen_and_in_evaluation_mode(teacher):
    model = build_teacher(teacher, ENGINE)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_weights_of_another_network_are_refused(teacher):
    state = safetensors.torch.load(teacher.weights)
    renamed = {f"module.{name}": tensor for name, tensor in state.items()}
    for wrong in (renamed, {name: tensor[..., :1].contiguous() for name, tensor in state.items()}, {}):
        with pytest.raises(ProtocolError, match="do not fit its network"):
            build_teacher(PinnedTeacher(teacher.card, safetensors.torch.save(wrong)), ENGINE)
    with pytest.raises(ProtocolError, match="do not fit its network"):
        build_teacher(PinnedTeacher(teacher.card, b"\x80\x04not safetensors"), ENGINE)


def test_the_engine_of_a_soft_protocol_is_that_of_its_student():
    assert choose_engine(SLKD, 10**6, "cpu") == choose_engine(HL, 10**6, "cpu")
