"""The Hugging Face Hub, and the only importer of `huggingface_hub`: list a set, hold it to limits, fetch it, re-hash it.

What is trusted: nothing but `content_sha256`. The client accepts a body of the right length with the wrong bytes, so every file
is hashed again after each fetch, also when it comes from the cache. Sets are read without a token, whoever runs this: no
credential travels to a repo that a stranger chose.

A set lies in `cache_root()/sets/<org>/<name>/<revision>/<digest of the source>/`, as plain files (the client's `local_dir` mode
makes no symbolic links). The folder gets that name only once its bytes are verified; until then it is `<digest>.partial`, from
which an interrupted fetch continues. Real datasets use the client's own cache (`HF_HOME`), so that other tools share them.

Environment: `HF_ENDPOINT`, `HF_HUB_OFFLINE`, `HF_HOME`, `HF_HUB_DOWNLOAD_TIMEOUT` and `HF_HUB_ETAG_TIMEOUT` are honoured; the
client reads them once, when it is first imported. It retries timeouts, broken connections, 429 and (for listings) 5xx five
times with backoff, and resumes a broken body. What it lacks is added here: a timeout for listings, retries after 5xx on a file,
a cap on how long a server may ask us to wait and on how much it may send (`hub_bounds.py`).
"""

from __future__ import annotations

import glob
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from itertools import islice
from pathlib import Path

from filelock import FileLock

from harness import canonical, hub_bounds, hub_errors
from harness.errors import EnvironmentProblem, HlbenchError, SubmissionError
from harness.paths import cache_root
from harness.set_files import Limits, ListedFile, Listing, check_listing, list_folder, select
from harness.submissions import SetSource

RETRY_PAUSES = (2.0, 8.0, 30.0)  # seconds before another try after a 5xx on a file
DISK_RESERVE = 1 << 30  # bytes that stay free after a fetch
CLIENT_NOTES = ".cache"  # the client's bookkeeping inside a `local_dir`

_one_fetch_at_a_time = threading.Lock()  # the client's HTTP session is shared by the whole process


@dataclass(frozen=True)
class FetchedSet:
    """Verified files: `root / name` for each of `files` (POSIX, sorted) is a plain file; `bytes` is their total size."""

    root: Path
    files: tuple[str, ...]
    bytes: int


def list_set(source: SetSource, project: Path, limits: Limits = Limits()) -> Listing:
    """Names and sizes of a set's files, checked against `limits` before any of them is downloaded.

    Raises SubmissionError (files missing, too many, too large, of a refused kind; path outside the project; repo or commit that
    does not exist or is not public) and EnvironmentProblem (Hub out of reach, or offline mode and nothing in the cache).
    """
    with _using_disk(source):
        if not source.on_hub:
            listing = list_folder(_project_path(source, project), source.described)
        elif _offline() and _cache_folder(source).is_dir():
            listing = list_folder(_cache_folder(source), source.described)
        else:
            with _asking_hub(source.described, SubmissionError, largest_file=0):
                listing = select(_tree(source, limits), source.files, source.described)
    check_listing(listing, limits)
    return listing


def fetch_set(source: SetSource, project: Path, limits: Limits = Limits()) -> FetchedSet:
    """The set's files on this disk, hashed on every call and equal to `source.content_sha256`.

    A set already in the cache costs no request. Raises as `list_set`, and SubmissionError when the bytes hash to something else
    (the message gives the actual content_sha256), EnvironmentProblem when the disk is too full or the transfer fails.
    """
    with _using_disk(source):
        return _fetch_from_hub(source, project, limits) if source.on_hub else _read_from_project(source, project, limits)


def fetch_files(repo: str, revision: str, patterns: list[str], gated: bool = False) -> Path:
    """Snapshot folder of a real dataset at a commit, holding what `patterns` match.

    The user's own token is sent only to a repo declared `gated` (ImageNet-1K). Already cached files cost no request.
    Raises EnvironmentProblem.
    """
    where = f"{repo}@{revision[:12]}"
    with _asking_hub(where, EnvironmentProblem, largest_file=None):
        folder = _snapshot(repo, revision, patterns, repo_type="dataset", token=None if gated else False)
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    unmatched = [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in names)]
    if unmatched:
        raise EnvironmentProblem(
            "the dataset lacks files it should hold", where=where, why=f"nothing matches {', '.join(unmatched)}",
            fix="check the repo's files at that commit; a mirror named by HF_ENDPOINT may be incomplete",
        )  # fmt: skip
    return folder


