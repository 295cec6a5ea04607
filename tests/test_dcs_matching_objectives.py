"""DM and DC as losses of a set: against literal slow versions, and what repetition, order and company may change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from rded_cases import encode
from safetensors.numpy import save

from harness.datasets import load_split
from harness.datasets.base import Split
from harness.dcs.declared import DC, DM
from harness.dcs.objective import Scene
from harness.dcs.objectives.dc import own_gradients
from harness.dcs.objectives.random_networks import blank_network, draw_weights, dsa_settings, images_of
from harness.errors import UsageError
from harness.imageset import EncodedImages
from harness.protocols import find_protocol
from harness.teachers import read_card
from harness.training.dsa import augment_dsa
from harness.training.seeding import generator_for
from harness.training.siamese import augment_siamese
from harness.training.students import build_network, initialise
from harness.training.views import normalised

ROOT = Path(__file__).resolve().parent.parent
OBJECTIVES = {"dm": DM, "dc": DC}
BOTH = pytest.mark.parametrize("name", OBJECTIVES)
DSA = dsa_settings(DM.settings)


def few_digits(per_class: int = 9) -> Split:
    """The first images of each class, in the order of the split."""
    train = load_split("digits", "train")
    rows = np.sort(np.concatenate([np.flatnonzero(train.labels == label)[:per_class] for label in range(10)]))
    return Split("digits", "train", train.images[rows], train.labels[rows], "0" * 64)


TRAIN = few_digits()
SCENE = Scene(TRAIN, read_card(ROOT, "digits/convnet-d3"))
BATCH_NORM = replace(SCENE, backbone=read_card(ROOT, "digits/convnet-d3-bn"))


def balanced(ipc: int, skip: int = 0) -> np.ndarray:
    """int64 [10 x ipc]: of each digit the rows from its `skip`th on."""
    return np.concatenate([np.flatnonzero(TRAIN.labels == label)[skip : skip + ipc] for label in range(10)])


def losses(name: str, *sets: np.ndarray, scene: Scene = SCENE, **changed) -> np.ndarray:
    """float64 [sets, draws]; fewer real images than the classes have, so that drawing them matters."""
    settings = {**OBJECTIVES[name].settings_for("digits"), "networks": 1, "real_per_class": 5, **changed}
    found = OBJECTIVES[name].losses(sets, scene, settings)
    assert found.dtype == np.float64
    assert found.shape == (len(sets), settings["networks"])
    return found


# Literal slow versions: one set, one class, one image at a time; networks in float64


def literal_images(rows, name, draw, label, augmentation):
    images = normalised(torch.from_numpy(TRAIN.images[rows]), SCENE.backbone, None)
    if augmentation == "none":
        return images.double()
    settings = dsa_settings(OBJECTIVES[name].settings_for("digits"))
    generator = lambda: generator_for(draw, f"{name}/augmentation/{label}")  # noqa: E731
    return torch.cat([augment_dsa(image[None], settings, generator()) for image in images]).double()


def literal_real(name, draw, label, most):
    rows = np.flatnonzero(TRAIN.labels == label)
    return rows[torch.randperm(len(rows), generator=generator_for(draw, f"{name}/real/{label}"))[:most].numpy()]


def literal_network(name, draw):
    card = SCENE.backbone
    network = build_network(card.student, 10, 32, card.id)
    initialise(network, card.student.init, generator_for(draw, f"{name}/init"))
    return network.double()


def literal_dm(network, real, images, label):
    with torch.no_grad():
        return (network[:-1](real).mean(dim=0) - network[:-1](images).mean(dim=0)).square().sum().item()


def literal_dc(network, real, images, label):
    def gradients(batch):
        loss = F.cross_entropy(network(batch), torch.full((len(batch),), label))
        return torch.autograd.grad(loss, list(network.parameters()))

    total = 0.0
    for of_real, of_set in zip(gradients(real), gradients(images), strict=True):
        if of_real.ndim == 1:
            continue
        for a, b in zip(of_real.flatten(1), of_set.flatten(1), strict=True):
            total += (1 - a @ b / (a.norm() * b.norm() + 1e-6)).item()
    return total


def literal_loss(name, rows, draw, augmentation, most):
    network, loss = literal_network(name, draw), {"dm": literal_dm, "dc": literal_dc}[name]
    total = 0.0
    for label in range(10):
        real = literal_images(literal_real(name, draw, label, most), name, draw, label, augmentation)
        images = literal_images(rows[TRAIN.labels[rows] == label], name, draw, label, augmentation)
        total += loss(network, real, images, label)
    return total / 10


@pytest.mark.parametrize("augmentation", ["none", "siamese-dsa"])
@BOTH
def test_a_loss_is_the_formula_worked_out_by_loops_over_sets_classes_and_outputs(name, augmentation):
    repeated = np.concatenate([balanced(2), balanced(1), balanced(1)])
    sets = [balanced(1), balanced(3, skip=4), repeated]
    expected = [[literal_loss(name, rows, draw, augmentation, most=5) for draw in range(2)] for rows in sets]
    # In float32 a ReLU whose input is as good as 0 may turn; here one does, and moves the gradient of one image by 2 %.
    tolerance = {"dm": 1e-5, "dc": 2e-3}[name]
    np.testing.assert_allclose(losses(name, *sets, networks=2, augmentation=augmentation), expected, rtol=tolerance)


def test_classes_of_unequal_size_weigh_the_same():
    lopsided = np.concatenate([balanced(1), np.flatnonzero(TRAIN.labels == 3)[4:8]])
    np.testing.assert_allclose(losses("dm", lopsided)[0, 0], literal_loss("dm", lopsided, 0, "siamese-dsa", most=5), rtol=2e-4)


@pytest.mark.parametrize("card", ["digits/convnet-d3", "digits/convnet-d3-bn", "digits/mlp"])
def test_each_images_own_gradient_is_what_autograd_says_of_that_image_alone(card):
    scene = replace(SCENE, backbone=read_card(ROOT, card))
    network = blank_network(scene)
    draw_weights(network, scene, "dc", 0)
    # In float32 a ReLU whose input is as good as 0 may turn, and which one does hangs on the processor.
    network, images = network.double(), images_of(TRAIN, np.arange(11), scene.backbone, "cpu").double()
    found = own_gradients(network, images, label=3)
    weights = [weight.requires_grad_() for weight in network.parameters() if weight.ndim > 1]
    assert len(found) == len(weights)
    for position, image in enumerate(images):
        expected = torch.autograd.grad(F.cross_entropy(network(image[None]), torch.tensor([3])), weights)
        for mine, right in zip(found, expected, strict=True):
            torch.testing.assert_close(mine[position], right.flatten(1), rtol=1e-9, atol=1e-12)


# What must not move a loss, and what must


def test_dm_of_the_whole_split_is_zero_because_the_classes_are_smaller_than_a_real_sample():
    assert losses("dm", np.arange(len(TRAIN)), networks=2, real_per_class=256).tolist() == [[0.0, 0.0]]


def test_dc_of_the_whole_split_is_what_the_formulas_epsilon_leaves():
    whole = np.arange(len(TRAIN))
    found = losses("dc", whole, balanced(8), real_per_class=256)
    assert found[0, 0] == pytest.approx(literal_loss("dc", whole, 0, "none", most=256), rel=0.01)
    assert found[0, 0] < found[1, 0] / 20


@BOTH
def test_a_set_with_every_row_twice_has_exactly_the_loss_of_the_set_with_every_row_once(name):
    half = balanced(3)
    once, twice, thrice = losses(name, half, np.concatenate([half, half]), np.tile(half, 3))
    assert once.tolist() == twice.tolist() == thrice.tolist()
    assert losses(name, np.repeat(half, 2)).tolist() == losses(name, half).tolist()


@BOTH
def test_a_row_named_twice_counts_twice(name):
    once, one_row_twice = losses(name, balanced(2), np.concatenate([balanced(2), balanced(1)]))
    assert abs(once / one_row_twice - 1) > 1e-3


@BOTH
def test_the_order_of_rows_changes_no_bit(name):
    rows = balanced(3)
    shuffled = np.random.default_rng(0).permutation(rows)
    assert losses(name, shuffled).tolist() == losses(name, rows).tolist()


@pytest.mark.parametrize("augmentation", ["none", "siamese-dsa"])
@pytest.mark.parametrize("scene", [SCENE, BATCH_NORM], ids=["instance norm", "batch norm"])
@BOTH
def test_a_set_has_the_same_loss_whichever_sets_are_scored_with_it(name, scene, augmentation):
    alone = losses(name, balanced(1), scene=scene, augmentation=augmentation)
    company = losses(name, balanced(4, skip=3), balanced(1), balanced(7), scene=scene, augmentation=augmentation)
    np.testing.assert_allclose(company[1], alone[0], rtol=1e-6)


@BOTH
def test_a_draw_depends_on_its_number_and_not_on_how_many_there_are(name):
    more = losses(name, balanced(2), networks=3)
    assert more[:, :2].tolist() == losses(name, balanced(2), networks=2).tolist()
    assert len(set(more[0])) == 3


@BOTH
def test_draws_that_were_done_before_an_interruption_are_not_done_again(name, tmp_path):
    def interrupt(done, total):
        if done > 15:  # in the second draw
            raise KeyboardInterrupt

    seen = []
    with pytest.raises(KeyboardInterrupt):
        losses(name, balanced(2), networks=3, scene=replace(SCENE, kept=tmp_path, report=interrupt))
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}-0.safetensors"]
    watched = replace(SCENE, kept=tmp_path, report=lambda done, total: seen.append(done))
    assert losses(name, balanced(2), networks=3, scene=watched).tolist() == losses(name, balanced(2), networks=3).tolist()
    assert seen == list(range(11, 31))


@pytest.mark.parametrize("damage", [b"", b"x" * 40, save({"other": np.zeros(2)}), save({"losses": np.zeros(1)}),
                                    save({"losses": np.full(2, np.nan)}), save({"losses": np.zeros(2, np.float32)})])  # fmt: skip
def test_a_kept_draw_that_is_damaged_is_done_again(tmp_path, damage):
    sets, scene = (balanced(1), balanced(2)), replace(SCENE, kept=tmp_path)
    (tmp_path / "dm-0.safetensors").write_bytes(damage)
    assert losses("dm", *sets, scene=scene).tolist() == losses("dm", *sets).tolist()
    assert losses("dm", *sets, scene=scene).tolist() == losses("dm", *sets).tolist()


@BOTH
def test_the_global_generator_neither_moves_a_loss_nor_is_moved(name):
    first = losses(name, balanced(1), augmentation="siamese-dsa")
    torch.manual_seed(11)
    before = torch.get_rng_state()
    assert losses(name, balanced(1), augmentation="siamese-dsa").tolist() == first.tolist()
    assert torch.equal(torch.get_rng_state(), before)


@BOTH
def test_more_images_of_each_class_come_closer_to_the_real_ones(name):
    few, some, many = losses(name, balanced(1), balanced(4), balanced(8), networks=2, real_per_class=256).mean(axis=1)
    assert few > some > many


# Batch norm, large images, augmentation


def test_batch_norm_has_the_statistics_of_sixteen_real_images_a_class_and_keeps_them():
    scene = replace(BATCH_NORM, train=few_digits(20))
    network = blank_network(scene)
    draw_weights(network, scene, "dm", 0)
    assert not network.training
    rows = np.concatenate([
        np.flatnonzero(scene.train.labels == label)[
            torch.randperm(20, generator=generator_for(0, f"dm/batch-norm/real/{label}"))[:16].numpy()
        ]
        for label in range(10)
    ])  # fmt: skip
    seen = network[0](normalised(torch.from_numpy(scene.train.images[rows]), scene.backbone, None))
    torch.testing.assert_close(network[1].running_mean, seen.mean(dim=(0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network[1].running_var, seen.var(dim=(0, 2, 3)), rtol=1e-4, atol=1e-5)


def test_images_that_stay_encoded_are_the_same_images():
    stored = [encode(image) for image in TRAIN.images]
    encoded = replace(TRAIN, images=EncodedImages(len(stored), stored.__getitem__))
    rows, card = np.array([5, 2, 2, 40]), SCENE.backbone
    unresized = card.model_copy(update={"input": card.input.model_copy(update={"resize": "none"})})
    assert torch.equal(images_of(encoded, rows, unresized, "cpu"), images_of(TRAIN, rows, unresized, "cpu"))


@pytest.mark.parametrize("operation", DSA.strategy)
def test_every_image_gets_the_same_draw_of_an_operation_whatever_the_batch(operation):
    settings = DSA.model_copy(update={"strategy": (operation,)})
    images = torch.randn(13, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for seed in range(4):
        together = augment_siamese(images, settings, generator_for(seed, "augmentation"))
        alone = [augment_dsa(image[None], settings, generator_for(seed, "augmentation")) for image in images]
        in_fives = [augment_siamese(part, settings, generator_for(seed, "augmentation")) for part in images.split(5)]
        assert torch.equal(together, torch.cat(alone))
        assert torch.equal(together, torch.cat(in_fives))
    assert any(
        not torch.equal(augment_siamese(images, settings, generator_for(seed, "augmentation")), images) for seed in range(4)
    )


@pytest.mark.parametrize(
    ("dataset", "protocol"),
    [
        ("digits", "digits/resnet18-hl/v1"),
        ("cifar100", "cifar100/convnet-d3-hl/v1"),
        ("tiny-imagenet", "tiny-imagenet/convnet-d4-hl/v1"),
    ],
)
@BOTH
def test_the_augmentation_is_that_of_the_datasets_students(name, dataset, protocol):
    assert dsa_settings(OBJECTIVES[name].settings_for(dataset)) == find_protocol(ROOT, protocol).augmentation


# Clumsy users


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (balanced(1)[:-1], "no image of class 9"),
        (np.zeros(0, dtype=np.int64), "no image of class 0"),
        (np.append(balanced(1), len(TRAIN)), "the split has 90 rows"),
        (np.append(balanced(1), -1), "the split has 90 rows"),
    ],
)
@BOTH
def test_a_set_that_lacks_a_class_or_names_rows_that_do_not_exist_is_refused(name, rows, why):
    with pytest.raises(UsageError) as refused:
        losses(name, balanced(1), rows)
    assert refused.value.where == "set 1"
    assert why in refused.value.why
