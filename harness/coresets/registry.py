"""Every selector by name, with what it needs, its parameters and where their defaults come from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from harness.coresets import cad, dual, el2n, el2n_best, forgetting
from harness.coresets.cad_facility import select_facility
from harness.coresets.cal import select_cal
from harness.coresets.dyn_unc import select_dyn_unc
from harness.coresets.graphcut import select_graphcut
from harness.coresets.kcenter import select_kcenter_greedy
from harness.coresets.kmeans_emb import select_kmeans_emb
from harness.coresets.kmeans_nearest import select_kmeans_nearest
from harness.coresets.pareto import select_pareto
from harness.coresets.random import select_random
from harness.coresets.selector import Parameter, Selector, Source, Value
from harness.errors import UsageError

# DUAL's exponent c by dataset (its repository); others take the one of CIFAR-100, the nearest in rows a class.
DUAL_C = {"cifar100": 4.0, "imagenet-1k": 11.0}
DUAL_C_ELSEWHERE = 4.0


def _dual_c(source: Source, settled: Mapping[str, Value]) -> Value:
    return DUAL_C.get(source.split.dataset, DUAL_C_ELSEWHERE)


def _all_snapshots(source: Source, settled: Mapping[str, Value]) -> Value:
    return len(source.dynamics.true_probability)


def _all_but_W(source: Source, settled: Mapping[str, Value]) -> Value:
    """At least 2, so that a run that is too short is refused for its length."""
    return max(len(source.dynamics.el2n) - settled["W"], 2)


def _dual_beta(source: Source, ipc: int, draw: int, c: float, J: int, T: int) -> np.ndarray:
    return dual.select_dual_beta(source.dynamics.true_probability, source.labels, ipc, draw, c, J, T)


def _cad_facility(source: Source, ipc: int, draw: int, weights: str, J: int, W: int) -> np.ndarray:
    by_cad = weights == "cad"
    weight = cad.cad_scores(source.dynamics.el2n, J, W) if by_cad else np.ones(len(source.labels))
    return select_facility(source.dynamics.features, weight, source.labels, ipc)


def _forgetting(select, source: Source, ipc: int, never_learned: str) -> np.ndarray:
    dynamics = source.dynamics
    if dynamics.correct.any() and not (dynamics.presented == forgetting.CORRECT).any():
        raise UsageError(
            "the recording counts no row as correct when it was presented", where="presented.npy",
            why="its snapshots do: it was made before presentations were recorded rightly, and ties alone would choose",
            fix="record again: hlbench dynamics record",
        )  # fmt: skip
    return select(dynamics.presented, dynamics.el2n, source.labels, ipc, never_learned)


def _el2n_sl(select, source: Source, ipc: int, temperature: float) -> np.ndarray:
    return select(el2n.sl_scores(source.dynamics.el2n_sl(temperature), temperature), source.labels, ipc)


# earlytrain.py (methods F.7); also no augmentation and weight decay 5e-4.
NOT_DEEPCORES_MODEL = "The scoring model follows the student's recipe; DeepCore's has SGD at a constant 0.1 for 40 epochs."
TEMPERATURE = Parameter(20.0, float, "paper", "Table 4: soft labels at T = 20")
NEVER = Parameter("max", str, "official-code", "example_forgetting; `zero` is DeepCore's", forgetting.NEVER_LEARNED)
FORGETTING = ("presented", "correct", "el2n")
WINDOW = Parameter(10, int, "official-code", "10 snapshots a window, in Dyn-Unc and in DUAL")
EARLY = Parameter(
    None, int, "inferred", "None: all snapshots; DUAL takes 30 of 200 epochs (CIFAR), 60 on ImageNet-1K", derived=_all_snapshots
)
CAD_W = Parameter(2, int, "paper", "section 5: W = 2")
CAD_J = Parameter(None, int, "inferred", "None: K - W, which is the paper's 6 at K = 8", derived=_all_but_W)
FRACTION = Parameter(0.2, float, "inferred", "the strongest choice of Fig. 1b; the paper's grid is 100 % to 20 %")

_ALL = [
    Selector(
        "random",
        "Random Real",
        "Uniform without replacement in each class. The baseline every set must beat.",
        lambda source, ipc, draw: select_random(source.split, ipc, draw),
        needs="nothing",
        randomised=True,
    ),
    Selector(
        "kmeans-nearest",
        "Nearest real image to k-means centroids",
        "k = IPC pixel-space k-means centres a class; the nearest unused real image to each.",
        lambda source, ipc, draw: select_kmeans_nearest(source.split, ipc, draw),
        needs="pixels",
        randomised=True,
    ),
    Selector(
        "el2n-hard",
        "EL2N, hardest",
        "The highest EL2N of each class, averaged over training. Paul et al., Deep Learning on a Data Diet, arXiv 2107.07075.",
        lambda source, ipc, draw: el2n.select_hard(source.dynamics.el2n, source.labels, ipc),
        reads=("el2n",),
    ),
    Selector(
        "el2n-easy",
        "EL2N, easiest",
        "The lowest EL2N of each class, averaged over training. Paul et al., Deep Learning on a Data Diet, arXiv 2107.07075.",
        lambda source, ipc, draw: el2n.select_easy(source.dynamics.el2n, source.labels, ipc),
        reads=("el2n",),
    ),
    Selector(
        "el2n-window",
        "EL2N, window",
        "The hardest beta N_c of each class by EL2N are dropped and the next IPC taken. SelMatch (Lee and Chung, ICML 2024), "
        "whose released code offsets by beta IPC instead.",
        lambda source, ipc, draw, beta: el2n.select_window(source.dynamics.el2n, source.labels, ipc, beta),
        {"beta": Parameter(0.5, float, "inferred", "the middle; EL2N-Best searches it")},
        reads=("el2n",),
    ),
    Selector(
        "el2n-best",
        "EL2N, best window",
        "The EL2N window whose student does best on a part of the training split that no window may use; the test set plays no "
        "part. arXiv 2604.18811, section 5, after SelMatch.",
        lambda source, ipc, draw, beta, held_out, held_out_seed, searched: el2n_best.select_chosen(
            source.dynamics.el2n, source.labels, ipc, beta, held_out, held_out_seed
        ),
        {
            "beta": Parameter(None, float, "inferred", "None: `hlbench select` searches it; grid 0, 0.1, ..."),
            "held_out": Parameter(0.1, float, "inferred", "share of each class held out for choosing beta"),
            "held_out_seed": Parameter(0, int, "inferred", "which rows are held out"),
            "searched": Parameter(None, str, "inferred", "sha256 of the search's window-search.json; moves no row"),
        },
        reads=("el2n",),
    ),
    Selector(
        "el2n-sl-hard",
        "EL2N-SL, hardest",
        "The highest EL2N-SL of each class: the distance of the student's softmax from its teacher's at temperature T. "
        "arXiv 2604.18811, Definition 1.",
        lambda source, ipc, draw, temperature: _el2n_sl(el2n.select_hard, source, ipc, temperature),
        {"temperature": TEMPERATURE},
        reads=("el2n_sl_t{temperature:g}",),
    ),
    Selector(
        "el2n-sl-easy",
        "EL2N-SL, easiest",
        "The lowest EL2N-SL of each class: the distance of the student's softmax from its teacher's at temperature T. "
        "arXiv 2604.18811, Definition 1.",
        lambda source, ipc, draw, temperature: _el2n_sl(el2n.select_easy, source, ipc, temperature),
        {"temperature": TEMPERATURE},
        reads=("el2n_sl_t{temperature:g}",),
    ),
    Selector(
        "forgetting-hard",
        "Forgetting, most forgotten",
        "The most forgetting events of each class, ties by the highest EL2N. Toneva et al., An Empirical Study of Example "
        "Forgetting, arXiv 1812.05159.",
        lambda source, ipc, draw, never_learned: _forgetting(forgetting.select_hard, source, ipc, never_learned),
        {"never_learned": NEVER},
        reads=FORGETTING,
    ),
    Selector(
        "forgetting-easy",
        "Forgetting, least forgotten",
        "The fewest forgetting events of each class, ties by the lowest EL2N. Toneva et al., An Empirical Study of Example "
        "Forgetting, arXiv 1812.05159.",
        lambda source, ipc, draw, never_learned: _forgetting(forgetting.select_easy, source, ipc, never_learned),
        {"never_learned": NEVER},
        reads=FORGETTING,
    ),
    Selector(
        "cal",
        "CAL",
        "The lowest mean divergence from the k nearest images of the class, found in the scoring model's features. Margatina et "
        f"al., arXiv 2109.03764, in the direction of DeepCore. {NOT_DEEPCORES_MODEL}",
        lambda source, ipc, draw, k: select_cal(source.dynamics.probabilities, source.dynamics.features, source.labels, ipc, k),
        {"k": Parameter(10, int, "official-code", "DeepCore cal.py: 10 neighbours")},
        reads=("probabilities", "features"),
    ),
    Selector(
        "graphcut",
        "GraphCut",
        "Greedy graph cut on the cosines of last-layer gradients within each class. Iyer et al., Submodular Combinatorial "
        f"Information Measures, as in DeepCore, arXiv 2204.08499. {NOT_DEEPCORES_MODEL}",
        lambda source, ipc, draw, lam: select_graphcut(
            source.dynamics.probabilities, source.dynamics.features, source.labels, ipc, lam
        ),
        {"lam": Parameter(1.0, float, "official-code", "DeepCore submodular_function.py: lam = 1")},
        version=2,  # 1 lost the gradient of a true class whose probability float16 stores as exactly 1
        reads=("probabilities", "features"),
    ),
    Selector(
        "kcenter-greedy",
        "K-center greedy",
        "From a random image of each class on, always the one farthest in feature space from all picked. Sener and Savarese, "
        "arXiv 1708.00489.",
        lambda source, ipc, draw: select_kcenter_greedy(source.dynamics.features, source.labels, ipc, draw),
        randomised=True,
        reads=("features",),
    ),
    Selector(
        "kmeans-emb",
        "K-centers (k-means in feature space)",
        "k = IPC k-means centres of each class in the scoring model's features; the nearest unused real image to each. DC-Bench "
        "(Cui et al., arXiv 2207.09639), the K-centers rows of arXiv 2604.18811.",
        lambda source, ipc, draw, starts: select_kmeans_emb(source.dynamics.features, source.labels, ipc, draw, starts),
        {"starts": Parameter(3, int, "inferred", "k-means++ starts, best inertia kept; ten cost three times as much")},
        randomised=True,
        reads=("features",),
    ),
    Selector(
        "dyn-unc",
        "Dyn-Unc",
        "The highest deviation of the true class's probability over windows of J snapshots. He et al., Large-scale Dataset "
        "Pruning with Dynamic Uncertainty, arXiv 2306.05175.",
        lambda source, ipc, draw, J: select_dyn_unc(source.dynamics.true_probability, source.labels, ipc, J),
        {"J": WINDOW},
        reads=("true_probability",),
    ),
    Selector(
        "dual",
        "DUAL",
        "The highest product of uncertainty and difficulty over windows of J snapshots, without Beta sampling. Cho et al., "
        "arXiv 2502.06905.",
        lambda source, ipc, draw, J, T: dual.select_dual(source.dynamics.true_probability, source.labels, ipc, J, T),
        {"J": WINDOW, "T": EARLY},
        reads=("true_probability",),
    ),
    Selector(
        "dual-beta",
        "DUAL with Beta sampling",
        "Drawn in each class by DUAL times a Beta density that favours easier images the more is pruned. Cho et al., "
        "arXiv 2502.06905.",
        _dual_beta,
        {
            "c": Parameter(
                None, float, "official-code", "None: 4 (CIFAR-100), 11 (ImageNet-1K); 4 elsewhere is inferred", derived=_dual_c
            ),
            "J": WINDOW,
            "T": EARLY,
        },
        randomised=True,
        reads=("true_probability",),
    ),
    Selector(
        "cad-prune",
        "CAD-Prune",
        "The highest CAD of each class: the deviation of EL2N over the last W windows of J = K - W snapshots. arXiv 2604.18811, "
        "equations 1 and 2; there the run is matched to the set's compute.",
        lambda source, ipc, draw, J, W: cad.select_cad_prune(source.dynamics.el2n, source.labels, ipc, J, W),
        {"J": CAD_J, "W": CAD_W},
        reads=("el2n",),
    ),
    Selector(
        "cad-prune-literal",
        "CAD-Prune, J = 6",
        "The highest CAD of each class with the paper's J = 6 whatever the length of the run. arXiv 2604.18811, eq. 1 and 2.",
        lambda source, ipc, draw, J, W: cad.select_cad_prune(source.dynamics.el2n, source.labels, ipc, J, W),
        {"J": Parameter(6, int, "paper", "section 5: J = 6"), "W": CAD_W},
        reads=("el2n",),
    ),
    Selector(
        "cad-facility",
        "CAD-weighted facility location",
        "Greedy facility location on the cosines of features within each class, each image weighted by its CAD. An extra "
        "baseline of this project; the weights are those of arXiv 2604.18811, equations 1 and 2.",
        _cad_facility,
        {
            "weights": Parameter("cad", str, "inferred", "`uniform` is plain facility location", ("cad", "uniform")),
            "J": CAD_J,
            "W": CAD_W,
        },
        reads=("features", "el2n"),
    ),
    Selector(
        "pareto-easy",
        "Pareto family, easiest of a random pool",
        "The lowest EL2N among a random pool of IPC / f images of each class. arXiv 2604.18811, section 3.1 and Fig. 1b.",
        lambda source, ipc, draw, f: select_pareto(source.dynamics.el2n, source.labels, ipc, draw, f, hardest=False),
        {"f": FRACTION},
        randomised=True,
        reads=("el2n",),
    ),
    Selector(
        "pareto-hard",
        "Pareto family, hardest of a random pool",
        "The highest EL2N among a random pool of IPC / f images of each class. arXiv 2604.18811, section 3.1 and Fig. 1b.",
        lambda source, ipc, draw, f: select_pareto(source.dynamics.el2n, source.labels, ipc, draw, f, hardest=True),
        {"f": FRACTION},
        randomised=True,
        reads=("el2n",),
    ),
]

SELECTORS: dict[str, Selector] = {selector.name: selector for selector in _ALL}