def fetch_file(repo: str, revision: str, name: str, size: int) -> Path:
    """One file of a public model repo (a teacher) at a commit; refused before it is downloaded when the Hub lists another `size`.

    A cached file costs no request and is not checked here: the caller hashes what it reads. Raises EnvironmentProblem.
    """
    from huggingface_hub import hf_hub_download

    where = f"{repo}@{revision[:12]}: {name}"
    with _asking_hub(where, EnvironmentProblem, largest_file=size):
        found = hf_hub_download(repo, name, revision=revision, repo_type="model", token=False, dry_run=True)
        if not found.is_cached and found.file_size != size:
            raise EnvironmentProblem(
                "the Hub's file is not of the pinned size", where=where, why=f"{found.file_size:,} bytes listed, {size:,} pinned",
                fix="nothing was downloaded; a commit never changes, so ask whoever runs the mirror in HF_ENDPOINT",
            )  # fmt: skip
        return _snapshot(repo, revision, [glob.escape(name)], repo_type="model", token=False) / name


def _project_path(source: SetSource, project: Path) -> Path:
    """The `path` of a source with every link resolved. Raises SubmissionError when it is missing or lies outside the project."""
    root = project.resolve()
    path = Path(os.path.realpath(root / source.path))  # unlike Path.resolve, no error on a loop of links
    if not path.is_relative_to(root) or not path.exists():
        raise SubmissionError(
            "the set's path is not in this project",
            where=source.described,
            why="there is no such file or folder" if path.is_relative_to(root) else "a symbolic link leads out of the project",
            fix="give the path of a file or folder inside the project, relative to its root",
        )
    return path


def _cache_folder(source: SetSource) -> Path:
    """One folder per source: two draws of one repo never see each other's files."""
    name = canonical.digest(source.model_dump(mode="json"))[:16]
    return cache_root() / "sets" / source.repo / source.revision / name


def _read_from_project(source: SetSource, project: Path, limits: Limits) -> FetchedSet:
    path = _project_path(source, project)
    listing = list_set(source, project, limits)
    root = path if path.is_dir() else path.parent
    _check_content(root, listing, source)
    return FetchedSet(root, listing.names, listing.bytes)


def _fetch_from_hub(source: SetSource, project: Path, limits: Limits) -> FetchedSet:
    """From the cache, else downloaded. The lock keeps two processes from writing one folder."""
    folder = _cache_folder(source)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        return _from_cache(folder, source, limits) or _download(folder, source, project, limits)


def _from_cache(folder: Path, source: SetSource, limits: Limits) -> FetchedSet | None:
    """The verified set, or None when it is not there or no longer what was stored (then the copy is removed)."""
    if not folder.is_dir():
        return None
    try:
        listing = list_folder(folder, source.described)
        _check_content(folder, listing, source)
    except SubmissionError:
        shutil.rmtree(folder)
        return None
    check_listing(listing, limits)
    return FetchedSet(folder, listing.names, listing.bytes)


def _download(folder: Path, source: SetSource, project: Path, limits: Limits) -> FetchedSet:
    """Download into `<folder>.partial`, verify, rename. A damaged copy is removed, so that the same command can succeed later."""
    listing = list_set(source, project, limits)
    _check_free_disk(listing, folder.parent)
    unverified = folder.with_name(f"{folder.name}.partial")
    largest = max((file.size for file in listing.files), default=0)
    wanted = [glob.escape(entry) for entry in source.files]
    with _asking_hub(source.described, SubmissionError, largest):
        _snapshot(source.repo, source.revision, wanted, repo_type="dataset", local_dir=unverified, token=False)
    try:
        _check_arrived(unverified, listing)
        _check_content(unverified, listing, source)
    except HlbenchError:
        shutil.rmtree(unverified)
        raise
    shutil.rmtree(unverified / CLIENT_NOTES, ignore_errors=True)
    unverified.rename(folder)
    return FetchedSet(folder, listing.names, listing.bytes)


