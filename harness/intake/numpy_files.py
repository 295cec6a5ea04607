"""Arrays in .npy and .npz files. Headers first; shape x itemsize must be the file's (or zip member's) size; never pickle."""

from __future__ import annotations

import zipfile
from math import prod
from typing import BinaryIO

import numpy as np

from harness.errors import SubmissionError
from harness.intake.arrays import ArrayHeader
from harness.intake.files import SetFile, reading
from harness.intake.limits import check_expansion
from harness.intake.refuse import pickle_refused

MEMBER_SUFFIX = ".npy"
COMPRESSION = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def npy_header(file: SetFile, kind: str) -> ArrayHeader:
    """Header of a .npy file. Raises SubmissionError when it is damaged, holds objects, or does not fit the file's size."""
    with reading(file, "npy"), file.path.open("rb") as opened:
        return _header(opened, file.size, file.name, kind)


def load_npy(file: SetFile) -> np.ndarray:
    """The array of a file whose header was checked. Raises SubmissionError."""
    with reading(file, "npy"):
        return np.load(file.path, allow_pickle=False)


def npz_headers(file: SetFile, wanted: tuple[str, ...]) -> dict[str, ArrayHeader]:
    """Headers of the wanted arrays that are there. Raises SubmissionError for bombs, objects, odd compression, repeated names."""
    with reading(file, "npz"), zipfile.ZipFile(file.path) as archive:
        names = archive.namelist()
        members = [name + MEMBER_SUFFIX for name in wanted if name + MEMBER_SUFFIX in names]
        return {name.removesuffix(MEMBER_SUFFIX): _member_header(archive, name, names, file) for name in members}


def load_npz(file: SetFile, name: str) -> np.ndarray:
    """An array whose header was checked; the zip is decompressed as a stream into memory of exactly its size."""
    with reading(file, "npz"), zipfile.ZipFile(file.path) as archive, archive.open(name + MEMBER_SUFFIX) as stream:
        array = np.lib.format.read_array(stream, allow_pickle=False)
        stream.read(1)  # at the end of the stream zipfile compares the checksum
        return array


def _member_header(archive: zipfile.ZipFile, name: str, names: list[str], file: SetFile) -> ArrayHeader:
    member, where = archive.getinfo(name), f"{file.name}: {name}"
    if names.count(name) > 1 or member.compress_type not in COMPRESSION:
        raise SubmissionError(
            "not an npz as numpy writes it",
            where=where,
            why="a name repeats, or the compression is neither none nor deflate",
            fix="write it with numpy.savez or numpy.savez_compressed",
        )
    check_expansion(member.compress_size, member.file_size, where)
    with archive.open(member) as stream:
        return _header(stream, member.file_size, where, "distilled")


def _header(stream: BinaryIO, size: int, where: str, kind: str) -> ArrayHeader:
    """Parse the header at the start of `stream`, whose whole content claims to be `size` bytes."""
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"npy format version {version}")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    if dtype.hasobject:
        raise pickle_refused(where, "numpy stores object arrays as pickles", kind)
    expected = stream.tell() + prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or expected != size:
        raise SubmissionError(
            "array header and size differ",
            where=where,
            why=f"dtype {dtype}, shape {list(shape)} takes {expected:,} bytes; there are {size:,}",
            fix="write the file again with numpy.save, numpy.savez or numpy.savez_compressed",
        )
    return ArrayHeader(dtype.name if dtype.isnative and dtype.names is None else dtype.str, shape)
