"""The offset: where a shard stands in the stream of its gateway session.

The owner stores it in the transaction that holds the effects of everything up to and including `seq` (the offset rule).
Holding one is what makes RESUME possible; it is a secret only in so far as the session id is useless without the bot token.
"""

from __future__ import annotations

import msgspec


class Offset(msgspec.Struct, frozen=True, kw_only=True):
    """A position in a gateway session: the last dispatch that is accounted for, and where to RESUME."""

    session_id: str
    resume_url: str
    seq: int
