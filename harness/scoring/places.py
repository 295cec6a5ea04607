"""Where a page lies and where its links lead."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from harness.scoring.rows import Row


@dataclass(frozen=True)
class Places:
    """Folders that links lead to, and `page`, the folder that the pages are read from."""

    root: Path
    results: Path
    page: Path

    def project(self, relative: str) -> str:
        """Path from a page to a file of the checkout."""
        return self._from_page(self.root / relative)

    def records(self, row: Row) -> str:
        """Path from a page to the folder of a row's records."""
        submission = row.submission
        folder = Path(submission.dataset, submission.slug, f"ipc{submission.ipc}", row.protocol.record_folder)
        return self._from_page(self.results / folder)

    def _from_page(self, target: Path) -> str:
        return Path(os.path.relpath(target.resolve(), self.page.resolve())).as_posix()
