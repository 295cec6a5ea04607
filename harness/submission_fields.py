"""What the fields of a submission file may hold: forms of text, each refused with what is wanted."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, Field


def of_form(pattern: str, meaning: str) -> AfterValidator:
    """A validator that says what is wanted instead of showing a regular expression."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(meaning)
        return text

    return AfterValidator(check)


def printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("it holds characters that cannot be seen")
    return text


Sha256 = Annotated[str, of_form(r"[0-9a-f]{64}", "a sha256 is 64 of 0-9 and a-f, in quotes if all are digits")]
Revision = Annotated[str, of_form(r"[0-9a-f]{40}", "a commit is 40 of 0-9 and a-f; branches and tags can move")]
ShortText = Annotated[str, Field(max_length=200), of_form(r"(?s).*\S.*", "some text is needed")]
HttpsUrl = Annotated[
    str,
    Field(max_length=500),
    of_form(r"https://[^\s<>\"'|`\\@/]+(/[^\s<>\"'|`\\]*)?", "a web address that begins with https:// and has no user name"),
]
PlainName = Annotated[str, Field(max_length=200), of_form(r"[ -~]+", "a name of plain letters")]
ProtocolPin = Annotated[
    str,
    Field(max_length=300),
    of_form(r"[a-z0-9.-]+(/[a-z0-9.-]+)+ sha256:([0-9a-f]{12}|[0-9a-f]{64})", "a protocol is named `<id> sha256:<hash>`"),
]
# Names of authors stand in it, in any script. Room for fifty of 200 letters, quoted.
Command = Annotated[
    str,
    Field(max_length=20_000),
    of_form(r"hlbench (select|distill) .+", "an hlbench command on one line"),
    AfterValidator(printable),
]
# It is shown to users as what to run, so nothing but these options and plain values may stand in it, whoever wrote the file.
RecordCommand = Annotated[
    str,
    Field(max_length=500),
    of_form(
        r"hlbench dynamics record( --(dataset|protocol|ipc|epochs|snapshots|seed|teacher|device|threads) [A-Za-z0-9][\w./-]*)+",
        "an `hlbench dynamics record` command without --out and --data",
    ),
]
RepoId = Annotated[
    str, of_form(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", "a Hub repo is <owner>/<name>, not its address")
]


def path_inside(name: str) -> str:
    """`name` if it is a plain relative POSIX path that stays below its root. Raises ValueError."""
    parts = PurePosixPath(name).parts
    plain = name.isprintable() and "\\" not in name and "://" not in name and len(name.encode()) <= 255
    if not parts or not plain or name.startswith("/") or ".." in parts or "." in name.split("/") or "//" in name:
        raise ValueError(f"{name!r} is not a plain relative path (no '..', no leading '/', no '\\', at most 255 bytes)")
    return name
