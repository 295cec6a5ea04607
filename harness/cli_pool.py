"""`hlbench pool`: make, show, export, verify, rows, train, table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli_options import (
    APP_SETTINGS,
    Data,
    DatasetName,
    Device,
    Json,
    Workers,
    device_of,
    fail_on,
    numbers_or_all,
    shard_of,
)
from harness.paths import project_root

pool_app = typer.Typer(help="The frozen subsets over which the DCS compares losses with errors.", **APP_SETTINGS)

OfStudent = Annotated[str | None, typer.Option("--student", help="Whose pool, where a dataset has several. Default: the first.")]


@pool_app.command("make", epilog="Example: hlbench pool make --dataset digits")
def pool_make(dataset: DatasetName, student: OfStudent = None, data: Data = None) -> None:
    """Select the subsets of a pool's recipe and write their hashes below it."""
    from harness.dcs.make_pool import make_pool
    from harness.dcs.pool import read_pool

    root = project_root()
    pool = make_pool(root, read_pool(root, dataset, student).id, data, lambda line: print(line, file=sys.stderr))
    print(f"{pool.id}: {_counts(pool)}. To freeze it: hlbench protocols freeze {pool.id}")


@pool_app.command("show", epilog="Example: hlbench pool show --dataset digits")
def pool_show(dataset: DatasetName, student: OfStudent = None, as_json: Json = False) -> None:
    """Every subset of a pool; its methods where it has none yet. Fails when the pool is not as it was frozen."""
    from harness import reports
    from harness.dcs.lookup import check_frozen
    from harness.dcs.pool import read_pool
    from harness.freeze import read_lock

    root = project_root()
    pool = read_pool(root, dataset, student)
    if pool.id in read_lock(root):
        check_frozen(root, pool)
    else:
        print(f"{pool.id} is not frozen", file=sys.stderr)
    if as_json:
        reports.print_json(pool.model_dump(mode="json", by_alias=True) | {"sha256": pool.sha256})
        return
    rows = [subset.model_dump(exclude={"bytes"}) | {"sha256": subset.sha256[:12]} for subset in pool.subsets]
    rows = rows or [{"name": method.name, "method": method.label, "draws": method.draws} for method in pool.recipe.methods]
    reports.print_rows(rows, as_json, title=f"{pool.id}: {pool.title} ({pool.sha256[:12]}), {pool.recipe.protocol}")
    print(_counts(pool))


@pool_app.command("export", epilog="Example: hlbench pool export --dataset digits --out subsets")
def pool_export(
    dataset: DatasetName,
    out: Annotated[Path, typer.Option("--out", help="Folder for the index files; those of other names in it stay.")],
    student: OfStudent = None,
    data: Data = None,
) -> None:
    """Write which training images each subset holds, to compute losses of your own anywhere.

    One file a subset, <id>.json: {"rows": [...]}, rows of the training split in its own order, class by class. A twin names its
    rows twice. What you compute goes into a CSV with the columns subset, loss: hlbench dcs --losses.
    """
    from harness.dcs.lookup import frozen_pool
    from harness.dcs.subset_rows import export_rows

    root = project_root()
    pool = frozen_pool(root, dataset, student)
    written = export_rows(root, pool, data, out)
    print(f"{out}: index files of {written} of {len(pool.subsets)} subsets of {pool.id}.")


@pool_app.command("verify", epilog="Example: hlbench pool verify --dataset digits")
def pool_verify(dataset: DatasetName, student: OfStudent = None, data: Data = None) -> None:
    """Select every subset again, compare it with the pool's hashes, the pool with the lock and the lock with its history.

    Rows that are stored in the project are compared first, for which no recording is needed.
    """
    from harness import freeze
    from harness.dcs.lookup import frozen_pool, read_table
    from harness.dcs.make_pool import checked_rows
    from harness.dcs.stored_rows import check_entries, stored_rows

    root = project_root()
    pool = frozen_pool(root, dataset, student)
    fail_on(freeze.verify(root), "the protocols are not as they were frozen", "see each problem above")
    check_entries(root, dataset)
    if stored := stored_rows(root, pool, pool.subsets):
        print(f"{pool.id}: the stored rows of {len(stored)} of {len(pool.subsets)} subsets have the hashes of the pool.")
    rows, table = checked_rows(root, pool, data), read_table(root, pool)
    print(
        f"{pool.id}: {len(rows)} subsets selected again, every hash the same; the {len(table)} rows of its look-up table fit it."
    )


@pool_app.command("rows", epilog="Example: hlbench pool rows --dataset tiny-imagenet")
def pool_rows_stored(dataset: DatasetName, student: OfStudent = None, data: Data = None) -> None:
    """Store the rows of the subsets in the project, so that nobody else needs the recording they are selected by.

    A recording comes out otherwise on another kind of processor, and so would the subsets. Without the pool's recording the
    subsets whose index files are here are stored; with one that gives some subsets otherwise, the others are, before it fails.
    Commit the file: until then records say that the checkout was changed.
    """
    from harness.dcs.lookup import frozen_pool
    from harness.dcs.stored_rows import store_rows, stored_ids, stored_path
    from harness.dcs.subset_rows import ids_kept, kept_rows, rows_at_hand
    from harness.errors import CheckFailed

    root = project_root()
    pool, failure = frozen_pool(root, dataset, student), None
    try:
        rows = rows_at_hand(root, pool, data, [subset.id for subset in pool.subsets])
    except CheckFailed as reason:
        rows, failure = kept_rows(root, pool, data, ids_kept(root, pool, [subset.id for subset in pool.subsets])), reason
    count = store_rows(root, pool, rows)
    path, known = stored_path(root, dataset), len(stored_ids(root, pool))
    print(f"{path.relative_to(root)}: {count} entries, {path.stat().st_size:,} bytes.")
    print(f"{pool.id}: rows of {known} of {len(pool.subsets)} subsets follow from it.")
    if failure:
        raise failure


