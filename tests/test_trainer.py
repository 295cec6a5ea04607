"""The student, the schedule and the loop: what the protocol says is what happens, on every engine, twice the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from harness.datasets import load_split
from harness.errors import ProtocolError, UsageError
from harness.imageset import ImageSet
from harness.normalization import NORMALIZATIONS
from harness.protocols import find_protocol, protocol_ids
from harness.training import evaluate_set
from harness.training.engine import Engine, choose_engine
from harness.training.evaluate_set import train_and_evaluate
from harness.training.labels import hard_labels
from harness.training.schedule import learning_rate
from harness.training.seeding import generator_for
from harness.training.students import build_student
from harness.training.trainer import gradient_step, kept_epochs, make_optimizer, starts_afresh
from harness.training.views import normalised, training_views

ROOT = Path(__file__).parent.parent
DIGITS = find_protocol(ROOT, "digits/resnet18-hl/v1")
CONVNET = find_protocol(ROOT, "cifar10/convnet-d3-hl/v1")
TINY = find_protocol(ROOT, "tiny-imagenet/convnet-d4-hl/v1")
IMAGENET = find_protocol(ROOT, "imagenet-1k/resnet18-hl/v1")


def shortened(protocol, epochs: int):
    """The protocol with fewer epochs: tests must end."""
    return protocol.model_copy(update={"training": protocol.training.model_copy(update={"epochs": {1: epochs}})})


@pytest.fixture(scope="module")
def digits():
    train, test = load_split("digits", "train"), load_split("digits", "test")
    rows = np.concatenate([np.flatnonzero(train.labels == label)[:2] for label in range(10)])
    return ImageSet(train.images[rows].copy(), train.labels[rows].copy()), replace(
        test, images=test.images[:200], labels=test.labels[:200]
    )


@pytest.mark.parametrize("protocol_id", protocol_ids(ROOT))
def test_a_protocols_normalization_is_the_named_one(protocol_id):
    settings = find_protocol(ROOT, protocol_id).input
    assert NORMALIZATIONS[settings.normalization] == (settings.mean, settings.std)


def test_initial_weights_have_torchvisions_distribution_layer_by_layer():
    with torch.random.fork_rng():
        torch.manual_seed(11)
        reference = torchvision.models.resnet18(num_classes=1000)
    ours = build_student(IMAGENET, torch.Generator().manual_seed(11))
    for (name, expected), (_, found) in zip(reference.named_parameters(), ours.named_parameters(), strict=True):
        assert found.shape == expected.shape, name
        assert found.std().item() == pytest.approx(expected.std().item(), rel=0.08, abs=1e-3), name


def test_convnet_initial_weights_are_torchs_own_defaults_bit_for_bit():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        conv = nn.Conv2d(3, 128, 3, padding=1)
    model = build_student(CONVNET, torch.Generator().manual_seed(3))
    assert torch.equal(model[0].weight, conv.weight)
    assert torch.equal(model[0].bias, conv.bias)


def test_building_a_student_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    build_student(CONVNET, generator_for(0, "init"))
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_wrong_parameter_count_is_refused():
    wrong = CONVNET.model_copy(update={"student": CONVNET.student.model_copy(update={"depth": 2})})
    with pytest.raises(ProtocolError, match="not the network"):
        build_student(wrong, generator_for(0, "init"))


def test_seeds_and_purposes_have_their_own_streams():
    draws = {torch.rand(1, generator=generator_for(seed, purpose)).item() for seed in range(5) for purpose in ("init", "order")}
    assert len(draws) == 10


def test_step_schedule_decays_after_152_epochs_and_empties_the_momentum_there():
    assert learning_rate(CONVNET, 151, 0, 1, 301) == pytest.approx(0.01)
    assert learning_rate(CONVNET, 152, 0, 1, 301) == pytest.approx(0.001)
    assert [epoch for epoch in range(301) if starts_afresh(CONVNET, epoch)] == [152]


def test_cosine_schedule_is_a_full_half_period_per_iteration():
    assert learning_rate(IMAGENET, 0, 0, 200, 200) == pytest.approx(0.5)
    assert learning_rate(IMAGENET, 100, 0, 200, 200) == pytest.approx((0.5 + 1e-4) / 2)
    last = learning_rate(IMAGENET, 199, 199, 200, 200)
    assert 1e-4 < last < 1.1e-4
    assert learning_rate(IMAGENET, 50, 3, 200, 200) > learning_rate(IMAGENET, 50, 4, 200, 200)


def test_warm_up_rises_linearly_and_the_cosine_takes_the_rest():
    schedule = IMAGENET.schedule.model_copy(
        update={"warmup_epochs": 5, "warmup_start": 0.01, "stepping": "epoch", "final_lr": 0.0}
    )
    warm = IMAGENET.model_copy(update={"schedule": schedule})
    rates = [learning_rate(warm, epoch, 0, 10, 200) for epoch in range(200)]
    assert rates[0] == pytest.approx(0.005)
    assert rates[1] - rates[0] == pytest.approx(rates[4] - rates[3])
    assert rates[5] == max(rates) == pytest.approx(0.5)


def test_weight_decay_can_spare_biases_and_norms():
    model = build_student(CONVNET, generator_for(0, "init"))
    spared = CONVNET.model_copy(update={"optimizer": CONVNET.optimizer.model_copy(update={"decayed_parameters": "matrices"})})
    decayed, undecayed = make_optimizer(model, spared).param_groups
    assert all(p.ndim > 1 for p in decayed["params"])
    assert all(p.ndim == 1 for p in undecayed["params"])
    assert undecayed["weight_decay"] == 0
    assert len(make_optimizer(model, CONVNET).param_groups) == 1


def test_micro_batches_give_the_whole_batchs_gradient(digits):
    image_set, _ = digits
    images = normalised(torch.from_numpy(image_set.images), DIGITS, None)
    labels = torch.from_numpy(image_set.labels)
    gradients = []
    for micro_batch in (0, 8, 3):
        engine = Engine("cpu", micro_batch, False, micro_batch != 0, 2, "fp32")
        model = engine.place(build_student(CONVNET, generator_for(0, "init")))
        gradient_step(model, hard_labels(CONVNET.labels).summed_loss, engine)(images, labels)
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert torch.allclose(gradients[0], gradients[1], rtol=1e-3, atol=1e-5)
    assert torch.allclose(gradients[0], gradients[2], rtol=1e-3, atol=1e-5)


@pytest.fixture
def one_thread():
    """As every unit and recording runs; compiled code is another one for one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_logits_that_are_kept_are_those_of_the_network_also_when_the_step_is_compiled(one_thread):
    """The compiled backward pass may write into the buffer of the logits; who looks later must find what was predicted."""
    engine = choose_engine(TINY, 10**6, "cpu")
    model = engine.place(build_student(TINY, generator_for(0, "init"))).train()
    images = torch.randn(4 * engine.micro_batch, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), engine.autocast():
        expected = model(engine.arrange(images)).float()
    step = gradient_step(model, hard_labels(TINY.labels).summed_loss, engine, keep_logits=True)
    _, kept = step(images, expected.argmax(dim=1))
    assert torch.allclose(kept.float(), expected, atol=0.05)  # bf16


