"""Take the leaderboards out of the archive (argument) that the GPU machine made, into this checkout; refuse everything else.

The machine that trains on strangers' images is not trusted with the repository. Accepted: new records of the submission that was
evaluated (SUBMISSION in the environment), pages (`leaderboards/*.md`), their figures (`leaderboards/figures/*.svg`), and files
that are already here with the same bytes. The archive is read to its end before the first file is written. Exit code 1: refused,
and nothing was written.
"""

from __future__ import annotations

import os
import re
import sys
import tarfile
from pathlib import Path

MIB = 1 << 20
LARGEST_ARCHIVE = 512 * MIB
LARGEST_FILE = 8 * MIB

SUBMISSION = re.compile(r"submissions/(?P<slug>[a-z0-9][a-z0-9-]{0,63})/(?P<dataset>[a-z0-9-]+)-ipc(?P<ipc>[1-9][0-9]*)\.yaml")
PAGE = re.compile(r"leaderboards/([A-Za-z0-9][A-Za-z0-9-]*\.md|figures/[a-z0-9][a-z0-9-]*\.svg)")


def read_archive(archive: Path, submission: str) -> dict[str, bytes]:
    """Path -> contents of the files that are to be written. Raises ValueError naming the member that is refused, and why."""
    named = SUBMISSION.fullmatch(submission)
    if not named:
        raise ValueError(f"SUBMISSION is {submission!a}")
    folder = f"leaderboards/results/{named['dataset']}/{named['slug']}/ipc{named['ipc']}"
    record = re.compile(re.escape(folder) + r"/[a-z0-9-]+/draw[0-9]{1,3}-seed[0-9]{1,19}\.json")
    if archive.stat().st_size > LARGEST_ARCHIVE:
        raise ValueError(f"the archive is larger than {LARGEST_ARCHIVE} bytes")
    contents: dict[str, bytes] = {}
    with tarfile.open(archive, "r:") as opened:  # no compression: it cannot hold more than its own size
        for member in opened:
            if member.isdir():
                continue
            if reason := reason_to_refuse(member, record, seen=contents):
                raise ValueError(f"{member.name!a}: {reason}")
            contents[member.name] = opened.extractfile(member).read()
    for name, data in contents.items():
        if is_here(name) and not PAGE.fullmatch(name) and Path(name).read_bytes() != data:
            raise ValueError(f"{name}: differs from the one in the repository; what was recorded is not rewritten")
    return contents


def reason_to_refuse(member: tarfile.TarInfo, record: re.Pattern[str], seen: dict[str, bytes]) -> str | None:
    if not member.isreg() or member.issparse():
        return "is a link, a device or a sparse file"
    if member.size > LARGEST_FILE:
        return f"is larger than {LARGEST_FILE} bytes"
    if member.name in seen:
        return "is in the archive twice"
    if not (record.fullmatch(member.name) or PAGE.fullmatch(member.name) or is_here(member.name)):
        return "is neither a record of the evaluated submission nor a page or its figure"
    return None


def is_here(name: str) -> bool:
    """Whether this checkout has a file of that very name below leaderboards/, reached without '..' or '.'."""
    parts = name.split("/")
    return parts[0] == "leaderboards" and not {"", ".", ".."} & set(parts) and "\0" not in name and Path(name).is_file()


def main() -> int:
    try:
        contents = read_archive(Path(sys.argv[1]), os.environ.get("SUBMISSION", ""))
    except (OSError, ValueError, tarfile.TarError) as reason:
        print(f"refused the records\n  why: {reason}", file=sys.stderr)
        return 1
    for name, data in contents.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(data)
    print(f"{len(contents)} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
