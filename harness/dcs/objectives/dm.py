"""DM, distribution matching (arXiv 2604.18811 eq. 7, methods E.5; VICO-UoE/DatasetCondensation 53f63a67 main_DM.py).

For each class the squared distance of two mean feature vectors, of 256 real images and of the set's, under one augmentation;
summed over classes and divided by their number (the code sums, the paper's eq. 7 has no sum). The features are those of the
backbone without its classifier, at random weights; the mean over draws of networks is left to whoever reads the losses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from harness.dcs.objective import Scene, Value
from harness.dcs.objectives.random_networks import (
    ClassBatch,
    blank_network,
    counts_by_class,
    losses_of_draws,
    micro_batches,
)
from harness.training.engine import make_deterministic


@torch.no_grad()
def losses(sets: Sequence[np.ndarray], scene: Scene, settings: Mapping[str, Value]) -> np.ndarray:
    """float64 [sets, draws], one draw a network. Raises UsageError when a set lacks a class or names rows that do not exist."""
    make_deterministic(scene.backbone)
    counts = counts_by_class(sets, scene.train.labels, scene.backbone.dataset.classes)
    network = blank_network(scene)
    features = without_classifier(network).to(memory_format=torch.channels_last)  # a third faster on a CPU
    return losses_of_draws(counts, scene, settings, "dm", network, lambda batch: _distances(features, batch))


def _distances(features: nn.Module, batch: ClassBatch) -> np.ndarray:
    """float64 [sets]: of one class, between the mean features of each set and of the real sample."""
    seen = torch.cat([features(part) for part in micro_batches(batch.images)])[: len(batch.images)]
    means = batch.shares @ seen.double()
    return (means - means[batch.real]).square().sum(dim=1).cpu().numpy()[batch.mean_of]


def without_classifier(network: nn.Module) -> nn.Module:
    """From images to float [B, F], what the last linear layer sees (DC networks.py, `embed`). Shares the network's weights."""
    *layers, _ = network.children()
    return nn.Sequential(*layers, nn.Flatten())