def test_networks_with_batch_norm_are_never_split():
    assert choose_engine(DIGITS, 10**9, "cpu").micro_batch == 0
    assert choose_engine(CONVNET, 10**9, "cpu").micro_batch > 0


def test_short_runs_do_not_pay_for_compiling():
    assert not choose_engine(CONVNET, 100, "cpu").compiled


def test_a_unit_run_twice_gives_bit_identical_numbers_and_another_seed_does_not(digits):
    image_set, test = digits
    first, second, other = (train_and_evaluate(shortened(DIGITS, 3), 2, image_set, test, seed, "cpu") for seed in (0, 0, 1))
    assert first.result == second.result
    assert first.curve == second.curve
    assert first.result != other.result


def test_training_learns_real_digits(digits):
    image_set, test = digits
    outcome = train_and_evaluate(shortened(DIGITS, 40), 2, image_set, test, 0, "cpu")
    assert outcome.status == "ok"
    assert outcome.result.top1 > 30  # chance is 10
    assert outcome.result.top5 >= outcome.result.top1
    assert outcome.result.images_seen == 40 * 20
    assert outcome.result.steps == 40


def test_shuffled_labels_do_not_reach_what_true_labels_reach(digits):
    image_set, test = digits
    shuffled = replace(image_set, labels=np.roll(image_set.labels, 6))
    assert train_and_evaluate(shortened(DIGITS, 40), 2, shuffled, test, 0, "cpu").result.top1 < 30


