"""Trajectory matching, TM and DATM: does training on the set lead where experts went on all of the data? (methods E.5, G.5, G.6)

    ||theta_hat - theta_(t+M)||^2 / ||theta_t - theta_(t+M)||^2          (arXiv 2604.18811, equation 6)

theta_t: an expert after epoch t. theta_hat: where `steps` of plain SGD on the set lead from there. 1.0: the student did not move;
0: it is where the expert is M epochs on. GeorgeCazenavette/mtt-distillation distill.py, NUS-HPC-AI-Lab/DATM distill/DATM.py.
Nothing here is differentiated through the steps. Repeating a set's rows is no invariance: the mini-batches are others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.datasets.base import Split
from harness.dcs.objective import Scene, Value
from harness.dcs.objectives.random_networks import micro_batches
from harness.errors import CheckFailed, EnvironmentProblem, UsageError
from harness.experts import Experts, open_experts
from harness.imageset import EncodedImages
from harness.teachers import PinnedTeacher, TeacherCard
from harness.training.dsa import augment_dsa
from harness.training.engine import Engine, has_compiler, make_deterministic, resolve_device
from harness.training.seeding import generator_for
from harness.training.students import build_network
from harness.training.teacher import build_teacher
from harness.training.trainer import epoch_orders, gradient_step
from harness.training.views import normalised

# Images per CPU second of one core (ConvNet-D3 of width 64, 32 px, fp32): parts of 10 840, of 20 910, whole batches of 100 a
# third fewer. Several experts at once by vmap: less than half as fast, as their convolutions become grouped. ConvNet-D4 at 64 px
# beside another computation: fp32 in parts of 16 40, compiled in parts of 8 57, bf16 33, bf16 compiled 109.
CPU_MICRO_BATCH = 16
CPU_MICRO_BATCH_COMPILED = 8
LOGITS_BATCH = 256


def losses(sets: Sequence[np.ndarray], scene: Scene, settings: Mapping[str, Value]) -> np.ndarray:
    """As `Objective.losses`; a column for each (expert, start epoch), experts outermost. inf where the student diverged."""
    return ratios_and_movement(sets, scene, settings)[0]


def movement(sets: Sequence[np.ndarray], scene: Scene, settings: Mapping[str, Value]) -> np.ndarray:
    """float64 [sets, draws]: ||theta_hat - theta_t|| / ||theta_(t+M) - theta_t||.

    Tells why a loss is constant: near 0, the steps are too few or too small for this network to get anywhere on any set.
    """
    return ratios_and_movement(sets, scene, settings)[1]


def ratios_and_movement(sets: Sequence[np.ndarray], scene: Scene, settings: Mapping[str, Value]) -> tuple[np.ndarray, np.ndarray]:
    """(`losses`, `movement`) of the same students, each float64 [sets, experts x start epochs].

    Raises EnvironmentProblem (no experts, no observer), CheckFailed (damaged experts), UsageError (they do not fit the scene).
    """
    experts = fitting_experts(scene)
    make_deterministic(scene.backbone)
    engine = engine_for(scene.backbone, scene.device, str(settings.get("precision", "fp32")))
    card = scene.backbone
    network = build_network(card.student, card.dataset.classes, card.input.resolution, f"teachers/{card.id}")
    network = engine.place(network).train()
    columns = [(expert, start) for expert in range(int(settings["experts"])) for start in starts_of(settings)]
    ratios, moved = np.empty((2, len(sets), len(columns)))
    for number, rows in enumerate(sets):
        images = images_of(scene.train, rows, card, engine.device)
        targets = targets_of(scene, rows, settings, engine)
        for column, (expert, start) in enumerate(columns):
            begin = experts.parameters(expert, start)
            goal = experts.parameters(expert, start + int(settings["expert_epochs"]))
            seeds = (expert, f"tm/{start}")
            end = trained_parameters(network, begin, images, targets, experts, settings, engine, seeds)
            ratios[number, column], moved[number, column] = distances(begin, goal, end)
            scene.report(number * len(columns) + column + 1, len(sets) * len(columns))
    return ratios, moved


def distances(begin: np.ndarray, goal: np.ndarray, end: np.ndarray) -> tuple[float, float]:
    """(squared distance of `end` to `goal`, distance of `end` to `begin`), both relative to that of `begin` to `goal`.

    In float64. inf when `end` is not finite. Raises CheckFailed when the expert did not move.
    """
    begin, goal, end = (vector.astype(np.float64) for vector in (begin, goal, end))
    apart = np.square(begin - goal).sum()
    if apart == 0:
        raise CheckFailed(
            "an expert stood still", where="expert trajectories", why="two of its epochs are equal", fix="make them again"
        )
    if not np.isfinite(end).all():
        return np.inf, np.inf
    return np.square(end - goal).sum() / apart, np.sqrt(np.square(end - begin).sum() / apart)


def trained_parameters(
    network: nn.Module, begin: np.ndarray, images: Tensor, targets: Tensor, experts: Experts,
    settings: Mapping[str, Value], engine: Engine, seeds: tuple[int, str],
) -> np.ndarray:  # fmt: skip
    """float32 [P] after `steps` of SGD from `begin` without momentum and weight decay, in training mode.

    `images`: float32 [n, 3, R, R]; `targets`: float32 [n, classes], distributions. DSA is the experts'; each step draws it from a
    generator of its own, so that step k of every set, however large, does the same operation.
    """
    parameters = list(network.parameters())
    load(parameters, begin)
    optimizer = torch.optim.SGD(parameters, lr=float(settings["step_size"]))
    accumulate = gradient_step(network, soft_cross_entropy, engine)
    seed, purpose = seeds
    batches = endless_batches(len(images), int(settings["batch_size"]), generator_for(seed, f"{purpose}/order"))
    for step in range(int(settings["steps"])):
        rows = next(batches).to(engine.device)
        views = augment_dsa(images[rows], experts.card.recipe.augmentation, generator_for(seed, f"{purpose}/augmentation/{step}"))
        optimizer.zero_grad(set_to_none=True)
        accumulate(*(filled_up(views, targets[rows], engine.micro_batch) if engine.compiled else (views, targets[rows])))
        optimizer.step()
    return torch.cat([parameter.detach().cpu().contiguous().flatten() for parameter in parameters]).numpy()


def filled_up(images: Tensor, targets: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Whole micro-batches of `size`, which all go through the compiled step, with the mean loss of the images given.

    What fills them has targets of zeros and so no loss and no gradient; the others' targets make up for the larger count.
    """
    lacking = -len(images) % size
    images = torch.cat([images, images[-1:].expand(lacking, -1, -1, -1)])
    share = len(images) / len(targets)
    return images, torch.cat([targets * share, torch.zeros_like(targets[-1:]).expand(lacking, -1)])


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """-sum q log p, summed over the batch; of one-hot `targets`: cross-entropy."""
    return F.cross_entropy(logits, targets, reduction="sum")


