"""Expert trajectories and trajectory matching: what is made, what is refused, and the loss against a slow, literal version."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
import torch.nn.functional as F
import yaml
from command_line import caller
from teacher_checkout import ROOT, make_teacher_checkout

from harness import experts as artifact
from harness.canonical import file_sha256
from harness.datasets import Split, load_split
from harness.dcs import declared
from harness.dcs.objective import Scene
from harness.dcs.objectives import tm
from harness.errors import CheckFailed, EnvironmentProblem, HlbenchError, ProtocolError, UsageError
from harness.experts import CARD, PARAMETERS, RECIPE, ExpertsRecipe, find_experts, open_experts, read_experts_recipe
from harness.imageset import ImageSet
from harness.teachers import PinnedTeacher, read_card, read_weights
from harness.training import train_experts as making
from harness.training.dsa import augment_dsa
from harness.training.engine import Engine
from harness.training.seeding import generator_for
from harness.training.students import build_network, build_student
from harness.training.train_experts import train_experts, verify_experts
from harness.training.trainer import gradient_step
from harness.training.views import TrainingViews, normalised

DIGITS = "digits/experts-convnet-d3"
ROWS, WIDTH, PARAMETER_COUNT, EPOCHS = 60, 8, 2730, 3
SETTINGS = {
    "steps": 3, "expert_epochs": 1, "starts": "0,2", "experts": 2, "step_size": 0.01, "batch_size": 8, "labels": "one-hot",
}  # fmt: skip


class Stopped(Exception):
    pass


def narrow(student):
    return student.model_copy(update={"width": WIDTH, "parameters": PARAMETER_COUNT})


def small_recipe() -> ExpertsRecipe:
    recipe = read_experts_recipe(ROOT, DIGITS)
    training = recipe.training.model_copy(update={"epochs": {1: EPOCHS}, "batch_size": {1: 32}})
    return recipe.model_copy(update={"student": narrow(recipe.student), "training": training, "seeds": (0, 1)})


def small_split() -> Split:
    split = load_split("digits", "train")
    return replace(split, images=split.images[:ROWS], labels=split.labels[:ROWS], fingerprint="5" * 64)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of two small experts, which tests only read."""
    folder = tmp_path_factory.mktemp("experts")
    train_experts(small_recipe(), small_split(), folder, "cpu")
    return folder


@pytest.fixture
def own(made, tmp_path):
    """A copy of `made` that a test may spoil."""
    folder = tmp_path / "own"
    folder.mkdir()
    for path in made.glob("e*"):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture
def scene(made):
    card = read_card(ROOT, "digits/convnet-d3")
    return Scene(small_split(), card.model_copy(update={"student": narrow(card.student)}), experts=made)


def sets_of(*counts: int) -> list[np.ndarray]:
    return [np.random.default_rng(count).permutation(ROWS)[:count] for count in counts]


# `hlbench` that kills itself, as a machine that goes down would, before it writes the second expert.
DYING = """
import os, signal
from harness import cli
from harness.training import train_experts as making
kept = making.write_trajectory
def write(path, trajectory):
    if "-1" in path.name:
        os.kill(os.getpid(), signal.SIGKILL)
    kept(path, trajectory)
making.write_trajectory = write
cli.main()
"""


# Making


def test_a_trajectory_is_that_of_a_literal_training_loop(made):
    recipe, split = small_recipe(), small_split()
    model = build_student(recipe.model_copy(update={"seeds": (1,)}), generator_for(1, "init"))
    views = TrainingViews(ImageSet(split.images, split.labels), recipe, "cpu")
    order, augmentation = generator_for(1, "order"), generator_for(1, "augmentation")
    expected = [torch.cat([p.detach().flatten() for p in model.parameters()])]
    for _ in range(EPOCHS):
        for images, labels in views.epoch(torch.randperm(ROWS, generator=order), 32, augmentation):
            gradients = torch.autograd.grad(F.cross_entropy(model(images), labels), list(model.parameters()))
            with torch.no_grad():
                for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                    parameter -= 0.01 * gradient
        expected.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    experts = open_experts(made)
    found = np.stack([experts.parameters(1, epoch) for epoch in range(EPOCHS + 1)])
    np.testing.assert_array_equal(found[0], expected[0].numpy())
    np.testing.assert_allclose(found, torch.stack(expected).numpy(), rtol=0, atol=2e-6)


