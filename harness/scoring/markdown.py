"""Text from strangers into Markdown: escaped so that neither Markdown nor HTML finds anything to act on.

tabulate escapes nothing, and it reads the text "1e5" as the number 100000 unless told not to; both are taken care of here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from urllib.parse import quote, urlsplit

import tabulate

# With the optional wcwidth package tabulate pads wide characters differently, and pages must not depend on what is installed.
tabulate.WIDE_CHARS_MODE = False

# Controls, format characters (bidi overrides, zero width), surrogates, private use, line and paragraph separators.
INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
ACTIVE = re.compile(r"""[\\`*_\[\]<>{}|&~$"'!]""")
# GitHub links @names, #numbers, :emoji:, scheme:// and www. on its own, after character references are decoded.
AUTOLINK = re.compile(r"(?<=[@#:])(?=[\w/])|(?<=www)(?=\.)", re.IGNORECASE)
WORD_JOINER = "\u2060"
GENERATED = "<!-- Made by `hlbench leaderboard` from the records. Edits are lost. -->"


def visible(text: str) -> str:
    """`text` on one line, without control, direction or invisible characters; runs of white space become one space."""
    return " ".join("".join(" " if unicodedata.category(letter) in INVISIBLE else letter for letter in text).split())


def escape(text: str) -> str:
    """`text` as literal words for a Markdown table cell, link text or HTML: it adds no column, link, mention, emphasis or tag.

    Active characters become numeric character references, which both languages read as text (a backslash before a pipe is read
    differently by different Markdown parsers). An invisible word joiner breaks what would be linked without any markup.
    """
    joined = AUTOLINK.sub(WORD_JOINER, visible(text))
    return ACTIVE.sub(lambda found: f"&#{ord(found[0])};", joined)


def web_link(text: str, url: str) -> str:
    """A Markdown link with escaped text; only the text when `url` is not an https address with a host."""
    try:
        parts = urlsplit(url)
        safe = parts.scheme == "https" and bool(parts.hostname) and visible(url) == url
    except ValueError:
        safe = False
    if not safe:
        return escape(text)
    return _link(text, quote(url, safe=":/?#@&+,;=%").replace("&", "&amp;"))


def file_link(text: str, relative: str) -> str:
    """A Markdown link to a file of the project at `relative`, a POSIX path from the page."""
    return _link(text, quote(relative, safe="/#"))


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A GitHub table. Cells are written as they are: escape what was not made here."""
    return tabulate.tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


def _link(text: str, target: str) -> str:
    return f"[{escape(text) or '(no text)'}]({target})"
