"""Quoting: never longer than asked, nothing renders, nothing pings."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from modbot.domain import texts

_SPICED = st.lists(
    st.sampled_from(
        ["`", "```", "*", "_", "~", "|", "\\", "[x](http://y.z)", "@everyone", "@here", "<@1>", "<@&2>", "\n"]
    )
    | st.sampled_from(["https://a.b/c_d", "discord.gg/x", "> ", "# ", "-# ", "\u200b", "\u202e", "😀", "\u2028", " "])
    | st.text(max_size=5)
).map("".join)
_QUIET = settings(max_examples=150, deadline=None, database=None, derandomize=True)
_ACTIVE = re.compile(r"(?<!\\)(?:\\\\)*[*_~`|\[\]]")
_LINK = re.compile(r"<https?://[^>\s]*>")


@_QUIET
@given(_SPICED, st.integers(1, 300))
def test_a_quote_fits_and_every_line_is_quoted(text, limit):
    quoted = texts.quote(text, limit)
    assert len(quoted) <= limit
    if len(quoted) > 2:
        assert all(line.startswith("> ") or line in {">", ">…", "…"} for line in re.split("\n", quoted))


@_QUIET
@given(_SPICED)
def test_a_quote_holds_no_active_markup_and_pings_nobody(text):
    quoted = texts.quote(text, 10_000)
    assert "@everyone" not in quoted
    assert "@here" not in quoted
    assert _ACTIVE.search(_LINK.sub("", quoted)) is None


@_QUIET
@given(_SPICED)
def test_an_escaped_text_is_one_line_without_active_markup(text):
    escaped = texts.escape(text)
    assert len(escaped.splitlines()) <= 1
    assert re.search(r"(?<!\\)(?:\\\\)*[*_~`|>#\[\]()@:]", escaped) is None


@_QUIET
@given(_SPICED, st.integers(1, 100))
def test_an_excerpt_is_at_most_twice_its_limit(text, limit):
    assert len(texts.excerpt(text, limit)) <= 2 * limit
    assert len(texts.cut(text, limit)) <= limit


def test_headings_and_lists_are_shown_literally_in_a_quote():
    assert texts.quote("# big\n-# small\n- item\n> deep", 100) == "> \\# big\n> \\-# small\n> \\- item\n> \\> deep"


def test_nobody_turns_the_text_around_that_follows_a_quote():
    for show in (texts.escape, texts.excerpt, lambda text: texts.quote(text, 100)):
        assert "\u202e" not in show("hello \u202eolleh")
