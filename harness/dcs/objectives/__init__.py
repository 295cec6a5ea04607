"""Every objective by name. Their code is imported when a loss is called for: most need torch, and naming them does not."""

from __future__ import annotations

from harness.dcs.declared import DECLARED
from harness.dcs.objective import NotExpressible, Objective
from harness.errors import UsageError

OBJECTIVES = tuple(DECLARED)

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
    return {name: one.title for name, one in DECLARED.items()}


def find_objective(name: str) -> Objective:
    """Raises UsageError for a name that is not known, and with the reason for a method that has no loss of a set."""
    if name in DECLARED:
        return DECLARED[name]
    reason = next((f"{one.title}: {one.reason}" for one in NOT_EXPRESSIBLE if one.name == name), "")
    if name in OBJECTIVE_OF_METHOD:
        reason = f"the loss of the method {name} is called {OBJECTIVE_OF_METHOD[name]}"
    raise UsageError(f"no objective {name!r}", why=reason, fix=f"choose one of: {', '.join(OBJECTIVES)}")
