"""What the pages of a parquet column unpack to, from the page headers that the reader itself allocates by.

The footer is not a guard: a file of 463 bytes can claim 1 MB and unpack to 2 GB (anchors, section 8). pyarrow does not show page
headers, so they are walked here: Thrift compact protocol, struct PageHeader of parquet.thrift in apache/parquet-format.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

DELTA_BYTE_ARRAY = 7  # each value repeats a prefix of the one before: a page's size then says nothing about its values

# Field numbers of PageHeader and of the page structs in it.
UNCOMPRESSED_SIZE, COMPRESSED_SIZE, DATA_PAGE, DICTIONARY_PAGE, DATA_PAGE_V2 = 2, 3, 5, 7, 8
PAGE_VALUES, ENCODING, ENCODING_V2 = 1, 2, 4

# Types of the compact protocol.
TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, STRUCT = 1, 2, 3, 4, 5, 6, 7, 8, 12
MOST_DEPTH = 8


@dataclass(frozen=True)
class Pages:
    """Totals over all pages of a column: unpacked bytes, values (nulls counted), largest dictionary, data encodings used."""

    unpacked: int
    values: int
    largest_dictionary: int
    encodings: frozenset[int]


def walk_pages(path: Path, metadata: pq.FileMetaData, column: int) -> Pages:
    """Totals of leaf column number `column` over all row groups.

    Raises ValueError or IndexError when page headers are malformed or leave their column chunk.
    """
    unpacked = values = largest = 0
    encodings = set()
    with path.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as contents:
        for group in range(metadata.num_row_groups):
            chunk = metadata.row_group(group).column(column)
            for header in _headers(contents, chunk):
                unpacked += header[UNCOMPRESSED_SIZE]
                if DICTIONARY_PAGE in header:
                    largest = max(largest, header[UNCOMPRESSED_SIZE])
                for kind, encoding in ((DATA_PAGE, ENCODING), (DATA_PAGE_V2, ENCODING_V2)):
                    if kind in header:
                        values += header[kind][PAGE_VALUES]
                        encodings.add(header[kind][encoding])
    return Pages(unpacked, values, largest, frozenset(encodings))


def _headers(contents: mmap.mmap, chunk: pq.ColumnChunkMetaData) -> Iterator[dict]:
    """Every page header of one column chunk."""
    starts = [start for start in (chunk.dictionary_page_offset, chunk.data_page_offset) if start]
    at = min(starts, default=0)
    end = at + chunk.total_compressed_size
    if chunk.file_path or at < 4 or chunk.total_compressed_size < 0 or end > len(contents):
        raise ValueError(f"column chunk {chunk.path_in_schema} lies outside the file")
    while at < end:
        header, at = _Reader(contents, at).struct()
        sizes = [header.get(UNCOMPRESSED_SIZE, -1), header.get(COMPRESSED_SIZE, -1)]
        values = [header[kind].get(PAGE_VALUES, -1) for kind in (DATA_PAGE, DATA_PAGE_V2) if kind in header]
        if min(sizes + values) < 0 or at + header[COMPRESSED_SIZE] > end:
            raise ValueError(f"page of {chunk.path_in_schema} is malformed or leaves its column chunk")
        yield header
        at += header[COMPRESSED_SIZE]


class _Reader:
    """Thrift compact protocol, as much of it as page headers use: integers and structs are kept, the rest is stepped over."""

    def __init__(self, contents: mmap.mmap, at: int):
        self.contents, self.at = contents, at

    def struct(self, depth: int = 0) -> tuple[dict, int]:
        """({field number: int, dict or None}, position after it)."""
        if depth > MOST_DEPTH:
            raise ValueError("page header nests too deeply")
        fields: dict = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._integer()
            fields[number] = self._value(head & 0x0F, depth)
        return fields, self.at

    def _value(self, kind: int, depth: int):
        if kind in (TRUE, FALSE):
            return None
        if kind in (I16, I32, I64):
            return self._integer()
        if kind == STRUCT:
            return self.struct(depth + 1)[0]
        if kind in (BYTE, DOUBLE, BINARY):
            return self._skip({BYTE: 1, DOUBLE: 8}.get(kind) or self._varint())
        raise ValueError(f"page header holds Thrift type {kind}")

    def _skip(self, size: int) -> None:
        if self.at + size > len(self.contents):
            raise ValueError("page header leaves the file")
        self.at += size

    def _byte(self) -> int:
        value = self.contents[self.at]
        self.at += 1
        return value

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ValueError("page header holds an endless number")

    def _integer(self) -> int:
        zigzag = self._varint()
        return (zigzag >> 1) ^ -(zigzag & 1)
