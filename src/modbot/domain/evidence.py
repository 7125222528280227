"""What is kept of a reported message for its entry: the text and what hung on it, without anything that only Discord needs."""

from __future__ import annotations

import msgspec


class File(msgspec.Struct, frozen=True):
    """An attachment; `url` expires, so the file is uploaded again with the entry. `size` in bytes."""

    name: str
    size: int
    url: str
    kind: str = ""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """A message as it was when the report was opened."""

    text: str
    forwarded: bool = False
    files: tuple[File, ...] = ()
    reactions: tuple[tuple[str, int], ...] = ()
    stickers: tuple[str, ...] = ()
    poll: tuple[str, ...] = ()
    """The question and then the answers."""
    embeds: tuple[str, ...] = ()
    """Titles of link previews and rich embeds."""
