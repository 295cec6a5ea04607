"""The look-up table of a pool: the test error of students trained on its subsets, by ordinary units and the ordinary runner.

Records lie in `made/dcs/<pool>/results`, which is not kept; the table made of them is, as one compact file. A student that was
trained for the boards is not trained again: its record gives the row. A row is believed only when its unit is the one that pool
and protocol give, so neither can change under it. Torch-free.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from harness.dcs.board_students import TrainedStudent, board_students, content_sha256
from harness.dcs.lookup_rows import CORRUPTIONS, SEVERITIES, UNIT_DIGITS, Row, read_rows, table_text
from harness.dcs.pool import RANDOM, Pool, Subset, check_protocol, index_path, read_pool, workspace
from harness.errors import CheckFailed, ProtocolError, UsageError
from harness.freeze import read_lock
from harness.ood_records import ood_path, ood_record_of
from harness.plan import Unit, choose_protocols, existing_record
from harness.records import record_path, unit_id
from harness.strict_yaml import parse_model
from harness.submissions import Submission
from harness.whole_files import write_in_one_step

FOLDER = Path("leaderboards") / "dcs"


def table_path(root: Path, pool: Pool) -> Path:
    return root / FOLDER / f"{pool.stem}-lookup.csv"


def subset_submission(pool: Pool, subset: Subset) -> Submission:
    """What is trained on: a coreset whose one draw is the subset's index. Follows from the pool file alone."""
    described = {
        "slug": subset.id,
        "repeats": subset.twin_of is not None,
        "title": subset.id,
        "authors": ("hlbench maintainers",),
        "licence": "CC0-1.0",
        "contact": "open an issue in this repository",
        "kind": "coreset",
        "dataset": pool.recipe.dataset,
        "ipc": subset.ipc,
        "method": subset.method,
        "split_fingerprint": pool.split_fingerprint,
        "sets": ({"path": index_path(pool, subset), "content_sha256": content_sha256(subset)},),
    }
    return parse_model(Submission, described, f"{pool.id}: {subset.id}", ProtocolError)


def pool_units(
    root: Path, pool: Pool, ipc: Sequence[int] | None = None, seeds: Sequence[int] | None = None
) -> list[tuple[Subset, Unit]]:
    """The students of a pool, in its order (small IPC first), those of one subset together. None means all.

    Raises ProtocolError when pool or protocol are not as they were frozen, UsageError for an IPC or seed the pool lacks.
    """
    check_frozen(root, pool)
    for option, wanted, known in (("--ipc", ipc, pool.recipe.ipc), ("--seeds", seeds, pool.recipe.seeds)):
        if foreign := sorted(set(wanted or ()) - set(known)):
            raise UsageError(f"the pool has no {foreign[0]}", where=option, fix=f"choose from {', '.join(map(str, known))}")
    results, units = workspace(root, pool) / "results", []
    protocol = None
    for subset in pool.subsets:
        if ipc is not None and subset.ipc not in ipc:
            continue
        submission = subset_submission(pool, subset)
        protocol = protocol or choose_protocols(root, submission, pool.recipe.protocol, "hl")[0]
        for seed in pool.recipe.seeds:
            if seeds is None or seed in seeds:
                identity = unit_id(submission.digest, 0, protocol.sha256, seed)
                record = record_path(results, submission, protocol, 0, seed)
                units.append((subset, Unit(submission, 0, protocol, seed, identity, record)))
    return units


def training_order(units: Sequence[tuple[Subset, Unit]]) -> list[Unit]:
    """The units in the order in which a table that stays partial says most: small IPC, of each first seeds, then subsets
    before their twins, then first draws, so that every selector has a student before any has two."""
    return [unit for subset, unit in sorted(units, key=lambda one: _rank(*one))]


def _rank(subset: Subset, unit: Unit) -> tuple[int, int, bool, int]:
    return subset.ipc, unit.seed, subset.twin_of is not None, subset.draw


def to_train(root: Path, pool: Pool, units: Sequence[Unit], ood: bool = False) -> list[Unit]:
    """Of the pool's `units` those whose student is neither in the table nor on record, for the pool or for the boards.

    `ood`: or is, without errors on corrupted images. Raises as `update_table`.
    """
    rows = _merged(root, pool)

    def held(row: Row | None) -> bool:
        return row is not None and (not ood or bool(row.ood) or row.status == "diverged")

    return [unit for unit in units if not held(rows.get((unit.submission.slug, unit.seed)))]


