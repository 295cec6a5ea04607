"""The project's digits pool in a checkout of its own, with a look-up table of errors that a test chooses."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from harness.dcs import lookup
from harness.dcs.lookup_rows import UNIT_DIGITS, Row, table_text
from harness.dcs.pool import Pool, Subset, read_pool

ROOT = Path(__file__).resolve().parent.parent
Errors = Callable[[Subset], tuple[float, ...]]  # percent, one a seed


def by_size_and_quality(subset: Subset) -> tuple[float, ...]:
    """Smaller sets err more; at one size every subset differs, in an order that follows from its name alone."""
    place = sum(map(ord, subset.id)) % 97 / 20
    return (40 / subset.ipc**0.5 + place, 40 / subset.ipc**0.5 + place + 0.1)


def pool_checkout(root: Path, errors: Errors = by_size_and_quality) -> Pool:
    """A checkout of copies: the real protocols, recordings and digits teachers, and the digits pool with a table of `errors`."""
    shutil.copytree(ROOT / "protocols", root / "protocols")
    shutil.copytree(ROOT / "dynamics", root / "dynamics")
    shutil.copytree(ROOT / "teachers/digits", root / "teachers/digits")
    (root / "leaderboards/results").mkdir(parents=True)
    pool = read_pool(root, "digits")
    write_table(root, pool, errors)
    return pool


def write_table(root: Path, pool: Pool, errors: Errors, ood: Errors = lambda subset: ()) -> None:
    """`ood`: a subset's errors on corrupted images, one a seed, a point apart from severity to severity; () where none."""
    rows = []
    for subset, unit in lookup.pool_units(root, pool):
        place = pool.recipe.seeds.index(unit.seed)
        means = ood(subset)
        corrupted = (means[place], *(means[place] + severity for severity in range(-2, 3))) if means else ()
        unit_digits = unit.id[:UNIT_DIGITS]
        rows.append(Row(subset.id, unit.seed, "ok", errors(subset)[place], 1.0, unit_digits, "0" * 12, corrupted))
    path = lookup.table_path(root, pool)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(table_text(rows))
