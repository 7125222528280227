"""One real shard with a fake Discord behind it, for the tests of a feature.

The engine, its file, its effects and its timers are the real ones; only the REST client is replaced, and the clock stands where the
test puts it. `open_shard` on the same folder again is a restart: with `later`, a late one.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from modbot.discord.events import Guild, Ready, UnavailableGuild
from modbot.discord.frames import Dispatch
from modbot.discord.intake import Batch, SessionStarted
from modbot.discord.interactions import Interaction, InteractionData, InteractionType, Option
from modbot.discord.objects import Channel, Member, Message, Object, Role, User
from modbot.discord.rest import Response
from modbot.discord.routes import Route
from modbot.domain import settings
from modbot.domain.ids import (
    ChannelId,
    Epoch,
    GuildId,
    InteractionId,
    MessageId,
    RoleId,
    UserId,
    first_snowflake_at,
    shard_of_guild,
)
from modbot.domain.offsets import Offset
from modbot.domain.permissions import Permission
from modbot.shard import database, guild_settings, interactions, snapshot
from modbot.shard.engine import Engine, Tools
from modbot.shard.feature import CommandKind, Feature
from modbot.shard.registry import Registry
from modbot.shard.transaction import Transaction
from modbot.shard.writer import Writer

GUILD = GuildId(100 << 22)
CHANNEL = ChannelId(200 << 22)
MOD_LOG = ChannelId(201 << 22)
MODERATOR_ROLE = RoleId(300 << 22)
BOT = UserId(400 << 22)
START = datetime(2026, 1, 5, 12, tzinfo=UTC)
_SHARD = shard_of_guild(GUILD, 16)
_IN_TIME = 5.0


@dataclass(frozen=True, slots=True)
class Sent:
    """One request that Discord got."""

    route: Route
    json: Any
    reason: str | None


@dataclass(slots=True)
class FakeRest:
    """Answers every request with an object that has a new id, and keeps what was asked."""

    sent: list[Sent] = field(default_factory=list)
    _arrived: asyncio.Queue[Sent] = field(default_factory=asyncio.Queue)
    _ids: Any = field(default_factory=lambda: itertools.count(500 << 22))

    async def request(self, route: Route, *, json: Any = None, reason: str | None = None, **_rest: Any) -> Response:
        """Take one request."""
        sent = Sent(route, json, reason)
        self.sent.append(sent)
        self._arrived.put_nowait(sent)
        return Response(200, msgspec.json.encode({"id": str(next(self._ids))}))

    async def next(self) -> Sent:
        """Return the oldest request that was not looked at yet; waits for it."""
        async with asyncio.timeout(_IN_TIME):
            return await self._arrived.get()


class OpenShard:
    """An open shard that holds one guild with a moderator role and a mod log."""

    def __init__(self, engine: Engine, rest: FakeRest) -> None:
        self.engine = engine
        self.rest = rest
        self._ids = itertools.count(first_snowflake_at(START))

    async def event(self, name: str, data: Object) -> None:
        """Let the gateway bring one event."""
        offset = self.engine.offset
        assert offset is not None
        seq = offset.seq + 1
        batch = Batch(
            (Dispatch(seq, name, data, msgspec.Raw(b"")),),
            Offset(session_id=offset.session_id, resume_url=offset.resume_url, seq=seq),
        )
        applied = await self.engine.apply(batch)
        assert applied.dead_letters == 0

    async def say(
        self, text: str, *, author: int, mentions: tuple[int, ...] = (), message_id: int | None = None
    ) -> None:
        """Let a member write a message."""
        message = Message(
            id=MessageId(message_id or next(self._ids)),
            channel_id=CHANNEL,
            guild_id=GUILD,
            author=_user(author),
            content=text,
            mentions=tuple(_user(each) for each in mentions),
        )
        await self.event("MESSAGE_CREATE", message)

    async def use(self, name: str, *, user: int, moderator: bool = False, **options: Any) -> dict[str, Any]:
        """Let a member use a slash command; returns the first response as Discord gets it."""
        data = InteractionData(
            name=name,
            type=CommandKind.SLASH,
            options=tuple(Option(name=key, type=3, value=str(value)) for key, value in options.items()),
        )
        return await self.interact(InteractionType.COMMAND, data, user=user, moderator=moderator)

    async def interact(
        self, kind: InteractionType, data: InteractionData, *, user: int, moderator: bool = False
    ) -> dict[str, Any]:
        """Let a member use a command, press a button or send a form."""
        interaction = Interaction(
            id=InteractionId(next(self._ids)),
            type=kind,
            token="a-token",
            guild_id=GUILD,
            channel_id=CHANNEL,
            member=Member(user=_user(user), roles=(MODERATOR_ROLE,) if moderator else (), permissions=0),
            data=data,
        )
        answer: dict[str, Any] = msgspec.json.decode(
            await self.engine.interact(interaction, deferred=False, durable=False)
        )
        return answer

    async def settle(self) -> None:
        """Wait until no effect is pending and everything asked for so far is committed."""
        async with asyncio.timeout(_IN_TIME):
            await self.engine.commit(lambda _tx: None)
            await self.engine.runner.wait_idle()

    async def read(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query over the shard's file."""
        return await self.engine.commit(lambda tx: tx.all(sql))


