"""`protocols/LOCK.json` names the frozen protocols: {id: {sha256, frozen_on}}. A locked id never changes: write a v2.yaml.

Pools of subsets (`harness/dcs/pool.py`) lie among the protocols, and are locked with them.

The lock is checked against the files and, in a git checkout, against the lock at the commit where this branch left origin/main,
so that nobody edits a protocol and its lock entry together.
"""

from __future__ import annotations

import json
import subprocess
from datetime import date
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field, field_validator

from harness.dcs.pool import Pool, check_protocol, find_pool, pool_ids
from harness.errors import ProtocolError, UsageError
from harness.paths import MARKER
from harness.protocols import PLAIN_KEYS, Protocol, awaits_teacher, find_protocol, is_pool, protocol_ids
from harness.strict_yaml import MAX_BYTES, StrictModel, parse_model
from harness.whole_files import write_in_one_step

COMMON_IPC = 10  # `summaries` shows the epochs at this IPC
UNSOURCED = (*PLAIN_KEYS, "schema_version", "sha256", "provenance")  # fields of a Protocol that are not leaves of its recipe
RESTORE = "restore it from version control; new semantics go into a file of the next version"


class LockEntry(StrictModel):
    """sha256 (64 hex digits) of the protocol's canonical JSON, and the day it was frozen (`2026-11-21`)."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    frozen_on: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]

    @field_validator("frozen_on")
    @classmethod
    def _is_a_day(cls, frozen_on):
        date.fromisoformat(frozen_on)
        return frozen_on


class Difference(NamedTuple):
    """One value on which two protocols disagree; None, None on the side that has no such key. Provenance is (from, why)."""

    key: str
    value_a: Any
    value_b: Any
    provenance_a: tuple[str, str] | None
    provenance_b: tuple[str, str] | None


class Summary(NamedTuple):
    """One line of `protocols list`; `sha256` has 12 hex digits.

    `lock` is "locked", "edited" (since then), "not locked", or "awaits its teacher" (which has no weights yet); of a pool "awaits
    its recording". Student, regime and epochs of a pool are those of the protocol it names.
    """

    id: str
    student: str
    regime: str
    epochs: int
    lock: str
    sha256: str


def read_lock(root: Path) -> dict[str, LockEntry]:
    """The lock of the checkout at `root`. Raises ProtocolError when it is missing, too large, not JSON, or repeats a key."""
    path = root / MARKER
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as reason:
        raise ProtocolError("cannot read the lock", where=str(path), why=reason.strerror or str(reason), fix=RESTORE) from reason
    return _parse_lock(text, str(path))


def verify(root: Path) -> list[str]:
    """Everything that is wrong with the protocols of the checkout at `root`, one text a problem; empty when all is well."""
    try:
        lock = read_lock(root)
    except ProtocolError as problem:
        return [str(problem)]
    found = [*protocol_ids(root), *pool_ids(root)]
    problems = [_vanished(root, locked) for locked in sorted(set(lock) - set(found))]
    problems += [problem for known in found if (problem := _check_file(root, known, lock.get(known)))]
    return [str(problem) for problem in [*problems, *_misplaced(root, found), *_rewritten_entries(root, lock)]]


def freeze(root: Path, protocol_id: str, today: str) -> LockEntry:
    """Add `protocol_id` to the lock of the checkout at `root`, dated `today` (ISO, `2026-11-21`), and return its entry.

    Raises UsageError for an unknown id, an id already locked or a bad date, ProtocolError for a malformed protocol or lock.
    """
    protocol = _find(root, protocol_id)
    lock = read_lock(root)
    if protocol_id in lock:
        raise UsageError(
            f"protocol {protocol_id!r} is frozen already",
            where=str(root / MARKER),
            why=f"frozen on {lock[protocol_id].frozen_on}, and a locked id never changes",
            fix="new semantics = v2.yaml: copy the file to the next version and freeze that",
        )
    if isinstance(protocol, Pool):
        _check_pool_is_complete(root, protocol, lock)
    elif awaits_teacher(protocol):
        raise UsageError(
            f"protocol {protocol_id!r} is not complete",
            where=f"{protocol_id}: labels.teacher_sha256",
            why="it does not say which weights give its labels, and a frozen protocol says everything",
            fix=f"hlbench teacher train {protocol.labels.teacher}, and write its sha256 there",
        )
    entry = parse_model(LockEntry, {"sha256": protocol.sha256, "frozen_on": today}, f"{MARKER}: {protocol_id}", UsageError)
    _write_lock(root / MARKER, lock | {protocol_id: entry})
    return entry


def differences(a: Protocol, b: Protocol) -> list[Difference]:
    """Values (by dotted key, section by section) that differ, or whose provenance word does, between two protocols.

    Ids, titles, notes and the wording of sources are left out: they move no number.
    """
    values_a, values_b = _leaves(a), _leaves(b)
    sections = list(Protocol.model_fields)
    keys = sorted(dict.fromkeys([*values_a, *values_b]), key=lambda key: sections.index(key.split(".")[0]))
    rows = [Difference(key, values_a.get(key), values_b.get(key), a.provenance.get(key), b.provenance.get(key)) for key in keys]
    return [row for row in rows if (row.value_a, _word(row.provenance_a)) != (row.value_b, _word(row.provenance_b))]


def summaries(root: Path) -> list[Summary]:
    """One row per protocol of the checkout at `root`, sorted by id. Raises ProtocolError at the first malformed file."""
    lock = read_lock(root)
    rows = []
    for found in [_find(root, known) for known in sorted([*protocol_ids(root), *pool_ids(root)])]:
        entry = lock.get(found.id)
        state = (_awaits(found) or "not locked") if entry is None else "locked" if entry.sha256 == found.sha256 else "edited"
        protocol = find_protocol(root, found.recipe.protocol) if isinstance(found, Pool) else found
        epochs = protocol.epochs(COMMON_IPC)
        rows.append(Summary(found.id, protocol.student_name, protocol.regime, epochs, state, found.sha256[:12]))
    return rows


def _find(root: Path, known: str) -> Protocol | Pool:
    return find_pool(root, known) if is_pool(known) else find_protocol(root, known)


def _awaits(found: Protocol | Pool) -> str:
    """What an id cannot be frozen or run without and does not have yet; "" when it is complete."""
    if isinstance(found, Pool):
        return "awaits its recording" if found.awaits_recording else ""
    return "awaits its teacher" if awaits_teacher(found) else ""


def _check_pool_is_complete(root: Path, pool: Pool, lock: dict[str, LockEntry]) -> None:
    if pool.awaits_recording:
        raise UsageError(
            f"pool {pool.id!r} is not complete", where=f"{pool.id}: subsets", why="it awaits its recording",
            fix=pool.making,
        )  # fmt: skip
    check_protocol(root, pool)
    if pool.recipe.protocol not in lock:
        fix = f"hlbench protocols freeze {pool.recipe.protocol}"
        raise UsageError("its protocol is not frozen", where=f"{pool.id}: recipe.protocol", fix=fix)


def _parse_lock(text: bytes, where: str) -> dict[str, LockEntry]:
    try:
        if len(text) > MAX_BYTES:
            raise ValueError(f"larger than {MAX_BYTES} bytes")
        raw = json.loads(text, object_pairs_hook=_without_repeated_keys)
        if not isinstance(raw, dict):
            raise ValueError(f"the top level is a {type(raw).__name__}, not an object of protocol ids")
    except (ValueError, RecursionError) as reason:
        raise ProtocolError("the lock is malformed", where=where, why=str(reason), fix=RESTORE) from reason
    return {locked: parse_model(LockEntry, entry, f"{where}: {locked}", ProtocolError) for locked, entry in raw.items()}


def _without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; json itself would keep the last of two equal keys without a word."""
    unique = dict(pairs)
    if len(unique) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in keys if keys.count(key) > 1)!r} appears twice")
    return unique


