"""Settings of the whole suite: side by side, each process trains with one thread, as the runner's workers do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported, and by the processes that tests start

ROOT = Path(__file__).resolve().parent.parent
FROZEN = ("protocols", "teachers", "dynamics", "submissions")


def frozen_files() -> dict[str, tuple[int, int]]:
    """(Bytes, time of the last change) of each file that no test may touch: a test works on copies."""
    paths = (path for folder in FROZEN for path in (ROOT / folder).rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)): (path.stat().st_size, path.stat().st_mtime_ns) for path in paths}


@pytest.fixture(scope="session", autouse=True)
def tests_leave_frozen_files_alone():
    """A test once removed a teacher's weights through a link, and the next commit took the loss with it."""
    before = frozen_files()
    yield
    after = frozen_files()
    touched = sorted(name for name in before if after.get(name) != before[name])
    assert not touched, f"tests changed or removed committed files: {touched}"
