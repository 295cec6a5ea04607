"""Settings of the whole suite: side by side, each process trains with one thread, as the runner's workers do."""

from __future__ import annotations

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported, and by the processes that tests start
