"""SRe2L, DWA and RDED's realism as losses of a set: against literal slow versions, and what repetition and order may change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F

from harness.canonical import sha256_hex
from harness.datasets import load_split
from harness.dcs.declared import DWA, DWA_NOPERTURB, RDED_REALISM, SRE2L_BN, SRE2L_TOTAL
from harness.dcs.objective import Scene
from harness.dcs.objectives import bn_moments
from harness.dcs.objectives.bn_moments import counted_sets, open_batch_norm_teacher
from harness.dcs.objectives.dwa import batches_of, perturbed_weights
from harness.errors import EnvironmentProblem, ProtocolError, UsageError
from harness.teachers import PinnedTeacher, read_card, read_weights
from harness.training.students import build_network
from harness.training.views import normalised

ROOT = Path(__file__).resolve().parent.parent
TRAIN = load_split("digits", "train")
OF_TEACHER = [SRE2L_BN, SRE2L_TOTAL, DWA, DWA_NOPERTURB]
ALL = [*OF_TEACHER, RDED_REALISM]
every_objective = pytest.mark.parametrize("objective", ALL, ids=lambda objective: objective.name)


def pinned(teacher_id: str) -> PinnedTeacher:
    card = read_card(ROOT, teacher_id)
    return PinnedTeacher(card, read_weights(ROOT, card))


BATCH_NORM, INSTANCE_NORM = pinned("digits/convnet-d3-bn"), pinned("digits/convnet-d3")
SCENE = Scene(TRAIN, INSTANCE_NORM.card, BATCH_NORM, INSTANCE_NORM)


def balanced(ipc: int, skip: int = 0) -> np.ndarray:
    """int64 [10 x ipc]: of each digit the rows from its `skip`th on."""
    return np.concatenate([np.flatnonzero(TRAIN.labels == label)[skip : skip + ipc] for label in range(10)])


def score(objective, *sets: np.ndarray, scene: Scene = SCENE, **settings) -> np.ndarray:
    """float64 [sets]."""
    found = objective.losses(sets, scene, {**objective.settings_for("digits"), **settings})
    assert found.shape == (len(sets), 1)
    assert found.dtype == np.float64
    return found[:, 0]


# Literal slow versions: the whole set as one batch, in float64


def literal_network(teacher: PinnedTeacher) -> torch.nn.Module:
    card = teacher.card
    network = build_network(card.student, card.dataset.classes, card.input.resolution, card.id)
    network.load_state_dict(safetensors.torch.load(teacher.weights))
    return network.double().eval()


def seen(rows: np.ndarray, teacher: PinnedTeacher) -> tuple[torch.Tensor, torch.Tensor]:
    images = normalised(torch.from_numpy(TRAIN.images[rows]), teacher.card, None)
    return images.double(), torch.from_numpy(TRAIN.labels[rows])


def literal_terms(network: torch.nn.Module, batches: list, first: float, variance_weight: float) -> tuple[float, float]:
    """(cross-entropy, BN term) of images that pass `network` as SRe2L's BNFeatureHook sees them; `batches` [(weights, rows)]."""
    inputs: dict[torch.nn.Module, list[torch.Tensor]] = {}
    layers = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]

    def keep(layer, given, _):
        inputs.setdefault(layer, []).append(given[0].clone())

    hooks = [layer.register_forward_hook(keep) for layer in layers]
    losses = []
    for weights, rows in batches:
        network.load_state_dict(weights, strict=False)
        images, labels = seen(rows, BATCH_NORM)
        with torch.no_grad():
            losses.append(F.cross_entropy(network(images), labels, reduction="none"))
    for hook in hooks:
        hook.remove()
    bn = 0.0
    for number, layer in enumerate(layers):
        x = torch.cat(inputs[layer])
        mean = x.mean([0, 2, 3])
        variance = x.permute(1, 0, 2, 3).contiguous().view(x.shape[1], -1).var(1, unbiased=False)
        term = torch.norm(mean - layer.running_mean, 2) + variance_weight * torch.norm(variance - layer.running_var, 2)
        bn += (first if number == 0 else 1.0) * term.item()
    return torch.cat(losses).mean().item(), bn


