"""The canary: only a session that lacks what Discord has is given up, and seldom."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from modbot.discord.rest import Response
from modbot.discord.rest_errors import ForbiddenError
from modbot.domain.ids import GuildId, ShardId, first_snowflake_at
from modbot.domain.offsets import Offset
from modbot.services.gateway import canary
from modbot.services.gateway.canary import Canary
from modbot.shard.marks import Place

POSITION = Offset(session_id="a", resume_url="wss://resume.test", seq=7)
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Shard:
    """Engine, session, REST client and clock of one shard, as far as the canary looks at them."""

    def __init__(self) -> None:
        self.moment = START
        self.marks = [START - timedelta(seconds=90)]
        self.discord = [START - timedelta(seconds=80)]
        self.error: Exception | None = None
        self.asked = 0
        self.given_up: list[datetime] = []
        self.connected = True
        self.offset = POSITION
        self.engine = SimpleNamespace(commit=self.commit, offset=msgspec.structs.replace(POSITION, seq=8))
        self.tools = SimpleNamespace(rest=self, now=lambda: self.moment)
        self.arrives = False
        self.rounds = 0

    async def commit(self, _work: Any) -> list[Place]:
        if self.asked and self.arrives:
            self.marks = list(self.discord)
        return [Place(GuildId(1), 5, first_snowflake_at(moment)) for moment in self.marks]

    async def request(self, route: Any, *, params: dict[str, str], background: bool) -> Response:
        assert background
        self.asked += 1
        if self.error is not None:
            raise self.error
        found = [first_snowflake_at(each) for each in self.discord]
        newer = [each for each in found if each > int(params["after"])]
        text = ",".join(f'{{"id": "{each}", "channel_id": "5"}}' for each in newer[:1])
        return Response(200, f"[{text}]".encode())

    def renew(self, reason: str, *, silent_since: datetime) -> None:
        assert reason
        self.given_up.append(silent_since)

    async def watch(self, watcher: Canary, *, rounds: int = 3) -> None:
        """Let the canary look some times."""
        engine: Any = self.engine
        tools: Any = self.tools
        session: Any = self
        self.rounds = rounds
        watching = asyncio.create_task(watcher.watch(tools, engine, session))
        while self.rounds and not watching.done():
            await asyncio.sleep(0)
            self.rounds -= 1
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


@pytest.fixture
def shard(monkeypatch: pytest.MonkeyPatch) -> Shard:
    monkeypatch.setattr(canary, "_LOOK_EVERY", 0)
    monkeypatch.setattr(canary, "_ON_THE_WAY", 0)
    monkeypatch.setattr(canary, "_COMMITTED_WITHIN", 0)
    return Shard()


async def test_a_session_that_lacks_what_discord_has_is_given_up(shard: Shard) -> None:
    await shard.watch(Canary(ShardId("0-of-1")), rounds=20)
    assert shard.given_up[:1] == [START - timedelta(seconds=90)]


async def test_at_most_once_an_hour(shard: Shard) -> None:
    watcher = Canary(ShardId("0-of-1"))
    await shard.watch(watcher, rounds=100)
    assert len(shard.given_up) == 1
    shard.moment += timedelta(minutes=61)
    await shard.watch(watcher, rounds=100)
    assert len(shard.given_up) == 2


@pytest.mark.parametrize(
    "why",
    [
        "spoken just now",
        "discord has nothing newer",
        "it arrives",
        "the shard is slow",
        "the session is another one",
        "not connected",
        "403",
    ],
)
async def test_nothing_else_is_a_reason(shard: Shard, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "_QUIET", timedelta())
    match why:
        case "spoken just now":
            monkeypatch.setattr(canary, "_QUIET", timedelta(seconds=60))
            shard.marks = [START - timedelta(seconds=30)]
        case "discord has nothing newer":
            shard.discord = list(shard.marks)
        case "it arrives":
            shard.arrives = True
        case "the shard is slow":
            shard.offset = msgspec.structs.replace(POSITION, seq=9)
        case "the session is another one":
            shard.offset = msgspec.structs.replace(POSITION, session_id="b")
        case "not connected":
            shard.connected = False
        case _:
            shard.error = ForbiddenError(SimpleNamespace(), http_status=403)  # type: ignore[arg-type]
    await shard.watch(Canary(ShardId("0-of-1")), rounds=100)
    assert shard.given_up == []
    assert (shard.asked > 0) == (why not in {"spoken just now", "not connected"})
