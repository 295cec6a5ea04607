"""What a plan will cost: bytes to download and time to train, from listings and from earlier records, never guessed."""

from __future__ import annotations

import statistics
from contextlib import suppress
from pathlib import Path

from harness.environment import gpu_names, same_processor
from harness.errors import EnvironmentProblem, RecordError
from harness.plan import Unit
from harness.records import read_record


def bytes_to_download(units: list[Unit], root: Path) -> int | None:
    """Size of the units' sets on the Hub, by listing only; None when the Hub does not answer. Real datasets are not counted.

    Raises SubmissionError when a listing breaks a rule.
    """
    on_hub = {unit.source for unit in units if unit.source is not None and unit.source.on_hub}
    if not on_hub:
        return 0
    from harness.hub import list_set

    try:
        return sum(list_set(source, root).bytes for source in on_hub)
    except EnvironmentProblem:
        return None


def estimate_seconds(units: list[Unit], results: Path, gpu: str | None) -> float | None:
    """Training time of `units` in seconds, one after the other, or None when this machine has not trained such a student yet.

    The rate is the median images/s of earlier records with the same dataset, student and regime, on this processor and GPU
    (`gpu` None: on the processor alone). Evaluation and loading are not counted.
    """
    rates = {kind: _measured_rate(results, *kind, gpu) for kind in {_kind(unit) for unit in units}}
    if None in rates.values():
        return None
    return sum(_images_to_see(unit) / rates[_kind(unit)] for unit in units)


def gpu_for(device: str) -> str | None:
    """Name of the GPU that `device` (auto, cpu, cuda, cuda:<i>) means on this machine, None for the processor; without torch."""
    names = [] if device == "cpu" else gpu_names()
    index = int(device.partition(":")[2] or 0)
    return names[index] if index < len(names) else None


def _kind(unit: Unit) -> tuple[str, str, str]:
    return unit.submission.dataset, unit.protocol.student_name, unit.protocol.regime


def _images_to_see(unit: Unit) -> int:
    return unit.protocol.epochs(unit.submission.ipc) * unit.submission.ipc * unit.protocol.dataset.classes


def _measured_rate(results: Path, dataset: str, student: str, regime: str, gpu: str | None) -> float | None:
    rates = []
    for path in results.glob(f"{dataset}/*/ipc*/{student}-{regime}-v*/draw*-seed*.json"):
        with suppress(RecordError):  # no rate; `run` and `leaderboard` are what report a bad record
            record = read_record(path)
            measured_here = same_processor(record.environment) and record.environment.get("gpu") == gpu
            if measured_here and record.unit.student == student and record.images_per_second:
                rates.append(record.images_per_second)
    return statistics.median(rates) if rates else None
