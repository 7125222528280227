"""The key of the day that all http pods share, so that each gives an anonymous person the same number (product rule 5).

It is random, made by whoever asks first after midnight UTC, and the sweep deletes it when its day is over. It is never logged.
"""

from __future__ import annotations

import secrets

from modbot.cluster import protocol
from modbot.services.config.database import Database

_KEY_BYTES = 32


async def key_of_today(database: Database) -> protocol.AnonymityKey:
    """Return today's key; the first call of a day makes it."""
    async with database.transaction() as connection:
        await connection.one("offer_anonymity_key", secrets.token_hex(_KEY_BYTES))
        row = await connection.one("read_anonymity_key")
    return protocol.AnonymityKey(day=row["day"].isoformat(), key=row["key"], seconds_left=row["seconds_left"])
