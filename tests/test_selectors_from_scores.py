"""Scores an author brings: every format the same rows, and files that are wrong, hostile or clumsy."""

from __future__ import annotations

import json
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from literal_selectors import take
from safetensors.numpy import save_file

from harness.coresets.from_scores import select_from_scores
from harness.coresets.score_files import NUMBERS, read_scores
from harness.errors import UsageError

ROWS = 20
SCORES = np.random.default_rng(0).normal(size=ROWS)
LABELS = np.arange(ROWS) % 2


def write(path: Path, scores: np.ndarray) -> Path:
    match path.suffix:
        case ".npy":
            np.save(path, scores, allow_pickle=False)
        case ".csv":
            path.write_text("".join(f"{score!r}\n" for score in scores.tolist()))
        case ".parquet":
            pq.write_table(pa.table({"el2n": scores}), path)
        case ".safetensors":
            save_file({"el2n": scores}, path)
    return path


def refusal(path: Path, match: str | None) -> str:
    with pytest.raises(UsageError, match=match) as refused:
        read_scores(path, LABELS)
    assert refused.value.exit_code == 2
    assert path.name in refused.value.where
    assert refused.value.fix
    return str(refused.value)


@pytest.mark.parametrize("suffix", [".npy", ".csv", ".parquet", ".safetensors"])
def test_every_format_gives_the_same_numbers(tmp_path, suffix):
    assert np.array_equal(read_scores(write(tmp_path / f"s{suffix}", SCORES), LABELS), SCORES)


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("suffix", [".npy", ".parquet", ".safetensors"])
def test_every_number_type_is_read_as_it_is(tmp_path, suffix, dtype):
    scores = (SCORES * 10).astype(np.int8).astype(dtype)
    found = read_scores(write(tmp_path / f"s{suffix}", scores), LABELS)
    assert found.dtype == np.dtype(dtype)
    assert np.array_equal(found, scores)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([np.float16, np.float32, np.float64, np.int64, np.uint64, np.int8]).flatmap(
        lambda dtype: arrays(
            dtype, 12, elements={"allow_nan": False, "allow_infinity": False} if dtype(0).dtype.kind == "f" else None
        )
    ),
    st.sampled_from(["highest", "lowest"]),
    st.integers(0, 50),
)
def test_the_first_in_order_are_taken_after_the_window_ties_to_the_lowest_row(scores, order, percent):
    labels = np.arange(12) % 2
    sign = -1 if order == "highest" else 1
    values = [sign * value for value in scores.tolist()]  # Python numbers: no 64-bit integer is rounded
    expected = take(labels, 3, lambda row: values[row], lambda count: percent * count // 100)
    assert select_from_scores(scores, labels, 3, order, percent / 100).tolist() == expected


def test_integers_that_differ_beyond_what_a_float_holds_are_told_apart():
    scores = np.array([2**63 + 1, 2**63 + 2, 2**63], np.uint64)
    assert select_from_scores(scores, np.zeros(3, np.int64), 3, "highest").tolist() == [1, 0, 2]


def test_another_order_or_length_is_refused():
    with pytest.raises(UsageError, match="no order 'best'"):
        select_from_scores(SCORES, LABELS, 1, "best")
    with pytest.raises(UsageError, match=r"\[19\] scores for 20 training rows"):
        select_from_scores(SCORES[1:], LABELS, 1, "highest")
    with pytest.raises(UsageError, match="fewer than IPC 11"):
        select_from_scores(SCORES, LABELS, 11, "highest")
    with pytest.raises(UsageError, match=r"no window of 6 images begins at 0\.5"):
        select_from_scores(SCORES, LABELS, 6, "highest", 0.5)


@pytest.mark.parametrize("suffix", [".npy", ".csv", ".parquet", ".safetensors"])
@pytest.mark.parametrize(("length", "match"), [(19, "19 scores instead of 20"), (21, "21 scores instead of 20")])
def test_a_score_of_another_number_of_rows_is_refused(tmp_path, suffix, length, match):
    refusal(write(tmp_path / f"s{suffix}", np.resize(SCORES, length)), match)


@pytest.mark.parametrize("suffix", [".npy", ".csv", ".parquet", ".safetensors"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused_with_the_row(tmp_path, suffix, value):
    scores = SCORES.copy()
    scores[7] = value
    assert "1 score(s) are not finite" in refusal(write(tmp_path / f"s{suffix}", scores), f"score of row 7 is {value}")


@pytest.mark.parametrize("suffix", [".npy", ".parquet", ".safetensors"])
def test_truth_values_and_columns_of_a_table_are_no_scores(tmp_path, suffix):
    refusal(write(tmp_path / f"s{suffix}", SCORES > 0), "scores are (bool|BOOL)")
    if suffix != ".parquet":
        refusal(write(tmp_path / f"t{suffix}", SCORES[:, None]), r"scores have shape \[20, 1\]")


def test_foreign_number_types_are_refused(tmp_path):
    refusal(write(tmp_path / "a.npy", SCORES.astype(">f4")), "scores are >f4")
    refusal(write(tmp_path / "b.npy", SCORES.astype(complex)), "scores are complex128")
    refusal(write(tmp_path / "c.npy", SCORES.astype("U8")), "scores are str")
    refusal(write(tmp_path / "d.npy", np.zeros(ROWS, [("score", "f4")])), "scores are")
    pq.write_table(pa.table({"score": [str(score) for score in SCORES]}), tmp_path / "e.parquet")
    refusal(tmp_path / "e.parquet", "scores are string")


class TouchesDisk:
    """Leaves a mark if it is ever unpickled."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("name", ["s.npy", "s.csv", "s.parquet", "s.safetensors"])
def test_a_pickle_in_any_disguise_is_not_opened(tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps(TouchesDisk(tmp_path / "mark")))
    refusal(tmp_path / name, "pickled files are never opened")
    assert not (tmp_path / "mark").exists()


def test_an_npy_of_objects_is_not_opened(tmp_path):
    np.save(tmp_path / "s.npy", np.array([TouchesDisk(tmp_path / "mark")] * ROWS), allow_pickle=True)
    refusal(tmp_path / "s.npy", "pickled files are never opened")
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("name", ["s.pt", "s.pkl", "s.npz", "s", "s.json"])
def test_other_formats_are_answered_with_the_accepted_ones(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x80\x04whatever")
    assert ".npy, .csv, .parquet, .safetensors" in refusal(tmp_path / name, "not a format of scores")


def test_what_is_no_regular_file_is_refused(tmp_path):
    refusal(tmp_path / "missing.npy", "no such score file")
    (tmp_path / "folder.npy").mkdir()
    refusal(tmp_path / "folder.npy", "no such score file")
    os.mkfifo(tmp_path / "pipe.npy")
    refusal(tmp_path / "pipe.npy", "no such score file")


def test_a_header_that_claims_more_than_the_file_holds_is_refused_before_memory_is_asked_for(tmp_path):
    path = write(tmp_path / "s.npy", SCORES)
    path.write_bytes(path.read_bytes().replace(b"(20,)", b"(9999999999999,)", 1))
    refusal(path, "npy|header")
    header = json.dumps({"s": {"dtype": "F64", "shape": [10**13], "data_offsets": [0, 8 * 10**13]}}).encode()
    (tmp_path / "s.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    refusal(tmp_path / "s.safetensors", "not a readable safetensors file")


@pytest.mark.parametrize("suffix", [".npy", ".csv", ".parquet", ".safetensors"])
def test_a_file_far_larger_than_one_score_a_row_is_not_read(tmp_path, suffix):
    with (tmp_path / f"s{suffix}").open("wb") as opened:
        opened.truncate(1 << 40)  # a hole: takes no space
    refusal(tmp_path / f"s{suffix}", "larger than one score a row can be")


def test_a_parquet_page_that_unpacks_to_more_rows_is_refused(tmp_path):
    pq.write_table(pa.table({"score": np.zeros(10**6)}), tmp_path / "s.parquet", compression="zstd")
    assert (tmp_path / "s.parquet").stat().st_size < 10**5
    refusal(tmp_path / "s.parquet", "1,000,000 scores instead of 20")


@pytest.mark.parametrize("suffix", [".npy", ".csv", ".parquet", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"\0" * 50, b"\xff\xfe\x00garbage", b"PAR1PAR1", b"\x93NUMPY\x01\x00"])
def test_damaged_files_are_refused_and_nothing_else_is_raised(tmp_path, suffix, content):
    (tmp_path / f"s{suffix}").write_bytes(content)
    refusal(tmp_path / f"s{suffix}", None)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_changed_byte_is_refused_or_read_as_numbers(tmp_path_factory, data):
    suffix = data.draw(st.sampled_from([".npy", ".csv", ".parquet", ".safetensors"]))
    path = write(tmp_path_factory.mktemp("scores") / f"s{suffix}", SCORES)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        found = read_scores(path, LABELS)
    except UsageError:
        return
    assert found.shape == (ROWS,)
    assert np.isfinite(found).all()


# --- CSV and parquet with headings and row numbers


def csv(tmp_path: Path, text: str) -> Path:
    (tmp_path / "s.csv").write_text(text)
    return tmp_path / "s.csv"


def lines(*columns) -> str:
    return "".join(",".join(map(str, line)) + "\n" for line in zip(*columns, strict=True))


ORDER = np.random.default_rng(2).permutation(ROWS).tolist()


@pytest.mark.parametrize(
    "text",
    [
        "el2n\n" + lines(SCORES),
        "\ufeffscore\n" + lines(SCORES),
        '"score"\n' + lines(SCORES),
        "row,score\n" + lines(range(ROWS), SCORES),
        ",score\n" + lines(range(ROWS), SCORES),
        "score,index\n" + lines(SCORES[ORDER], ORDER),
        "name,row,score\n" + lines("abcdefghijklmnopqrst", ORDER, SCORES[ORDER]),
        lines(SCORES).replace("\n", "\r\n"),
        lines(SCORES) + "\n\n",
    ],
    ids=["heading", "mark", "quoted", "row", "pandas index", "shuffled", "names", "crlf", "blank end"],
)
def test_csv_with_headings_and_row_numbers(tmp_path, text):
    assert np.array_equal(read_scores(csv(tmp_path, text), LABELS), SCORES)


@pytest.mark.parametrize("text", ["1", "-1.5", "+.5", "2.", "1e3", "1E-3", "-0.0"])
def test_numbers_are_read_from_csv_in_every_common_notation(tmp_path, text):
    assert read_scores(csv(tmp_path, lines([text, *SCORES[1:]])), LABELS)[0] == float(text)


def test_csv_and_parquet_as_pandas_writes_them(tmp_path):
    frame = pd.DataFrame({"score": SCORES})
    frame.to_csv(tmp_path / "a.csv")
    frame.to_parquet(tmp_path / "b.parquet")
    frame.assign(row=range(ROWS)).sample(frac=1, random_state=0).to_parquet(tmp_path / "c.parquet", index=False)
    frame.sample(frac=1, random_state=0).to_parquet(tmp_path / "d.parquet")
    for name in ("a.csv", "b.parquet", "c.parquet", "d.parquet"):
        assert np.array_equal(read_scores(tmp_path / name, LABELS), SCORES)


@pytest.mark.parametrize(
    ("text", "match", "detail"),
    [
        (lines(range(ROWS), SCORES), "which of the columns are the scores is not clear", "2 columns: 'column 1', 'column 2'"),
        ("image,el2n\n" + lines(range(ROWS), SCORES), "not clear", "'image', 'el2n'"),
        ("score,score\n" + lines(SCORES, SCORES), "not clear", "'score', 'score'"),
        ("row,index,score\n" + lines(range(ROWS), range(ROWS), SCORES), "not clear", "3 columns"),
        ("row,score\n" + lines(range(1, ROWS + 1), SCORES), "not the row numbers", "where 0 should be there is 1"),
        ("row,score\n" + lines([0, 0, *range(2, ROWS)], SCORES), "not the row numbers", "where 1 should be there is 0"),
        ("row,score\n" + lines([0.5, *range(1, ROWS)], SCORES), "not the row numbers", "should be there is 0.5"),
        ("id,score\n" + lines([f"n{row}.jpg" for row in range(ROWS)], SCORES), "'n0.jpg' is not a number", "line 2"),
        ("score\n" + lines(["high", *SCORES[1:]]), "'high' is not a number", "line 2"),
        (lines(["1_0", *SCORES[1:]]), "'1_0' is not a number", "line 1"),
        (lines([*SCORES[:5], "1_0", *SCORES[6:]]), "'1_0' is not a number", "line 6"),
        (lines([*SCORES[:5], "\u0661\u0662", *SCORES[6:]]), "is not a number", "line 6"),  # digits of another script
        (lines([*SCORES[:5], "0x10", *SCORES[6:]]), "'0x10' is not a number", "line 6"),
        (lines([*SCORES[:5], "", *SCORES[6:]]), "19 scores instead of 20", ""),
        ("row,score\n" + lines(range(ROWS), ["", *SCORES[1:]]), "'' is not a number", "line 2"),
        ("score\n" + lines([*SCORES[:5], "nan", *SCORES[6:]]), "score of row 5 is nan", "not finite"),
        (lines(SCORES).replace("\n", ";\n"), "is not a number|instead of 20", ""),
        ("score\n", "0 scores instead of 20", ""),
        ("," * 1000 + "\n" + lines(SCORES), "more columns than a score file has", "1,001 columns"),
        ('"\n' + "," * 1000 + '"\n' + lines(SCORES), "more columns than a score file has", "1,001 columns"),
        (lines(SCORES) + "1,2,3\n", "not a readable csv file", ""),
    ],
)  # fmt: skip
def test_csv_mistakes_are_explained(tmp_path, text, match, detail):
    assert detail in refusal(csv(tmp_path, text), match)


def test_parquet_mistakes_are_explained(tmp_path):
    pq.write_table(pa.table({"score": [None, *SCORES[1:]]}), tmp_path / "a.parquet")
    refusal(tmp_path / "a.parquet", "a row has no value")
    pq.write_table(pa.table({"a": SCORES, "b": SCORES}), tmp_path / "b.parquet")
    refusal(tmp_path / "b.parquet", "which of the columns are the scores is not clear")
    pq.write_table(pa.table({"row": np.zeros(ROWS, int), "score": SCORES}), tmp_path / "c.parquet")
    refusal(tmp_path / "c.parquet", "not the row numbers")
    save_file({"a": SCORES, "b": SCORES}, tmp_path / "d.safetensors")
    refusal(tmp_path / "d.safetensors", "which of the tensors are the scores is not clear")
    save_file({"score": SCORES, "row": np.array(ORDER, np.int64)}, tmp_path / "f.safetensors")
    refusal(tmp_path / "f.safetensors", "beside the scores that are not known")
    pd.DataFrame({"score": SCORES}).iloc[::-1].to_parquet(tmp_path / "g.parquet")
    refusal(tmp_path / "g.parquet", "not in row order")
    pd.DataFrame({"sample_id": list(ORDER), "score": SCORES[ORDER]}).to_parquet(tmp_path / "h.parquet")
    refusal(tmp_path / "h.parquet", "beside the scores that are not known")
    save_file({"score": SCORES, "labels": LABELS}, tmp_path / "e.safetensors")
    assert np.array_equal(read_scores(tmp_path / "e.safetensors", LABELS), SCORES)
