"""What a scoring run records, against a slow loop written out by hand; and how its length is planned."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from dynamics_runs import FEATURES, digits_teacher, small_protocol, small_run, thirty_digits

from harness.datasets import Split
from harness.dynamics.plan import Wish, plan_run, run_name
from harness.dynamics.record import record_dynamics
from harness.dynamics.watch import FeaturesAndLogits
from harness.errors import CheckFailed, UsageError
from harness.protocols import find_protocol
from harness.training.dsa import augment_dsa
from harness.training.schedule import learning_rate
from harness.training.seeding import generator_for
from harness.training.students import build_student
from harness.training.views import normalised

ROOT = Path(__file__).resolve().parent.parent
DIGITS = find_protocol(ROOT, "digits/resnet18-hl/v1")
TINY = find_protocol(ROOT, "tiny-imagenet/convnet-d4-hl/v1")
IMAGENET = find_protocol(ROOT, "imagenet-1k/resnet18-hl/v1")


@pytest.fixture(scope="module")
def split():
    return thirty_digits()


@pytest.fixture(scope="module")
def recorded(split, tmp_path_factory):
    """2.6 full-data epochs of 30 images: six epochs of 13, batches of 5, 5 and 3; four snapshots; and the same by hand."""
    cache = pytest.MonkeyPatch()
    cache.setenv("HLBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    protocol, teacher = small_protocol(epochs=6, batch_size=5), digits_teacher()
    run = small_run(protocol, split, teacher, epochs=2.6, snapshots=4, seed=3)
    found = record_dynamics(run, tmp_path_factory.mktemp("home") / "run", "cpu")
    cache.undo()
    return found, by_hand(protocol, split, epochs=6, per_epoch=13, batch=5, snapshots=(1, 3, 4, 6), passes=3, seed=3)


def by_hand(protocol, split, epochs, per_epoch, batch, snapshots, passes, seed):
    """The run as a literal loop, one image at a time where only one is looked at. Returns lists of lists, and the model."""
    model = build_student(protocol, generator_for(seed, "init"))
    order, augmentation = generator_for(seed, "order"), generator_for(seed, "augmentation")
    settings = protocol.optimizer
    optimizer = torch.optim.SGD(model.parameters(), settings.lr, settings.momentum, weight_decay=settings.weight_decay)
    coming, images_seen = [], 0
    presented = [[255] * len(split) for _ in range(passes)]
    looks = []
    for epoch in range(epochs):
        while len(coming) < per_epoch:
            coming += torch.randperm(len(split), generator=order).tolist()
        rows, coming = coming[:per_epoch], coming[per_epoch:]
        starts = range(0, per_epoch, batch)
        model.train()
        for step, start in enumerate(starts):
            chosen = rows[start : start + batch]
            images = normalised(torch.from_numpy(split.images[chosen]), protocol, None)
            images = augment_dsa(images, protocol.augmentation, augmentation)
            done = (epoch + step / len(starts)) / epochs
            optimizer.param_groups[0]["lr"] = settings.lr * (1 + math.cos(math.pi * done)) / 2
            logits = model(images)
            for row, answer in zip(chosen, logits.argmax(1).tolist(), strict=True):
                presented[images_seen // len(split)][row] = int(answer == split.labels[row])
                images_seen += 1
            optimizer.zero_grad()
            F.cross_entropy(logits, torch.from_numpy(split.labels[chosen])).backward()
            optimizer.step()
        if epoch + 1 in snapshots:
            looks.append(look_at_each_image(model, protocol, split))
    return presented, looks, model


def look_at_each_image(model, protocol, split):
    """(logits [N][C], features [N][F]) in evaluation mode, un-augmented."""
    model.eval()
    with torch.no_grad():
        images = [normalised(torch.from_numpy(image[None]), protocol, None) for image in split.images]
        return [model(image)[0].tolist() for image in images], [model[:-1](image)[0].tolist() for image in images]


def softmax(logits, temperature=1.0):
    powers = [math.exp((logit - max(logits)) / temperature) for logit in logits]
    return [power / sum(powers) for power in powers]


def distance(a, b):
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)))


def test_presented_is_the_training_mode_answer_in_the_pass_in_which_the_row_was_shown(recorded):
    found, (presented, _, _) = recorded
    assert found.presented.tolist() == presented
    assert {0, 1, 255} == set(np.unique(found.presented))
    assert (found.presented[:2] != 255).all()  # whole passes show every row
    assert (found.presented[2] == 255).sum() == 12  # 78 images: the third pass shows 18 of 30


def test_true_probability_el2n_and_correct_are_those_of_a_clean_pass_at_each_snapshot(recorded, split):
    found, (_, looks, _) = recorded
    assert found.true_probability.shape == (4, 30)
    for number, (all_logits, _) in enumerate(looks):
        for row, logits in enumerate(all_logits):
            label, probabilities = int(split.labels[row]), softmax(logits)
            onehot = [float(label == other) for other in range(10)]
            assert found.true_probability[number, row] == pytest.approx(probabilities[label], abs=1e-5)
            assert found.el2n[number, row] == pytest.approx(distance(probabilities, onehot), abs=1e-5)
            assert found.correct[number, row] == (logits.index(max(logits)) == label)


def test_probabilities_and_features_are_those_after_the_run(recorded):
    found, (_, looks, _) = recorded
    all_logits, all_features = looks[-1]
    assert found.features.shape == (30, FEATURES)
    for row, (logits, features) in enumerate(zip(all_logits, all_features, strict=True)):
        assert found.probabilities[row].tolist() == pytest.approx(softmax(logits), abs=1e-3)  # float16 has 11 bits
        assert found.features[row].tolist() == pytest.approx(features, rel=1e-3, abs=1e-3)


def test_el2n_sl_is_the_distance_from_the_teachers_softmax_at_the_same_temperature(recorded, split):
    found, (_, looks, _) = recorded
    teacher = digits_teacher()
    from harness.training.engine import Engine
    from harness.training.teacher import build_teacher

    network = build_teacher(teacher, Engine("cpu", 0, False, False, 1, "fp32"))
    with torch.no_grad():
        targets = [network(normalised(torch.from_numpy(image[None]), teacher.card, None))[0].tolist() for image in split.images]
    for temperature in (1.0, 20.0):
        scores = found.el2n_sl(temperature)
        for number, (all_logits, _) in enumerate(looks):
            for row, logits in enumerate(all_logits):
                expected = distance(softmax(logits, temperature), softmax(targets[row], temperature))
                assert scores[number, row] == pytest.approx(expected, abs=1e-5)


def test_arrays_are_maps_of_the_files_that_nobody_can_write(recorded):
    found, _ = recorded
    for array in (found.true_probability, found.el2n, found.correct, found.presented, found.probabilities, found.features):
        assert isinstance(array, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 0


def test_watching_leaves_the_training_as_it_is(recorded, split, tmp_path):
    """The end of a run is the same however often it is looked at on the way."""
    found, _ = recorded
    protocol = small_protocol(epochs=6, batch_size=5)
    run = small_run(protocol, split, epochs=2.6, snapshots=1, seed=3)
    seldom = record_dynamics(run, tmp_path / "run", "cpu")
    assert seldom.spec.files["features.npy"] == found.spec.files["features.npy"]
    assert seldom.spec.files["presented.npy"] == found.spec.files["presented.npy"]
    assert np.array_equal(seldom.el2n[0], found.el2n[-1])


def test_the_watching_network_shares_weights_and_statistics_and_keeps_the_students_mode():
    model = build_student(small_protocol(), generator_for(0, "init"))
    watching, images = FeaturesAndLogits(model), torch.randn(4, 3, 8, 8)
    model.train()(images)
    with torch.no_grad():
        model[0].weight += 0.1
        features, logits = watching(images).split([FEATURES, 10], dim=1)
        assert model.training
        assert torch.equal(model.eval()(images), logits)
        assert torch.equal(model[:-1](images), features)


def test_a_student_of_soft_labels_is_watched_too_against_the_teacher_it_learns_from(split, tmp_path, monkeypatch):
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path / "cache"))
    hard, soft, teacher = small_protocol(), small_protocol("sl"), digits_teacher()
    runs = {protocol.regime: small_run(protocol, split, teacher, epochs=2.6, snapshots=2) for protocol in (hard, soft)}
    found = {regime: record_dynamics(run, tmp_path / regime, "cpu") for regime, run in runs.items()}
    assert found["sl"].spec.regime == "sl"
    assert not np.array_equal(found["sl"].el2n_sl(20), found["hl"].el2n_sl(20))
    other = replace(
        teacher, card=teacher.card.model_copy(update={"weights": teacher.card.weights.model_copy(update={"sha256": "0" * 64})})
    )
    with pytest.raises(UsageError, match="learns from"):
        small_run(soft, split, other, epochs=2.6)


def test_temperatures_that_were_not_recorded_are_refused(recorded, split, tmp_path):
    found, _ = recorded
    with pytest.raises(UsageError, match=r"T = 4.*\n.*\n.*1, 20"):
        found.el2n_sl(4)


def test_a_run_that_diverges_leaves_nothing(split, tmp_path):
    wild = small_protocol()
    wild = wild.model_copy(update={"optimizer": wild.optimizer.model_copy(update={"lr": 1e30})})
    with pytest.raises(CheckFailed, match="diverged"):
        record_dynamics(small_run(wild, split, epochs=2.6), tmp_path / "run", "cpu")
    assert list(tmp_path.iterdir()) == []


def split_of(protocol):
    """A training split of the protocol's size whose images nobody looks at."""
    dataset = protocol.dataset
    labels = np.arange(dataset.train_images) % dataset.classes
    return Split(dataset.name, "train", np.broadcast_to(np.uint8(0), (len(labels), 3, 8, 8)), labels, "5a" * 32)


