"""`hlbench` called in the test's own process."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from harness import cli

Call = Callable[..., tuple[int, str, str]]


def caller(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, *before: str, after: tuple[str, ...] = ()) -> Call:
    """A function that runs `hlbench BEFORE ARGUMENTS AFTER` and returns (exit code, standard output, standard error)."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["hlbench", *before, *arguments, *after])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        output = capsys.readouterr()
        return ended.value.code or 0, output.out, output.err

    return call