def literally_perturbed(rows: np.ndarray, rho: float, steps: int) -> dict[str, torch.Tensor]:
    """The weights after DWA's ascent, by plain autograd on the whole batch."""
    network = literal_network(BATCH_NORM)
    images, labels = seen(rows, BATCH_NORM)
    for _ in range(steps):
        network.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        norm = torch.cat([weight.grad.flatten() for weight in network.parameters()]).norm()
        with torch.no_grad():
            for weight in network.parameters():
                weight += rho / steps * weight.grad / norm
    return {name: weight.detach() for name, weight in network.named_parameters()}


def test_sre2l_is_the_literal_formula_over_the_whole_set():
    for rows in (balanced(3), balanced(30)):  # fewer images than a chunk, and more
        cross_entropy, bn = literal_terms(literal_network(BATCH_NORM), [({}, rows)], 10.0, 1.0)
        assert score(SRE2L_BN, rows)[0] == pytest.approx(bn, rel=1e-5)
        assert score(SRE2L_TOTAL, rows)[0] == pytest.approx(cross_entropy + 0.01 * bn, rel=1e-5)


def test_dwa_without_steps_is_the_literal_formula_with_the_variance_weighted():
    rows = balanced(12)
    cross_entropy, bn = literal_terms(literal_network(BATCH_NORM), [({}, rows)], 10.0, 11.0)
    assert score(DWA_NOPERTURB, rows)[0] == pytest.approx(cross_entropy + 0.01 * bn, rel=1e-5)


def test_dwa_is_the_literal_ascent_on_each_batch_from_the_teachers_own_weights():
    rows = balanced(5)
    batches = [batch.rows for batch in batches_of(counted_sets([rows], TRAIN)[0], TRAIN.labels, {"batch": 20, "most_batches": 0})]
    assert [len(batch) for batch in batches] == [20, 20, 10]
    adjusted = [(literally_perturbed(batch, 0.5, 3), batch) for batch in batches]
    cross_entropy, bn = literal_terms(literal_network(BATCH_NORM), adjusted, 10.0, 11.0)
    found = score(DWA, rows, batch=20, rho=0.5, steps=3)[0]
    assert found == pytest.approx(cross_entropy + 0.01 * bn, rel=1e-4)
    assert found > 1.01 * score(DWA_NOPERTURB, rows, batch=20)[0]


def test_the_adjusted_weights_are_those_of_plain_autograd_and_lie_at_most_rho_away():
    network = open_batch_norm_teacher(SCENE)
    (members,) = counted_sets([balanced(2)], TRAIN)
    before = {name: tensor.clone() for name, tensor in network.model.state_dict().items()}
    found = perturbed_weights(network, members, SCENE, {"rho": 0.015, "steps": 12})
    expected = literally_perturbed(members.rows, 0.015, 12)
    own = dict(network.model.named_parameters())
    moved = torch.cat([(found[name] - own[name]).flatten() for name in own])
    right = torch.cat([(expected[name] - own[name]).flatten() for name in own])
    assert moved.norm().item() == pytest.approx(0.015, rel=0.05)
    assert (moved - right).norm() < 1e-3 * right.norm()
    assert all(torch.equal(before[name], tensor) for name, tensor in network.model.state_dict().items())


def test_steps_in_bf16_end_where_those_in_fp32_do_but_for_rounding():
    rows = balanced(5)
    exact, found = (score(DWA, rows, steps_precision=precision)[0] for precision in ("fp32", "bf16-autocast"))
    assert found != exact
    assert found == pytest.approx(exact, abs=0.02 * (exact - score(DWA_NOPERTURB, rows)[0]))


def test_realism_is_the_mean_cross_entropy_of_the_observer():
    rows = balanced(4)
    images, labels = seen(rows, INSTANCE_NORM)
    expected = F.cross_entropy(literal_network(INSTANCE_NORM)(images), labels).item()
    assert score(RDED_REALISM, rows)[0] == pytest.approx(expected, rel=1e-5)


def test_realism_tells_two_images_of_which_the_observer_is_sure_apart():
    values = score(RDED_REALISM, *balanced(8)[:, None])
    assert len(np.unique(values)) == len(values)
    assert (values > 0).all()