def planned(protocol, features=512, **wish):
    return plan_run(Wish(**wish), protocol, split_of(protocol), features)


def test_a_run_matched_to_an_ipc_takes_the_steps_and_images_of_a_set_of_that_ipc():
    run = planned(TINY, ipc=10)
    assert run.epochs == pytest.approx(6.02)  # F.0 has 6 for 300 epochs; the official code runs 301
    assert (run.recipe_epochs, run.images_per_epoch, run.batch_size, run.images_seen) == (301, 2000, 256, 602_000)
    assert (run.snapshots, run.passes) == (8, 7)
    assert planned(TINY, ipc=100).snapshots == 60
    assert planned(IMAGENET, ipc=10).epochs == pytest.approx(1.56, abs=0.005)
    assert planned(IMAGENET, ipc=50).epochs == pytest.approx(7.81, abs=0.005)
    digits = planned(DIGITS, ipc=1)
    assert (digits.images_per_epoch, digits.batch_size, digits.snapshots) == (10, 10, 8)


def test_the_step_of_the_schedule_keeps_its_place_in_a_compressed_run():
    """0.01 up to K * 152 / 301 epochs of the whole split, a tenth of it from there: an early slice would never get there."""
    run = planned(TINY, epochs=6)
    assert run.images_per_epoch == 1993  # 600,000 / 301, rounded down
    rates = [learning_rate(TINY, epoch, 0, 8, run.recipe_epochs) for epoch in range(run.recipe_epochs)]
    at_the_full_rate = sum(rate == 0.01 for rate in rates) * run.images_per_epoch / run.rows
    assert at_the_full_rate == pytest.approx(6 * 152 / 301, rel=1e-3)
    assert rates[-1] == pytest.approx(0.001)