@contextlib.asynccontextmanager
async def open_shard(folder: Path, *features: Feature, later: timedelta = timedelta()) -> AsyncIterator[OpenShard]:
    """Open the shard in `folder`, `later` than the first time, with the engine's own features and those given."""
    rest, path = FakeRest(), database.path_of(folder, _SHARD)
    known = path.exists()
    writer = Writer(now=lambda: START + later)
    registry = Registry((snapshot.feature, interactions.feature, *features))
    tools = Tools(writer=writer, registry=registry, rest=rest, application_id=1, now=lambda: START + later)  # type: ignore[arg-type]
    engine = await Engine.open(tools, path, _SHARD, Epoch(1), expected=known)
    try:
        shard = OpenShard(engine, rest)
        if not known:
            await _begin(shard)
        yield shard
    finally:
        await engine.close()
        await writer.close()


async def _begin(shard: OpenShard) -> None:
    """Let READY and GUILD_CREATE arrive, and let somebody have used `/setup`."""
    offset = Offset(session_id="a-session", resume_url="wss://resume.test", seq=1)
    ready = Ready(
        session_id=offset.session_id,
        resume_gateway_url=offset.resume_url,
        user=_user(BOT, bot=True),
        guilds=(UnavailableGuild(id=GUILD),),
    )
    await shard.engine.apply(Batch((SessionStarted(offset, ready),), offset))
    guild = Guild(
        id=GUILD,
        name="A guild",
        owner_id=UserId(1),
        roles=(Role(id=RoleId(GUILD)), Role(id=MODERATOR_ROLE, name="Moderator", position=1)),
        channels=tuple(Channel(id=each, guild_id=GUILD, name="a-channel") for each in (CHANNEL, MOD_LOG)),
        members=(Member(user=_user(BOT, bot=True), permissions=int(Permission.ADMINISTRATOR)),),
    )
    await shard.event("GUILD_CREATE", guild)
    chosen = {settings.MODERATOR_ROLE: str(MODERATOR_ROLE), settings.MOD_LOG: str(MOD_LOG)}
    await shard.engine.commit(lambda tx: _choose(tx, chosen))


def _choose(tx: Transaction, chosen: Mapping[settings.SettingSpec, str]) -> None:
    tx.guild_id = GUILD
    for spec, value in chosen.items():
        guild_settings.change(tx, spec, value, changed_by=UserId(1))


def _user(user_id: int, *, bot: bool = False) -> User:
    return User(id=UserId(user_id), username=f"user-{user_id}", bot=bot)