# Known answers


def with_statistics_of(rows: np.ndarray) -> PinnedTeacher:
    """The teacher, its running statistics replaced, layer by layer, by those of the rows."""
    network = literal_network(BATCH_NORM)

    def take_over(layer, given):
        layer.running_mean.copy_(given[0].mean([0, 2, 3]))
        layer.running_var.copy_(given[0].var([0, 2, 3], unbiased=False))

    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.register_forward_pre_hook(take_over)
    with torch.no_grad():
        network(seen(rows, BATCH_NORM)[0])
    weights = safetensors.torch.save({name: value.float() for name, value in network.state_dict().items()})
    pin = BATCH_NORM.card.weights.model_copy(update={"sha256": sha256_hex(weights), "bytes": len(weights)})
    return PinnedTeacher(BATCH_NORM.card.model_copy(update={"weights": pin}), weights)


def test_a_set_with_the_running_statistics_has_no_batch_norm_term():
    scene = replace(SCENE, teacher=with_statistics_of(balanced(6)))
    same, other = score(SRE2L_BN, balanced(6), balanced(6, skip=10), scene=scene)
    assert same < 1e-4 < 0.1 < other


def test_the_first_layer_counts_ten_times():
    rows = balanced(3)
    once, twice, tenfold = (score(SRE2L_BN, rows, first_layer_weight=weight)[0] for weight in (1.0, 2.0, 10.0))
    assert tenfold == pytest.approx(once + 9 * (twice - once))
    assert tenfold == score(SRE2L_BN, rows)[0]


def test_dwa_of_no_step_length_is_dwa_without_steps():
    sets = balanced(3), balanced(11), np.repeat(balanced(3, skip=4), 2)
    np.testing.assert_allclose(score(DWA, *sets, rho=0.0, steps=2), score(DWA_NOPERTURB, *sets), rtol=1e-6)


def test_the_settings_are_those_of_the_dataset():
    assert SRE2L_TOTAL.settings_for("tiny-imagenet")["bn_weight"] == 1.0
    assert SRE2L_TOTAL.settings_for("cifar100")["bn_weight"] == SRE2L_TOTAL.settings_for("imagenet-1k")["bn_weight"] == 0.01
    small = (11.0, 12, 100)
    wanted = {"imagenet-1k": (2.0, 15, 100), "tiny-imagenet": (11.0, 12, 200), "cifar100": small, "digits": small}
    for dataset, values in wanted.items():
        settings = DWA.settings_for(dataset)
        assert (settings["variance_weight"], settings["steps"], settings["batch"]) == values
        of_steps = {"rho", "steps", "steps_precision"}
        assert {name: settings[name] for name in settings.keys() - of_steps} == DWA_NOPERTURB.settings_for(dataset)


# Repetition, order, company


@every_objective
def test_a_set_whose_every_row_comes_equally_often_has_exactly_the_loss_of_its_distinct_rows(objective):
    half, others = balanced(3), balanced(5, skip=2)
    few = {"steps": 2}
    found = score(
        objective, half, others, np.repeat(half, 2), np.concatenate([half[::-1], half]), np.repeat(half, 3), half, **few
    )
    assert (found[2:] == found[0]).all()
    assert found[1] != found[0]
    assert score(objective, np.repeat(half, 2), **few)[0] == score(objective, half, **few)[0]


@every_objective
def test_a_row_that_comes_more_often_than_others_weighs_more(objective):
    rows = balanced(2)
    heavy = np.concatenate([rows, np.repeat(rows[:1], 30)])
    plain, weighted = score(objective, rows, heavy)
    assert weighted != pytest.approx(plain, rel=1e-3)


def test_counted_rows_weigh_as_rows_that_are_seen_again():
    rows = np.concatenate([balanced(2), balanced(1), balanced(1)[:3]])
    cross_entropy, bn = literal_terms(literal_network(BATCH_NORM), [(literally_perturbed(rows, 0.3, 2), rows)], 10.0, 11.0)
    assert score(DWA, rows, rho=0.3, steps=2)[0] == pytest.approx(cross_entropy + 0.01 * bn, rel=1e-4)
    _, bn = literal_terms(literal_network(BATCH_NORM), [({}, rows)], 10.0, 1.0)
    assert score(SRE2L_BN, rows)[0] == pytest.approx(bn, rel=1e-5)


