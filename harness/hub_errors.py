"""What can go wrong between us and the Hub, in words a user can act on.

Errors are recognised by the names of their classes, so that this file, like everything but `hub.py`, does without the client.
A fault of the repo (it, its commit or its files do not exist) is raised as `blame`: SubmissionError for a submitted set, for
its author to mend; EnvironmentProblem for the real datasets, which this project pinned itself. A fault of network or machine is
an EnvironmentProblem for both.
"""

from __future__ import annotations

import errno

from harness.errors import EnvironmentProblem, HlbenchError, SubmissionError

AGAIN = "run the same command again: what has arrived is kept"

# (class name, what, fix), the special before the general
REPO_FAULTS = (
    ("RevisionNotFoundError", "the repo has no such commit",
     "pin a commit that exists: 40 hex digits from the repo's history (a force-push or a deletion removes old ones)"),
    ("RemoteEntryNotFoundError", "the repo lists a file that the Hub lacks", "upload the file again and pin the new commit"),
    ("DisabledRepoError", "the Hub has disabled the repo", "move the files to another repo"),
    ("RepositoryNotFoundError", "there is no such public repo", "check owner and name; a private repo must be made public"),
    ("HFValidationError", "the Hub does not accept this repo name", "write <owner>/<name> as in the repo's address"),
)  # fmt: skip
ENVIRONMENT_FAULTS = (
    ("OfflineModeIsEnabled", "offline mode is on, and this is not in the cache",
     "unset HF_HUB_OFFLINE, or run the command once with a network; later runs work from the cache"),
    ("FileMetadataError", "the answer did not come from a Hub", "check HF_ENDPOINT, proxy and firewall"),
    ("TimeoutException", "the Hub did not answer in time", f"{AGAIN}; on a slow line set HF_HUB_DOWNLOAD_TIMEOUT=60"),
    ("ProxyError", "the proxy refuses the connection", "check HTTPS_PROXY and NO_PROXY"),
    ("ConnectError", "the Hub cannot be reached", "check the network, the proxy and HF_ENDPOINT"),
    ("TransportError", "the connection to the Hub broke", AGAIN),
    ("HTTPError", "the Hub cannot be asked", "check HF_ENDPOINT and the proxy"),
    ("XetDownloadError", "the transfer failed", f"{AGAIN}; HF_HUB_DISABLE_XET=1 switches to plain HTTP"),
    ("RuntimeError", "the transfer failed", f"{AGAIN}; HF_HUB_DISABLE_XET=1 switches to plain HTTP"),
    ("OSError", "the files cannot be fetched or stored", f"check that the cache folder can be written; {AGAIN}"),
    ("ValueError", "the answer is not what a Hub sends", "check HF_ENDPOINT, proxy and firewall"),
    ("KeyError", "the answer is not what a Hub sends", "check HF_ENDPOINT, proxy and firewall"),
    ("TypeError", "the answer is not what a Hub sends", "check HF_ENDPOINT, proxy and firewall"),
)  # fmt: skip


def explain(error: Exception, where: str, blame: type[HlbenchError]) -> HlbenchError:
    """The error to show instead of `error`, which the Hub client raised.

    `where` names repo, commit and, if known, path. An error of no known kind becomes an EnvironmentProblem that quotes it.
    """
    while _is(error, "LocalEntryNotFoundError") and isinstance(error.__cause__, Exception):
        error = error.__cause__  # the client's "not in the cache" hides why the Hub was of no help
    why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    if _is(error, "GatedRepoError"):
        return _gated(where, why, blame)
    for name, what, fix in REPO_FAULTS:
        if _is(error, name):
            return blame(what, where=where, why=why, fix=fix)
    if _is(error, "HfHubHTTPError"):
        return _refused(error.response.status_code, where, why, blame)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return EnvironmentProblem(
            "the disk is full", where=where, why=why, fix="free some space, or set HLBENCH_CACHE (HF_HOME) to a larger disk"
        )
    for name, what, fix in ENVIRONMENT_FAULTS:
        if _is(error, name):
            return EnvironmentProblem(what, where=where, why=why, fix=fix)
    return EnvironmentProblem("the files cannot be fetched", where=where, why=why, fix=AGAIN)


def _gated(where: str, why: str, blame: type[HlbenchError]) -> HlbenchError:
    """Sets are read without a token, so theirs must not be gated; of the real datasets ImageNet-1K is."""
    if blame is SubmissionError:
        return SubmissionError(
            "the set lies in a gated repo", where=where, why=why, fix="a submitted set must be open to everyone: turn gating off"
        )
    page = f"https://huggingface.co/datasets/{where.partition('@')[0]}"
    return EnvironmentProblem(
        "this dataset is gated", where=where, why=why,
        fix=f"accept its terms at {page}, then give your token: `hf auth login`, or HF_TOKEN in the environment",
    )  # fmt: skip


def _refused(status: int, where: str, why: str, blame: type[HlbenchError]) -> HlbenchError:
    """An answer with an error status and no word from the Hub about its kind."""
    if status in (401, 404):
        return blame("there is no such public repo or file", where=where, why=why, fix="check owner, name, commit and path")
    if status == 429:
        return EnvironmentProblem("the Hub limits the rate of requests", where=where, why=why, fix=f"wait a few minutes; {AGAIN}")
    if status >= 500:
        return EnvironmentProblem("the Hub has trouble of its own", where=where, why=why, fix=f"wait a while; {AGAIN}")
    return EnvironmentProblem(
        "the Hub, or a proxy before it, refuses the request", where=where, why=why, fix="check the proxy and HF_ENDPOINT"
    )


def _is(error: Exception, name: str) -> bool:
    return any(kind.__name__ == name for kind in type(error).__mro__)
