"""DC, gradient matching (arXiv 2604.18811 eq. 8, methods E.5; VICO-UoE/DatasetCondensation 53f63a67 main.py, utils.match_loss).

For each class the gradients of the mean cross-entropy at random weights, of 256 real images and of the set's, compared output by
output: the sum over outputs of 1 - cosine, over the weights of every convolution and linear layer. Biases and the affine weights
of norms have one dimension and count 0. Summed over layers and classes, divided by the number of classes. Nothing is trained on
the set: every draw is at the start of an outer loop (t = 0), with another network.

The gradient of a mean is the mean of the images' own gradients, so one backward pass an image serves every set: for 117 sets of
digits in an eighth of the time of a backward pass for each set. Outer products written by hand were no faster than `vmap`.
Float32, and not channels-last, where group norm rounds four times as coarsely: see `micro_batches`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from harness.dcs.objective import Scene, Value
from harness.dcs.objectives.random_networks import (
    ClassBatch,
    blank_network,
    counts_by_class,
    losses_of_draws,
    micro_batches,
)
from harness.training.engine import make_deterministic

CHUNK = 128  # images whose own gradients are held at once: 440 MB for ConvNet-D4
EPSILON = 1e-6  # DC utils.distance_wb


def losses(sets: Sequence[np.ndarray], scene: Scene, settings: Mapping[str, Value]) -> np.ndarray:
    """float64 [sets, draws], one draw a network. Raises UsageError when a set lacks a class or names rows that do not exist.

    Holds one float32 gradient for every distinct set of a class at a time.
    """
    make_deterministic(scene.backbone)
    counts = counts_by_class(sets, scene.train.labels, scene.backbone.dataset.classes)
    network = blank_network(scene)
    return losses_of_draws(counts, scene, settings, "dc", network, lambda batch: _distances(network, batch))


def _distances(network: nn.Module, batch: ClassBatch) -> np.ndarray:
    """float64 [sets]: of one class, between the gradients of each set and of the real sample, over all weights."""
    found = sum(matching_distance(mean, mean[batch.real]) for mean in mean_gradients(network, batch))
    return found.cpu().numpy()[batch.mean_of]


def matching_distance(gradients: Tensor, real: Tensor) -> Tensor:
    """float64 [means]: sum over outputs of 1 - cosine, of float [means, out, rest] against [out, rest] (DC utils.distance_wb)."""
    products = (gradients * real).sum(dim=-1).double()
    norms = torch.linalg.vector_norm(gradients, dim=-1).double()
    return (1 - products / (norms * torch.linalg.vector_norm(real, dim=-1).double() + EPSILON)).sum(dim=-1)


def mean_gradients(network: nn.Module, batch: ClassBatch) -> list[Tensor]:
    """For every weight float32 [means, out, rest]: the gradient of the mean cross-entropy over each line of shares."""
    sums: list[Tensor] = []
    for images, shares in zip(batch.images.split(CHUNK), batch.shares.float().split(CHUNK, dim=1), strict=True):
        for weight, gradients in enumerate(own_gradients(network, images, batch.label)):
            if weight == len(sums):
                sums.append(torch.zeros(len(shares), *gradients.shape[1:], device=gradients.device))
            sums[weight].flatten(1).addmm_(shares, gradients.flatten(1))
    return sums


def own_gradients(network: nn.Module, images: Tensor, label: int) -> list[Tensor]:
    """For every tensor of weights of more than one dimension float32 [B, out, rest]: each image's gradient of its cross-entropy.

    `network` takes no statistics over a batch.
    """
    weights = {name: weight for name, weight in network.named_parameters() if weight.ndim > 1}
    target = torch.tensor([label], device=images.device)

    def loss(weights: dict[str, Tensor], image: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(network, weights, image[None]), target)

    gradients_of = vmap(grad(loss), in_dims=(None, 0))
    parts = [gradients_of(weights, part).values() for part in micro_batches(images)]
    return [torch.cat(of_one)[: len(images)].flatten(2) for of_one in zip(*parts, strict=True)]
