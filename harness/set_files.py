"""Which files a submitted set may consist of: their names, kinds, number and sizes, judged before a byte of them is read.

Nothing here touches the network. `hub.py` fills a `Listing` from the Hub's tree, `list_folder` from a folder on disk; both then
pass the same `check_listing`.
"""

from __future__ import annotations

import difflib
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.errors import SubmissionError

GIB = 1 << 30

READABLE = (".parquet", ".png", ".jpg", ".jpeg", ".webp", ".safetensors", ".npz", ".npy", ".json", ".csv", ".txt")
TORCH_PICKLES = (".pt", ".pth", ".bin", ".ckpt")
PICKLES = (*TORCH_PICKLES, ".pkl", ".pickle", ".joblib")
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar")

# Shown to authors, who run it on files they made themselves; this project never opens a pickle.
CONVERT_TORCH = """convert it once, on your machine, and upload the result:
      import torch
      from safetensors.torch import save_file
      data = torch.load("{name}", map_location="cpu")
      save_file({{"images": data["images"].contiguous(), "labels": data["labels"]}}, "{stem}.safetensors")"""
CONVERT_PICKLE = """convert it once, on your machine, and upload the result:
      import pickle, numpy
      data = pickle.load(open("{name}", "rb"))
      numpy.savez("{stem}.npz", images=data["images"], labels=data["labels"])"""


@dataclass(frozen=True)
class Limits:
    """How much one set may ask of this machine.

    Attributes:
        files: most files in a set: ImageNet-1K at 20 images per class as single files; larger sets go into parquet shards.
        file_bytes: largest single file, bytes.
        total_bytes: all files together, bytes: ImageNet-1K at 200 images per class and 100 kB an image is 18.6 GiB.
        repo_entries: most entries of a repo's listing that are read; the Hub itself advises fewer than 100,000 files per repo.
    """

    files: int = 20_000
    file_bytes: int = 5 * GIB
    total_bytes: int = 20 * GIB
    repo_entries: int = 100_000


@dataclass(frozen=True)
class ListedFile:
    """`path` is POSIX and relative to the repo or folder; `size` in bytes; `sha256` (64 hex digits) where the Hub states one."""

    path: str
    size: int
    sha256: str | None = None


@dataclass(frozen=True)
class Listing:
    """The files of one set, sorted by path. `described` says where they lie, for messages."""

    described: str
    files: tuple[ListedFile, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(file.path for file in self.files)

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files)


def select(present: Mapping[str, ListedFile], wanted: Iterable[str], described: str) -> Listing:
    """The files `wanted` names among those `present` (path -> file); an entry that ends in '/' names all files below that folder.

    Raises SubmissionError listing the entries that name nothing, each with its nearest existing name.
    """
    chosen: dict[str, ListedFile] = {}
    missing = []
    for entry in wanted:
        found = [name for name in present if name.startswith(entry)] if entry.endswith("/") else [entry] * (entry in present)
        chosen.update((name, present[name]) for name in found)
        if not found:
            missing.append(entry)
    if missing:
        shown = "; ".join(f"{entry}{_hint(entry, present)}" for entry in missing[:5])
        raise SubmissionError(
            "the submission names files that do not exist",
            where=described,
            why=f"{len(missing)} of the named files are missing: {shown}",
            fix="correct `files`, or pin the commit that holds them; a folder is named with a trailing '/'",
        )
    return Listing(described, tuple(chosen[name] for name in sorted(chosen)))


def check_listing(listing: Listing, limits: Limits) -> None:
    """Raises SubmissionError when names, kinds, number or sizes of the files break a rule; the first broken rule is reported."""
    where = listing.described
    if not listing.files:
        raise SubmissionError("the set holds no files", where=where, fix="name the files or the folder that hold the images")
    if len(listing.files) > limits.files:
        raise SubmissionError(
            "the set has too many files", where=where, why=f"{len(listing.files):,} files; limit {limits.files:,}",
            fix="pack the images into parquet shards",
        )  # fmt: skip
    for file in listing.files:
        _check_name(file.path, where)
        _check_kind(file.path, where)
        if file.size > limits.file_bytes:
            raise SubmissionError(
                "a file of the set is too large", where=f"{where}: {file.path}",
                why=f"{file.size:,} bytes; limit {limits.file_bytes:,} for one file", fix="split it into shards",
            )  # fmt: skip
    if listing.bytes > limits.total_bytes:
        raise SubmissionError(
            "the set is too large", where=where, why=f"{listing.bytes:,} bytes in all; limit {limits.total_bytes:,}",
            fix="submit fewer images, or store them compressed (PNG, JPEG or WebP inside parquet)",
        )  # fmt: skip
    _check_distinct(listing.names, where)


