"""Which submission files does this branch change? Refuses whatever may not travel in one pull request with them.

Prints each path, followed by NUL, for `hlbench validate`; nothing when no submission changed or all that changed were removed.
A changed data file counts as a change of its submission. Exit code 1: refused, with the reasons on standard error.
File names come from strangers: ascii() shows them, so that a line break in a name cannot put a workflow command into the log.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

# submissions/<slug>/<dataset>-ipc<N>.yaml, as harness/submissions.py names it, and the files in the folder of the same name.
PLACE = re.compile(r"(?P<stem>submissions/[a-z0-9][a-z0-9-]{0,63}/[a-z0-9-]+-ipc[1-9][0-9]*)(\.yaml|/.+)")
REMOVED = "000000"
PLAIN_FILE = ("100644", "100755")
SHOWN = 20


def changed_files() -> list[tuple[str, str]]:
    """(git mode, path) of every file that differs from the commit where this branch left origin/main."""
    command = ["git", "diff", "--raw", "-z", "--no-renames", "--ignore-submodules=none", "origin/main...HEAD"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        sys.exit("cannot compare this branch with origin/main\n  fix: fetch the whole history: git fetch --unshallow origin")
    fields = done.stdout.decode("utf-8", errors="surrogateescape").split("\0")
    return [(described.split()[1], path) for described, path in zip(fields[0::2], fields[1::2], strict=False)]


def reason_to_refuse(mode: str, path: str) -> str | None:
    place = PLACE.fullmatch(path)
    if not place:
        return "it is not part of a submission; propose it in a pull request of its own"
    if mode not in (REMOVED, *PLAIN_FILE):
        return "it is a symbolic link or a submodule; a submission consists of plain files"
    if mode != REMOVED and not Path(place["stem"] + ".yaml").is_file():
        return f"there is no {place['stem']}.yaml that it could belong to"
    return None


def main() -> int:
    changed = changed_files()
    if not any(path.startswith("submissions/") for _, path in changed):
        return 0
    refused = [f"{path!a}: {reason}" for mode, path in changed if (reason := reason_to_refuse(mode, path))]
    if refused:
        more = [f"... and {len(refused) - SHOWN} more"] if len(refused) > SHOWN else []
        print(
            "a pull request with a submission changes nothing else than submissions/<slug>/<dataset>-ipc<N>.yaml",
            "and the data files in submissions/<slug>/<dataset>-ipc<N>/",
            *(f"  {line}" for line in refused[:SHOWN] + more),
            sep="\n",
            file=sys.stderr,
        )
        return 1
    files = sorted({PLACE.fullmatch(path)["stem"] + ".yaml" for _, path in changed})
    sys.stdout.write("".join(f"{file}\0" for file in files if Path(file).is_file()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
