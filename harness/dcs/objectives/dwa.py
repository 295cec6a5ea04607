"""DWA, batch norm statistics under adjusted weights (arXiv 2604.18811 eq. 4, methods E.5, G.8, I.9;
AngusDujw/Diversity-Driven-Synthesis c5b125f2 distillation/).

The teacher's mean cross-entropy on the set plus 0.01 of a sum over layers of w (|mean - RM| + v |variance - RV|), with w as in
SRe2L and v = 2 on ImageNet-1K, 11 elsewhere. For each batch of the set the teacher's weights take K steps of +(rho/K) g/|g|, g
the gradient of that batch's mean cross-entropy at the weights so far; then the batch is seen under these weights, and the next
batch begins at the teacher's own (the official code goes on from the last batch's, so that a loss hangs on the order of batches).

A set's statistics are means over all its images, each seen under the weights of its batch. So `dwa_noperturb`, the same without
steps, is `sre2l_total` but for v. A batch is a contiguous piece of the set's distinct rows, ordered by their rank among the set's
of their class, then by class: 100 images of CIFAR-100 are one of each class, as in synthesis. Repeated rows are counted, not seen
again.

Inferred: |g| is the norm over all weights together, the affine ones of batch norm and the classifier included; batch norm stays
in evaluation mode; its running statistics are not adjusted; the cross-entropy is that under the adjusted weights; statistics are
pooled over batches, as for SRe2L; K, v and batches of 100 for digits and CIFAR-10 are those of CIFAR-100.

`steps_precision: bf16-autocast` takes the gradients of the steps in bf16, which is twice as fast on one core; the weights stay in
fp32, and a set is seen under them in fp32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from harness.dcs.objective import Scene, Value
from harness.dcs.objectives.bn_moments import (
    CountedRows,
    PinnedNetwork,
    bn_term,
    counted_sets,
    images_and_labels,
    means_over_images,
    open_batch_norm_teacher,
    say_all,
    values_of,
)

Weights = dict[str, Tensor]


def losses(sets: Sequence[np.ndarray], scene: Scene, settings: Mapping[str, Value]) -> np.ndarray:
    """float64 [sets, 1]. Raises EnvironmentProblem (no teacher) and UsageError (one without batch norm, a set without images)."""
    network = open_batch_norm_teacher(scene)
    batches = [list(batches_of(members, scene.train.labels, settings)) for members in counted_sets(sets, scene.train)]
    means: dict[bytes, np.ndarray] = {}  # by the distinct set: a twin costs nothing
    keys = [b"".join(part.tobytes() for batch in of_set for part in (batch.rows, batch.counts)) for of_set in batches]
    for done, (key, of_set) in enumerate(zip(keys, batches, strict=True), start=1):
        if key not in means:
            means[key] = _perturbed_means(of_set, scene, network, settings)
        scene.report(done, len(sets))
    return _losses(network, np.stack([means[key] for key in keys]), settings)


def losses_without_steps(sets: Sequence[np.ndarray], scene: Scene, settings: Mapping[str, Value]) -> np.ndarray:
    """As `losses`."""
    network = open_batch_norm_teacher(scene)
    members = [joined(batches_of(members, scene.train.labels, settings)) for members in counted_sets(sets, scene.train)]
    return _losses(network, means_over_images(members, scene, network, say_all(network.model, network.model)), settings)


def _losses(network: PinnedNetwork, means: np.ndarray, settings: Mapping[str, Value]) -> np.ndarray:
    bn = bn_term(network.model, means[:, 1:], float(settings["first_layer_weight"]), float(settings["variance_weight"]))
    return (means[:, 0] + float(settings["bn_weight"]) * bn)[:, None]


def batches_of(members: CountedRows, labels: np.ndarray, settings: Mapping[str, Value]) -> Iterator[CountedRows]:
    """A set in pieces of `batch` distinct rows, by rank in the class, then by class; the first `most_batches` of them, 0: all."""
    classes = labels[members.rows]
    by_class = np.argsort(classes, kind="stable")
    _, starts, sizes = np.unique(classes[by_class], return_index=True, return_counts=True)
    rank = np.empty(len(classes), dtype=np.int64)
    rank[by_class] = np.arange(len(classes)) - np.repeat(starts, sizes)
    order = np.lexsort((classes, rank))
    size, most = int(settings["batch"]), int(settings["most_batches"])
    for start in range(0, min(len(order), most * size or len(order)), size):
        chosen = order[start : start + size]
        yield CountedRows(members.rows[chosen], members.counts[chosen])


def joined(batches: Iterator[CountedRows]) -> CountedRows:
    rows, counts = (np.concatenate(parts) for parts in zip(*((batch.rows, batch.counts) for batch in batches), strict=True))
    return CountedRows(rows, counts)


def _perturbed_means(
    batches: Sequence[CountedRows], scene: Scene, network: PinnedNetwork, settings: Mapping[str, Value]
) -> np.ndarray:
    """float64 [1 + 2 x channels]: means over a set of what is said of each image under the weights of its batch."""
    sums, images = 0.0, 0
    for batch in batches:
        weights = perturbed_weights(network, batch, scene, settings)
        per_image = say_all(network.model, lambda part, weights=weights: functional_call(network.model, weights, (part,)))
        with torch.no_grad():
            sums = sums + batch.counts @ values_of(batch.rows, scene, network, per_image)
        images += batch.counts.sum()
    return sums / images


def perturbed_weights(network: PinnedNetwork, batch: CountedRows, scene: Scene, settings: Mapping[str, Value]) -> Weights:
    """The teacher's weights after `steps` of length rho/steps up the gradient of the batch's mean cross-entropy; its own stay."""
    rho, steps = float(settings["rho"]), int(settings["steps"])
    engine = replace(network.engine, precision=str(settings.get("steps_precision", "fp32")))
    images, labels = images_and_labels(batch.rows, scene, network.card)
    shares = torch.from_numpy(batch.counts / batch.counts.sum()).float().to(scene.device)
    weights = {name: weight.detach().clone() for name, weight in network.model.named_parameters()}
    for _ in range(steps):
        with engine.autocast():
            gradient = _gradient(network, weights, images, labels, shares)
        norm = torch.stack([part.double().square().sum() for part in gradient.values()]).sum().sqrt()
        if norm == 0:  # the teacher is so sure of every image that nothing points up
            break
        scale = (rho / steps / norm).float()
        weights = {name: weight + scale * gradient[name] for name, weight in weights.items()}
    return weights


def _gradient(network: PinnedNetwork, weights: Weights, images: Tensor, labels: Tensor, shares: Tensor) -> Weights:
    """Of the cross-entropy, each image's taken by its share, with respect to `weights`."""
    free = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
    sums = [torch.zeros_like(weight) for weight in weights.values()]
    parts = network.parts(images)
    size = len(parts[0])
    for part, of_part, share in zip(parts, labels.split(size), shares.split(size), strict=True):
        logits = functional_call(network.model, free, (part,))
        loss = (F.cross_entropy(logits, of_part, reduction="none") * share).sum()
        sums = [total + slope for total, slope in zip(sums, torch.autograd.grad(loss, list(free.values())), strict=True)]
    return dict(zip(weights, sums, strict=True))
