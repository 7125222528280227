"""The canary: notices that a session looks healthy and brings no messages any more.

Discord has been seen to stop one type of event on sessions that went on to acknowledge heartbeats (discord-api-docs#8162). Nothing in the
stream shows that; only Discord's REST API knows better. So when a shard has had no message for a minute, the places that spoke last are
asked for a newer one. If there is one which the stream does not bring within some seconds either, although everything received is
committed, the session is given up: a new one begins with a permit, and the gap since the last message is repaired.

A canary that errs must not cost the bot its token: it gives up a session at most once an hour, and only says so after that.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import NamedTuple

import structlog

from modbot.discord import routes
from modbot.discord.objects import Message
from modbot.discord.rest import RestClient
from modbot.discord.sessions import GatewaySession
from modbot.domain.errors import ModbotError
from modbot.domain.ids import ChannelId, ShardId, snowflake_time
from modbot.ops import metrics
from modbot.shard import marks
from modbot.shard.engine import Engine, Tools

_log = structlog.get_logger()
_QUIET = timedelta(seconds=60)
_LOOK_EVERY = 20.0
_ON_THE_WAY = 10.0  # seconds that an event may be behind what REST shows
_COMMITTED_WITHIN = 3.0  # more than the second after which the position of unwanted events is committed at the latest
_AT_MOST_EVERY = timedelta(hours=1)
REASON = "messages stopped coming while Discord has newer ones"


class _Sign(NamedTuple):
    """A message that the stream should have brought."""

    place_id: int
    message_id: int
    silent_since: datetime


class Canary:
    """Watches one shard of this pod, whichever engine and session serve it at the moment."""

    def __init__(self, shard_id: ShardId) -> None:
        self._shard_id = shard_id
        self._gave_up_at: datetime | None = None

    async def watch(self, tools: Tools, engine: Engine, session: GatewaySession) -> None:
        """Look again and again until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            if not session.connected:
                continue
            sign = await self._look(engine, tools)
            if sign is not None and await self._is_silent(engine, session, sign):
                self._act(session, sign, tools.now())

    async def _look(self, engine: Engine, tools: Tools) -> _Sign | None:
        """Return a message that the stream has not brought, if the shard is quiet and Discord has one."""
        places = await engine.commit(marks.newest_places)
        if not places or tools.now() - snowflake_time(places[0].last_id) < _QUIET:
            return None
        for place in places:
            missed = await self._next_message(tools.rest, place)
            if missed is not None:
                return _Sign(place.place_id, missed, snowflake_time(places[0].last_id))
        await asyncio.sleep(_QUIET.total_seconds())
        return None

    async def _next_message(self, rest: RestClient, place: marks.Place) -> int | None:
        route, params = routes.get_messages(ChannelId(place.place_id)), {"after": str(place.last_id), "limit": "1"}
        try:
            page = (await rest.request(route, params=params, background=True)).decode(list[Message])
        except ModbotError as error:  # then nothing can be told from this place
            _log.info("canary_cannot_look", shard=self._shard_id, code=error.code)
            return None
        return page[0].id if page else None

    async def _is_silent(self, engine: Engine, session: GatewaySession, sign: _Sign) -> bool:
        """Give the event time to arrive and to be committed; a shard that lags behind its own socket is slow, not silent."""
        await asyncio.sleep(_ON_THE_WAY)
        received = session.offset
        await asyncio.sleep(_COMMITTED_WITHIN)
        places = await engine.commit(marks.newest_places)
        if not places or snowflake_time(places[0].last_id) > sign.silent_since:
            return False
        durable = engine.offset
        if not session.connected or received is None or durable is None:
            return False
        return durable.session_id == received.session_id and durable.seq >= received.seq

    def _act(self, session: GatewaySession, sign: _Sign, now: datetime) -> None:
        may = self._gave_up_at is None or now - self._gave_up_at >= _AT_MOST_EVERY
        since = sign.silent_since.isoformat()
        _log.error("messages_stopped", shard=self._shard_id, since=since, gives_up_session=may)
        metrics.SILENCES.of(self._shard_id).inc()
        if may:
            self._gave_up_at = now
            session.renew(REASON, silent_since=sign.silent_since)