def _write_lock(path: Path, lock: dict[str, LockEntry]) -> None:
    """Replace the lock in one step, sorted by id, so that a reader sees the old one or the new one."""
    text = json.dumps({locked: lock[locked].model_dump() for locked in sorted(lock)}, indent=2) + "\n"
    write_in_one_step(path, text.encode())


def _vanished(root: Path, locked: str) -> ProtocolError:
    where = str(root / "protocols" / f"{locked}.yaml")
    return ProtocolError("a locked protocol has vanished", where=where, why=f"{MARKER} names it", fix=RESTORE)


def _check_file(root: Path, known: str, entry: LockEntry | None) -> ProtocolError | UsageError | None:
    """What is wrong with one protocol or pool file, or None."""
    where = str(root / "protocols" / f"{known}.yaml")
    try:
        protocol = _find(root, known)
        if isinstance(protocol, Pool):
            check_protocol(root, protocol)
    except (ProtocolError, UsageError) as problem:
        return problem
    if entry is None:
        if _awaits(protocol):
            return None  # it cannot be run either
        return ProtocolError("a protocol is not locked", where=where, fix=f"hlbench protocols freeze {known}")
    if entry.sha256 != protocol.sha256:
        why = f"locked on {entry.frozen_on} as {entry.sha256[:12]}, the file is now {protocol.sha256[:12]}"
        return ProtocolError("a locked protocol was edited", where=where, why=why, fix=RESTORE)
    return None