def _check_free_disk(listing: Listing, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < listing.bytes + DISK_RESERVE:
        raise EnvironmentProblem(
            "not enough free disk space for the set", where=f"{listing.described} -> {folder}",
            why=f"{listing.bytes:,} bytes and a reserve of {DISK_RESERVE:,} are needed, {free:,} are free",
            fix="free some space, or set HLBENCH_CACHE to a folder on a larger disk",
        )  # fmt: skip


def _check_arrived(folder: Path, listing: Listing) -> None:
    """The files on disk are exactly those listed, at the listed sizes. Raises EnvironmentProblem, SubmissionError (links)."""
    found = list_folder(folder, listing.described).files
    arrived = {file.path: file.size for file in found if not file.path.startswith(f"{CLIENT_NOTES}/")}
    listed = {file.path: file.size for file in listing.files}
    wrong = [f"{name}: listed {listed.get(name)}, arrived {arrived.get(name)}" for name in sorted(listed.keys() | arrived.keys())
             if listed.get(name) != arrived.get(name)]  # fmt: skip
    if wrong:
        raise EnvironmentProblem(
            "the Hub's listing and the files it sent differ", where=listing.described,
            why=f"sizes in bytes of {len(wrong)} files: {'; '.join(wrong[:3])}",
            fix="run the command again; if it fails again, ask whoever runs the Hub or the mirror in HF_ENDPOINT",
        )  # fmt: skip


def _check_content(root: Path, listing: Listing, source: SetSource) -> None:
    """Hash every file. Raises EnvironmentProblem when a file differs from the Hub's own checksum, else SubmissionError."""
    actual = canonical.content_sha256(root, list(listing.names))
    if actual == source.content_sha256:
        return
    stated = [file for file in listing.files if file.sha256 is not None]
    damaged = [file.path for file in stated if canonical.file_sha256(root / file.path) != file.sha256]
    why = f"the files have content_sha256 {actual}; the submission says {source.content_sha256}"
    if damaged:
        raise EnvironmentProblem(
            "files were damaged on the way", where=f"{listing.described}: {', '.join(damaged[:3])}",
            why=f"they differ from the Hub's own sha256; {why}", fix="run the command again; the damaged copy was removed",
        )  # fmt: skip
    raise SubmissionError(
        "the files are not the ones that were submitted", where=listing.described, why=why,
        fix=f"if these files are right, write `content_sha256: {actual}` in the submission; else restore or pin the right ones",
    )  # fmt: skip


def _tree(source: SetSource, limits: Limits) -> dict[str, ListedFile]:
    """path -> file for the whole repo at the pinned commit, read page by page and no further than `limits.repo_entries`."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    pages = HfApi().list_repo_tree(source.repo, recursive=True, revision=source.revision, repo_type="dataset", token=False)
    entries = list(islice(pages, limits.repo_entries + 1))
    if len(entries) > limits.repo_entries:
        raise SubmissionError(
            "the repo holds too many files", where=source.described, why=f"more than {limits.repo_entries:,} entries",
            fix="keep the set in a repo of its own, packed into parquet shards",
        )  # fmt: skip
    files = [entry for entry in entries if isinstance(entry, RepoFile)]
    if unsized := [file.path for file in files if not isinstance(file.size, int) or file.size < 0]:
        raise ValueError(f"the listing gives no size for {unsized[0]!r}")
    return {file.path: ListedFile(file.path, file.size, file.lfs.sha256 if file.lfs else None) for file in files}


def _snapshot(repo: str, revision: str, patterns: list[str], **options) -> Path:
    """`snapshot_download`, tried again after a 5xx on a file; files that already arrived are not fetched twice."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    download = partial(snapshot_download, repo, revision=revision, allow_patterns=patterns, **options)
    for pause in RETRY_PAUSES:
        try:
            return Path(download())
        except HfHubHTTPError as error:
            if error.response.status_code < 500:
                raise
            time.sleep(max(pause, hub_bounds.seconds_asked(error.response)))
    return Path(download())


@contextmanager
def _using_disk(source: SetSource) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EnvironmentProblem(
            "the set's files cannot be read or stored",
            where=str(error.filename or source.described),
            why=error.strerror or str(error),
            fix="check the permissions and the free space there; HLBENCH_CACHE chooses another cache folder",
        ) from error


def _offline() -> bool:
    from huggingface_hub import is_offline_mode

    return is_offline_mode()


@contextmanager
def _asking_hub(where: str, blame: type[HlbenchError], largest_file: int | None) -> Iterator[None]:
    """Within the block every request has a timeout, answers are held to bounds, and the client's errors become ours."""
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils._http import default_client_factory  # private, but it carries the client's offline check

    def bounded_client():
        client = default_client_factory()
        hooks = client.event_hooks
        client.event_hooks = {
            "request": [*hooks["request"], hub_bounds.set_timeout],
            "response": [*hooks["response"], lambda response: hub_bounds.refuse_excess(response, where, largest_file)],
        }
        return client

    with _one_fetch_at_a_time:
        set_client_factory(bounded_client)
        try:
            yield
        except HlbenchError:
            raise
        except Exception as error:
            raise hub_errors.explain(error, where, blame) from error
        finally:
            set_client_factory(default_client_factory)
