"""A pool's rows from its recipe: select them, write their hashes into the pool file, compare them with those that stand there."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np

from harness.canonical import sha256_hex
from harness.coresets import SELECTORS, Source
from harness.datasets import load_split
from harness.dcs.pool import Method, Planned, Pool, Recipe, find_pool, planned, twin_rows
from harness.dynamics.artifact import open_dynamics
from harness.dynamics.places import find_folder
from harness.errors import CheckFailed, HlbenchError, UsageError
from harness.freeze import read_lock
from harness.submissions import index_bytes
from harness.whole_files import write_in_one_step

MARK = "# Below: written by `hlbench pool make` from the recipe above."
SHOWN = 5
Say = Callable[[str], None]


def make_pool(root: Path, pool_id: str, data: Path | None = None, say: Say = lambda line: None) -> Pool:
    """Write the subset list below the recipe of a pool file; same recipe and recording, same bytes.

    Raises UsageError when the pool is frozen already, its recording is not here, or two subsets are the same rows.
    """
    pool = find_pool(root, pool_id)
    path = root / "protocols" / f"{pool_id}.yaml"
    if pool_id in read_lock(root):
        raise UsageError(
            f"pool {pool_id} is frozen", where=str(path), why="numbers were measured on it",
            fix="hlbench pool verify compares it; other subsets go into a file of the next version",
        )  # fmt: skip
    recipe = path.read_text(encoding="utf-8").split(f"\n{MARK}")[0].rstrip("\n")
    if "\nsubsets:" in recipe:
        raise UsageError(
            "the subset list has no heading", where=str(path), why=f"the line {MARK!r} is missing above it",
            fix="delete the list: it is written anew",
        )  # fmt: skip
    source = _source(root, pool, data)
    rows = select_rows(pool.recipe, source, say)
    _refuse_copies(rows)
    inputs = {"split_fingerprint": source.split.fingerprint, "recording_sha256": source.dynamics.sha256}
    lines = [recipe, "", MARK, *(f'{name}: "{sha256}"' for name, sha256 in inputs.items()), "subsets:"]
    lines += [f"  - {_entry(known, rows[known.id])}" for known in planned(pool.recipe)]
    write_in_one_step(path, "\n".join([*lines, ""]).encode())
    return find_pool(root, pool_id)


def select_rows(
    recipe: Recipe, source: Source, say: Say = lambda line: None, only: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """Subset id -> int64 rows, class by class, best first; twins repeat the first half. `only`: of these ids; None: all.

    Raises UsageError naming the subset for a selector that cannot give it.
    """
    by_label = {method.label: method for method in recipe.methods}
    bases: dict[str, np.ndarray] = {}
    rows: dict[str, np.ndarray] = {}
    for known in planned(recipe):
        if only is not None and known.id not in only:
            continue
        base = known.twin_of or known.id
        if base not in bases:
            say(base)
            bases[base] = _select(by_label[known.method], source, known)
        rows[known.id] = bases[base] if known.twin_of is None else twin_rows(bases[base], known.ipc)
    return rows


def checked_rows(root: Path, pool: Pool, data: Path | None = None, only: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """As `select_rows`, of a pool that has its subsets, and compared with their hashes.

    The recording may be another than the pool's, of which the selectors read a part: what they choose decides. Raises CheckFailed
    naming what differs, UsageError or EnvironmentProblem when split or recording are not here.
    """
    rows, failure = fitting_rows(root, pool, data, only)
    if failure:
        raise failure
    return rows


def fitting_rows(
    root: Path, pool: Pool, data: Path | None = None, only: Collection[str] | None = None
) -> tuple[dict[str, np.ndarray], CheckFailed | None]:
    """As `checked_rows`, but of the subsets whose hashes are those of the pool, and what is to be said of the others."""
    if pool.awaits_recording:
        raise UsageError(f"pool {pool.id} has no subsets yet", why="it awaits its recording", fix=pool.making)
    source = _source(root, pool, data)
    if source.split.fingerprint != pool.split_fingerprint:
        raise CheckFailed(
            "the training split is another than the pool was made from", where=pool.id,
            why=f"{source.split.fingerprint[:12]} here, {pool.split_fingerprint[:12]} there",
            fix="restore it, or the pool file, from version control",
        )  # fmt: skip
    rows = select_rows(pool.recipe, source, only=only)
    stated = {subset.id: subset.sha256 for subset in pool.subsets}
    wrong = [name for name, chosen in rows.items() if sha256_hex(index_bytes(chosen)) != stated[name]]
    failure = _differ(pool, source.dynamics.sha256, wrong, len(rows)) if wrong else None
    return {name: chosen for name, chosen in rows.items() if name not in wrong}, failure


def _differ(pool: Pool, recording_sha256: str, wrong: list[str], of: int) -> CheckFailed:
    why, fix = f"{', '.join(wrong[:SHOWN])}{' ...' if len(wrong) > SHOWN else ''}", "restore the pool file"
    if recording_sha256 != pool.recording_sha256:
        here, there = recording_sha256[:12], pool.recording_sha256[:12]
        why += f"; the recording {pool.recipe.recording} is another: {here} here, {there} there"
        fix = "restore the recording, or record it again on the same kind of processor"
    return CheckFailed(
        f"{len(wrong)} of {of} subsets are not what the selectors give", where=pool.id, why=why,
        fix=f"{fix}; another machine's k-means may also round otherwise",
    )  # fmt: skip


def _select(method: Method, source: Source, known: Planned) -> np.ndarray:
    if method.selector not in SELECTORS:
        raise UsageError(f"no selector {method.selector!r}", where=method.name, fix=f"choose one of: {', '.join(SELECTORS)}")
    selector = SELECTORS[method.selector]
    if method.draws > 1 and not selector.randomised:
        raise UsageError(f"{method.selector} has one draw", where=method.name, why="nothing in it is random", fix="draws: 1")
    try:
        return selector.run(source, known.ipc, known.draw, **method.parameters)
    except UsageError as error:
        fix = f"{error.fix}; or leave the size out: ipc: [...] of {method.name}"
        raise UsageError(error.what, where=known.id, why=error.why, fix=fix) from error


def _source(root: Path, pool: Pool, data: Path | None) -> Source:
    try:
        folder = find_folder(root, pool.recipe.recording)
    except HlbenchError as error:
        raise UsageError(
            f"pool {pool.id} {'awaits its recording' if pool.awaits_recording else 'needs its recording'}",
            where=f"{pool.id}: recipe.recording",
            why=f"{error.what}; subsets are selected from it",
            fix=f"hlbench dynamics record, as the pool's notes say{'; then hlbench pool make' if pool.awaits_recording else ''}",
        ) from error  # fmt: skip
    train = load_split(pool.recipe.dataset, "train", data)
    return Source(train, open_dynamics(folder, train.labels, train.fingerprint))


def _refuse_copies(rows: dict[str, np.ndarray]) -> None:
    """Two methods may choose the same images in another order, which would be one point counted twice."""
    seen: dict[bytes, str] = {}
    for name, chosen in rows.items():
        key = np.sort(chosen).tobytes()
        if key in seen:
            raise UsageError(
                f"{name} and {seen[key]} are the same images", why="they would be one point counted twice",
                fix="leave that size out of one of the methods: ipc: [...]",
            )  # fmt: skip
        seen[key] = name


def _entry(known: Planned, rows: np.ndarray) -> str:
    """One line of the list. JSON is YAML in which no reader mistakes a hash for a number."""
    index = index_bytes(rows)
    facts = {"unique": len(np.unique(rows)), "sha256": sha256_hex(index), "bytes": len(index)}
    return json.dumps(known._asdict() | facts)
