"""Are SUBMISSION, REGIME and SHARD (environment) what a person may type into the evaluate workflow? Exit code 1 when not."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

FORMS = {
    "SUBMISSION": (r"submissions/[a-z0-9][a-z0-9-]{0,63}/[a-z0-9-]+-ipc[1-9][0-9]*\.yaml", "submissions/<slug>/<dataset>-ipc<N>.yaml"),
    "REGIME": (r"hl", "hl"),
    "SHARD": (r"|[0-9]{1,3}/[0-9]{1,3}", "i/N, or nothing"),
}


def main() -> int:
    given = {name: os.environ.get(name, "") for name in FORMS}
    wrong = [
        f"{name} is {ascii(given[name])}\n  fix: write {meant}"
        for name, (form, meant) in FORMS.items()
        if not re.fullmatch(form, given[name])
    ]
    if not wrong and not Path(given["SUBMISSION"]).is_file():
        wrong = [f"{given['SUBMISSION']} is not on main\n  fix: merge the submission first"]
    print(*wrong, sep="\n", end="\n" if wrong else "", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
