"""Realism (methods E.5; LINs-lab/RDED 3f6453d8 synthesize/utils.py): the mean of -log p(label | image), by the observer.

RDED asks it of every patch, enlarged by zeros to an image; a set of whole images has no patches, so each image is asked of as it
is. RDED ranks by it and optimises nothing against it. By log-softmax in float64: in float32 an observer that is sure says 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.dcs.objective import Scene, Value
from harness.dcs.objectives.bn_moments import counted_sets, cross_entropies, means_over_images, open_network


def losses(sets: Sequence[np.ndarray], scene: Scene, settings: Mapping[str, Value]) -> np.ndarray:
    """float64 [sets, 1], nats. Raises EnvironmentProblem (no observer) and UsageError (a set without images)."""
    dataset = scene.train.dataset
    fix = f"hlbench teacher list; train one of {dataset} with hlbench teacher train {dataset}/<name>"
    observer = open_network(scene.observer, scene, "an observer", fix)
    return means_over_images(
        counted_sets(sets, scene.train),
        scene,
        observer,
        lambda images, labels: cross_entropies(observer.model(images), labels)[:, None],
    )
