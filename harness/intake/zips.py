"""Zip files from strangers: opened so that a directory of millions of names costs no memory."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

from harness.intake.files import SetFile
from harness.intake.limits import MIB

MOST_DIRECTORY = MIB  # about 20,000 names; a parsed name takes ten times its bytes


@contextmanager
def open_zip(file: SetFile) -> Iterator[zipfile.ZipFile]:
    """The zip, its directory parsed. Raises ValueError for one beyond MOST_DIRECTORY, and what zipfile raises on damage."""
    with _SmallReads(file.path) as opened, zipfile.ZipFile(opened) as archive:
        yield archive


class _SmallReads(io.FileIO):
    """zipfile reads a directory at once, of the size that the file states; everything else it reads in small pieces."""

    def read(self, size: int = -1) -> bytes:
        if size > MOST_DIRECTORY:
            raise ValueError(f"its directory of names claims {size:,} bytes; at most {MOST_DIRECTORY:,}")
        return super().read(size)