def list_folder(root: Path, described: str) -> Listing:
    """Every file below the folder `root`, or `root` itself when it is a file (then named by its file name).

    Raises SubmissionError for a symbolic link (its target may lie anywhere) or anything else that is not a plain file; OSError.
    """
    found, base = [root], root.parent
    if root.is_dir():
        found, base = [Path(at) / name for at, folders, names in os.walk(root, onerror=_fail) for name in folders + names], root
    files = []
    for path in sorted(found):
        status = path.lstat()
        if stat.S_ISDIR(status.st_mode):
            continue
        if not stat.S_ISREG(status.st_mode):
            raise SubmissionError(
                "only plain files may lie in a set", where=f"{described}: {path.relative_to(base).as_posix()}",
                why="it is a symbolic link, a device or a pipe, so what it holds is not fixed by this set",
                fix="replace it by a copy of the file it stands for",
            )  # fmt: skip
        files.append(ListedFile(path.relative_to(base).as_posix(), status.st_size))
    return Listing(described, tuple(sorted(files, key=lambda file: file.path)))


def _fail(error: OSError) -> None:
    """`os.walk` would otherwise skip a folder that it cannot read."""
    raise error


def _check_name(name: str, where: str) -> None:
    """Names in a listing become paths on this disk. Hidden parts are refused too: the Hub client keeps notes in `.cache/`."""
    parts = name.split("/")
    plain = name.isprintable() and not set('\\:*?"<>|') & set(name) and len(name.encode(errors="replace")) <= 255
    if not plain or any(not part or part.startswith(".") for part in parts):
        raise SubmissionError(
            "a file of the set has an unsafe name",
            where=f"{where}: {name!r}",
            why="a name is a relative path of at most 255 printable bytes, without '..', hidden parts or \\ : * ? \" < > |",
            fix="rename the file in the repo and pin the new commit",
        )


def _check_kind(name: str, where: str) -> None:
    """The suffix decides which reader sees the file; the reader itself never trusts it."""
    path = PurePosixPath(name)
    suffix = path.suffix.lower()
    if suffix in READABLE:
        return
    if suffix in PICKLES:
        template = CONVERT_TORCH if suffix in TORCH_PICKLES else CONVERT_PICKLE
        raise SubmissionError(
            f"{suffix} files are not accepted",
            where=f"{where}: {name}",
            why="opening a pickle runs whatever code its author put there",
            fix=template.format(name=path.name, stem=path.stem),
        )
    raise SubmissionError(
        f"{suffix or 'suffixless'} files are not accepted",
        where=f"{where}: {name}",
        why=f"a set consists of {' '.join(READABLE)} files",
        fix="unpack the archive and upload what it holds"
        if suffix in ARCHIVES
        else "name only the data files of the set in `files`",
    )


def _check_distinct(names: Iterable[str], where: str) -> None:
    """`A.png` and `a.png` are one file on some disks, so a set that holds both would differ from machine to machine."""
    folded: dict[str, str] = {}
    for name in names:
        if folded.setdefault(name.casefold(), name) != name:
            raise SubmissionError(
                "two files differ only in upper and lower case", where=f"{where}: {name}",
                why=f"{folded[name.casefold()]!r} and {name!r} are one file on some disks", fix="rename one of them",
            )  # fmt: skip


def _hint(entry: str, present: Mapping[str, ListedFile]) -> str:
    """What an author who wrote `entry` probably meant."""
    if any(name.startswith(f"{entry}/") for name in present):
        return f" (a folder: write {entry + '/'!r})"
    near = difflib.get_close_matches(entry, list(present)[:5000], n=1)
    return f" (is it {near[0]!r}?)" if near else ""