def endless_batches(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Rows (int64) of one batch after another: passes over the set in new orders, each in equal parts of at most `batch_size`.

    Parts differ by one row at most. Whole batches and a rest would make every few steps one of a handful of images, with the
    gradient noise of those: a set of 200 in batches of 64 ends its passes with 8.
    """
    for order in epoch_orders(count, count, generator):
        yield from order.tensor_split(math.ceil(count / batch_size))


@torch.no_grad()
def load(parameters: list[nn.Parameter], values: np.ndarray) -> None:
    """Copy float32 [P] into the parameters, which keep their layout in memory."""
    parts = torch.from_numpy(values).split([parameter.numel() for parameter in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.copy_(part.view(parameter.shape))


def images_of(split: Split, rows: np.ndarray, card: TeacherCard, device: str) -> Tensor:
    """float32 [n, 3, R, R], clean, as the card's network sees them. Raises UsageError when the split is still encoded."""
    if isinstance(split.images, EncodedImages):
        raise UsageError("trajectory matching reads decoded images", where=split.dataset, why="its images vary in size")
    return normalised(torch.from_numpy(split.images[rows]).to(device), card, None)


def targets_of(scene: Scene, rows: np.ndarray, settings: Mapping[str, Value], engine: Engine) -> Tensor:
    """float32 [n, classes] on the device: `labels: one-hot`, the classes; `labels: teacher`, the observer's softmax (T = 1).

    Raises EnvironmentProblem without an observer, UsageError for other labels.
    """
    if settings["labels"] == "one-hot":
        classes = torch.from_numpy(scene.train.labels[rows])
        return F.one_hot(classes, scene.backbone.dataset.classes).float().to(engine.device)
    if settings["labels"] != "teacher":
        raise UsageError(f"no labels {settings['labels']!r}", where="labels", fix="choose one-hot or teacher")
    if scene.observer is None:
        raise EnvironmentProblem("soft labels need an observer", where="datm", fix="name one in the pool: a teacher's card")
    return observed_logits(scene.observer, scene.train, rows, engine).softmax(dim=1)


def observed_logits(observer: PinnedTeacher, split: Split, rows: np.ndarray, engine: Engine) -> Tensor:
    """float32 [n, classes] of the clean images, on the engine's device. What this process has seen of them is not seen again.

    In parts of one size, as in `random_networks.micro_batches`: what an image gives must not hang on the others asked for.
    """
    known = _known_logits(observer.card.weights.sha256, split.fingerprint, engine.device)
    new = np.array([row for row in np.unique(rows).tolist() if row not in known], dtype=np.int64)
    if len(new):
        network = build_teacher(observer, engine)
        for block in np.array_split(new, range(LOGITS_BATCH, len(new), LOGITS_BATCH)):
            parts = micro_batches(images_of(split, block, observer.card, engine.device))
            with torch.no_grad():
                logits = torch.cat([network(engine.arrange(part)) for part in parts])[: len(block)]
            known.update(zip(block.tolist(), logits.cpu().numpy(), strict=True))
    return torch.from_numpy(np.stack([known[row] for row in rows.tolist()])).to(engine.device)


@lru_cache(maxsize=1)
def _known_logits(observer_sha256: str, split_fingerprint: str, device: str) -> dict[int, np.ndarray]:
    """Row of the split -> float32 [classes]: empty at first, `observed_logits` fills it. 800 bytes a row for 200 classes."""
    return {}


def fitting_experts(scene: Scene) -> Experts:
    """The scene's trajectories, checked. Raises EnvironmentProblem, CheckFailed; UsageError: of another network or split."""
    if scene.experts is None:
        raise EnvironmentProblem(
            "trajectory matching needs expert trajectories", where="scene.experts",
            fix="make them: hlbench teacher train ID --trajectories",
        )  # fmt: skip
    experts = open_experts(scene.experts)
    recipe, card = experts.card.recipe, scene.backbone
    differing = [name for name in ("input", "student") if getattr(recipe, name) != getattr(card, name)]
    differing += ["training split"] if experts.card.train_split != scene.train.fingerprint else []
    if differing:
        raise UsageError(
            "the experts do not fit", where=str(scene.experts),
            why=f"their {', '.join(differing)} is not that of {card.id} and the pool",
            fix="name the experts of this backbone and dataset",
        )  # fmt: skip
    return experts


def engine_for(card: TeacherCard, device: str, precision: str = "fp32") -> Engine:
    """Micro-batches only on the CPU and where no statistic is taken over the batch; compiled only with them and in bf16.

    By settings and machine alone, never by the number of sets: what compiling rounds otherwise must not hang on it.
    """
    device = resolve_device(device)
    split = device == "cpu" and card.student.norm != "batch"
    compiled = split and precision == "bf16-autocast" and has_compiler()
    micro_batch = (CPU_MICRO_BATCH_COMPILED if compiled else CPU_MICRO_BATCH) if split else 0
    return Engine(device, micro_batch, compiled, card.student.architecture != "mlp", torch.get_num_threads(), precision)


def starts_of(settings: Mapping[str, Value]) -> list[int]:
    """Start epochs, of text as `20,25,30,35`. Raises UsageError."""
    try:
        return [int(part) for part in str(settings["starts"]).split(",")]
    except ValueError:
        raise UsageError(f"{settings['starts']!r} are no start epochs", where="starts", fix="write them as 20,25,30,35") from None