def update_table(root: Path, pool: Pool) -> list[Row]:
    """Add what has been measured, for the pool or for the boards, to the committed table; filled cells stay.

    Returns all rows in the pool's order. Raises CheckFailed for a row of the table that is not the pool's, or one that another
    student's errors on corrupted images would fill; RecordError for a record that is not its unit's.
    """
    rows = list(_merged(root, pool).values())
    path = table_path(root, pool)
    if rows or path.exists():
        write_in_one_step(path, table_text(rows).encode())
    return rows


def ood_without_record(root: Path, pool: Pool, rows: Sequence[Row]) -> list[Path]:
    """Errors on corrupted images that were measured and that no row can take, because the record of their student is gone."""
    filled = {(row.subset, row.seed) for row in rows if row.ood}
    units = [unit for subset, unit in pool_units(root, pool) if (subset.id, unit.seed) not in filled]
    return [path for unit in units if not unit.record.exists() and (path := ood_path(unit.record)).exists()]


def read_table(root: Path, pool: Pool) -> list[Row]:
    """The committed table, checked against pool and protocol; [] when there is none yet. It may lack the columns of `ood`.

    Raises CheckFailed naming the line: not a row, another pool's unit, twice there, or an impossible number.
    """
    path = table_path(root, pool)
    if not path.exists():
        return []
    return read_rows(path, {(subset.id, unit.seed): unit.id[:UNIT_DIGITS] for subset, unit in pool_units(root, pool)})


def missing(pool: Pool, rows: Sequence[Row]) -> list[tuple[str, int]]:
    """(subset, seed) that the table lacks, in the pool's order."""
    measured = {(row.subset, row.seed) for row in rows}
    wanted = ((subset.id, seed) for subset in pool.subsets for seed in pool.recipe.seeds)
    return [key for key in wanted if key not in measured]


def errors(pool: Pool, rows: Sequence[Row]) -> dict[str, tuple[float, ...]]:
    """Subset id -> its top-1 errors in percent, one a seed in ascending order. Students that diverged have none."""
    return _by_subset(pool, ((row.subset, row.seed, row.top1_error) for row in rows if row.top1_error is not None))


def ood_errors(pool: Pool, rows: Sequence[Row], severity: int | None = None) -> dict[str, tuple[float, ...]]:
    """As `errors`, on corrupted test images: at one severity, 1 to 5, or the mean over all five. Subsets not measured lack.

    Which subsets count is for their errors on clean images to say (`excluded`), so that both scores are of one pool.
    """
    place = 0 if severity is None else 1 + SEVERITIES.index(severity)
    return _by_subset(pool, ((row.subset, row.seed, row.ood[place]) for row in rows if row.ood))


def limits(pool: Pool, measured: Mapping[str, Sequence[float]]) -> dict[int, tuple[float, float]]:
    """IPC -> (Random's mean error in percent, the highest error that counts), by the pool's exclusion rule (E.2).

    `measured` as `errors` gives it. Random's is the mean over its draws, twins left out, because a twin shows half the images. An
    IPC at which Random was not measured lacks.
    """
    rule, random = pool.recipe.exclusion, defaultdict(list)
    for subset in pool.subsets:
        if subset.method == RANDOM and subset.twin_of is None and subset.id in measured:
            random[subset.ipc].append(fmean(measured[subset.id]))
    baselines = {ipc: fmean(means) for ipc, means in random.items()}
    return {ipc: (baseline, baseline + max(rule.points, rule.relative * baseline)) for ipc, baseline in baselines.items()}


def excluded(pool: Pool, measured: Mapping[str, Sequence[float]]) -> dict[str, str]:
    """Subset id -> why it is not counted, of those in `measured`, whose mean errors over seeds are beyond `limits`.

    A twin is judged by its own error and not by its base's: either may stay without the other. Where Random was not measured the
    rule cannot be applied, and nothing of that IPC is counted.
    """
    bounds, reasons = limits(pool, measured), {}
    for subset in pool.subsets:
        if subset.id not in measured:
            continue
        if subset.ipc not in bounds:
            reasons[subset.id] = f"Random at IPC {subset.ipc} is not measured, so that the exclusion rule cannot be applied"
            continue
        (baseline, limit), error = bounds[subset.ipc], fmean(measured[subset.id])
        if error > limit:
            reasons[subset.id] = f"error {error:.2f} %, above {limit:.2f} % (Random {baseline:.2f} %)"
    return reasons


