"""What a server may ask of us: hooks that `hub.py` hangs on the Hub client's HTTP session, for every request and answer."""

from __future__ import annotations

import re

from harness.errors import EnvironmentProblem

SILENCE = 20.0  # seconds without a byte before a request that the client sends without any timeout (listings) is given up
LONGEST_WAIT = 300  # seconds; the Hub counts requests in windows of five minutes
LARGEST_ANSWER = 64 << 20  # bytes; far above any page of a listing

# `RateLimit: "api";r=0;t=55`: no request left, the window ends in 55 s (IETF draft ratelimit-headers, as the Hub sends it)
WINDOW_USED_UP = re.compile(r";\s*r\s*=\s*0\s*;\s*t\s*=\s*(\d{1,9})")


def set_timeout(request) -> None:
    """Gives a request that has no timeout at all `SILENCE` seconds for each step."""
    if not any(request.extensions.get("timeout", {}).values()):
        request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), SILENCE)


def refuse_excess(response, where: str, largest_file: int | None) -> None:
    """Called before the body of `response` is read and before the client waits as long as it asks.

    `largest_file` is the largest listed size in bytes; None: sizes are not known. Raises EnvironmentProblem.
    """
    if (asked := seconds_asked(response)) > LONGEST_WAIT:
        raise EnvironmentProblem(
            "the Hub limits the rate of requests", where=where, why=f"it asks to wait {asked} seconds; limit {LONGEST_WAIT}",
            fix="wait that long, then run the same command again: what has arrived is kept",
        )  # fmt: skip
    length = response.headers.get("Content-Length", "")
    allowed = None if largest_file is None else max(largest_file, LARGEST_ANSWER)
    if allowed is not None and length.isdecimal() and int(length) > allowed:
        raise EnvironmentProblem(
            "the Hub sends far more than it listed", where=f"{where}: {response.request.url.path}",
            why=f"{int(length):,} bytes; no listed file and no page of a listing is above {allowed:,}",
            fix="try again later; if it happens again, ask whoever runs the Hub or the mirror in HF_ENDPOINT",
        )  # fmt: skip


def seconds_asked(response) -> int:
    """Seconds that a 429 or 5xx asks us to wait (`RateLimit`, else `Retry-After`); 0 when it does not say."""
    if response.status_code != 429 and response.status_code < 500:
        return 0
    if window := WINDOW_USED_UP.search(response.headers.get("RateLimit", "")):
        return int(window[1])
    asked = response.headers.get("Retry-After", "").strip()
    return int(asked[:9]) if asked.isdecimal() else 0
