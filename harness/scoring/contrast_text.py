"""A contrast as a short table and plain sentences: every sentence repeats numbers of the table and claims nothing beyond them."""

from __future__ import annotations

import math

from harness.scoring.agreement import ALL_ORDERS, INTERVAL_FROM, RESAMPLES, Agreement
from harness.scoring.cells import NOTHING, REGIME_NAMES, joined, listed, number, share
from harness.scoring.contrast import Contrast, RegimeContrast
from harness.scoring.markdown import table
from harness.scoring.stats import ALPHA

FEW = 10  # degrees of freedom: with 9 the 95% interval of a deviation is 0.69 to 1.83 of its estimate (chi-square)

MEANING = f"""\
## What the contrast means

- Every line of a contrast is about the same submissions, with the same student and IPC. The full-dataset row is none of them.
- *Spread* is the highest minus the lowest row mean. Divided by *seed sd*, the deviation between students of the same set, pooled
  over the rows, it says how many sigmas the best and the worst are apart: how well a regime tells sets apart. `df` are the
  degrees of freedom of the seed sd: the students beyond the first of each draw. With fewer than {FEW} it is rough: its 95%
  interval is then wider than 0.7 to 1.8 times the value shown, and the sigmas are as rough.
- *By chance* is the spread in sigmas that as many equal submissions would show on average, by the luck of their students alone.
  Where rows have several draws, the luck of draws comes on top of it. A spread near this number tells nothing apart.
- *Beat Random* counts rows significantly better than Random (Welch, Holm inside the regime's table, 5%). Rows that are not may
  still differ from Random.
- *tau-b with HL* is Kendall's rank correlation of the row means with those under HL: 1 is the same order, -1 the reverse. `p` is
  of a permutation test: exact up to {ALL_ORDERS} rows, and beyond that without ties; else a normal approximation (`approx.`). The
  95% interval is from resampled rows (percentiles, {RESAMPLES} resamples) and is given from {INTERVAL_FROM} rows on. A
  regime that hardly tells rows apart orders them by luck, so a low tau-b does not show that regimes disagree.
- *Full dataset* is a student trained on the whole training set for as many images seen, under the same regime.
"""


def contrast_section(contrast: Contrast) -> str:
    """The table, and below it the sentences and who was left out."""
    parts = [_table(contrast), sentences(contrast)]
    if contrast.left_out:
        parts.append(f"Left out, because one of these regimes has no result for them: {listed(contrast.left_out)}.")
    return "\n\n".join(parts)


def sentences(contrast: Contrast) -> str:
    """At most three: how far apart best and worst are, who beats Random, and whether the orders agree."""
    return " ".join(part for part in (_spread(contrast), _random(contrast), _order(contrast)) if part)


def _table(contrast: Contrast) -> str:
    headers = [
        "Regime",
        "Rows",
        "Spread, points",
        "Seed sd",
        "Spread, sigmas",
        "by chance",
        "Beat Random",
        "tau-b with HL",
        "95%",
    ]
    with_full = any(one.gap_to_full is not None for one in contrast.regimes)
    cells = [[*_cells(one, len(contrast.slugs)), *(_full_cells(one) if with_full else [])] for one in contrast.regimes]
    return table([*headers, *(["Gap to full", "Share of full"] if with_full else [])], cells)


def _cells(one: RegimeContrast, rows: int) -> list[str]:
    return [
        REGIME_NAMES[one.regime],
        str(rows),
        number(one.spread),
        _seed_sd(one),
        number(one.sigmas),
        number(one.by_chance),
        NOTHING if one.better is None else _better(one),
        NOTHING if one.agreement is None else _tau(one.agreement),
        _interval(one.agreement),
    ]


def _full_cells(one: RegimeContrast) -> list[str]:
    return [number(one.gap_to_full), share(one.share_of_full)]


def _seed_sd(one: RegimeContrast) -> str:
    """`0.42 (8 df)`."""
    return NOTHING if one.seed_sd is None else f"{number(one.seed_sd)} ({one.freedom} df)"


def _better(one: RegimeContrast) -> str:
    """`2 of 4 (50.0%)`, `0 of 4 (0.0%, 1 not testable)`."""
    if not one.compared:
        return "0 of 0"
    untested = f", {one.untested} not testable" if one.untested else ""
    return f"{one.better} of {one.compared} ({share(one.better / one.compared)}{untested})"


