"""Labels beside the scores an author brings: the split's own, or the file is in another order and refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from harness.coresets.score_files import read_scores
from harness.datasets import load_split
from harness.errors import UsageError
from harness.reference import make_from_scores

ROWS = 20
SCORES = np.random.default_rng(0).normal(size=ROWS)
LABELS = np.arange(ROWS) % 2
ORDER = np.random.default_rng(2).permutation(ROWS).tolist()


def refusal(path: Path, match: str) -> str:
    with pytest.raises(UsageError, match=match) as refused:
        read_scores(path, LABELS)
    assert path.name in refused.value.where
    assert refused.value.fix
    return str(refused.value)


def with_labels(path: Path, scores: np.ndarray, labels, **columns) -> Path:
    frame = pd.DataFrame({"score": scores, "label": labels, **columns})
    match path.suffix:
        case ".csv":
            frame.to_csv(path, index=False)
        case ".parquet":
            frame.to_parquet(path, index=False)
        case ".safetensors":
            save_file({name: np.ascontiguousarray(column) for name, column in frame.items()}, path)
    return path


TABLES = pytest.mark.parametrize("suffix", [".csv", ".parquet", ".safetensors"])
FIRST_MOVED = int(np.flatnonzero(LABELS[ORDER] != LABELS)[0])


@TABLES
@pytest.mark.parametrize("kind", ["int64", "uint8", "float32"])
def test_scores_beside_the_splits_own_labels_are_read(tmp_path, suffix, kind):
    path = with_labels(tmp_path / f"s{suffix}", SCORES, LABELS.astype(kind))
    assert np.array_equal(read_scores(path, LABELS), SCORES)


@TABLES
def test_a_shuffled_file_is_refused_by_its_own_labels_with_the_first_row_that_differs(tmp_path, suffix):
    path = with_labels(tmp_path / f"s{suffix}", SCORES[ORDER], LABELS[ORDER])
    said = refusal(path, f"row {FIRST_MOVED} is of class {LABELS[FIRST_MOVED]} in the training split")
    assert f"{np.count_nonzero(LABELS[ORDER] != LABELS)} of {ROWS} rows differ" in said
    assert "s" + suffix + ": label" in said


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_labels_are_compared_where_row_numbers_put_them(tmp_path, suffix):
    path = with_labels(tmp_path / f"a{suffix}", SCORES[ORDER], LABELS[ORDER], row=ORDER)
    assert np.array_equal(read_scores(path, LABELS), SCORES)
    refusal(with_labels(tmp_path / f"b{suffix}", SCORES[ORDER], LABELS, row=ORDER), "in the training split, and of class")


@TABLES
def test_classes_numbered_otherwise_are_refused_and_the_way_out_is_told(tmp_path, suffix):
    said = refusal(
        with_labels(tmp_path / f"s{suffix}", SCORES, LABELS + 1), "row 0 is of class 0 in the .*, and of class 1 in the file"
    )
    assert "leave the labels out" in said


def test_every_column_of_labels_is_compared(tmp_path):
    refusal(with_labels(tmp_path / "s.csv", SCORES, LABELS, target=1 - LABELS), "row 0 is of class 0")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_names_of_classes_need_row_numbers_beside_them(tmp_path, suffix):
    names = [f"n{label}" for label in LABELS]
    said = refusal(with_labels(tmp_path / f"a{suffix}", SCORES, names), "the labels beside the scores are no class numbers")
    assert "store class numbers, or row numbers" in said
    path = with_labels(tmp_path / f"b{suffix}", SCORES[ORDER], np.array(names)[ORDER], row=ORDER)
    assert np.array_equal(read_scores(path, LABELS), SCORES)


def test_labels_that_could_not_be_compared_are_refused(tmp_path):
    save_file({"score": SCORES, "label": np.eye(2)[LABELS]}, tmp_path / "a.safetensors")
    refusal(tmp_path / "a.safetensors", "no class numbers")
    save_file({"score": SCORES, "label": LABELS[1:]}, tmp_path / "b.safetensors")
    refusal(tmp_path / "b.safetensors", "no class numbers")
    pq.write_table(pa.table({"score": SCORES, "label": [None, *LABELS[1:]]}), tmp_path / "c.parquet")
    refusal(tmp_path / "c.parquet", "no class numbers")
    refusal(with_labels(tmp_path / "d.csv", SCORES, ["", *LABELS[1:]]), "no class numbers")
    refusal(with_labels(tmp_path / "e.csv", SCORES, ["nan", *LABELS[1:]]), "of class nan in the file")


def test_no_set_is_written_from_digits_rows_in_another_order(tmp_path):
    labels = load_split("digits", "train").labels
    order = np.random.default_rng(3).permutation(len(labels))
    scores = np.arange(len(labels), dtype=float)
    shuffled = with_labels(tmp_path / "shuffled.csv", scores[order], labels[order])
    with pytest.raises(UsageError, match="in the training split, and of class"):
        make_from_scores(tmp_path, shuffled, "digits", 1, "highest", 0.0, "mine", ["A. Author"])
    assert not (tmp_path / "submissions").exists()
    straight = with_labels(tmp_path / "straight.csv", scores, labels)
    assert make_from_scores(tmp_path, straight, "digits", 1, "highest", 0.0, "mine", ["A. Author"]).ipc == 1
