"""Hostile text in Markdown: read back with a real Markdown parser (the one rich brings), which must find nothing but words."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from harness.scoring.markdown import WORD_JOINER, escape, file_link, table, visible, web_link

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
BARE_LINK = re.compile(r"://|\bwww\.|mailto:\w|@\w|#\w", re.IGNORECASE)

pieces = st.sampled_from(
    [*"|\\`<>[]()!*_~&#@\n\t", "\r\n", "\x00", "\x1b[31m", "\u202e", "\u2028", "\ufeff", "\ud800", "]:", "](", "<!--", "-->",
     "<img src=x onerror=alert(1)>", "javascript:alert(1)", "https://a.b/", "www.a.b", "a@b.org", "&#124;", "&lt;", "1e5", "---",
     "$$", "{{x}}", ":tada:", "text", " "]
)  # fmt: skip
hostile = st.one_of(st.text(max_size=40), st.lists(pieces, max_size=12).map("".join))


def tokens(markdown: str) -> list:
    return [token for block in PARSER.parse(markdown) for token in [block, *(block.children or [])]]


def words(markdown: str) -> str:
    return "".join(token.content for token in tokens(markdown) if token.type in ("text", "text_special"))


@given(hostile, hostile)
@example("a | b", "x")
@example("a \\| b \\\\| c", "\\")
@example("<script>alert(1)</script>", "`code` **bold** ![x](https://a.b/c.png)")
@example("line one\n| line | two |\n\n# heading", "@admin #12 https://a.b www.a.b")
@example("\u202eevil\u202c\u0000\u2028<b>", "&lt;b&gt; &#124; &amp;")
def test_escaped_text_adds_no_column_row_link_or_tag(first, second):
    page = table(["one", "two"], [[escape(first), escape(second)], ["last", "row"]])
    found = tokens(page)
    kinds = [token.type for token in found]
    assert kinds.count("tr_open") == 3
    assert kinds.count("td_open") == 4
    layout = {f"{name}_{side}" for name in ("table", "thead", "tbody", "tr", "th", "td") for side in ("open", "close")}
    assert set(kinds) <= layout | {"inline", "text", "text_special"}
    shown = [token.content for token in found if token.type == "text"]
    assert not any(BARE_LINK.search(text) for text in shown)


@given(hostile)
def test_escaped_text_reads_as_the_visible_text(text):
    shown = words(table(["head"], [[escape(text)]])).removeprefix("head")
    assert shown.replace(WORD_JOINER, "") == visible(text)


@given(hostile)
def test_escaped_text_is_inert_in_html_attributes_and_outside_tables(text):
    escaped = escape(text)
    assert not set(escaped) & set("<>\"'`|[]\n\r")
    kinds = {token.type for token in tokens(f"- folder {escaped}: reason")}
    assert not kinds & {"link_open", "image", "html_inline", "html_block", "code_inline", "em_open", "strong_open", "s_open"}


@pytest.mark.parametrize("text", ["1e5", "0012", "1_000", "nan", "007", "0x10", "+3.20", "-"])
def test_text_that_looks_like_a_number_is_not_rewritten(text):
    assert words(table(["head"], [[escape(text)]])) == f"head{text}"


@pytest.mark.parametrize(
    "letter", ["\u202e", "\u200b", "\u2066", "\x00", "\x1b", "\x7f", "\u2028", "\ufeff", "\ud800", "\U000e0041"]
)
def test_control_direction_and_invisible_characters_become_a_space(letter):
    assert visible(f"a{letter}b") == "a b"


def test_letters_of_other_scripts_stay():
    assert visible("Дистилляция 数据 é 🙂") == "Дистилляция 数据 é 🙂"


@given(hostile, st.one_of(hostile.map(lambda tail: f"https://example.org/{tail}"), hostile))
@example("paper", "https://a.b/x) [click](javascript:alert(1)")
@example("paper", "https://a.b/&quot;onmouseover=1&#124;")
def test_a_link_is_https_or_no_link_and_never_two(text, url):
    page = table(["one", "two"], [[web_link(text, url), "x"]])
    found = tokens(page)
    links = [token for token in found if token.type == "link_open"]
    assert len(links) <= 1
    assert all(str(token.attrs["href"]).startswith("https://") for token in links)
    assert [token.type for token in found].count("td_open") == 2
    assert not {token.type for token in found} & {"html_inline", "image", "code_inline"}


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "JaVaScRiPt:alert(1)", "http://example.org", "data:text/html,x", "//example.org", "https:///x", "https://[",
     "https://a.b/\u202egnp.exe", " https://a.b", "/etc/passwd", ""],
)  # fmt: skip
def test_what_is_not_a_plain_https_address_is_shown_as_text(url):
    assert web_link("paper", url) == "paper"


def test_a_link_keeps_its_address():
    address = "https://openreview.net/pdf?id=a_b-c&copy;&version=2#page=3"
    (link,) = [token for token in tokens(web_link("paper", address)) if token.type == "link_open"]
    assert link.attrs["href"] == address


def test_a_link_with_empty_text_can_still_be_seen():
    assert file_link("\u200b", "../a b.yaml") == "[(no text)](../a%20b.yaml)"
