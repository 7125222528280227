"""IDENTIFY permits (I6): Discord resets the bot token of whoever spends too many, so none is sent without a row saying so.

Two budgets: one turn per concurrency key (`number % max_concurrency`) every `TURN` seconds, and the daily number that Discord
reports, of which the last `reserve` are kept for recovery. Both are spent in one transaction, so a refusal spends nothing. Only the
current owner of a shard with a valid lease is asked about. A permit is for now: it must be used at once.
"""

from __future__ import annotations

import msgspec

from modbot.cluster import protocol
from modbot.domain.errors import NotFoundError
from modbot.services.config.database import Connection, Database

# Discord counts 5 s from when the frame arrives; the rest is for the way there.
TURN = 5.25
_LONGEST_WINDOW = 2 * 86_400.0
_RESERVE_RETRY = 60.0
# What Discord said is used for a minute; whoever was told to ask has three seconds before somebody else is.
_FRESH = 60.0
_ASKING = 3.0
_AWAIT = 0.2


async def identify(database: Database, request: protocol.IdentifyRequest, *, reserve: int) -> protocol.IdentifyAnswer:
    """Grant or refuse one IDENTIFY; `NotFoundError` for an unknown shard."""
    async with database.transaction() as connection:
        row = await connection.one("is_owner", request.shard_id, request.pod_id, request.incarnation, request.epoch)
        if row is None:
            raise NotFoundError(f"There is no shard {request.shard_id!r}.")
        if not row["owns"]:
            return protocol.IdentifyAnswer(granted=False, reason="not_owner")
        if request.limits is not None:
            limits = request.limits
            window = min(limits.reset_after, _LONGEST_WINDOW)
            await connection.one("tell_identify_limits", limits.remaining, window, limits.max_concurrency)
        budget = await connection.one("lock_identify_budget", _FRESH)
        if budget is None or not budget["fresh"]:
            return await _who_asks_discord(connection)
        if budget["remaining"] <= (0 if request.recovery else reserve):
            wait = min(max(budget["resets_in"], 1.0), _RESERVE_RETRY)
            answer = protocol.IdentifyAnswer(granted=False, reason="daily_reserve", retry_after=wait)
        else:
            answer = await _take_turn(connection, row["number"] % budget["max_concurrency"])
    return msgspec.structs.replace(answer, remaining=budget["remaining"] - answer.granted)


async def _who_asks_discord(connection: Connection) -> protocol.IdentifyAnswer:
    """Let one pod ask for the limits and the others wait: Discord answers that question twice in five seconds."""
    if await connection.value("claim_identify_limits", _ASKING) is None:
        return protocol.IdentifyAnswer(granted=False, reason="limits_awaited", retry_after=_AWAIT)
    return protocol.IdentifyAnswer(granted=False, reason="limits_unknown")


async def _take_turn(connection: Connection, key: int) -> protocol.IdentifyAnswer:
    if await connection.value("take_identify_key", key, TURN) is None:
        wait = await connection.value("identify_key_wait", key)
        return protocol.IdentifyAnswer(granted=False, reason="concurrency", retry_after=wait)
    await connection.one("spend_identify")
    return protocol.IdentifyAnswer(granted=True)
