"""The offset of a shard: where in Discord's stream of events the shard file stands."""

from __future__ import annotations

import msgspec


class Offset(msgspec.Struct, frozen=True):
    """Position in one gateway session.

    `seq` is the number of the last dispatch whose effects are in the shard file. RESUME with it and Discord sends exactly what
    is not there yet.
    """

    session_id: str
    resume_url: str
    seq: int
