"""Formats that are never opened: pickles run code when they are read, archives hide what they hold.

Refused by name (as the listing already was) and by magic bytes, before any parser sees the file. A renamed pickle that has
neither fails in the parser of the format its name claims; nothing here ever unpickles.
"""

from __future__ import annotations

from harness.errors import SubmissionError
from harness.intake.files import SetFile, reading
from harness.intake.zips import open_zip
from harness.set_files import ARCHIVES, PICKLES

# PROTO opcode and version of pickle protocols 2 to 5 (CPython Lib/pickle.py); protocols 0 and 1 have no fixed first bytes.
PICKLE_MAGIC = tuple(bytes([0x80, version]) for version in range(2, 6))
ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
ARCHIVE_MAGIC = (
    b"\x1f\x8b\x08",
    b"BZh",
    b"\xfd7zXZ\x00",
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!\x1a\x07",
    b"\x28\xb5\x2f\xfd",
    b"\x04\x22\x4d\x18",
)
TAR_MAGIC, TAR_MAGIC_AT = b"ustar", 257

CONVERT_IMAGES = """on your own machine, convert your own file to safetensors:
    from safetensors.torch import save_file
    images, labels = ...  # your tensors [N, 3, H, W] and [N], loaded the way you saved them
    save_file({"images": images.contiguous(), "labels": labels.long()}, "set.safetensors")"""

CONVERT_ROWS = """on your own machine, convert your own file to safetensors:
    from safetensors.numpy import save_file
    rows = ...  # your int64 array of row numbers [N], loaded the way you saved it
    save_file({"rows": rows}, "rows.safetensors")"""


def conversion(kind: str) -> str:
    """The few lines of Python that turn a pickled set of this kind (distilled, coreset) into an accepted one."""
    return CONVERT_ROWS if kind == "coreset" else CONVERT_IMAGES


def refuse_dangerous(files: list[SetFile], kind: str) -> None:
    """Raises SubmissionError at the first pickle or archive, whatever it is named."""
    for file in files:
        with file.path.open("rb") as opened:
            head = opened.read(TAR_MAGIC_AT + len(TAR_MAGIC))
        if file.suffix in PICKLES:
            raise pickle_refused(file.name, f"{file.suffix} files are pickles", conversion(kind))
        if _is_pickle(head):
            raise pickle_refused(file.name, "its first bytes are those of a pickle", conversion(kind))
        if head.startswith(ZIP_MAGIC):
            _refuse_zip(file, kind)
        elif file.suffix in ARCHIVES or head.startswith(ARCHIVE_MAGIC) or head[TAR_MAGIC_AT:] == TAR_MAGIC:
            raise _archive_refused(file)


def pickle_refused(where: str, why: str, fix: str) -> SubmissionError:
    """The error for a pickle in any disguise; `fix` usually holds the lines that convert it."""
    return SubmissionError(
        "pickled files are never opened", where=where, why=f"{why}; reading a pickle runs whatever code is in it", fix=fix
    )


def _is_pickle(head: bytes) -> bool:
    """The third byte is an opcode, never 0; a safetensors file whose header takes 640 bytes begins 80 02 00."""
    return head.startswith(PICKLE_MAGIC) and head[2:3] != b"\0"


def _refuse_zip(file: SetFile, kind: str) -> None:
    """A zip is accepted only as .npz, and only if nothing in it is a pickle (a saved torch file is a zip with data.pkl)."""
    with reading(file, "zip"), open_zip(file) as archive:
        pickled = [name for name in archive.namelist() if name.lower().endswith(PICKLES)]
    if pickled:
        why = f"it is a zip that holds {pickled[0][:100]!r}, as torch writes it"
        raise pickle_refused(file.name, why, conversion(kind))
    if file.suffix != ".npz":
        raise _archive_refused(file)


def _archive_refused(file: SetFile) -> SubmissionError:
    return SubmissionError(
        "archives are never opened",
        where=file.name,
        why="what is inside cannot be listed, sized and hashed before it is fetched",
        fix="upload the files themselves; for many images use one parquet file with columns image and label",
    )
