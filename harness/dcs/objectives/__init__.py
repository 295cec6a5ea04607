"""Every objective by name, imported when it is asked for: most need torch, and naming them does not."""

from __future__ import annotations

from importlib import import_module

from harness.dcs.objective import NotExpressible, Objective
from harness.errors import UsageError

# name -> (module, constant)
_PLACES = {
    "sre2l_bn": ("sre2l", "SRE2L_BN"),
    "sre2l_total": ("sre2l", "SRE2L_TOTAL"),
    "dwa": ("dwa", "DWA"),
    "dwa_noperturb": ("dwa", "DWA_NOPERTURB"),
    "dm": ("dm", "DM"),
    "dc": ("dc", "DC"),
    "tm": ("tm", "TM"),
    "datm": ("tm", "DATM"),
    "rded_realism": ("rded_realism", "RDED_REALISM"),
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

# The objective that a method's images descend on, by the method that a submission names. A method's own name is its objective
# where a table of losses has one by that name (`hlbench dcs --losses`).
OBJECTIVE_OF_METHOD = {
    "sre2l": "sre2l_total",
    "dwa": "dwa",
    "dm": "dm",
    "dc": "dc",
    "dsa": "dc",
    "tm": "tm",
    "mtt": "tm",
    "datm": "datm",
    "rded": "rded_realism",
    "ca2d": "rded_realism",
}


def find_objective(name: str) -> Objective:
    """Raises UsageError for a name that is not known, and with the reason for a method that has no loss of a set."""
    if name in _PLACES:
        module, constant = _PLACES[name]
        return getattr(import_module(f"harness.dcs.objectives.{module}"), constant)
    reason = next((f"{one.title}: {one.reason}" for one in NOT_EXPRESSIBLE if one.name == name), "")
    raise UsageError(f"no objective {name!r}", why=reason, fix=f"choose one of: {', '.join(OBJECTIVES)}")
