"""Every objective by name, imported when it is asked for: most need torch, and naming them does not."""

from __future__ import annotations

from importlib import import_module

from harness.dcs.objective import NotExpressible, Objective
from harness.errors import UsageError

# name -> (module, constant, title)
_PLACES = {
    "sre2l_bn": ("sre2l", "SRE2L_BN", "SRe2L, batch norm statistics"),
    "sre2l_total": ("sre2l", "SRE2L_TOTAL", "SRe2L, cross-entropy and batch norm statistics"),
    "dwa": ("dwa", "DWA", "DWA, batch norm statistics under adjusted weights"),
    "dwa_noperturb": ("dwa", "DWA_NOPERTURB", "DWA without adjusted weights"),
    "dm": ("dm", "DM", "Distribution matching"),
    "dc": ("dc", "DC", "Gradient matching"),
    "tm": ("tm", "TM", "Trajectory matching"),
    "datm": ("tm", "DATM", "Difficulty-aligned trajectory matching, labels of the observer"),
    "rded_realism": ("rded_realism", "RDED_REALISM", "Realism"),
}

OBJECTIVES = tuple(_PLACES)

NOT_EXPRESSIBLE = (
    NotExpressible(
        "minimax",
        "Minimax diffusion",
        "its terms (noise prediction, distances to memories of latents) are losses of the generator's weights, not of a set",
    ),
    NotExpressible("d4m", "D4M", "prototypes by k-means, then a frozen diffusion model: no loss is minimised"),
    NotExpressible("coresets", "Coreset scores", "a score ranks single images; it is no loss of a set"),
)

# The objective that a method's images descend on or are ranked by, by the method that a submission names. A method's own name is
# its objective where a table of losses has one by that name (`hlbench dcs --losses`). DSA's is none of these: DC's is without
# its augmentation.
OBJECTIVE_OF_METHOD = {
    "sre2l": "sre2l_total",
    "dwa": "dwa",
    "dm": "dm",
    "dc": "dc",
    "tm": "tm",
    "mtt": "tm",
    "datm": "datm",
    "rded": "rded_realism",
    "ca2d": "rded_realism",
}


def objective_titles() -> dict[str, str]:
    """Name -> title."""
    return {name: title for name, (_, _, title) in _PLACES.items()}


def find_objective(name: str) -> Objective:
    """Raises UsageError for a name that is not known, and with the reason for a method that has no loss of a set."""
    if name in _PLACES:
        module, constant, _ = _PLACES[name]
        return getattr(import_module(f"harness.dcs.objectives.{module}"), constant)
    reason = next((f"{one.title}: {one.reason}" for one in NOT_EXPRESSIBLE if one.name == name), "")
    raise UsageError(f"no objective {name!r}", why=reason, fix=f"choose one of: {', '.join(OBJECTIVES)}")