@pool_app.command("train", epilog="Example: hlbench pool train --dataset digits --ipc 1,2 --workers 2")
def pool_train(
    dataset: DatasetName,
    student: OfStudent = None,
    ipc: Annotated[str | None, typer.Option("--ipc", help="Some of the pool's sizes, as 1,10. Default: all.")] = None,
    seeds: Annotated[str | None, typer.Option("--seeds", help="Some of the pool's seeds, as 0,1. Default: all.")] = None,
    workers: Workers = None,
    shard: Annotated[str | None, typer.Option("--shard", help="i/N: the i-th of N parts of the units, 1-based.")] = None,
    ood: Annotated[
        bool, typer.Option("--ood", help="Measure also on corrupted test images. Trains again what lacks it.")
    ] = False,
    device: Device = "auto",
    data: Data = None,
    again: Annotated[bool, typer.Option("--again", help="Also those whose row is committed, as to reproduce them.")] = False,
) -> None:
    """Train the students of a pool that have no row and no record yet, small IPC first. Run it again to resume.

    Of each size, every selector gets a student before twins, further draws and further seeds do.

    A student of the boards, trained on the same index by the same protocol and seed, counts as the pool's. Where the pool's
    recording is not here, the subsets are trained whose rows are.
    """
    from harness import plan, progress, reports
    from harness.dcs.lookup import frozen_pool, pool_units, to_train, training_order
    from harness.dcs.pool import workspace
    from harness.dcs.subset_rows import rows_at_hand
    from harness.runner import default_workers
    from harness.work import Machine

    root = project_root()
    pool = frozen_pool(root, dataset, student)
    units = training_order(pool_units(root, pool, numbers_or_all(ipc, "--ipc"), numbers_or_all(seeds, "--seeds")))
    if shard is not None:  # of all of them, so that the parts stay the same while rows are added
        units = plan.take_shard(units, *shard_of(shard))
    lacking = units if again else to_train(root, pool, units, ood)
    if len(lacking) < len(units):
        print(f"{len(units) - len(lacking)} of {len(units)} students are trained already.", file=sys.stderr)
    units = lacking
    if ood:
        units = plan.with_ood(units)
    rows = rows_at_hand(root, pool, data, {unit.submission.slug for unit in units})
    units = [unit for unit in units if unit.submission.slug in rows]
    machine = Machine(workspace(root, pool), data, device_of(device))
    summary = progress.run_with_progress(units, machine, workers or default_workers(device), reports.console())
    raise typer.Exit(summary.exit_code)


@pool_app.command("table", epilog="Example: hlbench pool table --dataset digits")
def pool_table(dataset: DatasetName, student: OfStudent = None, as_json: Json = False) -> None:
    """Merge what has been measured into the committed look-up table, and say what is missing."""
    from harness import reports
    from harness.dcs import lookup

    root = project_root()
    pool = lookup.frozen_pool(root, dataset, student)
    rows = lookup.update_table(root, pool)
    measured = lookup.errors(pool, rows)
    lacking, dropped = lookup.missing(pool, rows), lookup.excluded(pool, measured)
    stray = [str(found.relative_to(root)) for found in lookup.ood_without_record(root, pool, rows)]
    corrupted = sum(bool(row.ood) for row in rows)
    path = lookup.table_path(root, pool).relative_to(root)
    if as_json:
        facts = {
            "rows": len(rows),
            "rows_with_ood": corrupted,
            "m": len(measured) - len(dropped),
            "missing": lacking,
            "excluded": dropped,
            "ood_without_record": stray,
        }
        reports.print_json({"table": str(path), **facts})
        return
    print(f"{path}: {len(rows)} of {len(rows) + len(lacking)} students, {corrupted} of them on corrupted test images too.")
    print(f"m = {len(measured) - len(dropped)} subsets count, of {len(measured)} measured and {len(pool.subsets)} in the pool.")
    for subset, reason in dropped.items():
        print(f"excluded {subset}: {reason}")
    for subset, seed in lacking:
        print(f"missing {subset} seed {seed}")
    for found in stray:
        again = f"hlbench pool train --again --ood {pool.options}"
        print(f"not used {found}: the record of its student is gone; restore it, or: {again}")


def _counts(pool) -> str:
    if pool.awaits_recording:
        return f"no subsets yet: it awaits its recording {pool.recipe.recording}"
    twins = sum(subset.twin_of is not None for subset in pool.subsets)
    return f"{len(pool.subsets) - twins} subsets and {twins} twins at IPC {', '.join(map(str, pool.recipe.ipc))}"
