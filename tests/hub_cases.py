"""Shared by the tests of the Hub: a real set of digits, its source, and the real client pointed at a local Hub."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hub_server import Hub, Repo, running_hub
from huggingface_hub import constants
from huggingface_hub.utils import disable_progress_bars
from PIL import Image
from sklearn.datasets import load_digits

from harness import canonical, hub
from harness.errors import HlbenchError
from harness.submissions import SetSource

REVISION = "0123456789abcdef0123456789abcdef01234567"
PROJECT = Path("/nowhere")


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray((pixels * 15).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def digit_files() -> dict[str, bytes]:
    """Ten real digits as PNG in a folder, a label table, a card that is not part of the set."""
    digits = load_digits()
    images = {f"images/{index}.png": png(digits.images[index]) for index in range(10)}
    return {**images, "labels.csv": b"file,label\n" + b"".join(b"%d,%d\n" % (i, i) for i in range(10)), "README.md": b"# card\n"}


def sha_of(files: dict[str, bytes]) -> str:
    """content_sha256 from its definition in `SetSource`, not from the code under test."""
    listed = [{"path": path, "sha256": canonical.sha256_hex(data), "size": len(data)} for path, data in sorted(files.items())]
    return canonical.digest(listed)


def source(
    files: dict[str, bytes], names: tuple[str, ...] = ("images/", "labels.csv"), repo="lab/digits", **changes
) -> SetSource:
    """A source that names the files of `files` which `names` covers."""
    covered = {
        path: data for path, data in files.items() if any(path == n or (n[-1] == "/" and path.startswith(n)) for n in names)
    }
    return SetSource(**{"repo": repo, "revision": REVISION, "files": names, "content_sha256": sha_of(covered), **changes})


@contextmanager
def hub_and_client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A Hub with `lab/digits`, a client that knows no other, an empty cache, and no real sleeping (see `Hub.naps`)."""
    disable_progress_bars()
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path / "cache"))
    with running_hub() as running:
        client = {
            "ENDPOINT": running.url, "HUGGINGFACE_CO_URL_TEMPLATE": running.url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_CACHE": str(tmp_path / "hf"), "HF_TOKEN_PATH": str(tmp_path / "no-token"), "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True, "HF_HUB_DISABLE_TELEMETRY": True,
        }  # fmt: skip
        for name, value in client.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setattr(time, "sleep", running.naps.append)
        running.repos["lab/digits"] = Repo(digit_files(), REVISION)
        yield running


def refused(error: type[HlbenchError], *words: str, call: Callable = hub.fetch_set, **source_changes) -> str:
    """The message of the error that fetching `lab/digits` must raise; every one of `words` must be in it."""
    with pytest.raises(error) as caught:
        call(source(digit_files(), **source_changes), PROJECT)
    message = str(caught.value)
    missing = [word for word in (*words, "where:", "why:", "fix:") if word not in message]
    assert not missing, f"{missing} not in {message}"
    return message


def cached_files(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "cache").rglob("*.png") if path.is_file()]
