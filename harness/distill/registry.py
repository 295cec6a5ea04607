"""Every distillation method by its name. Apart from the package itself, because an observer needs torch."""

from __future__ import annotations

import numpy as np

from harness.distill.ca2d import distill_ca2d
from harness.distill.kmeans_centroids import distill_kmeans_centroids
from harness.distill.method import DistilledSet, Distiller, Source
from harness.distill.rded import CROPS, IMAGES_PER_CLASS, distill_rded


def _kmeans_centroids(source: Source, ipc: int, draw: int) -> DistilledSet:
    images, labels = distill_kmeans_centroids(source.split, ipc, draw)
    return DistilledSet(np.asarray(images), labels)


_DISTILLERS = [
    Distiller(
        name="kmeans-centroids",
        title="Class-wise k-means centroids",
        notes="k = IPC pixel-space k-means centres a class, rounded to 8-bit images. No real image is among them.",
        make=_kmeans_centroids,
    ),
    Distiller(
        name="rded",
        title="RDED",
        notes="The most realistic crops of random images, stitched factor x factor (Sun et al., CVPR 2024). Realism: the "
        "cross-entropy of a pinned teacher.",
        make=distill_rded,
        needs=("observer",),
        parameters={"factor": None, "images_per_class": IMAGES_PER_CLASS, "crops": CROPS},
    ),
    Distiller(
        name="ca2d",
        title="CA2D",
        notes="RDED on the images with the highest CAD-Prune scores (arXiv 2604.18811, section 5). The paper does not state how "
        "many; by default 300, or 60 % of the smallest class where that is less, and at least 1.5 x IPC x factor^2.",
        make=distill_ca2d,
        needs=("observer", "cad"),
        parameters={"factor": None, "pool": None, "crops": CROPS},
        version=2,  # 1 took classes of 300 images or fewer whole
    ),
]

DISTILLERS: dict[str, Distiller] = {distiller.name: distiller for distiller in _DISTILLERS}
