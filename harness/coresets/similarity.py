"""Similarities and distances inside one class, on a grid: so that ties are ties, and picks do not depend on the machine.

A matrix product rounds differently with the processor, the number of threads and where a row lies in it. Values are therefore
put on a grid that is far coarser than that rounding and far finer than anything that matters: sums of gridded similarities are
exact in float64, whatever their order, and rows with the same features are equally near.
"""

from __future__ import annotations

import numpy as np

SIMILARITY_GRID = 2.0**24  # steps of a similarity in 0..1: exact in float32
DISTANCE_GRID = 2.0**30  # steps of a squared distance, in units of the largest one that the norms allow


def gradient_similarity(probabilities: np.ndarray, features: np.ndarray, label: int) -> np.ndarray:
    """float32 [n, n] in 0..1: 1/2 + 1/2 cos of the gradients of the last layer (weights and bias), none of which is formed.

    With d = p - onehot the gradient is [d ; d (x) h], and <g_i, g_j> = <d_i, d_j> (1 + <h_i, h_j>) (methods F.6).

    Args:
        probabilities: [n, C] and features [n, F] of the rows of class `label`, any float type.

    The true class's d is taken as minus the sum of the others, not as p - 1: stored as float16, a p above 0.99976 is exactly 1,
    and the gradient of such a row would lose the part that makes it like its class.
    A row whose gradient is exactly 0 has no direction: its similarity to every row, itself included, is 1/2.
    """
    errors = probabilities.astype(np.float64)
    errors[:, label] = 0
    errors[:, label] = -errors.sum(axis=1)
    products = features.astype(np.float64)
    products = products @ products.T
    products += 1
    products *= errors @ errors.T
    return _half_cosine(products)


def feature_similarity(features: np.ndarray) -> np.ndarray:
    """float32 [n, n] in 0..1: 1/2 + 1/2 cos of features [n, F]; 1/2 where a row has no direction."""
    exact = features.astype(np.float64)
    return _half_cosine(exact @ exact.T)


def _half_cosine(products: np.ndarray) -> np.ndarray:
    """Inner products float64 [n, n], overwritten, to similarities on the grid."""
    norms = np.sqrt(np.diagonal(products))
    scale = np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0)
    products *= scale
    products *= scale[:, None]
    products += 1
    products *= SIMILARITY_GRID / 2
    np.rint(products, out=products).clip(0, SIMILARITY_GRID, out=products)
    products /= SIMILARITY_GRID
    return products.astype(np.float32)


def gridded_distances(points: np.ndarray, others: np.ndarray, norms: np.ndarray, largest: float) -> np.ndarray:
    """float64 [m, n], whole numbers: squared Euclidean distances as steps of the grid, for comparisons within one class.

    Args:
        points: float64 [m, F], others: float64 [n, F]; norms: float64 [n], squared norms of `others`.
        largest: the largest squared norm in the class; no squared distance exceeds four times that.
    """
    distances = points @ others.T
    distances *= -2
    distances += norms
    distances += np.einsum("ij,ij->i", points, points)[:, None]
    distances *= DISTANCE_GRID / (4 * largest if largest > 0 else 1)
    return np.rint(distances, out=distances)
