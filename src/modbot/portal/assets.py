"""Static files under names that hold the hash of their content, so that browsers may keep them for ever.

All of them are read once, when the process starts; a name that is not known is not found, and no path leaves the package.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Final

_TYPES: Final = {".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".js": "text/javascript; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class Asset:
    """A static file."""

    body: bytes
    media_type: str


class Assets:
    """All static files of the portal, by their hashed name."""

    def __init__(self) -> None:
        self._by_hashed: dict[str, Asset] = {}
        self._hashed: dict[str, str] = {}
        for file in resources.files("modbot.portal").joinpath("static").iterdir():
            stem, dot, suffix = file.name.rpartition(".")
            body = file.read_bytes()
            hashed = f"{stem}.{hashlib.sha256(body).hexdigest()[:12]}{dot}{suffix}"
            self._by_hashed[hashed] = Asset(body, _TYPES[f".{suffix}"])
            self._hashed[file.name] = hashed

    def url(self, name: str) -> str:
        """Return the address of a file; `KeyError` when there is none of this name."""
        return f"/static/{self._hashed[name]}"

    def get(self, hashed: str) -> Asset | None:
        """Return the file of a hashed name."""
        return self._by_hashed.get(hashed)
