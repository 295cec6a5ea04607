"""What a record must say about the machine it was made on (anchors 2.3): versions, processor, GPU, code commit. No host name."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import harness

CPUINFO = Path("/proc/cpuinfo")
EXTENSIONS = ("avx2", "avx512bw", "avx512_bf16", "amx_bf16")  # of x86, which decide how fast a processor multiplies, and rounding
PACKAGES = ("torch", "torchvision", "numpy", "pillow", "pyarrow", "scikit-learn", "huggingface-hub")
DECIDING_FOLDERS = ("harness", "protocols", "teachers", "submissions")  # records being written must not make the checkout dirty


def describe_environment(device: str) -> dict[str, str | int | bool | None]:
    """Facts for `Record.environment`. `device` is the one trained on: `cpu` or `cuda[:i]`. Imports torch."""
    import torch

    on_gpu = device.startswith("cuda")
    commit, dirty = git_state(Path(harness.__file__).resolve().parent.parent)
    return {
        "hlbench": harness.__version__,
        "git_commit": commit,
        "git_dirty": dirty,
        "python": platform.python_version(),
        "platform": f"{platform.system()}-{platform.machine()}",
        "cpu": cpu_model(),
        "cpu_extensions": cpu_extensions(),
        "threads": torch.get_num_threads(),
        "device": device,
        "gpu": torch.cuda.get_device_name(device) if on_gpu else None,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if on_gpu else None,
        "driver": driver_version() if on_gpu else None,
        **{name: package_version(name) for name in PACKAGES},
    }


def git_state(checkout: Path) -> tuple[str | None, bool | None]:
    """(commit, dirty) of the checkout the code lies in, wherever the command was started.

    Dirty: a tracked or untracked change below one of DECIDING_FOLDERS. (None, None) when `checkout` is not the top
    of a git work tree (an installed wheel may lie inside somebody else's); commit None before the first commit.
    """
    top = _git(checkout, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != checkout.resolve():
        return None, None
    folders = [folder for folder in DECIDING_FOLDERS if (checkout / folder).exists()]
    changes = _git(checkout, "status", "--porcelain", "--untracked-files=all", "--", *folders)
    return _git(checkout, "rev-parse", "--verify", "HEAD"), None if changes is None else bool(changes)


def cpu_model() -> str:
    """Name of the processor as the system gives it; that of a virtual machine may stand for several kinds."""
    return _cpu_field("model name") or platform.processor() or platform.machine()


def cpu_extensions() -> str | None:
    """Of `EXTENSIONS` those that this processor has, as `avx2 avx512bw`; None where the system does not list them."""
    flags = _cpu_field("flags")
    return None if flags is None else " ".join(name for name in EXTENSIONS if name in flags.split())


def processor_of(environment: Mapping[str, str | int | bool | None]) -> str:
    """The GPU of a described environment, else its processor: `AMD EPYC (avx2 avx512bw)`. Rounding hangs on it."""
    extensions = environment.get("cpu_extensions")
    return environment["gpu"] or (f"{environment['cpu']} ({extensions})" if extensions else environment["cpu"])


def same_processor(environment: Mapping[str, str | int | bool | None]) -> bool:
    """Whether a record's `environment` names this processor, extensions included: with others its speed is another."""
    return (environment.get("cpu"), environment.get("cpu_extensions")) == (cpu_model(), cpu_extensions())


def _cpu_field(name: str) -> str | None:
    try:
        lines = CPUINFO.read_text(errors="replace").splitlines()
    except OSError:
        return None
    return next((value.strip() for key, _, value in (line.partition(":") for line in lines) if key.strip() == name), None)


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpu_names() -> list[str]:
    """Names of the NVIDIA GPUs of this machine, asked of the driver and not of torch; [] when there are none."""
    return _nvidia("name")


def visible_gpus() -> int:
    """How many GPUs a process started now would see: those of the machine, fewer when CUDA_VISIBLE_DEVICES says so."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    listed = len([part for part in chosen.split(",") if part.strip() not in ("", "-1")]) if chosen is not None else None
    return len(gpu_names()) if listed is None else min(listed, len(gpu_names()))


def driver_version() -> str | None:
    return next(iter(_nvidia("driver_version")), None)


def package_version(name: str) -> str | None:
    """Installed version, without importing the package; None when it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git(checkout: Path, *arguments: str) -> str | None:
    return _answer(["git", "-C", str(checkout), *arguments])


def _nvidia(field: str) -> list[str]:
    text = _answer(["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader"])
    return [line.strip() for line in text.splitlines() if line.strip()] if text else []


def _answer(command: list[str]) -> str | None:
    """Standard output of a command, or None when it is missing, fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
