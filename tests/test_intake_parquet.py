"""Rules of `harness/intake` for parquet from strangers: paths are not followed, bombs are refused before they unpack."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from intake_sets import CLASSES, images_and_labels, little_memory, pngs, refusal, submission, write_nested, write_parquet

from harness.intake.parquet_pages import walk_pages


def test_null_bytes_with_a_path_are_refused_and_the_path_is_not_opened(tmp_path):
    encoded = [*pngs()[:-1], {"bytes": None, "path": "/etc/passwd"}]
    write_parquet(tmp_path / "set.parquet", encoded)
    assert "never followed" in refusal(tmp_path, "row 19 has no image bytes")


def test_a_null_struct_is_refused(tmp_path):
    write_parquet(tmp_path / "set.parquet", [None, *pngs()[1:]])
    refusal(tmp_path, "row 0 has no image bytes")


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("codec", ["snappy", "zstd", "none"])
def test_a_dictionary_encoded_parquet_bomb_is_refused_before_it_unpacks(tmp_path, codec, version):
    """1,000 rows share one value of 8 MB: 8 GB unpacked."""
    labels = np.repeat(np.arange(CLASSES), 100)
    dictionary = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1000, np.int32)), pa.array([b"\0" * (8 << 20)]))
    path = tmp_path / "set.parquet"
    pq.write_table(pa.table({"image": dictionary, "label": labels}), path, compression=codec, store_schema=False,
                   dictionary_pagesize_limit=64 << 20, data_page_version=version)  # fmt: skip
    assert pq.ParquetFile(path).schema_arrow.field("image").type == pa.binary()
    with little_memory():
        refusal(tmp_path, "images are larger than the set may hold", submission(ipc=100))


def test_a_parquet_page_that_unpacks_beyond_the_set_is_refused_by_its_header(tmp_path):
    huge = [b"\0" * (1 << 20)] * 20
    write_parquet(tmp_path / "set.parquet", huge, use_dictionary=False, compression="zstd")
    refusal(tmp_path, "unpacks to more than the set may hold")


def test_a_parquet_list_bomb_is_refused_by_its_value_count(tmp_path):
    """One value a row would fit; here each row holds 200 times the pixels, run-length encoded to almost nothing."""
    write_nested(tmp_path / "set.parquet", np.zeros((20, 3, 200, 64), np.uint8), images_and_labels()[1], fixed=False)
    refusal(tmp_path, "unpacks to more than the set may hold")


def test_a_parquet_file_whose_columns_lie_in_another_file_is_refused(tmp_path):
    """What a `_metadata` file is: a footer about other files."""
    write_parquet(tmp_path / "elsewhere", pngs())
    footer = pq.read_metadata(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").unlink()
    footer.set_file_path("../elsewhere.parquet")
    footer.write_metadata_file(tmp_path / "set.parquet")
    refusal(tmp_path, "lies outside the file")


def test_delta_byte_arrays_are_refused_because_their_size_is_unknown(tmp_path):
    images, labels = pngs(), images_and_labels()[1]
    pq.write_table(pa.table({"image": images, "label": labels}), tmp_path / "s.parquet",
                   use_dictionary=False, column_encoding={"image": "DELTA_BYTE_ARRAY"})  # fmt: skip
    refusal(tmp_path, "DELTA_BYTE_ARRAY")


def test_more_parquet_rows_than_declared_are_refused_before_images_are_read(tmp_path):
    write_parquet(tmp_path / "set.parquet", pngs() * 2, np.tile(images_and_labels()[1], 2))
    refusal(tmp_path, "40 images instead of 20")


@pytest.mark.parametrize("names", [("picture", "label"), ("image", "class"), ("image", "image.bytes")])
def test_missing_parquet_columns_are_named(tmp_path, names):
    write_parquet(tmp_path / "set.parquet", pngs(), image=names[0], label=names[1])
    refusal(tmp_path, "no column is the")


def test_two_possible_label_columns_are_refused(tmp_path):
    labels = images_and_labels()[1]
    pq.write_table(pa.table({"image": pngs(), "label": labels, "fine_label": labels}), tmp_path / "set.parquet")
    refusal(tmp_path, "several columns could be")


@pytest.mark.parametrize(
    "labels", [pa.array(np.zeros(20)), pa.array(["0"] * 20), pa.array([[0]] * 20)], ids=["float", "text", "list"]
)
def test_parquet_labels_that_are_not_integers_are_refused(tmp_path, labels):
    write_parquet(tmp_path / "set.parquet", pngs(), labels)
    refusal(tmp_path, "column 'label' is")


def test_null_parquet_labels_are_refused(tmp_path):
    write_parquet(tmp_path / "set.parquet", pngs(), pa.array([None, *images_and_labels()[1][1:].tolist()]))
    refusal(tmp_path, "empty rows")


@pytest.mark.parametrize("dtype", [np.int64, np.float64, np.float32])
def test_parquet_arrays_of_another_type_than_declared_are_refused(tmp_path, dtype):
    images, labels = images_and_labels()
    write_nested(tmp_path / "set.parquet", images.astype(dtype), labels, fixed=True)
    refusal(tmp_path, "image column is")


def test_flat_parquet_arrays_are_refused_because_their_layout_is_unknown(tmp_path):
    images, labels = images_and_labels()
    flat = pa.FixedSizeListArray.from_arrays(pa.array(images.reshape(-1)), 192)
    pq.write_table(pa.table({"image": flat, "label": labels}), tmp_path / "set.parquet")
    refusal(tmp_path, "image column is")


@pytest.mark.parametrize("spoil", ["ragged", "null"])
def test_ragged_or_null_parquet_arrays_are_refused(tmp_path, spoil):
    nested = images_and_labels()[0].tolist()
    nested[7][1][2] = nested[7][1][2][:-1] if spoil == "ragged" else [None] * 8
    column = pa.array(nested, pa.list_(pa.list_(pa.list_(pa.uint8()))))
    pq.write_table(pa.table({"image": column, "label": images_and_labels()[1]}), tmp_path / "set.parquet")
    refusal(tmp_path, "images differ in shape|images hold empty values")


def test_a_page_walk_counts_what_the_writer_wrote(tmp_path):
    write_parquet(tmp_path / "s.parquet", pngs(), row_group_size=6, compression="none", use_dictionary=False)
    opened = pq.ParquetFile(tmp_path / "s.parquet")
    pages = walk_pages(tmp_path / "s.parquet", opened.metadata, 0)
    assert pages.values == 20
    assert pages.unpacked >= sum(map(len, pngs()))
    assert pages.largest_dictionary == 0
