"""What every selector of the registry promises, whatever it selects by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from selector_cases import CLASSES, made_source

from harness.coresets.registry import SELECTORS
from harness.coresets.selector import Selector, Source
from harness.dynamics.spec import el2n_sl_file
from harness.errors import UsageError

SOURCE = made_source(7)
GIVEN = {"el2n-best": {"beta": 0.1}}
NESTED = [name for name in SELECTORS if name not in ("kmeans-nearest", "kmeans-emb", "dual-beta", "pareto-easy", "pareto-hard")]
DETERMINISTIC = [name for name in SELECTORS if not SELECTORS[name].randomised]
BLIND = [name for name in DETERMINISTIC if name != "el2n-best"]  # its held-out rows are drawn by class number and row


def run(name: str, source: Source = SOURCE, ipc: int = 3, draw: int = 0, **parameters) -> np.ndarray:
    given = {"f": 0.5} if name.startswith("pareto") else GIVEN.get(name, {})
    return SELECTORS[name].run(source, ipc, draw, **(given | parameters))


@pytest.mark.parametrize("name", SELECTORS)
def test_exactly_ipc_different_rows_of_each_class_class_by_class(name):
    rows = run(name)
    assert rows.dtype == np.int64
    assert SOURCE.labels[rows].tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert len(set(rows.tolist())) == 9


@pytest.mark.parametrize("name", SELECTORS)
def test_the_same_draw_repeats_and_another_matters_only_where_a_selector_says_so(name):
    assert np.array_equal(run(name), run(name))
    draws = {tuple(run(name, draw=draw).tolist()) for draw in range(4)}
    assert len(draws) > 1 if SELECTORS[name].randomised else len(draws) == 1


@pytest.mark.parametrize("name", NESTED)
def test_a_smaller_ipc_is_a_prefix_of_each_class(name):
    small, large = run(name, ipc=2).reshape(CLASSES, 2), run(name, ipc=5).reshape(CLASSES, 5)
    assert np.array_equal(small, large[:, :2])


@pytest.mark.parametrize("name", [name for name in SELECTORS if SELECTORS[name].needs != "pixels"])
def test_the_whole_smallest_class_can_be_taken(name):
    parameters = {"el2n-window": {"beta": 0.0}, "pareto-easy": {"f": 1.0}, "pareto-hard": {"f": 1.0}}.get(name, {})
    ipc = 8 if name == "el2n-best" else 9  # one of the nine is held out
    rows = run(name, ipc=ipc, **parameters, **({"beta": 0.0} if name == "el2n-best" else {}))
    assert np.bincount(SOURCE.labels[rows]).tolist() == [ipc] * 3


@pytest.mark.parametrize("name", SELECTORS)
def test_an_ipc_beyond_the_smallest_class_or_below_one_is_refused_with_the_numbers(name):
    with pytest.raises(UsageError, match="class 0 of made-up has 9 training images, fewer than IPC 10"):
        run(name, ipc=10)
    with pytest.raises(UsageError, match="IPC is 0"):
        run(name, ipc=0)


@pytest.mark.parametrize("name", BLIND)
def test_renaming_the_classes_changes_the_order_of_the_classes_only(name):
    renamed = np.array([2, 0, 1])  # class c becomes renamed[c]
    labels = renamed[SOURCE.labels]
    probabilities = np.empty_like(SOURCE.dynamics.probabilities)
    probabilities[:, renamed] = SOURCE.dynamics.probabilities
    other = Source(replace(SOURCE.split, labels=labels), replace(SOURCE.dynamics, labels=labels, probabilities=probabilities))
    assert np.array_equal(run(name).reshape(CLASSES, 3), run(name, other).reshape(CLASSES, 3)[renamed])


@pytest.mark.parametrize("name", BLIND)
def test_rows_in_another_order_give_the_same_images(name):
    order = np.random.default_rng(3).permutation(len(SOURCE.labels))
    per_snapshot = {field: getattr(SOURCE.dynamics, field)[:, order] for field in ("true_probability", "el2n", "presented")}
    per_row = {field: getattr(SOURCE.dynamics, field)[order] for field in ("labels", "probabilities", "features")}
    shuffled = Source(replace(SOURCE.split, labels=SOURCE.labels[order]), replace(SOURCE.dynamics, **per_snapshot, **per_row))
    assert np.array_equal(order[run(name, shuffled)], run(name))


@pytest.mark.parametrize("name", BLIND)
def test_where_all_rows_are_alike_the_lowest_are_taken(name):
    alike = replace(
        SOURCE.dynamics,
        **{
            field: np.broadcast_to(getattr(SOURCE.dynamics, field)[:, :1], getattr(SOURCE.dynamics, field).shape)
            for field in ("true_probability", "el2n", "presented")
        },
        probabilities=np.full_like(SOURCE.dynamics.probabilities, 1 / 3),
        features=np.full_like(SOURCE.dynamics.features, 0.3),
    )
    skipped = [4, 6, 5] if name == "el2n-window" else [0, 0, 0]
    lowest = [np.flatnonzero(SOURCE.labels == label)[skip : skip + 3] for label, skip in enumerate(skipped)]
    assert np.array_equal(run(name, replace(SOURCE, dynamics=alike)), np.concatenate(lowest))


@pytest.mark.parametrize("name", ["kcenter-greedy", "kmeans-emb"])
def test_equal_rows_are_still_taken_once_each(name):
    alike = replace(SOURCE.dynamics, features=np.full_like(SOURCE.dynamics.features, 0.3))
    assert len(set(run(name, replace(SOURCE, dynamics=alike), ipc=9).tolist())) == 27


@pytest.mark.parametrize("name", [name for name in SELECTORS if SELECTORS[name].needs == "dynamics"])
def test_missing_or_foreign_dynamics_are_refused(name):
    with pytest.raises(UsageError, match="none were given"):
        run(name, replace(SOURCE, dynamics=None))
    with pytest.raises(UsageError, match="do not belong to this split"):
        run(name, replace(SOURCE, dynamics=made_source(8).dynamics))


@pytest.mark.parametrize("name", ["random", "kmeans-nearest"])
def test_selectors_without_dynamics_answer_to_the_plain_call(name):
    assert np.array_equal(SELECTORS[name](SOURCE.split, 3, 1), run(name, replace(SOURCE, dynamics=None), draw=1))


@pytest.mark.parametrize("selector", SELECTORS.values(), ids=SELECTORS)
def test_each_is_documented_and_each_default_says_where_it_comes_from(selector: Selector):
    assert selector.name == next(name for name in SELECTORS if SELECTORS[name] is selector)
    assert selector.title
    assert 1 <= selector.notes.count(". ") + selector.notes.endswith(".") <= 4
    assert all(setting.source for setting in selector.settings.values())
    assert selector.settle({}) == selector.parameters


def test_texts_are_read_as_the_parameter_says():
    assert SELECTORS["el2n-window"].settle({"beta": "0.25"}) == {"beta": 0.25}
    assert SELECTORS["cad-prune"].settle({"J": "4"}) == {"J": 4, "W": 2}
    assert SELECTORS["el2n-window"].settle({"beta": 0}) == {"beta": 0.0}
    assert SELECTORS["cad-prune"].settle({"J": None}) == {"J": None, "W": 2}


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("el2n-window", {"beta": "much"}),
        ("el2n-window", {"beta": "nan"}),
        ("el2n-window", {"beta": None}),
        ("el2n-window", {"beta": True}),
        ("cad-prune", {"J": 4.5}),
        ("cad-prune", {"J": "4.5"}),
        ("forgetting-hard", {"never_learned": "maximum"}),
        ("cad-facility", {"weights": "none"}),
    ],
)
def test_a_value_of_another_kind_is_refused_by_name(name, parameters):
    with pytest.raises(UsageError, match=f"parameter {next(iter(parameters))} of {name} cannot be"):
        run(name, **parameters)


def test_an_unknown_parameter_is_answered_with_the_known_ones():
    with pytest.raises(UsageError, match="no parameter 'j'") as refused:
        run("cad-prune", j=4)
    assert "J, W" in refused.value.fix
    with pytest.raises(UsageError, match="no parameter"):
        run("random", beta=0.5)


@pytest.mark.parametrize(
    ("name", "parameters", "match"),
    [
        ("el2n-window", {"beta": 1.0}, "not at 1"),
        ("el2n-window", {"beta": -0.1}, "not at -0.1"),
        ("el2n-window", {"beta": 0.8}, r"no window of 3 images begins at 0\.8 of class 0"),
        ("el2n-best", {"held_out": 0.0}, "held out is 0"),
        ("el2n-sl-hard", {"temperature": 0.0}, "temperature of 0"),
        ("cal", {"k": 0}, "k is 0"),
        ("graphcut", {"lam": -1.0}, "lam is -1"),
        ("dyn-unc", {"J": 12}, "needs 13 snapshots of training; there are 12"),
        ("dyn-unc", {"J": 1}, "windows of 1 snapshots"),
        ("dual", {"J": 13}, "needs 13 snapshots of training; there are 12"),
        ("dual", {"T": 13}, "T is 13"),
        ("dual", {"T": 5}, "needs 10 snapshots of training; there are 5"),
        ("dual-beta", {"c": 0.0}, "c is 0"),
        ("cad-prune", {"J": 11}, "needs 13 snapshots of training; there are 12"),
        ("cad-prune", {"W": 0}, "averages 0 windows"),
        ("cad-prune", {"W": 11}, "needs 13 snapshots of training; there are 12"),
        ("pareto-easy", {"f": 0.0}, "f is 0"),
        ("pareto-hard", {"f": 1.5}, "f is 1.5"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_numbers(name, parameters, match):
    with pytest.raises(UsageError, match=match):
        run(name, **parameters)


def test_a_pool_larger_than_the_smallest_class_is_refused_and_the_smallest_fraction_named():
    with pytest.raises(UsageError, match="a pool of 30 images a class") as refused:
        run("pareto-easy", f=0.1)
    assert "3 / 0.1, and the smallest class has 9 images" in refused.value.why
    assert "at least 0.334" in refused.value.fix
    assert len(run("pareto-easy", f=0.334)) == 9


def test_too_few_snapshots_name_the_largest_j_that_fits():
    short = replace(SOURCE.dynamics, true_probability=SOURCE.dynamics.true_probability[:8])
    with pytest.raises(UsageError, match="needs 11 snapshots of training; there are 8") as refused:
        run("dyn-unc", replace(SOURCE, dynamics=short))
    assert "at most 7" in refused.value.fix
    assert len(run("dyn-unc", replace(SOURCE, dynamics=short), J=7)) == 9


def test_the_window_error_names_a_beginning_that_works():
    with pytest.raises(UsageError, match="no window") as refused:
        run("el2n-window", beta=0.9)
    assert "0.666 or less" in refused.value.fix
    assert len(run("el2n-window", beta=0.666)) == 9


class Watched:
    """A recording that notes which of its arrays are asked for."""

    def __init__(self, dynamics):
        self._dynamics, self.read = dynamics, set()

    def __getattr__(self, name):
        if name == "el2n_sl":
            return self._at_temperature
        if name not in ("labels", "folder"):  # the first is the split's own
            self.read.add(f"{name}.npy")
        return getattr(self._dynamics, name)

    def _at_temperature(self, temperature):
        self.read.add(el2n_sl_file(temperature))
        return self._dynamics.el2n_sl(temperature)


@pytest.mark.parametrize("name", SELECTORS)
def test_a_selector_reads_of_a_recording_what_it_declares_and_nothing_else(name):
    watched = Watched(SOURCE.dynamics)
    run(name, replace(SOURCE, dynamics=watched))
    selector = SELECTORS[name]
    assert sorted(watched.read) == sorted(selector.files(selector.settle({})))
    assert bool(watched.read) == (selector.needs == "dynamics")


@pytest.mark.parametrize("name", ["el2n-sl-hard", "el2n-sl-easy"])
def test_the_array_of_another_temperature_is_declared_by_that_temperature(name):
    watched = Watched(SOURCE.dynamics)
    run(name, replace(SOURCE, dynamics=watched), temperature=1.0)
    assert list(watched.read) == SELECTORS[name].files({"temperature": 1.0}) == ["el2n_sl_t1.npy"]


@pytest.mark.parametrize("name", SELECTORS)
def test_the_values_on_record_select_the_same_rows_and_none_is_left_to_derive(name):
    selector, given = SELECTORS[name], {"f": 0.5} if name.startswith("pareto") else GIVEN.get(name, {})
    used = selector.used(SOURCE, given)
    assert [key for key, value in used.items() if value is None] == (["searched"] if name == "el2n-best" else [])
    assert np.array_equal(selector.choose(SOURCE, 3, 0, **used), run(name))
