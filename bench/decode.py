"""How many gateway events per second one core turns into objects, beside hikari and discord.py.

The same messages go to all three, one in ten is a message that a bot handles, the rest is what a large guild sends besides.
Each library runs its own path from websocket message to event: modbot `FrameReader.read`; hikari its transport, `_poll_events`,
event manager, cache and event factory with their defaults; discord.py `received_message` with its `ConnectionState`. All read
from the same kind of fake socket, so that the network is not measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import time
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import zstandard

from modbot.discord.frames import Dispatch, FrameReader
from modbot.discord.transports import Compression

EVENTS = 20_000
GUILD = 197_038_439_483_310_086
CHANNEL = 290_926_798_626_357_250
WANTED = ("MESSAGE_CREATE", "MESSAGE_UPDATE", "MESSAGE_DELETE", "GUILD_MEMBER_ADD", "GUILD_AUDIT_LOG_ENTRY_CREATE")
WORDS = ["hello", "raid", "please", "thanks", "moderator", "look", "https://example.org/a", "tomorrow", "été", "👍"]


def user(rng: random.Random) -> dict[str, Any]:
    return {
        "id": str(10**17 + rng.randrange(10**17)),
        "username": f"member{rng.randrange(10**6)}",
        "global_name": f"Member {rng.randrange(10**6)}",
        "discriminator": "0",
        "avatar": f"{rng.getrandbits(128):032x}",
        "avatar_decoration_data": None,
        "public_flags": 64,
        "primary_guild": None,
        "clan": None,
    }


def member(rng: random.Random) -> dict[str, Any]:
    return {
        "roles": [str(10**17 + rng.randrange(50)) for _ in range(4)],
        "premium_since": None,
        "pending": False,
        "nick": None,
        "mute": False,
        "joined_at": "2023-04-05T06:07:08.910000+00:00",
        "flags": 2,
        "deaf": False,
        "communication_disabled_until": None,
        "banner": None,
        "avatar": None,
    }


def message(rng: random.Random) -> dict[str, Any]:
    return {
        "type": 0,
        "tts": False,
        "timestamp": "2026-11-01T10:20:30.405000+00:00",
        "pinned": False,
        "nonce": str(rng.getrandbits(60)),
        "mentions": [user(rng) | {"member": member(rng)}],
        "mention_roles": [],
        "mention_everyone": False,
        "member": member(rng),
        "id": str(10**18 + rng.randrange(10**17)),
        "flags": 0,
        "embeds": [],
        "edited_timestamp": None,
        "content": " ".join(rng.choice(WORDS) for _ in range(12)),
        "components": [],
        "channel_type": 0,
        "channel_id": str(CHANNEL),
        "author": user(rng),
        "attachments": [],
        "guild_id": str(GUILD),
    }


def presence(rng: random.Random) -> dict[str, Any]:
    activity = {
        "type": 0,
        "timestamps": {"start": 1790000000000 + rng.randrange(10**9)},
        "state": "In a match",
        "name": "Some Game",
        "id": f"{rng.getrandbits(64):016x}",
        "details": "Level 12, two lives left",
        "created_at": 1790000000000,
        "assets": {"large_image": str(rng.getrandbits(60)), "large_text": "The castle"},
        "application_id": str(10**17 + rng.randrange(10**6)),
    }
    return {
        "user": {"id": str(10**17 + rng.randrange(10**17))},
        "status": "online",
        "guild_id": str(GUILD),
        "client_status": {"desktop": "online"},
        "broadcast": None,
        "activities": [activity],
    }


def typing(rng: random.Random) -> dict[str, Any]:
    return {
        "user_id": str(10**17 + rng.randrange(10**17)),
        "timestamp": 1790000000,
        "member": member(rng) | {"user": user(rng)},
        "channel_id": str(CHANNEL),
        "guild_id": str(GUILD),
    }


def voice(rng: random.Random) -> dict[str, Any]:
    return {
        "member": member(rng) | {"user": user(rng)},
        "user_id": str(10**17 + rng.randrange(10**17)),
        "suppress": False,
        "session_id": f"{rng.getrandbits(128):032x}",
        "self_video": False,
        "self_mute": True,
        "self_deaf": False,
        "request_to_speak_timestamp": None,
        "mute": False,
        "guild_id": str(GUILD),
        "deaf": False,
        "channel_id": str(CHANNEL),
    }


def guild() -> dict[str, Any]:
    return {
        "id": str(GUILD), "name": "Large", "icon": None, "splash": None, "discovery_splash": None, "owner_id": "1",
        "afk_channel_id": None, "afk_timeout": 300, "verification_level": 1, "default_message_notifications": 1,
        "explicit_content_filter": 2, "emojis": [], "features": [], "mfa_level": 0, "application_id": None,
        "system_channel_id": None, "system_channel_flags": 0, "rules_channel_id": None, "max_members": 500000,
        "vanity_url_code": None, "description": None, "banner": None, "premium_tier": 0, "preferred_locale": "en-US",
        "public_updates_channel_id": None, "nsfw_level": 0, "stickers": [], "premium_progress_bar_enabled": False,
        "safety_alerts_channel_id": None, "joined_at": "2023-04-05T06:07:08.910000+00:00", "large": True,
        "unavailable": False, "member_count": 300000, "voice_states": [], "members": [], "threads": [], "presences": [],
        "stage_instances": [], "guild_scheduled_events": [], "soundboard_sounds": [], "incidents_data": None,
        "premium_subscription_count": 0, "max_video_channel_users": 25, "max_stage_video_channel_users": 50,
        "roles": [
            {"id": str(GUILD if n == 0 else 10**17 + n), "name": f"role{n}", "permissions": "104324673", "position": n,
             "color": 0, "hoist": False, "managed": False, "mentionable": False, "icon": None, "unicode_emoji": None,
             "flags": 0, "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None}}
            for n in range(50)
        ],
        "channels": [
            {"id": str(CHANNEL), "type": 0, "name": "general", "position": 0, "permission_overwrites": [], "topic": None,
             "nsfw": False, "last_message_id": None, "rate_limit_per_user": 0, "parent_id": None, "flags": 0}
        ],
    }  # fmt: skip


def payloads(count: int) -> list[bytes]:
    """One GUILD_CREATE, then events of which every tenth is a MESSAGE_CREATE."""
    rng = random.Random(7)
    others = [("PRESENCE_UPDATE", presence), ("TYPING_START", typing), ("VOICE_STATE_UPDATE", voice)]
    made = [("GUILD_CREATE", guild())]
    for number in range(count):
        name, make = ("MESSAGE_CREATE", message) if number % 10 == 0 else rng.choices(others, (7, 2, 1))[0]
        made.append((name, make(rng)))
    return [
        json.dumps({"t": name, "s": seq, "op": 0, "d": data}, separators=(",", ":"), ensure_ascii=False).encode()
        for seq, (name, data) in enumerate(made, start=1)
    ]


def compressed(plain: list[bytes], compression: Compression) -> list[bytes]:
    if compression is Compression.ZLIB:
        deflate = zlib.compressobj()
        return [deflate.compress(each) + deflate.flush(zlib.Z_SYNC_FLUSH) for each in plain]
    if compression is Compression.ZSTD:
        squeeze = zstandard.ZstdCompressor(level=6).compressobj()
        return [squeeze.compress(each) + squeeze.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) for each in plain]
    return plain


class EndOfMessagesError(Exception):
    """The fake socket has nothing more."""


class FakeSocket:
    """Gives messages as aiohttp would, without a network."""

    closed = False
    close_code = None

    def __init__(self, messages: list[bytes], kind: aiohttp.WSMsgType) -> None:
        self._messages = iter([aiohttp.WSMessage(kind, each, None) for each in messages])

    async def receive(self, timeout: float | None = None) -> aiohttp.WSMessage:  # noqa: ASYNC109 - aiohttp's signature
        del timeout
        for each in self._messages:
            return each
        raise EndOfMessagesError


Runner = Callable[[list[bytes], Compression], Awaitable[int]]


async def run_modbot(messages: list[bytes], compression: Compression) -> int:
    reader = FrameReader(compression=compression, wanted=WANTED)
    socket = FakeSocket(messages, aiohttp.WSMsgType.BINARY)
    kept = 0
    with contextlib.suppress(EndOfMessagesError):
        while True:
            kept += type(reader.read((await socket.receive()).data)) is Dispatch
    return kept


async def run_hikari(messages: list[bytes], compression: Compression) -> int:
    import hikari
    from hikari.impl import config, shard

    bot = hikari.GatewayBot("MTIz.y.z", banner=None, logs=None, intents=hikari.Intents.ALL)
    kept = 0

    @bot.listen(hikari.MessageCreateEvent)
    async def on_message(_event: hikari.MessageCreateEvent) -> None:
        nonlocal kept
        kept += 1

    transport = {
        Compression.NONE: shard._GatewayBasicTransport,
        Compression.ZLIB: shard._GatewayZlibStreamTransport,
        Compression.ZSTD: getattr(shard, "_GatewayZstdStreamTransport", None),
    }[compression]
    hikari_shard = shard.GatewayShardImpl(
        event_manager=bot.event_manager, event_factory=bot.event_factory, http_settings=config.HTTPSettings(),
        intents=hikari.Intents.ALL, proxy_settings=config.ProxySettings(), shard_id=0, shard_count=1, token="x",
        url="wss://localhost",
    )  # fmt: skip
    kind = aiohttp.WSMsgType.TEXT if compression is Compression.NONE else aiohttp.WSMsgType.BINARY
    hikari_shard._ws = transport(
        ws=FakeSocket(messages, kind), exit_stack=contextlib.AsyncExitStack(), logger=hikari_shard._logger,
        log_filterer=lambda entry: entry, dumps=hikari_shard._dumps, loads=hikari_shard._loads,
    )  # fmt: skip
    hikari_shard._handshake_event = asyncio.Event()
    with contextlib.suppress(EndOfMessagesError):
        await hikari_shard._poll_events()
    await asyncio.gather(*bot.event_manager._dispatched_tasks)
    return kept


async def run_discord_py(messages: list[bytes], compression: Compression) -> int:
    import discord
    from discord import gateway, utils

    kept = 0

    class Client(discord.Client):
        async def on_message(self, _message: discord.Message) -> None:
            nonlocal kept
            kept += 1

    client = Client(intents=discord.Intents.all(), chunk_guilds_at_startup=False)
    client.loop = client._connection.loop = asyncio.get_running_loop()
    client.http.loop = client.loop
    client._connection.user = discord.ClientUser(state=client._connection, data=user(random.Random(1)))
    socket = gateway.DiscordWebSocket(FakeSocket([], aiohttp.WSMsgType.TEXT), loop=client.loop)
    socket._connection = client._connection
    socket._discord_parsers = client._connection.parsers
    socket._dispatch = client.dispatch
    socket.shard_id = 0
    if compression is Compression.ZLIB:
        socket._decompressor = ZlibContext(utils)
    fake = FakeSocket(messages, aiohttp.WSMsgType.BINARY)
    with contextlib.suppress(EndOfMessagesError):
        while True:
            data = (await fake.receive()).data
            await socket.received_message(data.decode() if compression is Compression.NONE else data)
    for _ in range(5):
        await asyncio.sleep(0)
    return kept


class ZlibContext:
    """discord.py uses zlib only where zstandard is missing; the same few steps, so that both can be measured."""

    def __init__(self, utils: Any) -> None:
        self._context = getattr(utils, "_ZlibDecompressionContext", None)
        self._inflate = zlib.decompressobj()
        self._held = bytearray()

    def decompress(self, data: bytes) -> str | None:
        self._held.extend(data)
        if data[-4:] != b"\x00\x00\xff\xff":
            return None
        text = self._inflate.decompress(self._held)
        self._held = bytearray()
        return text.decode()


RUNNERS: dict[str, Runner] = {"modbot": run_modbot, "hikari": run_hikari, "discord.py": run_discord_py}


def measure(runner: Runner, messages: list[bytes], compression: Compression, *, rounds: int = 3) -> float:
    """Return the best events per second of some rounds, after checking that the messages came through."""
    best = 0.0
    for _ in range(rounds):
        start = time.perf_counter()
        kept = asyncio.run(runner(messages, compression))
        best = max(best, len(messages) / (time.perf_counter() - start))
        if kept < len(messages) // 10:
            raise RuntimeError(f"only {kept} of {len(messages) // 10} messages came through")
    return best


def run(events: int = EVENTS) -> list[dict[str, Any]]:
    """Measure every library with every compression it can do here."""
    logging.getLogger().setLevel(logging.CRITICAL)
    plain = payloads(events)
    rows: list[dict[str, Any]] = []
    for compression in Compression:
        messages = compressed(plain, compression)
        values: dict[str, float] = {}
        for name, runner in RUNNERS.items():
            if name == "hikari" and compression is Compression.ZSTD and not hikari_has_zstd():
                continue
            value = values[name] = measure(runner, messages, compression)
            target = 100_000 if name == "modbot" and compression is Compression.ZLIB else None
            rows.append(
                {"name": f"decode {compression} 10% kept, {name}", "value": round(value), "unit": "events/s",
                 "target": target, "better": "higher"}
            )  # fmt: skip
        rows.append(
            {"name": f"decode {compression}, modbot against discord.py", "value": values["modbot"] / values["discord.py"],
             "unit": "times", "target": 3.0, "better": "higher"}
        )  # fmt: skip
    return rows


def hikari_has_zstd() -> bool:
    """hikari needs the package backports.zstd for it on this Python."""
    try:
        import backports.zstd  # noqa: F401
    except ImportError:
        return False
    return True


if __name__ == "__main__":
    for row in run():
        print(f"{row['name']:<44} {row['value']:>10,} {row['unit']}  target {row['target']}")
