"""What a recording says of itself in a submission: the words of its notes, the command that records it again."""

from __future__ import annotations

from harness.dynamics.spec import DynamicsSpec


def scored_by(spec: DynamicsSpec, ipc: int) -> str:
    """A sentence: which run scored the rows of a set of `ipc` images a class, and to what its compute was matched."""
    run = f"Scored by a run of {spec.protocol}"
    if spec.ipc is not None and spec.epochs == matched_epochs(spec):
        return f"{run} matched to IPC {spec.ipc}{'' if spec.ipc == ipc else f', not to {ipc}'}."
    return f"{run} over {spec.epochs:.4g} epochs of the whole split."


def windows_in_epochs(spec: DynamicsSpec, J: int, T: int | None = None) -> str:
    """A sentence: how much of the run J snapshots are. `T`: snapshots counted, for DUAL; its paper stops early in training."""
    epochs = f"{spec.epochs:.4g} epochs"
    window = f"A window of J = {J} snapshots is {J * spec.epochs / spec.snapshots:.4g} of the run's {epochs}"
    if T is None:
        return f"{window}; the authors' is 10 epochs."
    counted = "all of them" if spec.snapshots == T else f"the first {T * spec.epochs / spec.snapshots:.4g} of them"
    return f"{window}, and T = {T} counts {counted}; the authors' window is 10 epochs, and they stop at 30 of 200 (CIFAR)."


def record_command(spec: DynamicsSpec) -> str:
    """The `hlbench dynamics record` that gives this run again, into the cache, with the kind of device that it took.

    On another processor it may round otherwise, and the arrays then have other hashes.
    """
    options = {
        "dataset": spec.dataset,
        "protocol": spec.protocol,
        "ipc": spec.ipc,
        "epochs": None if spec.epochs == matched_epochs(spec) else repr(spec.epochs),
        "snapshots": spec.snapshots,
        "seed": spec.seed,
        "teacher": spec.teacher,
        "device": spec.made.device.partition(":")[0],
        "threads": spec.made.threads if spec.made.threads != 1 else None,
    }
    return "hlbench dynamics record" + "".join(f" --{name} {value}" for name, value in options.items() if value is not None)


def matched_epochs(spec: DynamicsSpec) -> float:
    """K where nobody asked for another one: of a set of `ipc` images a class, or of the student's recipe on the whole split."""
    return spec.recipe_epochs * spec.ipc * spec.classes / spec.rows if spec.ipc else float(spec.recipe_epochs)