@every_objective
def test_the_order_of_rows_means_nothing(objective):
    rows = balanced(12)
    first, second = score(objective, rows, np.random.default_rng(0).permutation(rows))
    assert first == second


@every_objective
def test_the_same_call_gives_the_same_bits_and_the_company_of_other_sets_only_rounding(objective):
    sets, few = (balanced(2), balanced(4, skip=3), balanced(12)), {"steps": 2}
    together = score(objective, *sets, **few)
    assert (score(objective, *sets, **few) == together).all()
    np.testing.assert_allclose([score(objective, rows, **few)[0] for rows in sets], together, rtol=1e-5)


@pytest.mark.parametrize("chunk", [7, 64])
def test_the_size_of_a_chunk_changes_rounding_only(chunk, monkeypatch):
    sets = balanced(2), balanced(4, skip=3)
    whole = score(SRE2L_TOTAL, *sets)
    monkeypatch.setattr(bn_moments, "CHUNK", chunk)
    np.testing.assert_allclose(score(SRE2L_TOTAL, *sets), whole, rtol=1e-5)


# Batches


def test_batches_hold_every_row_once_and_as_many_of_each_class():
    rows = balanced(25)
    batches = list(batches_of(counted_sets([rows], TRAIN)[0], TRAIN.labels, {"batch": 100, "most_batches": 0}))
    assert [np.bincount(TRAIN.labels[batch.rows]).tolist() for batch in batches] == [[10] * 10, [10] * 10, [5] * 10]
    assert sorted(np.concatenate([batch.rows for batch in batches])) == sorted(rows)


def test_a_limit_on_batches_takes_the_same_first_ones_with_and_without_steps():
    rows = balanced(25)
    start = np.concatenate([np.sort(rows[TRAIN.labels[rows] == label])[:10] for label in range(10)])
    assert score(DWA_NOPERTURB, rows, most_batches=1)[0] == pytest.approx(score(DWA_NOPERTURB, start)[0], rel=1e-6)
    assert score(DWA, rows, most_batches=1, steps=2)[0] == score(DWA, start, steps=2)[0]


# Mistakes


@every_objective
def test_a_missing_teacher_is_the_environments_problem_and_says_how_to_get_one(objective):
    with pytest.raises(EnvironmentProblem) as caught:
        score(objective, balanced(1), scene=replace(SCENE, teacher=None, observer=None))
    assert "hlbench teacher train digits/" in caught.value.fix


@pytest.mark.parametrize("objective", OF_TEACHER, ids=lambda objective: objective.name)
def test_a_teacher_without_batch_norm_is_refused(objective):
    with pytest.raises(UsageError, match="no batch norm"):
        score(objective, balanced(1), scene=replace(SCENE, teacher=INSTANCE_NORM))


@every_objective
def test_a_teacher_of_another_dataset_is_refused(objective):
    with pytest.raises(UsageError, match="another dataset"):
        score(objective, balanced(1), scene=replace(SCENE, train=replace(TRAIN, dataset="cifar10")))


@every_objective
@pytest.mark.parametrize("rows", [[], [-1, 3], [0, 898]], ids=["empty", "negative", "too large"])
def test_a_set_without_images_or_with_rows_that_do_not_exist_is_refused(objective, rows):
    with pytest.raises(UsageError) as caught:
        score(objective, balanced(1), np.array(rows, dtype=np.int64))
    assert caught.value.where == "set 1"


@every_objective
def test_a_teacher_that_says_no_number_is_refused(objective):
    def spoilt(teacher):
        state = safetensors.torch.load(teacher.weights)
        name = next(name for name in state if state[name].dim() == 4)
        return PinnedTeacher(teacher.card, safetensors.torch.save({**state, name: state[name] * torch.inf}))

    with pytest.raises(ProtocolError, match="no number"):
        score(objective, balanced(1), scene=replace(SCENE, teacher=spoilt(BATCH_NORM), observer=spoilt(INSTANCE_NORM)))
