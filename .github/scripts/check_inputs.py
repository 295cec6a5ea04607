"""Are the evaluate workflow's inputs (environment: SUBMISSION, REGIME, PROTOCOL, SHARD) well formed? Exit code 1 when not."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

FORMS = {
    "SUBMISSION": r"submissions/[a-z0-9][a-z0-9-]{0,63}/[a-z0-9-]+-ipc[1-9][0-9]*\.yaml",
    "REGIME": r"hl|sl|sl-kd|all",
    "PROTOCOL": r"|[a-z0-9-]+/[a-z0-9-]+-(hl|sl|sl-kd)/v[1-9][0-9]*",
    "SHARD": r"|[1-9][0-9]{0,2}/[1-9][0-9]{0,2}",
}
MEANT = {
    "SUBMISSION": "submissions/<slug>/<dataset>-ipc<N>.yaml",
    "REGIME": "hl, sl, sl-kd or all",
    "PROTOCOL": "<dataset>/<student>-<regime>/v<N>, or nothing",
    "SHARD": "i/N, or nothing",
}


def main() -> int:
    given = {name: os.environ.get(name, "") for name in FORMS}
    wrong = [
        f"{name} is {given[name]!a}\n  fix: write {MEANT[name]}"
        for name, form in FORMS.items()
        if not re.fullmatch(form, given[name])
    ]
    if not wrong and not Path(given["SUBMISSION"]).is_file():
        wrong = [f"{given['SUBMISSION']} is not on main\n  fix: merge the submission first"]
    print(*wrong, sep="\n", end="\n" if wrong else "", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
