"""A recording of training dynamics on disk: a folder of `spec.json` and memory-mapped `.npy` files. Torch-free, pickle-free.

Nothing is read before its name, dtype, shape and size are those that the spec implies, and nothing is used that is not finite or
lies outside its range.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.canonical import file_sha256
from harness.dynamics.spec import NOT_PRESENTED, ArrayForm, DynamicsSpec, ScoringRun, el2n_sl_file
from harness.errors import CheckFailed, UsageError
from harness.strict_yaml import as_tuples, parse_model
from harness.teachers import Made

SPEC = "spec.json"
MOST_SPEC_BYTES = 1 << 20
BLOCK = 1 << 22  # numbers looked at together
RESTORE = "restore it from version control, or remove the folder and record it again: hlbench dynamics record"


@dataclass(frozen=True)
class Dynamics:
    """A checked recording. Every array is a read-only memory map; row i is row i of the training split.

    `labels`: int64 [N], the split's classes.
    """

    folder: Path
    spec: DynamicsSpec
    labels: np.ndarray

    @property
    def sha256(self) -> str:
        """64 hex digits naming run and arrays."""
        return self.spec.sha256

    @property
    def true_probability(self) -> np.ndarray:
        """float32 [snapshots, N], 0..1: probability of the row's class, evaluation mode, un-augmented."""
        return self._array("true_probability.npy")

    @property
    def el2n(self) -> np.ndarray:
        """float32 [snapshots, N], 0..sqrt 2: ||softmax - onehot||_2 of the same pass (methods F.2)."""
        return self._array("el2n.npy")

    @property
    def correct(self) -> np.ndarray:
        """uint8 [snapshots, N]: 1 where the largest logit of the same pass is the row's class (ties: the first of them)."""
        return self._array("correct.npy")

    @property
    def presented(self) -> np.ndarray:
        """uint8 [passes, N]: training-mode prediction when the row was presented; 1 correct, 0 wrong, 255 not presented."""
        return self._array("presented.npy")

    @property
    def probabilities(self) -> np.ndarray:
        """float16 [N, C], 0..1: softmax after the run."""
        return self._array("probabilities.npy")

    @property
    def features(self) -> np.ndarray:
        """float16 [N, F]: what the last linear layer takes in, after the run."""
        return self._array("features.npy")

    def el2n_sl(self, temperature: float) -> np.ndarray:
        """float32 [snapshots, N], 0..sqrt 2: ||p_T - q_T||_2 of student and teacher (Definition 1 without its 1/T, methods F.3).

        Raises UsageError when it was not recorded.
        """
        name = el2n_sl_file(temperature)
        if name not in self.spec.arrays:
            known = ", ".join(f"{kept:g}" for kept in self.spec.temperatures)
            raise UsageError(
                f"no EL2N-SL at T = {temperature:g} was recorded", where=str(self.folder),
                why=f"recorded temperatures: {known}" if known else "the run was recorded without a teacher",
                fix=f"choose one of: {known}" if known else "record one with hlbench dynamics record --teacher",
            )  # fmt: skip
        return self._array(name)

    def _array(self, name: str) -> np.ndarray:
        return open_array(self.folder / name, self.spec.arrays[name])


def open_dynamics(folder: Path, labels: np.ndarray, split_fingerprint: str, verify: bool = False) -> Dynamics:
    """The recording in `folder`, for the training split with these labels (int64 [N]) and fingerprint.

    `verify`: hash every file too. Raises UsageError when there is no recording or it is of another split, CheckFailed when a file
    is missing, truncated, altered, of another form, or holds numbers that are not finite or out of range.
    """
    spec = read_spec(folder)
    if (spec.split_fingerprint, spec.rows) != (split_fingerprint, len(labels)):
        raise UsageError(
            "the training dynamics were recorded on another split", where=str(folder / SPEC),
            why=f"{spec.dataset}, {spec.rows:,} rows, fingerprint {spec.split_fingerprint[:12]}; "
            f"the split here has {len(labels):,} rows, fingerprint {split_fingerprint[:12]}",
            fix="record them on this split: hlbench dynamics record",
        )  # fmt: skip
    for name, form in spec.arrays.items():
        if verify and file_sha256(_existing(folder / name)) != spec.files[name]:
            raise _damaged(folder / name, f"its sha256 is not the one in {SPEC}: {spec.files[name][:12]}")
        check_numbers(folder / name, form)
    return Dynamics(folder, spec, labels)