def frozen_pool(root: Path, dataset: str, student: str | None) -> Pool:
    """The dataset's newest frozen pool. Raises UsageError when there is none, ProtocolError when it is not as it was frozen."""
    pool = read_pool(root, dataset, student, among=frozenset(read_lock(root)))
    check_frozen(root, pool)
    return pool


def check_frozen(root: Path, pool: Pool) -> None:
    """Raises ProtocolError when pool or protocol are not as they were frozen, UsageError when the pool has no subsets yet."""
    if pool.awaits_recording:
        raise UsageError(f"pool {pool.id} has no subsets yet", why="it awaits its recording", fix=pool.making)
    entry = read_lock(root).get(pool.id)
    if entry is None or entry.sha256 != pool.sha256:
        raise ProtocolError(
            f"pool {pool.id} is not as it was frozen", where=f"protocols/{pool.id}.yaml",
            why="it was never frozen" if entry is None else "it was edited since",
            fix=f"hlbench protocols freeze {pool.id}" if entry is None else "restore it from version control",
        )  # fmt: skip
    check_protocol(root, pool)


def _merged(root: Path, pool: Pool) -> dict[tuple[str, int], Row]:
    """{(subset id, seed): row}, in the pool's order: the committed ones, and what records add to them."""
    committed, boards = {(row.subset, row.seed): row for row in read_table(root, pool)}, board_students(root, pool)
    rows: dict[tuple[str, int], Row] = {}
    for subset, unit in pool_units(root, pool):
        key = subset.id, unit.seed
        row, own, of_boards = committed.get(key), _own(unit), boards.get(key)
        if row is None and (student := own or of_boards):
            row = _row(subset, unit, student)
        elif row is not None and not row.ood and own and ood_path(own.path).exists():
            measured = _row(subset, unit, own)
            _require_same_student(table_path(root, pool), row, measured)
            row = replace(row, ood=measured.ood)
        elif row is not None and not row.ood and of_boards and ood_path(of_boards.path).exists():
            measured = _row(subset, unit, of_boards)
            if _outcome(measured) == _outcome(row):  # else the row is that of the pool's own student
                row = replace(row, ood=measured.ood)
        if row is not None:
            rows[key] = row
    return rows


def _own(unit: Unit) -> TrainedStudent | None:
    record = existing_record(unit)
    return None if record is None else TrainedStudent(unit.record, record)


def _row(subset: Subset, unit: Unit, student: TrainedStudent) -> Row:
    record = student.record
    result, commit = record.result, record.environment.get("git_commit")
    code = f"{commit[:12]}{'+' if record.environment.get('git_dirty') else ''}" if commit else ""
    error, loss = (None, None) if result is None else (round(100 - result.top1, 4), round(result.test_loss, 5))
    corrupted = ood_record_of(student.path, record)
    if corrupted is not None and corrupted.result.corruptions != CORRUPTIONS:
        raise CheckFailed(
            "errors on corrupted images of another version", where=str(ood_path(student.path)),
            why=f"corruptions {corrupted.result.corruptions}, the table holds those of version {CORRUPTIONS}",
            fix="delete the file and measure again: hlbench pool train --ood",
        )  # fmt: skip
    ood = () if corrupted is None else (corrupted.result.mean, *corrupted.result.by_severity)
    ood = tuple(round(value, 4) for value in ood)
    return Row(subset.id, unit.seed, record.status, error, loss, unit.id[:UNIT_DIGITS], code, ood)


def _outcome(row: Row) -> tuple[str, float | None, float | None]:
    return row.status, row.top1_error, row.test_loss


def _require_same_student(path: Path, row: Row, measured: Row) -> None:
    """A row is one student's. Trained on another machine it may differ, and its errors would then stand beside another's."""
    told, found = _outcome(row), _outcome(measured)
    if told != found:
        raise CheckFailed(
            f"{row.subset} with seed {row.seed} was measured on corrupted images, but that student is not the table's",
            where=str(path),
            why=f"status, error and loss are {told} in the table and {found} in its record here",
            fix="measure it where the row was made, or delete the line: hlbench pool table then adds this student",
        )


def _by_subset(pool: Pool, measured: Iterable[tuple[str, int, float]]) -> dict[str, tuple[float, ...]]:
    """Of (subset, seed, error): subset id -> errors by ascending seed, in the pool's order."""
    found = defaultdict(dict)
    for name, seed, error in measured:
        found[name][seed] = error
    return {one.id: tuple(error for _, error in sorted(found[one.id].items())) for one in pool.subsets if one.id in found}
