"""What a record must say about the machine it was made on (anchors 2.3): versions, processor, GPU, code commit. No host name."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import harness

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
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),  # on virtual machines the model's name may not tell
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
    """Name of the processor as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


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