def _misplaced(root: Path, found: list[str]) -> list[ProtocolError]:
    """YAML files below protocols/ that no id leads to, such as v1.yml: their author believes them to be in force."""
    folder = root / "protocols"
    files = (path for suffix in ("yaml", "yml") for path in folder.rglob(f"*.{suffix}"))
    expected = {folder / f"{known}.yaml" for known in found}
    fix = "name it protocols/<dataset>/<student>-<regime>/v<N>.yaml, a pool protocols/<dataset>/dcs-pool/v<N>.yaml"
    return [ProtocolError("not in a protocol's place", where=str(path), fix=fix) for path in sorted(set(files) - expected)]


def _rewritten_entries(root: Path, lock: dict[str, LockEntry]) -> list[ProtocolError]:
    """Entries of the lock in git's history that this checkout changed or dropped; nothing outside git."""
    try:
        base = _base_commit(root)
        text = _git(root, "cat-file", "blob", f"{base}:./{MARKER.as_posix()}")
        earlier = _parse_lock(text, f"{base[:12]}:{MARKER}") if text is not None else {}
    except ProtocolError as problem:
        return [problem]
    return [
        ProtocolError(
            "a lock entry was " + ("changed" if locked in lock else "removed"),
            where=f"{root / MARKER}: {locked}",
            why=f"at commit {base[:12]} it was {entry.sha256[:12]}, frozen on {entry.frozen_on}",
            fix=RESTORE,
        )
        for locked, entry in sorted(earlier.items())
        if lock.get(locked) != entry
    ]


def _base_commit(root: Path) -> str:
    """Where this branch left origin/main; HEAD where there is no origin/main. Raises ProtocolError when history is cut off."""
    if _git(root, "rev-parse", "--verify", "--quiet", "origin/main^{commit}") is None:
        return "HEAD"
    base = _git(root, "merge-base", "origin/main", "HEAD")
    if base is None:
        raise ProtocolError(
            "cannot compare the lock with origin/main",
            where=str(root),
            why="this branch and origin/main have no common commit in this clone",
            fix="fetch the whole history: git fetch --unshallow",
        )
    return base.decode().strip()


def _git(root: Path, *arguments: str) -> bytes | None:
    """Standard output of a git command in `root`; None when git is not installed or the command fails."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def _leaves(protocol: Protocol) -> dict[str, Any]:
    """{dotted key: value}; a table by IPC is one value, as it is one leaf of the file."""
    leaves: dict[str, Any] = {}

    def walk(model: StrictModel, prefix: str) -> None:
        for name in type(model).model_fields:
            value = getattr(model, name)
            if isinstance(value, StrictModel):
                walk(value, f"{prefix}{name}.")
            elif prefix or name not in UNSOURCED:
                leaves[f"{prefix}{name}"] = value

    walk(protocol, "")
    return leaves


def _word(provenance: tuple[str, str] | None) -> str | None:
    return provenance[0] if provenance else None
