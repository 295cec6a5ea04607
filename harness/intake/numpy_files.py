"""Arrays in .npy and .npz files. Headers first; shape x itemsize must be the file's (or zip member's) size; never pickle."""

from __future__ import annotations

import io
import zipfile
from math import prod
from typing import BinaryIO

import numpy as np

from harness.errors import SubmissionError
from harness.intake.arrays import ArrayHeader
from harness.intake.files import SetFile, printable, reading
from harness.intake.limits import KIB, check_expansion
from harness.intake.refuse import conversion, pickle_refused
from harness.intake.zips import open_zip

MEMBER_SUFFIX = ".npy"
COMPRESSION = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# numpy reads a header of any length that the array states before it refuses what is beyond 10,000 characters.
MOST_HEADER = 64 * KIB


def npy_header(file: SetFile, kind: str) -> ArrayHeader:
    """Header of a .npy file. Raises SubmissionError when it is damaged, holds objects, or does not fit the file's size."""
    with reading(file, "npy"), file.path.open("rb") as opened:
        return _header(opened, file.size, file.name, conversion(kind))


def load_npy(file: SetFile) -> np.ndarray:
    """The array of a file whose header was checked. Raises SubmissionError."""
    with reading(file, "npy"):
        return np.load(file.path, allow_pickle=False)


def npz_headers(file: SetFile) -> dict[str, ArrayHeader]:
    """Headers of all arrays; members that are not .npy are no arrays, and are passed over.

    Raises SubmissionError for bombs, objects, odd compression and repeated names, in arrays that nobody reads as well.
    """
    with reading(file, "npz"), open_zip(file) as archive:
        members = [member for member in archive.infolist() if member.filename.endswith(MEMBER_SUFFIX)]
        headers = {member.filename.removesuffix(MEMBER_SUFFIX): _member_header(archive, member, file) for member in members}
        if len(headers) < len(members):
            raise _not_as_numpy_writes(file.name, "two arrays have one name")
        return headers


def load_npz(file: SetFile, name: str) -> np.ndarray:
    """An array whose header was checked; the zip is decompressed as a stream into memory of exactly its size."""
    with reading(file, "npz"), open_zip(file) as archive, archive.open(name + MEMBER_SUFFIX) as stream:
        array = np.lib.format.read_array(stream, allow_pickle=False)
        stream.read(1)  # at the end of the stream zipfile compares the checksum
        return array


def _member_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo, file: SetFile) -> ArrayHeader:
    name = printable(member.filename)
    where = f"{file.name}: {name}"
    if member.compress_type not in COMPRESSION:
        raise _not_as_numpy_writes(where, "the compression is neither none nor deflate")
    check_expansion(min(member.compress_size, file.size), member.file_size, where)
    with archive.open(member) as stream:
        fix = f"leave {name} out unless it is `images` or `labels`; if it is, {conversion('distilled')}"
        return _header(stream, member.file_size, where, fix)


def _not_as_numpy_writes(where: str, why: str) -> SubmissionError:
    return SubmissionError(
        "not an npz as numpy writes it", where=where, why=why, fix="write it with numpy.savez or numpy.savez_compressed"
    )


def _header(stream: BinaryIO, size: int, where: str, fix: str) -> ArrayHeader:
    """Parse the header at the start of `stream`, whose whole content claims to be `size` bytes; `fix`: for object arrays."""
    head = io.BytesIO(stream.read(MOST_HEADER))
    version = np.lib.format.read_magic(head)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"npy format version {version}")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(head)
    if dtype.hasobject:
        raise pickle_refused(where, "numpy stores object arrays as pickles", fix)
    expected = head.tell() + prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or expected != size:
        raise SubmissionError(
            "array header and size differ",
            where=where,
            why=f"dtype {dtype}, shape {list(shape)} takes {expected:,} bytes; there are {size:,}",
            fix="write the file again with numpy.save, numpy.savez or numpy.savez_compressed",
        )
    return ArrayHeader(dtype.name if dtype.isnative and dtype.names is None else dtype.str, shape)