def test_a_diverged_run_has_no_result_and_says_so(digits):
    image_set, test = digits
    optimizer = DIGITS.optimizer.model_copy(update={"lr": 1e18})
    outcome = train_and_evaluate(shortened(DIGITS, 5).model_copy(update={"optimizer": optimizer}), 2, image_set, test, 0, "cpu")
    assert outcome.status == "diverged"
    assert outcome.result is None
    assert outcome.curve[-1].train_loss is None


def test_a_set_of_the_wrong_size_is_refused(digits):
    image_set, test = digits
    with pytest.raises(UsageError, match="do not fit"):
        train_and_evaluate(DIGITS, 5, image_set, test, 0, "cpu")


def test_patch_shuffle_is_refused_where_the_protocol_has_none(digits):
    image_set, test = digits
    with pytest.raises(UsageError, match="no PatchShuffle"):
        train_and_evaluate(DIGITS, 2, replace(image_set, patch_shuffle=2), test, 0, "cpu")


def test_images_of_another_size_are_refused_where_nothing_resizes(digits):
    image_set, test = digits
    with pytest.raises(UsageError, match="differ in size"):
        train_and_evaluate(CONVNET, 2, image_set, replace(test, dataset="cifar10"), 0, "cpu")


def test_a_student_whose_test_loss_is_not_finite_has_diverged(digits, monkeypatch):
    image_set, test = digits
    monkeypatch.setattr(evaluate_set, "measure", lambda *_: (10.0, 50.0, float("inf")))
    outcome = train_and_evaluate(shortened(DIGITS, 1), 2, image_set, test, 0, "cpu")
    assert (outcome.status, outcome.result) == ("diverged", None)


@pytest.mark.parametrize(("key", "value"), [("norm", "instance"), ("depth", 34), ("width", 32), ("stem", "none")])
def test_a_protocol_cannot_name_a_network_that_is_not_built(key, value):
    described = {**DIGITS.student.model_dump(), key: value}
    with pytest.raises(ValueError, match="no resnet18 is built"):
        type(DIGITS.student).model_validate(described)


def test_float_sets_stored_normalised_reach_the_student_as_the_same_pixels(digits):
    image_set, _ = digits
    mean, std = (np.array(values, dtype=np.float32).reshape(1, 3, 1, 1) for values in NORMALIZATIONS["cifar10"])
    floats = torch.from_numpy((image_set.images / np.float32(255) - mean) / std)
    expected = normalised(torch.from_numpy(image_set.images), DIGITS, None)
    assert torch.allclose(normalised(floats, DIGITS, "cifar10"), expected, atol=1e-5)


def test_every_epoch_sees_every_image_once(digits):
    image_set, _ = digits
    views = training_views(image_set, DIGITS, "cpu")
    order = torch.randperm(20, generator=generator_for(0, "order"))
    labels = torch.cat([labels for _, labels in views.epoch(order, 6, generator_for(0, "augmentation"))])
    assert torch.equal(labels, torch.from_numpy(image_set.labels)[order])


def test_measurement_counts_top1_and_top5_on_every_test_image(digits):
    _, test = digits

    class AlwaysThree(nn.Module):
        def forward(self, images):
            return torch.tensor([0.0, 4, 3, 9, 2, 1, 0, 0, 0, 0]).expand(len(images), 10)

    top1, top5, loss = evaluate_set.measure(AlwaysThree(), test, DIGITS, choose_engine(DIGITS, 1, "cpu"))
    assert top1 == pytest.approx(100 * (test.labels == 3).mean())
    assert top5 == pytest.approx(100 * np.isin(test.labels, [1, 2, 3, 4, 5]).mean())
    assert loss > 0


def test_the_curve_keeps_at_most_fifty_points_and_always_the_last():
    assert len(kept_epochs(301)) == 50
    assert max(kept_epochs(301)) == 300
    assert kept_epochs(3) == {0, 1, 2}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_device_runs_the_same_unit(digits):
    image_set, test = digits
    on_gpu = train_and_evaluate(shortened(DIGITS, 40), 2, image_set, test, 0, "cuda")
    on_cpu = train_and_evaluate(shortened(DIGITS, 40), 2, image_set, test, 0, "cpu")
    assert on_gpu.result.top1 == pytest.approx(on_cpu.result.top1, abs=15)
