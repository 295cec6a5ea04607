"""Errors a user can act on: what went wrong, where, why, and what to do about it.

Exit codes (design, "The commands"): 0 fine, 1 the submission or a check fails, 2 usage, 3 environment.
"""

from __future__ import annotations


class HlbenchError(Exception):
    """An expected failure, shown to the user without a traceback.

    Args:
        what: the failure in one sentence.
        where: file and key, Hub repo and path, or row; empty when there is no place to point at.
        why: the rule that was broken or the fact that was observed.
        fix: what the user can do now.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", why: str = "", fix: str = ""):
        self.what, self.where, self.why, self.fix = what, where, why, fix
        super().__init__(what)

    def __str__(self) -> str:
        labelled = [("where", self.where), ("why", self.why), ("fix", self.fix)]
        return "\n".join([self.what, *(f"  {label}: {text}" for label, text in labelled if text)])


class SubmissionError(HlbenchError):
    """The submission file, the files it names, or the images in them break a rule. Exit code 1."""


class ProtocolError(HlbenchError):
    """A protocol file is malformed, or differs from what was frozen. Exit code 1."""


class RecordError(HlbenchError):
    """A result record is malformed, altered or in the wrong place. Exit code 1."""


class CheckFailed(HlbenchError):
    """A check the user asked for (`verify`, `--check`) found a difference. Exit code 1."""


class UsageError(HlbenchError):
    """The command line asks for something that does not exist or does not fit together. Exit code 2."""

    exit_code = 2


class EnvironmentProblem(HlbenchError):
    """The machine, its data, or the network is missing something; the submission is not at fault. Exit code 3."""

    exit_code = 3


def from_os_error(error: OSError) -> EnvironmentProblem:
    """A folder that cannot be written or a file that cannot be read is the machine's problem, not a fault of the code."""
    return EnvironmentProblem(
        "a file or folder cannot be read or written",
        where=str(error.filename or ""),
        why=error.strerror or str(error),
        fix="check that it exists, its permissions and the free space, or name another place",
    )