def read_spec(folder: Path) -> DynamicsSpec:
    """Raises UsageError when there is no recording in `folder`, CheckFailed when its spec is malformed."""
    path = folder / SPEC
    try:
        with path.open("rb") as file:
            text = file.read(MOST_SPEC_BYTES + 1)
    except OSError as reason:
        raise UsageError(
            "there are no training dynamics", where=str(path), why=reason.strerror or str(reason),
            fix="name the folder of a recording (hlbench dynamics list), or make one with hlbench dynamics record",
        ) from reason  # fmt: skip
    try:
        if len(text) > MOST_SPEC_BYTES:
            raise ValueError(f"larger than {MOST_SPEC_BYTES:,} bytes")
        raw = json.loads(text)
    except (ValueError, RecursionError) as reason:
        raise _damaged(path, f"it is not the JSON of a spec: {reason}") from reason
    spec = parse_model(DynamicsSpec, as_tuples(raw), str(path), CheckFailed)
    if set(spec.files) != set(spec.arrays):
        differing = ", ".join(sorted(set(spec.files) ^ set(spec.arrays)))
        raise _damaged(path, f"it does not list the files that such a run has: {differing}")
    return spec


def create_arrays(folder: Path, run: ScoringRun) -> dict[str, np.memmap]:
    """Writable files of the run's forms, zero everywhere, `presented.npy` 255: nothing was presented yet."""
    arrays = {
        name: np.lib.format.open_memmap(folder / name, mode="w+", dtype=np.dtype(form.dtype), shape=form.shape)
        for name, form in run.arrays.items()
    }
    arrays["presented.npy"][:] = NOT_PRESENTED
    return arrays


def open_array(path: Path, form: ArrayForm, mode: str = "r") -> np.memmap:
    """The file as a memory map. Raises CheckFailed unless it is a whole `.npy` file of exactly that form."""
    try:
        array = np.load(_existing(path), mmap_mode=mode, allow_pickle=False)
    except (OSError, ValueError, EOFError) as reason:
        raise _damaged(path, f"it is no whole .npy file: {reason}") from reason
    if not isinstance(array, np.memmap):
        raise _damaged(path, "it is no .npy file")
    if (array.dtype.str, array.shape, array.flags.c_contiguous) != (form.dtype, form.shape, True):
        raise _damaged(path, f"it holds {array.dtype.str} {array.shape}, and should hold {form.dtype} {form.shape} in C order")
    if path.stat().st_size != array.offset + array.nbytes:
        raise _damaged(path, f"it has {path.stat().st_size:,} bytes and should have {array.offset + array.nbytes:,}")
    return array


def check_numbers(path: Path, form: ArrayForm) -> None:
    """Raises CheckFailed naming the first number that is not finite or out of the form's range, or what `open_array` refuses."""
    array = open_array(path, form)
    flat = array.reshape(-1)
    for start in range(0, flat.size, BLOCK):
        block = flat[start : start + BLOCK]
        fine = _fits(block, form, path.name)
        if not fine.all():
            at = start + int(np.argmin(fine))
            place = ", ".join(map(str, np.unravel_index(at, array.shape)))
            allowed = f"{form.lowest:g} to {form.highest:g}" if np.isfinite(form.highest) else "any finite number"
            raise _damaged(path, f"it holds {flat[at]} at [{place}]; allowed: {allowed}")


def write_spec(folder: Path, run: ScoringRun, made: Made) -> DynamicsSpec:
    """Check and hash the arrays in `folder` and write `spec.json` beside them. Raises CheckFailed as `check_numbers` does."""
    for name, form in run.arrays.items():
        check_numbers(folder / name, form)
    files = {name: file_sha256(folder / name) for name in run.arrays}
    spec = DynamicsSpec(**run.model_dump(by_alias=True), files=files, made=made)
    text = json.dumps(spec.model_dump(mode="json", by_alias=True), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / SPEC).write_text(text + "\n", encoding="utf-8")
    return spec


def folders(places: list[Path]) -> Iterator[Path]:
    """Every folder `<place>/<dataset>/<name>` with a recording, sorted within a place."""
    for place in places:
        yield from (path.parent for path in sorted(place.glob(f"*/*/{SPEC}")) if not path.parent.name.startswith("."))


def _fits(block: np.ndarray, form: ArrayForm, name: str) -> np.ndarray:
    """bool, one a number."""
    if name == "presented.npy":
        return (block <= 1) | (block == NOT_PRESENTED)
    if form.dtype == "|u1":
        return block <= form.highest
    return np.isfinite(block) & (block >= form.lowest) & (block <= form.highest)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise _damaged(path, "the file is missing")
    return path


def _damaged(path: Path, why: str) -> CheckFailed:
    return CheckFailed("the training dynamics are damaged", where=str(path), why=why, fix=RESTORE)
