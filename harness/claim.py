"""Who is working on a unit: a lock file beside the record, so that concurrent runs and shards never do the same unit at once.

The claim is created exclusively (O_EXCL), names host and process, and is touched while the work goes on (its heartbeat). A claim
whose process is gone, or whose heartbeat stopped, is taken over. Claims only save work: should two runs ever hold the same unit,
`records.write_record` still lets one record in and refuses the other.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

HEARTBEAT_SECONDS = 30.0
STALE_SECONDS = 600.0

_held_here: set[Path] = set()  # claims of this very process, which it must not mistake for those of a dead one


@contextmanager
def claimed(record: Path) -> Iterator[bool]:
    """Hold the claim on the unit of `record` inside the `with`; yields False when somebody else is working on it."""
    claim = claim_path(record)
    if not _take(claim):
        yield False
        return
    _held_here.add(claim)
    stop = threading.Event()
    beat = threading.Thread(target=_keep_beating, args=(claim, stop), daemon=True)
    beat.start()
    try:
        yield True
    finally:
        release(record)
        stop.set()
        _held_here.discard(claim)


def release(record: Path) -> None:
    """Give the unit of `record` up, if it is ours: a run that slept for ten minutes may have lost it."""
    claim = claim_path(record)
    if _holder(claim) == _ourselves():
        claim.unlink(missing_ok=True)


def claim_path(record: Path) -> Path:
    """`.draw0-seed0.claim` beside `draw0-seed0.json`; `.gitignore` leaves such names out."""
    return record.with_name(f".{record.stem}.claim")


def is_claimed(record: Path) -> bool:
    """Whether a live process holds the unit of `record`."""
    claim = claim_path(record)
    return claim.exists() and not _is_stale(claim)


def _take(claim: Path) -> bool:
    claim.parent.mkdir(parents=True, exist_ok=True)
    if _create(claim):
        return True
    if not _is_stale(claim):
        return False
    # Two runs may see the same stale claim; without the lock the second would remove the first one's fresh claim.
    with FileLock(f"{claim}.lock"):
        if _is_stale(claim):
            claim.unlink(missing_ok=True)
        return _create(claim)


def _create(claim: Path) -> bool:
    try:
        with claim.open("x", encoding="utf-8") as file:
            json.dump(_ourselves(), file)
    except FileExistsError:
        return False
    return True


def _is_stale(claim: Path) -> bool:
    """Whether the claim is nobody's any more: no heartbeat for ten minutes, or its process on this host is gone."""
    try:
        silence = time.time() - claim.stat().st_mtime
    except FileNotFoundError:
        return False  # released this moment; the next attempt to create it decides
    if silence > STALE_SECONDS:
        return True
    holder = _holder(claim)
    if holder is None or holder["host"] != platform.node():
        return False
    if holder["pid"] == os.getpid():
        return claim not in _held_here  # a dead process had our number, as happens in containers
    return not _is_running(holder["pid"])


def _holder(claim: Path) -> dict | None:
    """{host, pid} of a claim, or None while it is being written or when it is unreadable."""
    try:
        holder = json.loads(claim.read_text(encoding="utf-8"))
        return {"host": str(holder["host"]), "pid": int(holder["pid"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _ourselves() -> dict:
    return {"host": platform.node(), "pid": os.getpid()}


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _keep_beating(claim: Path, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        with suppress(FileNotFoundError):
            os.utime(claim)