def test_every_epoch_and_every_expert_is_another(made):
    experts = open_experts(made)
    kept = {experts.parameters(seed, epoch).tobytes() for seed in (0, 1) for epoch in range(EPOCHS + 1)}
    assert len(kept) == 2 * (EPOCHS + 1)


def test_a_trajectory_that_aliases_the_live_parameters_is_refused(tmp_path, monkeypatch):
    last = np.ones(PARAMETER_COUNT, np.float32)
    monkeypatch.setattr(making, "flat", lambda tensors: last)
    with pytest.raises(CheckFailed, match="stood still"):
        train_experts(small_recipe(), small_split(), tmp_path / "aliased", "cpu")
    assert not list((tmp_path / "aliased").glob("expert-*"))


def test_stopped_in_the_middle_and_gone_on_gives_the_same_bytes_and_keeps_the_experts_that_were_done(made, tmp_path):
    def stop(seed, state):
        if (seed, state.epochs_done) == (1, 2):
            raise Stopped

    seen, folder = [], tmp_path / "broken"
    with pytest.raises(Stopped):
        train_experts(small_recipe(), small_split(), folder, "cpu", on_state=stop)
    with pytest.raises(EnvironmentProblem, match="no expert trajectories") as caught:
        open_experts(folder)
    assert "1 of 2" in caught.value.why
    card = train_experts(small_recipe(), small_split(), folder, "cpu", on_state=lambda seed, state: seen.append(seed))
    assert seen == [1] * EPOCHS
    assert card.sha256 == open_experts(made).sha256
    for name in small_recipe().files:
        assert file_sha256(folder / name) == file_sha256(made / name)


def test_a_complete_set_is_not_trained_again(own):
    before = (own / CARD).read_bytes()
    train_experts(small_recipe(), small_split(), own, "cpu", on_state=lambda seed, state: pytest.fail("trained"))
    assert (own / CARD).read_bytes() == before


def test_a_removed_file_is_made_again_as_it_was(own, made):
    (own / "expert-0.safetensors").unlink()
    train_experts(small_recipe(), small_split(), own, "cpu")
    assert file_sha256(own / "expert-0.safetensors") == file_sha256(made / "expert-0.safetensors")


def test_going_on_in_another_setting_is_refused(own):
    (own / "expert-1.safetensors").unlink()
    alter(own, made={"threads": 63})
    with pytest.raises(EnvironmentProblem, match="another setting") as caught:
        train_experts(small_recipe(), small_split(), own, "cpu")
    assert "threads: 63 then" in caught.value.why


def test_another_recipe_or_split_needs_another_folder(own):
    other = small_recipe().model_copy(update={"sha256": "1" * 64})
    for recipe, split in ((other, small_split()), (small_recipe(), replace(small_split(), fingerprint="6" * 64))):
        with pytest.raises(UsageError, match="another recipe or training split"):
            train_experts(recipe, split, own, "cpu")


def test_a_file_nobody_listed_is_not_written_over(tmp_path):
    (tmp_path / "expert-0.safetensors").write_bytes(b"precious")
    with pytest.raises(UsageError, match="did not leave"):
        train_experts(small_recipe(), small_split(), tmp_path, "cpu")
    assert (tmp_path / "expert-0.safetensors").read_bytes() == b"precious"


def test_a_machine_that_makes_other_bytes_is_found_out_after_one_expert(made, tmp_path):
    pinned = open_experts(made).card
    pinned = pinned.model_copy(update={"files": dict.fromkeys(pinned.files, "0" * 64)})
    seen = []
    with pytest.raises(CheckFailed, match="not the pinned ones") as caught:
        train_experts(small_recipe(), small_split(), tmp_path / "x", "cpu", pinned, lambda seed, state: seen.append(seed))
    assert set(seen) == {0}
    assert "round otherwise" in caught.value.why
    assert "--out" in caught.value.fix


# Reading


