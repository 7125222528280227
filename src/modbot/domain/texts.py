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
_BARE_SPECIAL = re.compile(r"([\\*_~`|\[\]])")
_LINE_START = re.compile(r"^(\s*)([#>-])")
_LINK = re.compile(r"<?(https?://[^\s<>]+|discord\.gg/[^\s<>]+)>?", re.IGNORECASE)
_MENTION = re.compile(r"@(everyone|here)|<(@[!&]?|#)(\d+)>")
_ZERO_WIDTH = "\u200b"


def cut(text: str, limit: int) -> str:
    """Shorten a text to at most `limit` characters, with an ellipsis when something is missing."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + ELLIPSIS


def escape(text: str) -> str:
    """Show a short user text (a name, an excerpt) literally on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def quote(text: str, limit: int) -> str:
    """Quote a user's message line by line in at most `limit` characters, markup shown literally and links without preview."""
    safe = _MENTION.sub(_unping, text)
    pieces: list[str] = []
    position = 0
    for match in _LINK.finditer(safe):
        pieces.append(_BARE_SPECIAL.sub(r"\\\1", safe[position : match.start()]))
        pieces.append(f"<{match[1]}>" if "://" in match[1] else _unlink(match[1]))
        position = match.end()
    pieces.append(_BARE_SPECIAL.sub(r"\\\1", safe[position:]))
    lines = "".join(pieces).splitlines()
    quoted = "\n".join("> " + _LINE_START.sub(r"\1\\\2", line) for line in lines)
    return quoted if len(quoted) <= limit else _cut_quote(quoted, limit)


def excerpt(text: str, limit: int = 80) -> str:
    """Return the beginning of a user's message on one line, literally."""
    return escape(cut(" ".join(text.split()), limit))


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


def _unping(match: re.Match[str]) -> str:
    if match[1]:
        return f"@{_ZERO_WIDTH}{match[1]}"
    return match[0]  # rendered as a name or channel; `allowed_mentions` keeps it silent


def _unlink(invite: str) -> str:
    """Show an invite without its preview; what stands behind it up to the next space is a user's text like any other."""
    return _BARE_SPECIAL.sub(r"\\\1", invite.replace(".", f".{_ZERO_WIDTH}", 1))


def _cut_quote(quoted: str, limit: int) -> str:
    shortened = quoted[: limit - 1]
    shortened = shortened.removesuffix("\\")
    opened = shortened.rfind("<http")
    if opened > shortened.rfind(">", opened):
        shortened = shortened[:opened]
    return shortened + ELLIPSIS
