"""Rules of `harness/intake` for coreset indexes: unique rows of the right split, exactly IPC of every class."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from intake_sets import (
    CORESET,
    FINGERPRINT,
    digits_train,
    images_and_labels,
    read,
    refusal,
    rows,
    spec,
    submission,
    write_index,
    write_tensors,
)

from harness.errors import SubmissionError
from harness.intake import read_set


@pytest.mark.parametrize("suffix", [".json", ".csv", ".npy", ".parquet", ".safetensors"])
@pytest.mark.parametrize(
    ("change", "match", "detail"),
    [
        (lambda chosen: chosen[:-1], "19 rows instead of 20", "IPC 2"),
        (lambda chosen: np.r_[chosen, 5], "21 rows instead of 20", "IPC 2"),
        (lambda chosen: np.r_[chosen[1], chosen[1:]], "1 row.s. appear more than once", "row 10"),
        (lambda chosen: np.r_[-1, chosen[1:]], "1 row.s. are not in the training split", "-1 (entry 0)"),
        (lambda chosen: np.r_[chosen[:-1], 898], "1 row.s. are not in the training split", "898 (entry 19)"),
        (lambda chosen: np.r_[chosen[:-1], 3], "2 of 10 classes do not have exactly 2 images", "class 3 has 3, class 9 has 1"),
    ],
    ids=["short", "long", "duplicate", "negative", "beyond the split", "class short"],
)  # fmt: skip
def test_index_mistakes_are_refused_with_rows_and_classes(tmp_path, suffix, change, match, detail):
    assert digits_train().labels[3] == 3
    assert 3 in rows()
    chosen = rows().copy()
    chosen[chosen == 3] = np.flatnonzero(digits_train().labels == 3)[5]
    write_index(tmp_path / f"rows{suffix}", change(chosen).astype(np.int64))
    assert detail in refusal(tmp_path, match, CORESET)


@pytest.mark.parametrize("entry", ["1.0", "1e2", "true", "null", '"1"', "[1]", "1" * 30, "NaN"], ids=lambda entry: entry[:6])
def test_json_entries_that_are_not_integers_are_refused(tmp_path, entry):
    (tmp_path / "rows.json").write_text("[" + ",".join([*map(str, rows()[:-1]), entry]) + "]")
    refusal(tmp_path, "is not a row number", CORESET)


@pytest.mark.parametrize(
    "text",
    [
        '{"rows": 5}',
        '{"row": [1]}',
        '{"rows": [1], "labels": [2]}',
        '{"rows": [1], "rows": [2]}',
        "5",
        "[1,",
        "[" * 100_000,
        '"x"',
    ],
    ids=["number", "other key", "more keys", "key twice", "bare number", "cut", "nested", "text"],
)
def test_json_that_is_not_one_list_of_rows_is_refused(tmp_path, text):
    (tmp_path / "rows.json").write_text(text)
    refusal(tmp_path, "not a readable json file|not a coreset index", CORESET)


@pytest.mark.parametrize("line", ["1.0", "1,2", "one", "0x10", "1_000", "٣", "1" * 30, "row"])
def test_csv_lines_that_are_not_integers_are_refused_with_their_number(tmp_path, line):
    (tmp_path / "rows.csv").write_text("\n".join(["row", *map(str, rows()[:-1]), line]))
    assert "line 21" in refusal(tmp_path, "is not a row number", CORESET)


@pytest.mark.parametrize(
    "chosen", [rows().astype(float), rows().reshape(2, 10), rows().astype(np.uint8)], ids=["float", "2-d", "uint8"]
)
@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
def test_index_arrays_of_other_types_are_refused(tmp_path, suffix, chosen):
    write_index(tmp_path / f"rows{suffix}", chosen)
    refusal(tmp_path, "row numbers are", CORESET)


def test_a_float_parquet_index_is_refused(tmp_path):
    write_index(tmp_path / "rows.parquet", rows().astype(float))
    refusal(tmp_path, "column 'index' is double", CORESET)


def test_a_parquet_index_without_its_column_is_refused(tmp_path):
    pq.write_table(pa.table({"id": rows()}), tmp_path / "rows.parquet")
    refusal(tmp_path, "no column is the row column", CORESET)


def test_two_index_files_are_refused(tmp_path):
    write_index(tmp_path / "a.json", rows())
    write_index(tmp_path / "b.json", rows())
    refusal(tmp_path, "a coreset index is one file", CORESET)


def test_an_index_made_from_another_split_is_refused(tmp_path):
    write_index(tmp_path / "rows.json", rows())
    message = refusal(tmp_path, "made from another training split", submission("coreset", split_fingerprint="b" * 64))
    assert "b" * 16 in message
    assert FINGERPRINT[:16] in message


def test_an_index_far_larger_than_its_rows_is_refused_unread(tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps(rows().tolist()) + " " * (2 << 20))
    refusal(tmp_path, "larger than what it declares to hold", CORESET)


@pytest.mark.parametrize(
    "chosen", [rows()[:-1], np.r_[rows()[1], rows()[1:]], np.r_[-1, rows()[1:]]], ids=["short", "twice", "negative"]
)
def test_the_training_split_is_not_loaded_for_an_index_that_is_wrong_in_itself(tmp_path, chosen):
    write_index(tmp_path / "rows.json", chosen)

    def never():
        pytest.fail("loaded the split")

    with pytest.raises(SubmissionError):
        read_set(tmp_path, ("rows.json",), CORESET, spec(), never)


def test_every_refusal_says_where_and_why(tmp_path):
    write_tensors(tmp_path / "set.npz", labels=images_and_labels()[1] + 5)
    with pytest.raises(SubmissionError) as caught:
        read(tmp_path)
    error = caught.value
    assert error.where.startswith("set.npz")
    assert error.why
    assert error.fix
    assert error.exit_code == 1