def alter(folder: Path, **sections) -> None:
    card = yaml.safe_load((folder / CARD).read_text())
    for name, values in sections.items():
        card[name] = {**card[name], **values} if isinstance(values, dict) else values
    (folder / CARD).write_text(yaml.safe_dump(card))


def spoil(folder: Path, damage: str) -> None:
    path = folder / "expert-1.safetensors"
    stored = path.read_bytes()
    trajectory = safetensors.numpy.load(stored)[PARAMETERS]
    contents = {
        "one bit": stored[:-1] + bytes([stored[-1] ^ 1]),
        "cut short": stored[: len(stored) // 2],
        "a pickle, and listed": b"\x80\x04K\x01.",
        "too few epochs, and listed": safetensors.numpy.save({PARAMETERS: trajectory[:-1]}),
        "halves, and listed": safetensors.numpy.save({PARAMETERS: trajectory.astype(np.float16)}),
        "another tensor, and listed": safetensors.numpy.save({"weights": trajectory}),
        "two tensors, and listed": safetensors.numpy.save({PARAMETERS: trajectory, "more": trajectory}),
    }
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(contents[damage])
    if damage.endswith("and listed"):
        alter(folder, files={path.name: file_sha256(path)})


DAMAGES = [
    "missing", "one bit", "cut short", "a pickle, and listed", "too few epochs, and listed", "halves, and listed",
    "another tensor, and listed", "two tensors, and listed",
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_altered_truncated_and_foreign_files_are_refused(own, damage):
    spoil(own, damage)
    with pytest.raises(CheckFailed, match="damaged") as caught:
        open_experts(own)
    assert "expert-1.safetensors" in caught.value.where
    assert "--trajectories" in caught.value.fix


def test_a_card_with_a_word_too_many_or_a_file_elsewhere_is_refused(own):
    alter(own, files={"../expert-1.safetensors": "0" * 64})
    with pytest.raises(CheckFailed):
        open_experts(own)


def test_a_number_that_is_not_finite_is_refused(own):
    path = own / "expert-0.safetensors"
    trajectory = safetensors.numpy.load_file(path)[PARAMETERS].copy()
    trajectory[2, 5] = np.nan
    safetensors.numpy.save_file({PARAMETERS: trajectory}, path)
    alter(own, files={path.name: file_sha256(path)})
    experts = open_experts(own)
    experts.parameters(0, 1)
    with pytest.raises(CheckFailed, match="damaged"):
        experts.parameters(0, 2)


@pytest.mark.parametrize(("expert", "epoch"), [(2, 0), (-1, 0), (0, EPOCHS + 1), (0, -1)])
def test_an_epoch_that_nobody_trained_is_refused(made, expert, epoch):
    with pytest.raises(UsageError, match=f"no expert {expert} after epoch {epoch}"):
        open_experts(made).parameters(expert, epoch)


def test_experts_of_another_seed_are_found_out_by_verify(own):
    assert verify_experts(open_experts(own), small_split(), "cpu")["sha256"] == open_experts(own).sha256[:12]
    (own / "expert-1.safetensors").write_bytes((own / "expert-0.safetensors").read_bytes())
    alter(own, files={"expert-1.safetensors": file_sha256(own / "expert-0.safetensors")})
    with pytest.raises(CheckFailed, match="damaged") as caught:
        verify_experts(open_experts(own), small_split(), "cpu")
    assert "seed 1" in caught.value.why


def test_the_identity_is_that_of_the_bytes_and_not_of_the_machine(own):
    before = open_experts(own).sha256
    alter(own, made={"processor": "another", "seconds": 1.0})
    assert open_experts(own).sha256 == before
    spoil(own, "one bit")
    alter(own, files={"expert-1.safetensors": file_sha256(own / "expert-1.safetensors")})
    assert open_experts(own).sha256 != before


# Recipes and the command


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout whose experts are small; the command is started there."""
    root = make_teacher_checkout(tmp_path)
    monkeypatch.chdir(root)
    path = root / "teachers" / DIGITS / RECIPE
    text = path.read_text()
    smaller = {
        "epochs: {value: {1: 40}": "epochs: {value: {1: 1}", "width: {value: 64": "width: {value: 8",
        "parameters: {value: 86282": "parameters: {value: 2730", "seeds: {value: [0, 1, 2, 3, 4]": "seeds: {value: [0, 1]",
        "backbone: {value: digits/convnet-d3": "backbone: {value: digits/narrow",
    }  # fmt: skip
    for value, other in smaller.items():
        assert value in text
        text = text.replace(value, other)
    path.write_text(text)
    (path.parent / CARD).unlink(missing_ok=True)
    narrow_recipe = (root / "teachers" / "digits" / "convnet-d3" / "recipe.yaml").read_text()
    narrow_recipe = narrow_recipe.replace("id: digits/convnet-d3", "id: digits/narrow").replace(
        "width: {value: 64", "width: {value: 8"
    )
    (root / "teachers" / "digits" / "narrow").mkdir()
    (root / "teachers" / "digits" / "narrow" / "recipe.yaml").write_text(narrow_recipe.replace("{value: 86282", "{value: 2730"))
    return root


@pytest.fixture
def hlbench(checkout, monkeypatch, capsys):
    """Runs `hlbench teacher ARGUMENTS`; returns (exit code, standard output, standard error)."""
    return caller(monkeypatch, capsys, "teacher")


def test_the_command_makes_pins_and_verifies_and_refuses_what_is_not_pinned(checkout, hlbench):
    with pytest.raises(EnvironmentProblem) as caught:
        find_experts(checkout, DIGITS)
    assert f"hlbench teacher train {DIGITS} --trajectories" in caught.value.fix
    code, shown, told = hlbench("train", DIGITS, "--trajectories", "--device", "cpu")
    assert (code, "pinned now" in shown, "1/2: epoch 1/1" in told) == (0, True, True)
    experts = find_experts(checkout, DIGITS)
    assert artifact.read_experts_card(checkout / "teachers" / DIGITS).sha256 == experts.sha256
    assert [path.name for path in sorted((checkout / "teachers" / DIGITS).iterdir())] == [RECIPE, CARD]
    code, shown, _ = hlbench("verify", DIGITS, "--device", "cpu")
    assert (code, experts.sha256[:12] in shown) == (0, True)
    assert "in the cache" in hlbench("list", "--json")[1]
    recipe = checkout / "teachers" / DIGITS / RECIPE
    as_made = recipe.read_text()
    recipe.write_text(as_made.replace("momentum: {value: 0.0", "momentum: {value: 0.1", 1))
    with pytest.raises(CheckFailed, match="of another recipe"):
        find_experts(checkout, DIGITS)
    recipe.write_text(as_made)
    alter(checkout / "teachers" / DIGITS, files={"expert-0.safetensors": "0" * 64})
    code, _, told = hlbench("verify", DIGITS, "--device", "cpu")
    assert (code, "not the pinned ones" in told) == (1, True)
    code, shown, _ = hlbench("train", DIGITS, "--trajectories", "--device", "cpu", "--out", "elsewhere")
    assert (code, experts.sha256 in shown) == (0, True)


def test_a_killed_command_loses_one_expert_at_most(checkout, hlbench):
    command = ["train", DIGITS, "--trajectories", "--device", "cpu", "--out", "made"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    killed = subprocess.run([sys.executable, "-c", DYING, "teacher", *command], env=environment, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    code, _, told = hlbench(*command)
    assert (code, "2/2: epoch" in told, "1/2: epoch" in told) == (0, True, False)
    assert len(open_experts(checkout / "made").card.files) == 2


def test_experts_are_no_teacher_and_a_teacher_is_no_expert(hlbench):
    code, _, told = hlbench("train", DIGITS)
    assert (code, "--trajectories" in told) == (2, True)
    code, _, told = hlbench("train", "digits/convnet-d3", "--trajectories")
    assert (code, f"choose one of: {DIGITS}" in told) == (2, True)


@pytest.mark.parametrize(
    ("value", "other", "told"),
    [
        ("factor: {value: 1.0", "factor: {value: 0.5", "constant learning rate"),
        ("seeds: {value: [0, 1]", "seeds: {value: [0, 0]", "seeds of experts"),
        ("width: {value: 8", "width: {value: 16", "experts and backbone differ"),
        ("id: digits/experts-convnet-d3", "id: digits/others", "id and path disagree"),
    ],
)
def test_a_recipe_that_makes_no_comparable_trajectories_is_refused(checkout, value, other, told):
    path = checkout / "teachers" / DIGITS / RECIPE
    assert value in path.read_text()
    path.write_text(path.read_text().replace(value, other))
    with pytest.raises(ProtocolError) as caught:
        read_experts_recipe(checkout, DIGITS)
    assert told in str(caught.value)


def test_the_shipped_experts_are_pinned_by_their_recipe():
    recipe, card = read_experts_recipe(ROOT, DIGITS), artifact.read_experts_card(ROOT / "teachers" / DIGITS)
    assert (card.recipe_sha256, card.complete) == (recipe.sha256, True)
    assert card.train_split == load_split("digits", "train").fingerprint
    assert min(card.train_top1.values()) > 90


# The loss


def literal_end(scene: Scene, rows: np.ndarray, targets: torch.Tensor, settings: dict, expert: int, start: int) -> np.ndarray:
    """A plain loop in float64: whole batches, autograd.grad, parameters replaced."""
    card, experts = scene.backbone, open_experts(scene.experts)
    network = build_network(card.student, card.dataset.classes, card.input.resolution, "test").double()
    parts = torch.from_numpy(experts.parameters(expert, start)).double().split([p.numel() for p in network.parameters()])
    weights = {name: part.view(p.shape) for (name, p), part in zip(network.named_parameters(), parts, strict=True)}
    images = normalised(torch.from_numpy(scene.train.images[rows]), card, None)
    generator, queue = generator_for(expert, f"tm/{start}/order"), []
    for step in range(settings["steps"]):
        if not queue:
            parts = -(-len(rows) // settings["batch_size"])
            queue = [torch.tensor(part) for part in np.array_split(torch.randperm(len(rows), generator=generator).numpy(), parts)]
        batch = queue.pop(0)
        strategy = open_experts(scene.experts).card.recipe.augmentation
        views = augment_dsa(images[batch], strategy, generator_for(expert, f"tm/{start}/augmentation/{step}"))
        weights = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
        logits = torch.func.functional_call(network, weights, (views.double(),))
        loss = -(targets[batch] * logits.log_softmax(dim=1)).sum(dim=1).mean()
        gradients = torch.autograd.grad(loss, list(weights.values()))
        weights = {name: w - settings["step_size"] * g for (name, w), g in zip(weights.items(), gradients, strict=True)}
    return torch.cat([weight.detach().flatten() for weight in weights.values()]).numpy()


def literal_ratios(scene: Scene, rows: np.ndarray, targets: torch.Tensor, settings: dict) -> list[float]:
    experts, found = open_experts(scene.experts), []
    for expert in (0, 1):
        for start in (0, 2):
            begin, goal = (experts.parameters(expert, epoch).astype(float) for epoch in (start, start + 1))
            end = literal_end(scene, rows, targets, settings, expert, start).astype(float)
            found.append(((end - goal) ** 2).sum() / ((begin - goal) ** 2).sum())
    return found


def assert_same_but_for_kinks(found: np.ndarray, expected: list[float]) -> None:
    """Rounding that moves one unit over the kink of a ReLU changes a gradient by up to a percent; most draws meet none."""
    apart = np.abs(found / expected - 1)
    assert np.median(apart) < 1e-5
    assert apart.max() < 0.03


def test_the_loss_is_that_of_a_literal_loop(scene):
    sets = [*sets_of(20, 5), np.repeat(np.arange(6), 2)]
    found = tm.losses(sets, scene, SETTINGS)
    assert (found.shape, found.dtype) == ((3, 4), np.float64)
    for rows, row in zip(sets, found, strict=True):
        targets = F.one_hot(torch.from_numpy(scene.train.labels[rows]), 10).float()
        assert_same_but_for_kinks(row, literal_ratios(scene, rows, targets, SETTINGS))


def test_datm_is_the_same_loss_with_the_observers_soft_labels(scene):
    card = read_card(ROOT, "digits/convnet-d3")
    scene = replace(scene, observer=PinnedTeacher(card, read_weights(ROOT, card)))
    (rows,) = sets_of(12)
    soft = {**SETTINGS, "labels": "teacher"}
    targets = tm.targets_of(scene, rows, soft, tm.engine_for(card, "cpu"))
    assert targets.argmax(dim=1).tolist() == scene.train.labels[rows].tolist()
    assert (targets.max(dim=1).values < 1).all()
    found = tm.losses([rows], scene, soft)[0]
    assert_same_but_for_kinks(found, literal_ratios(scene, rows, targets, soft))
    assert (found != tm.losses([rows], scene, SETTINGS)[0]).all()
    with pytest.raises(EnvironmentProblem, match="observer"):
        tm.losses([rows], replace(scene, observer=None), soft)


def test_what_the_observer_says_of_an_image_does_not_hang_on_the_others_nor_on_what_was_asked_before():
    card = read_card(ROOT, "digits/convnet-d3")
    observer, split, engine = (
        PinnedTeacher(card, read_weights(ROOT, card)),
        load_split("digits", "train"),
        tm.engine_for(card, "cpu"),
    )
    tm._known_logits.cache_clear()
    rows = np.array([700, 3, 3, 41, 5])
    alone = tm.observed_logits(observer, split, rows[:1], engine)
    first = tm.observed_logits(observer, split, rows, engine)
    tm._known_logits.cache_clear()
    among = tm.observed_logits(observer, split, np.arange(750), engine)[rows]
    assert torch.equal(first, among)
    assert torch.equal(alone, among[:1])
    assert torch.equal(first[1], first[2])


@pytest.mark.parametrize("count", [1, 8, 13])
def test_a_batch_that_is_filled_up_to_whole_micro_batches_has_the_gradient_of_its_own_images(scene, count):
    card = scene.backbone
    images = normalised(torch.from_numpy(scene.train.images[:count]), card, None)
    targets = F.one_hot(torch.from_numpy(scene.train.labels[:count]), 10).float() * 0.7 + 0.03
    found = []
    for given in ((images, targets), tm.filled_up(images, targets, 8)):
        network = build_student(small_recipe(), generator_for(0, "init"))
        loss, _ = gradient_step(network, tm.soft_cross_entropy, Engine("cpu", 8, False, False, 1, "fp32"))(*given)
        found.append((loss, torch.cat([parameter.grad.flatten() for parameter in network.parameters()])))
    assert len(tm.filled_up(images, targets, 8)[0]) % 8 == 0
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-6)


def test_the_loss_in_bf16_is_that_in_fp32_but_for_rounding_and_comes_again_to_the_bit(scene):
    sets = sets_of(20, 5)
    exact = tm.losses(sets, scene, SETTINGS)
    found, again = (tm.losses(sets, scene, {**SETTINGS, "precision": "bf16-autocast"}) for _ in range(2))
    assert (found == again).all()
    assert (found != exact).any()
    np.testing.assert_allclose(found, exact, rtol=0.05)


@pytest.mark.parametrize(("rows", "sizes"), [(200, [50] * 4), (65, [33, 32]), (64, [64]), (3, [3])])
def test_a_pass_over_a_set_is_in_equal_parts_that_hold_every_row_once(rows, sizes):
    batches = tm.endless_batches(rows, 64, generator_for(0, "test"))
    for _ in range(2):
        parts = [next(batches) for _ in sizes]
        assert [len(part) for part in parts] == sizes
        assert torch.cat(parts).sort().values.tolist() == list(range(rows))


def test_a_student_that_takes_no_step_is_at_exactly_one_and_has_not_moved(scene):
    ratios, moved = tm.ratios_and_movement(sets_of(20, 5), scene, {**SETTINGS, "steps": 0})
    assert (ratios == 1.0).all()
    assert (moved == 0.0).all()


def test_a_student_that_ends_where_the_expert_goes_is_at_zero_and_has_moved_as_far(scene, own):
    (rows,) = sets_of(20)
    settings = {**SETTINGS, "experts": 1, "starts": "0"}
    path = own / "expert-0.safetensors"
    trajectory = safetensors.numpy.load_file(path)[PARAMETERS].copy()
    engine = tm.engine_for(scene.backbone, "cpu")
    network = engine.place(build_network(scene.backbone.student, 10, 32, "test"))
    images = tm.images_of(scene.train, rows, scene.backbone, "cpu")
    targets = tm.targets_of(scene, rows, settings, engine)
    experts = open_experts(own)
    trajectory[1] = tm.trained_parameters(network, trajectory[0], images, targets, experts, settings, engine, (0, "tm/0"))
    safetensors.numpy.save_file({PARAMETERS: trajectory}, path)
    alter(own, files={path.name: file_sha256(path)})
    ratios, moved = tm.ratios_and_movement([rows], replace(scene, experts=own), settings)
    assert (ratios.item(), moved.item()) == (0.0, 1.0)


def test_an_end_on_the_other_side_is_at_four():
    begin, goal = np.zeros(3, np.float32), np.array([0, 3, 4], np.float32)
    assert tm.distances(begin, goal, -goal) == (4.0, 1.0)
    assert tm.distances(begin, goal, np.full(3, np.nan, np.float32)) == (np.inf, np.inf)
    with pytest.raises(CheckFailed, match="stood still"):
        tm.distances(begin, begin, goal)


def test_a_loss_does_not_depend_on_the_sets_beside_it_nor_on_the_other_draws(scene):
    first, second, third = sets_of(20, 5, 31)
    together = tm.losses([first, second, third], scene, SETTINGS)
    np.testing.assert_array_equal(tm.losses([third], scene, SETTINGS)[0], together[2])
    np.testing.assert_array_equal(tm.losses([third, first], scene, SETTINGS)[1], together[0])
    alone = tm.losses([first], scene, {**SETTINGS, "experts": 1, "starts": "2"})
    assert alone.item() == together[0, 1]


def test_a_repeated_set_is_trained_on_as_it_is(scene):
    (rows,) = sets_of(10)
    once, twice = tm.losses([rows, np.concatenate([rows, rows])], scene, SETTINGS)
    assert not np.allclose(once, twice, rtol=1e-3)


def test_a_step_too_small_to_matter_shows_in_the_movement(scene):
    tiny = {**SETTINGS, "step_size": 1e-9}
    ratios, moved = tm.ratios_and_movement(sets_of(20, 5), scene, tiny)
    assert np.ptp(ratios) < 1e-3
    assert (moved < 1e-3).all()
    np.testing.assert_array_equal(tm.movement(sets_of(20, 5), scene, tiny), moved)


@pytest.mark.parametrize(
    ("change", "settings", "told"),
    [
        ({"experts": None}, {}, "--trajectories"),
        ({"experts": Path("nowhere")}, {}, "--trajectories"),
        ({}, {"starts": "20-35"}, "20,25,30,35"),
        ({}, {"starts": "3"}, "epochs 0 to 3"),
        ({}, {"experts": 3}, "experts 0 to 1"),
        ({}, {"labels": "guessed"}, "one-hot or teacher"),
    ],
)
def test_what_cannot_be_scored_says_why(scene, change, settings, told):
    with pytest.raises(HlbenchError) as caught:
        tm.losses(sets_of(5), replace(scene, **change), {**SETTINGS, **settings})
    assert told in str(caught.value)


def test_experts_of_another_network_or_split_are_refused(scene):
    for other in (
        replace(scene, backbone=read_card(ROOT, "digits/convnet-d3")),
        replace(scene, train=load_split("digits", "train")),
    ):
        with pytest.raises(UsageError, match="do not fit"):
            tm.losses(sets_of(5), other, SETTINGS)


def test_the_settings_of_every_dataset_are_within_the_experts_epochs():
    for objective in (declared.TM, declared.DATM):
        settings = objective.settings_for("digits")
        assert max(tm.starts_of(settings)) + settings["expert_epochs"] <= read_experts_recipe(ROOT, DIGITS).epochs_trained
        assert settings["experts"] <= len(read_experts_recipe(ROOT, DIGITS).seeds)
