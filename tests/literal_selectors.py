"""Each selector once more: slow, literal, one row at a time, for the tests to hold the fast ones against.

Formulas are written as in methods.md section F; nothing here is shared with `harness/coresets`.
"""

from __future__ import annotations

import itertools
import math
import statistics

import numpy as np
from scipy.stats import beta as beta_distribution
from sklearn.cluster import KMeans


def rows_of(labels, label: int) -> list[int]:
    return [row for row in range(len(labels)) if labels[row] == label]


def take(labels, ipc: int, key, drop=lambda count: 0) -> list[int]:
    """Class by class the rows of lowest key(row), ties to the lowest row, after drop(N_c) of them."""
    picked = []
    for label in range(max(labels) + 1):
        ranked = sorted(rows_of(labels, label), key=lambda row: (key(row), row))
        first = drop(len(ranked))
        picked += ranked[first : first + ipc]
    return picked


def mean_el2n(el2n, row: int) -> float:
    return math.fsum(float(el2n[t][row]) for t in range(len(el2n))) / len(el2n)


def el2n_hard(el2n, labels, ipc: int) -> list[int]:
    return take(labels, ipc, lambda row: -mean_el2n(el2n, row))


def el2n_easy(el2n, labels, ipc: int) -> list[int]:
    return take(labels, ipc, lambda row: mean_el2n(el2n, row))


def el2n_window(el2n, labels, ipc: int, percent: int) -> list[int]:
    return take(labels, ipc, lambda row: -mean_el2n(el2n, row), lambda count: percent * count // 100)


def forgetting_events(presented, row: int, never_learned: str) -> int:
    seen = [int(one_pass[row]) for one_pass in presented if one_pass[row] != 255]
    if 1 not in seen:
        return len(presented) if never_learned == "max" else 0
    return sum(before == 1 and after == 0 for before, after in itertools.pairwise(seen))


def forgetting_hard(presented, el2n, labels, ipc: int, never_learned: str) -> list[int]:
    return take(labels, ipc, lambda row: (-forgetting_events(presented, row, never_learned), -mean_el2n(el2n, row)))


def forgetting_easy(presented, el2n, labels, ipc: int, never_learned: str) -> list[int]:
    return take(labels, ipc, lambda row: (forgetting_events(presented, row, never_learned), mean_el2n(el2n, row)))


def dyn_unc(p, row: int, J: int) -> float:
    deviations = [statistics.stdev(float(p[k + j][row]) for j in range(J)) for k in range(len(p) - J + 1)]
    return statistics.fmean(deviations[:-1])


def dual(p, row: int, J: int, T: int) -> float:
    windows = [[float(p[k + j][row]) for j in range(J)] for k in range(T - J + 1)]
    return statistics.fmean(statistics.stdev(window) * (1 - statistics.fmean(window)) for window in windows)


def dual_beta_weight(p, labels, ipc: int, c: float, J: int, T: int) -> list[float]:
    rows = range(len(labels))
    scores = [dual(p, row, J, T) for row in rows]
    means = [statistics.fmean(float(p[t][row]) for t in range(T)) for row in rows]
    top = sorted(rows, key=lambda row: -scores[row])[:10]
    mu = statistics.fmean(means[row] for row in top)
    r = 1 - ipc * (max(labels) + 1) / len(labels)
    b = 15 * (1 - mu) * (1 - r**c)
    return [beta_distribution.pdf(means[row], 16 - b, b) * scores[row] for row in rows]


def cad(el2n, row: int, J: int, W: int) -> float:
    K = len(el2n)

    def U(k: int) -> float:
        S = [float(el2n[k + j][row]) for j in range(J)]
        mean = sum(S) / J
        return math.sqrt(sum((s - mean) ** 2 for s in S) / (J - 1))

    return sum(U(k) for k in range(K - J - W, K - J - 1 + 1)) / W


def cal(probabilities, features, labels, row: int, k: int) -> float:
    def KL(p, q):
        return sum(float(a) * math.log(float(a) / float(b)) for a, b in zip(p, q, strict=True))

    p = np.maximum(probabilities.astype(np.float64), 1e-12)
    x = features.astype(np.float64)
    others = [other for other in rows_of(labels, labels[row]) if other != row]
    neighbours = sorted(others, key=lambda other: (math.dist(x[row], x[other]), other))[:k]
    return statistics.fmean(KL(p[row], p[j]) / 2 + KL(p[j], p[row]) / 2 for j in neighbours) if neighbours else 0.0


def cosine(a, b) -> float:
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / lengths) if lengths > 0 else 0.0


def last_layer_gradients(probabilities, features, labels) -> np.ndarray:
    gradients = []
    for p, h, label in zip(probabilities.astype(np.float64), features.astype(np.float64), labels, strict=True):
        d = p.copy()
        d[label] = -sum(p[other] for other in range(len(p)) if other != label)  # p - 1, where p is stored without loss
        gradients.append(np.concatenate([d, np.outer(d, h).ravel()]))
    return np.array(gradients)


def is_greedy(picked: list[int], rows: list[int], gain, slack: float) -> bool:
    """Whether each pick's gain, given those before it, is the best of all rows left but for `slack`, since gains may tie."""
    for place, choice in enumerate(picked):
        left = [row for row in rows if row not in picked[:place]]
        if gain(choice, picked[:place]) < max(gain(row, picked[:place]) for row in left) - slack:
            return False
    return True


def graphcut_gain(gradients, rows: list[int], lam: float):
    s = {(i, j): 0.5 + 0.5 * cosine(gradients[i], gradients[j]) for i in rows for j in rows}
    return lambda j, A: lam * sum(s[i, j] for i in rows) - 2 * sum(s[i, j] for i in A)


def facility_gain(features, weights, rows: list[int]):
    h = features.astype(np.float64)
    s = {(i, j): 0.5 + 0.5 * cosine(h[i], h[j]) for i in rows for j in rows}

    def objective(A) -> float:
        return sum(weights[i] * max((s[i, j] for j in A), default=0) for i in rows)

    return lambda j, A: objective([*A, j]) - objective(A)


def kcenter_gain(features):
    x = features.astype(np.float64)
    return lambda j, A: min((math.dist(x[j], x[a]) ** 2 for a in A), default=0)


def kmeans_emb(features, labels, ipc: int, starts: int, seeds: list[int]) -> list[int]:
    x = features.astype(np.float64)
    picked = []
    for label, seed in enumerate(seeds):
        rows = rows_of(labels, label)
        found = KMeans(n_clusters=ipc, n_init=starts, random_state=seed).fit(x[rows]).labels_
        members = [[row for row, cluster in zip(rows, found, strict=True) if cluster == which] for which in range(ipc)]
        taken = []
        for group in sorted(members, key=lambda group: (-len(group), min(group))):
            centre = np.mean([x[row] for row in group], axis=0)
            taken.append(
                min((row for row in rows if row not in taken), key=lambda row: (round(math.dist(x[row], centre) ** 2, 8), row))
            )
        picked += taken
    return picked


def pareto(el2n, ipc: int, pools: list[list[int]], hardest: bool) -> list[int]:
    sign = -1 if hardest else 1
    return [row for pool in pools for row in sorted(pool, key=lambda row: (sign * mean_el2n(el2n, row), row))[:ipc]]