def test_the_cosine_of_a_compressed_run_comes_down_to_zero():
    run = planned(DIGITS, ipc=10)
    halfway, steps = run.recipe_epochs // 2, -(-run.images_per_epoch // run.batch_size)
    assert learning_rate(DIGITS, halfway, 0, steps, run.recipe_epochs) == pytest.approx(DIGITS.optimizer.lr / 2)
    assert learning_rate(DIGITS, run.recipe_epochs - 1, steps - 1, steps, run.recipe_epochs) < 0.001 * DIGITS.optimizer.lr


def test_without_an_ipc_the_run_is_the_students_whole_recipe_on_the_split():
    run = planned(DIGITS)
    assert (run.epochs, run.images_per_epoch, run.batch_size, run.passes, run.snapshots) == (60, 898, 256, 60, 60)


@pytest.mark.parametrize(("epochs", "expected"), [(0.5, 1), (2.6, 3), (6.0, 6), (6.02, 7), (60.0, 60)])
def test_a_fraction_of_an_epoch_begins_one_more_pass_and_whole_epochs_do_not(epochs, expected):
    assert planned(DIGITS, epochs=epochs).passes == expected == math.ceil(epochs)


def test_snapshots_are_evenly_spaced_and_the_last_is_the_end():
    assert planned(DIGITS, ipc=10).snapshot_epochs == (7, 15, 22, 30, 37, 45, 52, 60)
    assert planned(DIGITS, ipc=10, snapshots=60).snapshot_epochs == tuple(range(1, 61))
    gaps = np.diff([0, *planned(TINY, ipc=10).snapshot_epochs])
    assert gaps.max() - gaps.min() <= 1
    assert planned(TINY, epochs=100).snapshots == 100  # one an epoch in a long run
    assert planned(TINY, epochs=0.5).snapshots == 8


