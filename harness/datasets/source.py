"""Where the files of a real dataset come from: a folder the user names, else the Hub at the pinned commit."""

from __future__ import annotations

from pathlib import Path

from harness.datasets.base import DatasetSpec, SplitName
from harness.datasets.parquet import files_expected
from harness.errors import EnvironmentProblem, HlbenchError
from harness.paths import data_root


def find_folder(spec: DatasetSpec, split: SplitName, data: Path | None) -> Path:
    """Folder that holds the split's parquet files in the Hub's layout: `<root>/<dataset>` if it exists, else a download.

    `root` is `data`, else `HLBENCH_DATA`. Raises EnvironmentProblem naming both ways to get the data when neither works.
    """
    root = data_root(data)
    if root is not None and not root.is_dir():
        raise EnvironmentProblem(
            "the folder of datasets does not exist",
            where=str(root),
            fix="mend --data or HLBENCH_DATA, or leave it out to use the Hub",
        )
    if root is not None and (root / spec.name).is_dir():
        return root / spec.name
    from harness.hub import fetch_files  # digits and local folders need no Hub client

    pattern = files_expected(spec, split)
    try:
        return fetch_files(spec.repo, spec.revision, [pattern], gated=spec.gated)
    except HlbenchError as reason:
        looked = f"{root / spec.name} is not a folder" if root else "neither --data nor HLBENCH_DATA is set"
        raise EnvironmentProblem(
            f"the {split} split of {spec.name} is not on this machine",
            where=f"{spec.repo}@{spec.revision[:12]}: {pattern}",
            why="; ".join(part for part in (looked, reason.what, reason.why) if part),
            fix=f"either put the files into <dir>/{spec.name}/{pattern} and set HLBENCH_DATA=<dir>, "
            f"or let the Hub be reached{f' ({reason.fix})' if reason.fix else ''}",
        ) from reason
