"""What this machine has and lacks for the benchmark, and how to get what is missing."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

from harness.environment import available_cores, cpu_extensions, cpu_model, driver_version, gpu_names, package_version
from harness.errors import EnvironmentProblem
from harness.paths import cache_root, data_root, project_root
from harness.reports import readable_bytes

OLDEST_PYTHON = (3, 11)
HUB_SECONDS = 5.0
LITTLE_DISK = 5_000_000_000  # bytes; TinyImageNet decoded takes 1.4 GB, CIFAR 0.2 GB each


@dataclass(frozen=True)
class Finding:
    """`status`: ok; optional (something is missing that most runs do without); MISSING (nothing runs without it)."""

    item: str
    status: Literal["ok", "optional", "MISSING"]
    found: str
    how_to_get: str = ""


def examine(offline: bool = False) -> list[Finding]:
    """Every finding, in the order in which one would mend things. `offline`: the Hub is not asked."""
    return [
        *_python(),
        _checkout(),
        *_processor(),
        _compiler(),
        _cache(),
        *_datasets(),
        _hub(offline),
    ]


def _python() -> Iterator[Finding]:
    recent = sys.version_info >= OLDEST_PYTHON
    yield Finding(
        "python", "ok" if recent else "MISSING", platform.python_version(), "" if recent else "install Python 3.11 or newer"
    )
    try:
        requirements = metadata.requires("hlbench") or []
    except metadata.PackageNotFoundError:
        yield Finding("hlbench", "MISSING", "not installed in this Python", "pip install -e . in the checkout, or `make demo`")
        return
    for requirement in requirements:
        name = re.match(r"[\w.-]+", requirement)[0]
        if "extra ==" not in requirement:
            version = package_version(name)
            yield Finding(
                name,
                "ok" if version else "MISSING",
                version or "not installed",
                "" if version else f"pip install '{requirement}'",
            )


def _checkout() -> Finding:
    try:
        return Finding("checkout", "ok", str(project_root()))
    except EnvironmentProblem as problem:
        return Finding("checkout", "MISSING", problem.why, problem.fix)


def _processor() -> Iterator[Finding]:
    yield Finding("processor", "ok", f"{cpu_model()}, {available_cores()} cores usable")
    extensions = cpu_extensions()
    if extensions is not None and "avx512bw" not in extensions.split():
        slower = "bf16 is emulated in fp32: students train three to six times slower than with AVX512-BF16"
        yield Finding("AVX-512", "optional", "none", slower)
    if hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        yield Finding("memory", "ok", readable_bytes(memory))
    names = gpu_names()
    if not names:
        yield Finding(
            "GPU", "optional", "none", "small protocols run on the processor; imagenet-1k needs an NVIDIA GPU in practice"
        )
    elif not _torch_sees_gpu():
        found = f"{', '.join(names)}, driver {driver_version()}, but torch does not see it"
        yield Finding("GPU", "optional", found, "install the CUDA build of torch for this driver: https://pytorch.org")
    else:
        yield Finding("GPU", "ok", f"{', '.join(names)}, driver {driver_version()}")


def _torch_sees_gpu() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


def _compiler() -> Finding:
    found = next((path for name in ("g++", "clang++", "c++") if (path := shutil.which(name))), None)
    advice = "without it ConvNet students train slower on a processor; install g++ (Debian: apt-get install g++)"
    return Finding("C++ compiler", "ok" if found else "optional", found or "none", "" if found else advice)


def _cache() -> Finding:
    """The cache folder (or the nearest folder above it that exists) must be writable."""
    folder = cache_root()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        return Finding("cache folder", "MISSING", f"{folder} cannot be written", "set HLBENCH_CACHE to a folder you can write to")
    free = shutil.disk_usage(existing).free
    advice = "" if free >= LITTLE_DISK else "free some space, or set HLBENCH_CACHE to a larger disk"
    return Finding("cache folder", "optional" if advice else "ok", f"{folder}, {readable_bytes(free)} free", advice)


def _datasets() -> Iterator[Finding]:
    from harness.datasets.specs import DATASETS

    root = data_root()
    for name, spec in DATASETS.items():
        if not spec.repo:
            yield Finding(f"dataset {name}", "ok", "ships with scikit-learn")
            continue
        folder = root / name if root else None
        shards = [len(list(folder.glob(pattern))) if folder else 0 for pattern in (spec.train_files, spec.test_files)]
        if all(shards):
            yield Finding(f"dataset {name}", "ok", f"{folder}: {shards[0]} train and {shards[1]} test files")
        else:
            found = f"not in {folder}" if folder else "HLBENCH_DATA is not set"
            files = f"{spec.train_files} and {spec.test_files}"
            advice = f"fetched from {spec.repo} when first used, or put {files} into $HLBENCH_DATA/{name}/"
            yield Finding(f"dataset {name}", "optional", found, advice)


def _hub(offline: bool) -> Finding:
    """One request with a short time limit; any answer at all, even a refusal, means that the Hub is reachable."""
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    if offline or os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        return Finding("Hub", "optional", "not asked (offline)", "unset HF_HUB_OFFLINE to fetch sets")
    if not endpoint.startswith(("https://", "http://")):
        return Finding("Hub", "optional", f"HF_ENDPOINT={endpoint}", "HF_ENDPOINT must start with https://")
    try:
        with urllib.request.urlopen(f"{endpoint}/api/whoami-v2", timeout=HUB_SECONDS):  # noqa: S310 - scheme checked above
            return Finding("Hub", "ok", endpoint)
    except urllib.error.HTTPError:
        return Finding("Hub", "ok", endpoint)
    except (OSError, ValueError) as reason:
        advice = "local sets still run; check the network or proxy, or set HF_ENDPOINT to a mirror"
        return Finding("Hub", "optional", f"{endpoint} does not answer: {getattr(reason, 'reason', reason)}", advice)
