"""Texts that people see: escaping what users wrote, cutting to Discord's limits, saying times and counts.

Everything quoted from a user goes through `escape` or `quote`: markdown is shown, not rendered; links make no preview; nothing pings
(together with the empty `allowed_mentions` of every message).
"""

from __future__ import annotations

import re
from datetime import datetime

MESSAGE_LIMIT = 2000
ELLIPSIS = "…"
_SPECIAL = re.compile(r"([\\*_~`|>#\[\]()@:-])")
_BARE_SPECIAL = re.compile(r"([\\*_~`|\[\]<])")
_TOKEN = re.compile(
    r"<(?P<mention>@[!&]?\d+|#\d+)>|<a?(?P<emoji>:\w+:)\d+>|<?(?P<link>https?://[^\s<>]+|discord\.gg/[^\s<>]+)>?",
    re.IGNORECASE,
)
_PIECE_OF_TOKEN = re.compile(r"\s*<(@[!&]?|#|a?:)[\w:]*…$")
_EVERYONE = re.compile(r"@(everyone|here)")
_BLOCK_MARKUP = re.compile(r"^(\s*)([#>-])|^(\s*\d+)([.)]\s)")
_DIRECTIONS = re.compile("[\u202a-\u202e\u2066-\u2069]")  # they would turn the text that follows a quote around
_ZERO_WIDTH = "\u200b"


def cut(text: str, limit: int) -> str:
    """Shorten a text to at most `limit` characters, with an ellipsis when something is missing."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + ELLIPSIS


def escape(text: str) -> str:
    """Show a short user text (a name, an excerpt) literally on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(_DIRECTIONS.sub("", text).split()))


def quote(text: str, limit: int) -> str:
    """Quote a user's message line by line in at most `limit` characters, markup shown literally and links without preview."""
    plain = _EVERYONE.sub(f"@{_ZERO_WIDTH}\\1", _DIRECTIONS.sub("", text))
    safe = _literally(plain, _BARE_SPECIAL, links=True)
    quoted = "\n".join("> " + _BLOCK_MARKUP.sub(r"\1\3\\\2\4", line) for line in safe.splitlines())
    return quoted if len(quoted) <= limit else _cut_quote(quoted, limit)


def excerpt(text: str, limit: int = 80) -> str:
    """Return the beginning of a user's message on one line, literally; whom it mentions stands there by name."""
    shortened = _PIECE_OF_TOKEN.sub(ELLIPSIS, cut(" ".join(_DIRECTIONS.sub("", text).split()), limit))
    return _literally(shortened, _SPECIAL, links=False)


def count(number: int, singular: str, plural: str | None = None) -> str:
    """Say a number of things."""
    return f"{number} {singular if number == 1 else plural or singular + 's'}"


def when(moment: datetime, style: str = "R") -> str:
    """Say a time the way Discord shows it to each reader in their own zone and language."""
    return f"<t:{int(moment.timestamp())}:{style}>"


def size(number_of_bytes: int) -> str:
    """Say a file size."""
    value, unit = float(number_of_bytes), "B"
    for larger in ("kB", "MB", "GB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def _literally(text: str, special: re.Pattern[str], *, links: bool) -> str:
    """Escape what is special, except mentions and, if wanted, links."""
    pieces: list[str] = []
    position = 0
    for match in _TOKEN.finditer(text):
        pieces.append(special.sub(r"\\\1", text[position : match.start()]))
        pieces.append(_shown(match, special, links=links))
        position = match.end()
    return "".join([*pieces, special.sub(r"\\\1", text[position:])])


def _shown(match: re.Match[str], special: re.Pattern[str], *, links: bool) -> str:
    link = match["link"]
    if match["mention"]:
        return match[0]  # shown as a name or channel; the empty `allowed_mentions` keeps it silent
    if link and links:
        if "://" in link:
            return f"<{link}>"
        return special.sub(r"\\\1", link.replace(".", f".{_ZERO_WIDTH}", 1))
    return special.sub(r"\\\1", match["emoji"] or match[0])


def _cut_quote(quoted: str, limit: int) -> str:
    shortened = quoted[: limit - 1]
    shortened = shortened.removesuffix("\\")
    opened = shortened.rfind("<http")
    if opened > shortened.rfind(">", opened):
        shortened = shortened[:opened]
    return shortened + ELLIPSIS