def _tau(found: Agreement) -> str:
    """`0.67 (p=0.333, exact)`; `n/a (all means equal)`."""
    if found.tau is None or found.p is None:
        return "n/a (all means equal)"
    return f"{number(found.tau)} ({_p(found.p)}, {'exact' if found.method == 'exact' else 'approx.'})"


def _p(value: float) -> str:
    return "p<0.001" if value < 0.001 else f"p={value:.3f}"


def _interval(found: Agreement | None) -> str:
    if found is None:
        return NOTHING
    return "n/a" if found.interval is None else " to ".join(map(number, found.interval))


def _spread(contrast: Contrast) -> str:
    names, count = joined([REGIME_NAMES[one.regime] for one in contrast.regimes]), len(contrast.slugs)
    if count == 0:
        return f"No submission has a result under all of {names}."
    if count == 1:
        return (
            f"Only one submission ({contrast.slugs[0]}) was measured under {names}: there is no spread and no order to compare."
        )
    known = [(REGIME_NAMES[one.regime], one) for one in contrast.regimes if one.sigmas is not None]
    unknown = [REGIME_NAMES[one.regime] for one in contrast.regimes if one.sigmas is None]
    undefined = f"under {joined(unknown)} that is not defined, for want of a spread between students of the same set"
    start = f"The best and the worst of the {count} submissions measured under {names} are"
    if not known:
        return (
            f"{start} a number of seed sigmas apart that is not defined, for want of a spread between students of the same set."
        )
    apart = joined([f"{number(one.sigmas)} under {name}" for name, one in known])
    by_chance = {number(one.by_chance) for _, one in known}
    chance = by_chance.pop() if len(by_chance) == 1 else joined([f"{number(one.by_chance)} under {name}" for name, one in known])
    sentence = (
        f"{start} this many seed sigmas apart: {apart}; equal ones would be about {chance} apart by the luck of their students"
    )
    return f"{'; '.join([sentence, *_roughness([one for _, one in known]), *([undefined] if unknown else [])])}."


def _roughness(known: list[RegimeContrast]) -> list[str]:
    few = [f"{one.freedom} under {REGIME_NAMES[one.regime]}" for one in known if one.freedom < FEW]
    return [f"these are rough figures, for the seed sd has few degrees of freedom ({joined(few)})"] if few else []


def _random(contrast: Contrast) -> str:
    known = [one for one in contrast.regimes if one.compared]
    if not known:
        return ""
    counts = joined([f"{one.better} of {one.compared} under {REGIME_NAMES[one.regime]}" for one in known])
    untested = [f"{one.untested} under {REGIME_NAMES[one.regime]}" for one in known if one.untested]
    return f"Significantly better than Random are {counts}{f' (not testable: {joined(untested)})' if untested else ''}."


def _order(contrast: Contrast) -> str:
    """What the tests of order say; with few rows even the same order twice is no evidence, and the sentence says so."""
    agreements = [(REGIME_NAMES[one.regime], one.agreement) for one in contrast.regimes if one.agreement is not None]
    if not agreements:
        return ""
    start = f"The order of these rows has a tau-b with that under HL of {joined([_tau_under(*one) for one in agreements])}"
    smallest = 2 / math.factorial(len(contrast.slugs))
    if smallest >= ALPHA:
        return (
            f"{start}; with {len(contrast.slugs)} rows not even the same order would be significant (p {smallest:.2f} at best)."
        )
    told = [(name, one.tau) for name, one in agreements if one.tau is not None and one.p is not None and one.p < ALPHA]
    same, reverse = [name for name, tau in told if tau > 0], [name for name, tau in told if tau < 0]
    verdicts = [f"alike beyond chance (5%) under {joined(same)}"] if same else []
    verdicts += [f"reversed beyond chance (5%) under {joined(reverse)}"] if reverse else []
    return f"{start}; {joined(verdicts) if verdicts else 'neither alike nor reversed beyond chance (5%)'}."


def _tau_under(name: str, found: Agreement) -> str:
    """`0.61 (95% 0.12 to 0.90) under SL`; the interval where there is one."""
    if found.tau is None:
        return f"not defined under {name}"
    interval = f" (95% {_interval(found)})" if found.interval else ""
    return f"{number(found.tau)}{interval} under {name}"
