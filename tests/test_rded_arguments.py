"""RDED and CA2D as methods: the provenance of every piece, CA2D's pool, and arguments that do not fit."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from rded_cases import DIGITS, few_digits, pixels, source, toy_observer

from harness.datasets import DATASETS, load_split
from harness.datasets.base import Split
from harness.distill.ca2d import cad_pools, default_pool
from harness.distill.method import Source
from harness.distill.observer import OBSERVERS, Observer, load_observer
from harness.distill.patches import Layout
from harness.distill.provenance import made_again, provenance_bytes, read_provenance
from harness.distill.registry import DISTILLERS
from harness.errors import EnvironmentProblem, SubmissionError, UsageError
from harness.teachers import teacher_ids

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def few() -> Split:
    return few_digits()


@pytest.fixture(scope="module")
def train() -> Split:
    return load_split("digits", "train")


# provenance


@pytest.mark.parametrize("factor", [1, 2])
def test_the_provenance_alone_makes_the_same_set_again(few, factor):
    distilled = DISTILLERS["rded"].run(source(few), 2, 0, factor=factor)
    contents = provenance_bytes(distilled.patches)
    assert contents == provenance_bytes(DISTILLERS["rded"].run(source(few), 2, 0, factor=factor).patches)
    again = made_again(contents, few, Layout(2, 12, factor), "draw0.provenance.parquet")
    assert np.array_equal(pixels(again), pixels(distilled))
    assert np.array_equal(again.labels, distilled.labels)
    assert again.patch_shuffle == factor


def test_the_cross_entropy_beside_a_piece_is_the_observers_on_the_pixels_in_the_set(few):
    distilled = DISTILLERS["rded"].run(source(few), 2, 0, factor=2)
    lines = pq.read_table(io.BytesIO(provenance_bytes(distilled.patches))).to_pylist()
    for line in lines[::7]:
        top, left = 6 * (line["quadrant"] // 2), 6 * (line["quadrant"] % 2)
        piece = torch.from_numpy(distilled.images[line["image"]][:, top : top + 6, left : left + 6].copy())
        value = toy_observer(12).cross_entropy(piece[None], line["image"] // 2, 12)
        assert value.item() == pytest.approx(line["cross_entropy"], rel=1e-6)


def altered(contents: bytes, column: str, line: int, value: int | None) -> bytes:
    table = pq.read_table(io.BytesIO(contents))
    values = table.column(column).to_pylist()
    values[line] = value
    at = table.schema.get_field_index(column)
    sink = io.BytesIO()
    pq.write_table(table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type)), sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("column", "value", "match"),
    [
        ("row", 10**9, "line 43"),
        ("row", -1, "line 43"),
        ("row", 0, "line 43"),  # of another class
        ("image", 1, "line 43"),
        ("quadrant", 0, "line 43"),
        ("top", -1, "leaves row"),
        ("left", 12, "leaves row"),
        ("height", 0, "leaves row"),
        ("width", 2**31 - 1, "leaves row"),
        ("row", None, "missing"),
    ],
)
def test_a_provenance_that_does_not_describe_the_set_is_refused(few, column, value, match):
    contents = provenance_bytes(DISTILLERS["rded"].run(source(few), 2, 0, factor=2).patches)
    with pytest.raises(SubmissionError, match=rf"draw0[\s\S]*{match}"):
        read_provenance(altered(contents, column, 43, value), few, Layout(2, 12, 2), "draw0.provenance.parquet")


def test_a_provenance_of_another_size_or_that_is_no_parquet_is_refused(few):
    contents = provenance_bytes(DISTILLERS["rded"].run(source(few), 2, 0, factor=2).patches)
    for bad, layout in ((contents, Layout(1, 12, 2)), (b"PAR1", Layout(2, 12, 2)), (contents[:200], Layout(2, 12, 2))):
        with pytest.raises(SubmissionError, match="does not describe the set"):
            read_provenance(bad, few, layout, "draw0.provenance.parquet")


# CA2D


def test_ca2d_looks_at_the_highest_cad_scores_of_each_class_and_at_all_of_them(few):
    cad = np.random.default_rng(0).random(len(few))
    judged = []
    observer = toy_observer(12)
    counting = Observer(lambda images: judged.append(len(images)) or observer.logits(images), 12, DIGITS)
    distilled = DISTILLERS["ca2d"].run(Source(few, counting, cad), 1, 0, factor=2, pool=6, crops=3)
    assert sum(judged) == 10 * 6 * 3
    for label in range(10):
        rows = np.flatnonzero(few.labels == label)
        top = set(sorted(rows, key=lambda row: (-cad[row], row))[:6])
        assert set(distilled.patches.rows[label * 4 : label * 4 + 4]) <= top


def toy_split(*sizes: int) -> Split:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return Split("toy", "train", np.zeros((len(labels), 3, 2, 2), np.uint8), labels, "0" * 64)


def test_the_ca2d_pool_is_300_or_half_again_as_many_as_pieces():
    split, cad = toy_split(1000, 1000), np.zeros(2000)
    assert [len(rows) for rows in cad_pools(split, cad, Layout(50, 2, 2))] == [300, 300]
    assert [len(rows) for rows in cad_pools(split, cad, Layout(100, 2, 2))] == [600, 600]
    assert cad_pools(split, cad, Layout(10, 2))[1].tolist() == list(range(1000, 1300))  # ties: the lowest rows


@pytest.mark.parametrize(
    ("smallest", "needed", "expected"),
    [
        (500, 10, 300), (500, 50, 300), (500, 100, 300), (500, 201, 302),  # CIFAR-100, TinyImageNet
        (5000, 10, 300), (732, 40, 300), (732, 400, 600),  # CIFAR-10, ImageNet-1K
        (86, 10, 52), (90, 10, 54), (86, 50, 75), (5, 1, 3), (2, 1, 2),
    ],
)  # fmt: skip
def test_the_ca2d_pool_is_at_most_60_percent_of_the_smallest_class_unless_the_pieces_need_more(smallest, needed, expected):
    assert default_pool(smallest, Layout(needed, 2)) == expected


def test_the_ca2d_pool_of_digits_leaves_images_out(train):
    assert [len(rows) for rows in cad_pools(train, np.zeros(len(train)), Layout(10, 8))] == [52] * 10


def test_a_default_ca2d_pool_that_would_choose_nothing_is_refused_and_a_named_one_is_not():
    cad = np.zeros(24)
    assert [len(rows) for rows in cad_pools(toy_split(12, 13), np.zeros(25), Layout(8, 2))] == [12, 12]
    with pytest.raises(UsageError, match="CA2D would choose nothing at IPC 8") as caught:
        cad_pools(toy_split(12, 12), cad, Layout(8, 2))
    assert "--param pool=" in caught.value.fix
    assert [len(rows) for rows in cad_pools(toy_split(12, 12), cad, Layout(8, 2), 12)] == [12, 12]


def test_ca2d_on_the_whole_class_is_rded_on_the_whole_class(few):
    cad = np.arange(len(few), dtype=np.float32)
    ca2d = DISTILLERS["ca2d"].run(source(few, cad=cad), 2, 5, factor=2, pool=12)
    assert np.array_equal(pixels(ca2d), pixels(DISTILLERS["rded"].run(source(few), 2, 5, factor=2)))


@pytest.mark.parametrize("cad", [np.zeros(7), np.zeros((120, 1)), np.full(120, np.nan), np.full(120, np.inf)])
def test_cad_scores_that_do_not_fit_the_split_are_refused(few, cad):
    with pytest.raises(UsageError, match="do not fit the training split"):
        DISTILLERS["ca2d"].run(source(few, cad=cad), 1, 0)


# arguments


@pytest.mark.parametrize(
    ("method", "ipc", "parameters", "match"),
    [
        ("rded", 4, {"factor": 2}, r"IPC x factor² = 4 x 4 = 16 .*12 images are looked at, the class has 12\n.*--ipc 3 or less"),
        ("rded", 2, {"factor": 2, "images_per_class": 7}, r"= 8 .*7 images are looked at.*12\n.*images_per_class of 8 or more"),
        ("rded", 13, {}, r"= 13 .*\n.*--ipc 12 or less$"),
        ("ca2d", 2, {"factor": 2, "pool": 7}, r"= 8 .*7 images are looked at.*\n.*choose pool of 8 or more"),
        ("ca2d", 4, {"factor": 2}, r"--ipc 3 or less, or factor 1"),
        ("rded", 1, {"images_per_class": 0}, "0 images are looked at"),
        ("rded", 1, {"images_per_class": -5}, "0 images are looked at"),
        ("rded", 1, {"factor": 5}, "divides 12"),
        ("rded", 1, {"factor": 0}, "factor 0"),
        ("rded", 1, {"factor": -1}, "factor -1"),
        ("rded", 1, {"factor": 12}, "factor 12"),
        ("rded", 1, {"crops": 0}, "0 crops"),
        ("rded", 1, {"crops": None}, "crops of rded is needed"),
        ("rded", 1, {"crops": "many"}, "'many'"),
        ("rded", 1, {"crops": 2.5}, "2.5"),
        ("rded", 1, {"factr": 2}, r"no parameter 'factr'\n.*factor, images_per_class, crops"),
        ("rded", 0, {}, "IPC is 0"),
        ("rded", -1, {}, "IPC is -1"),
        ("kmeans-centroids", 0, {}, "IPC is 0"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_with_the_numbers(few, method, ipc, parameters, match):
    with pytest.raises(UsageError) as refusal:
        DISTILLERS[method].run(source(few, cad=np.zeros(len(few))), ipc, 0, **parameters)
    assert re.search(match, str(refusal.value)), str(refusal.value)


def test_a_factor_that_does_not_divide_64_pixels_is_refused():
    with pytest.raises(UsageError, match="factor 3 does not fit images of 64 pixels"):
        Layout(1, 64, 3)


def test_parameters_are_read_from_text_as_the_command_line_gives_them(few):
    as_text = DISTILLERS["rded"].run(source(few), 1, 0, factor="2", crops="3")
    assert np.array_equal(pixels(as_text), pixels(DISTILLERS["rded"].run(source(few), 1, 0, factor=2, crops=3)))


@pytest.mark.parametrize(("method", "lacking"), [("rded", "observer"), ("ca2d", "observer and cad")])
def test_a_method_says_what_it_lacks(few, method, lacking):
    with pytest.raises(UsageError, match=f"{method} needs {lacking}"):
        DISTILLERS[method].run(Source(few), 1, 0)


def test_a_method_that_needs_only_the_split_still_gives_its_set(train):
    distilled = DISTILLERS["kmeans-centroids"].run(Source(train), 2, 0)
    assert distilled.images.shape == (20, 3, 8, 8)
    assert distilled.patches is None
    assert distilled.patch_shuffle == 1


def test_a_teacher_of_another_dataset_is_no_observer():
    with pytest.raises(UsageError, match="digits/convnet-d3 knows the classes of digits, not of cifar10"):
        load_observer(ROOT, "cifar10", 100, "digits/convnet-d3")


def test_a_dataset_without_a_teacher_has_no_observer(tmp_path):
    with pytest.raises(EnvironmentProblem, match="digits/convnet-d3 has no weights yet"):
        load_observer(tmp_path, "digits", 100)
    with pytest.raises(UsageError, match="no observer of mnist"):
        load_observer(ROOT, "mnist", 100)


@pytest.mark.parametrize(("dataset", "teacher"), OBSERVERS.items())
def test_the_default_observer_of_a_dataset_is_a_teacher_of_it(dataset, teacher):
    assert dataset in DATASETS
    assert teacher in teacher_ids(ROOT)
    assert teacher.startswith(f"{dataset}/")
