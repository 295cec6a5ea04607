"""SRe2L, matching of batch norm statistics (arXiv 2604.18811 eq. 3, methods E.5; VILA-Lab/SRe2L 8d00cba3 recover/utils.py).

`sre2l_bn`: sum over layers of w (|mean - RM| + |variance - RV|), L2 norms that are not squared, of what enters a layer of batch
norm over the whole set, against its running statistics; w is 10 in the first layer, 1 in the others, as in the code (eq. 3: 1).
`sre2l_total`: the teacher's mean cross-entropy on the set's labels plus 0.01 of that (TinyImageNet: plus 1 of that).

Images as stored, without the crops, flips and shifts of synthesis. Inferred: CIFAR's 0.01 for digits, which SRe2L does not know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.dcs.objective import Scene, Value
from harness.dcs.objectives.bn_moments import bn_term, counted_sets, means_over_images, open_batch_norm_teacher, say_all


def bn_losses(sets: Sequence[np.ndarray], scene: Scene, settings: Mapping[str, Value]) -> np.ndarray:
    """float64 [sets, 1]. Raises EnvironmentProblem (no teacher) and UsageError (one without batch norm, a set without images)."""
    return _terms(sets, scene, settings)[1][:, None]


def total_losses(sets: Sequence[np.ndarray], scene: Scene, settings: Mapping[str, Value]) -> np.ndarray:
    """As `bn_losses`."""
    cross_entropy, bn = _terms(sets, scene, settings)
    return (cross_entropy + float(settings["bn_weight"]) * bn)[:, None]


def _terms(sets: Sequence[np.ndarray], scene: Scene, settings: Mapping[str, Value]) -> tuple[np.ndarray, np.ndarray]:
    network = open_batch_norm_teacher(scene)
    means = means_over_images(counted_sets(sets, scene.train), scene, network, say_all(network.model, network.model))
    return means[:, 0], bn_term(network.model, means[:, 1:], float(settings["first_layer_weight"]))
