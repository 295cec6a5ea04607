"""The fetched files of one set: where they lie, how large they are, and what a damaged one is reported as."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.errors import HlbenchError, SubmissionError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class SetFile:
    """One regular file. `name` is its POSIX path inside the set, `size` its bytes on disk."""

    name: str
    path: Path
    size: int

    @property
    def suffix(self) -> str:
        """Lower-case extension with its dot, or ''."""
        return PurePosixPath(self.name).suffix.lower()


def find_files(root: Path, names: tuple[str, ...]) -> list[SetFile]:
    """The named files, sorted by name. Raises SubmissionError for an empty list, repeated or unsafe names, and non-files."""
    if not names:
        raise SubmissionError("the set has no files", where=str(root), fix="name at least one file in the submission")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SubmissionError("a file is named twice", where=twice, fix="name each file once")
    return [_find(root, name) for name in sorted(names)]


def _find(root: Path, name: str) -> SetFile:
    parts = name.split("/")
    if not name.isprintable() or "\\" in name or not {"", ".", ".."}.isdisjoint(parts):
        raise SubmissionError("not a plain relative path", where=repr(name), why="a file of a set lies below the set's folder")
    path = root / name
    if not path.is_file():
        raise SubmissionError("no such file in the set", where=name, why=f"{path} is not a regular file")
    return SetFile(name, path, path.stat().st_size)


def one_format(files: list[SetFile], formats: dict[str, str], what: str) -> str:
    """The one format all files have, by extension. Raises SubmissionError for an unknown extension or a mixture."""
    accepted = ", ".join(formats)
    for file in files:
        if file.suffix not in formats:
            raise SubmissionError(
                f"{file.suffix or 'a file without extension'} is not a format of a {what}",
                where=file.name,
                why=f"accepted: {accepted}",
                fix="name only the data files in the submission, and convert this one if it is data",
            )
    found = sorted({formats[file.suffix] for file in files})
    if len(found) > 1:
        raise SubmissionError(
            f"a {what} has one format", where=f"{files[0].name} ...", why=f"found {' and '.join(found)}",
            fix="keep the files of one format in `files`",
        )  # fmt: skip
    return found[0]


def printable(name: str, most: int = 60) -> str:
    """A name from inside a file, for messages and audits: cut short, and escaped where it could steer a terminal."""
    shown = name if name.isprintable() else ascii(name)
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."


@contextmanager
def reading(file: SetFile, file_format: str) -> Iterator[None]:
    """Turn whatever a parser raises on hostile or damaged bytes into a SubmissionError that names the file."""
    try:
        yield
    except HlbenchError:
        raise
    except Exception as reason:  # parsers of damaged files raise almost anything: struct.error, zlib.error, MemoryError ...
        raise SubmissionError(
            f"not a readable {file_format} file",
            where=file.name,
            why=f"{type(reason).__name__}: {str(reason)[:300]}",
            fix="write the file again and upload it whole; its name must end as its contents do",
        ) from reason