def test_more_snapshots_than_the_student_has_epochs_are_refused():
    with pytest.raises(UsageError, match="at most 60"):
        planned(DIGITS, ipc=10, snapshots=61)


@pytest.mark.parametrize("epochs", [0.0, -1.0, 0.1, 60.1, float("inf"), float("nan")])
def test_lengths_that_cannot_be_compressed_to_are_refused(epochs):
    with pytest.raises(UsageError, match="out of range"):
        planned(DIGITS, epochs=epochs)


def test_a_last_batch_of_one_image_is_left_out_where_batch_norm_would_fail_on_it():
    length = 60 * 257.5 / 898
    assert planned(DIGITS, epochs=length).images_per_epoch == 256
    instance = DIGITS.model_copy(update={"student": DIGITS.student.model_copy(update={"norm": "instance"})})
    assert planned(instance, epochs=length).images_per_epoch == 257


def test_a_run_under_sl_kd_or_on_another_split_is_refused():
    with pytest.raises(UsageError, match="CutMix"):
        planned(find_protocol(ROOT, "digits/resnet18-sl-kd/v1"), ipc=1)
    with pytest.raises(UsageError, match="do not belong together"):
        plan_run(Wish(ipc=1), DIGITS, replace(split_of(DIGITS), name="test"), 512)
    with pytest.raises(UsageError, match="do not belong together"):
        plan_run(Wish(ipc=1), DIGITS, split_of(TINY), 512)


def test_runs_that_differ_have_names_that_differ():
    runs = [planned(DIGITS, **wish) for wish in ({"ipc": 1}, {"ipc": 10}, {"epochs": 6}, {}, {"ipc": 1, "seed": 1})]
    runs += [planned(DIGITS, ipc=1, snapshots=4), planned(DIGITS, ipc=10, epochs=6)]
    names = [run_name(run, DIGITS) for run in runs]
    assert names[:4] == [f"resnet18-hl-v1-{part}-seed0" for part in ("ipc1-s8", "ipc10-s8", "k6-s8", "k60-s60")]
    assert len(set(names)) == len(runs)


def test_sixty_snapshots_of_tiny_imagenet_stay_under_two_gigabytes_with_el2n_sl_and_digits_under_one_and_a_half_megabytes():
    tiny = planned(TINY, features=128 * 4 * 4, ipc=100)
    by_hand = 60 * 100_000 * (4 + 4 + 1) + 61 * 100_000 + 100_000 * 200 * 2 + 100_000 * 2048 * 2
    assert (tiny.snapshots, tiny.passes, tiny.bytes) == (60, 61, by_hand)
    watched = tiny.model_copy(update={"temperatures": (1.0, 20.0)})
    assert watched.bytes == by_hand + 2 * 60 * 100_000 * 4 < 2e9
    assert planned(DIGITS, ipc=10).bytes < 1.1e6
    assert planned(DIGITS).bytes < 1.5e6
