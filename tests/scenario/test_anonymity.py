"""Product rule 5: who reported is nowhere, not even while their report waits for a dead pod. And what modbot refuses."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import owning
import pytest

import metricskit
import tracekit
from modbot.cli import guilds as simulated
from modbot.cli.guilds import SimulatedGuild
from modbot.cli.stack import Plan, Stack, StartError
from modbot.ops.tracing import Fact
from tracekit import Collector

_BAN_MEMBERS = 1 << 2
_TREE = ("interaction received", "forward", "interaction applied", "effect", "request to Discord")
_OF_THE_SIMULATOR = frozenset({"discord.json", "discord.state", "discord.log"})


def _plan(state_folder: Path) -> Plan:
    return Plan(
        state=state_folder / "state",
        gateways=2,
        http=1,
        guilds=3,
        shard_count=4,
        chat_port=0,
        portal_port=0,
        config_port=0,
        gateway_port=0,
        log_level="debug",
    )


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    """Where the processes of a stack send their traces."""
    async with tracekit.collecting() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        yield found


async def test_the_reporter_is_nowhere(state_folder: Path, collector: Collector) -> None:
    """The moderator who tracked is found everywhere the reporter is not, so the search works."""
    async with Stack.prepare(_plan(state_folder)) as stack:
        guild = await _first_guild(stack)
        message_id = await _write(stack, guild, "look at this")
        early, late = guild.member_ids[1], guild.member_ids[2]
        await _send(stack, early, await _open(stack, guild, early, message_id))
        await _act(stack, guild, guild.moderator_id, "Track", message_id)
        # Before the pod dies: what it has not sent yet goes with it.
        await stack.until(lambda: _has_tree(collector), "the whole trace of a report, from its arrival to Discord")
        form = await _open(stack, guild, late, message_id)
        owner = stack.children[await owning.owner_of(stack, guild)]
        owner.hold(held=True)
        owner.kill()
        waiting = await stack.control("POST", "interact", _script(late, form) | {"wait": "answered"})
        assert waiting["record"]["problem"] is None
        assert [row for row in await _rows(stack, "inbox") if waiting["record"]["id"] in row] != []
        tables = await _everything_in_postgres(stack)
        owner.hold(held=False)
        await stack.until(lambda: _has_entry(stack, guild, "Reported by 2 members"), "the late report")
        names = {user: await _names(stack, guild, user) for user in (early, late)}
        await _no_metric_names_anybody(stack, guild)
        secrets = (*guild.member_ids, guild.moderator_id, guild.guild_id, message_id, "look at this", "it hurts")
        _no_span_names_anybody(collector, *secrets)
    for user in (early, late):
        traces = [user.encode(), *(name.encode() for name in names[user])]
        assert [trace for trace in traces if trace in tables] == []
        assert _files_with(stack.plan.state, int(user), names[user]) == []
    found = _files_with(stack.plan.state, int(guild.moderator_id), [])
    assert any(name.endswith(".sqlite3") for name in found)


async def test_refusals_say_what_to_do(state_folder: Path) -> None:
    async with Stack.prepare(_plan(state_folder)) as stack:
        guild = await _first_guild(stack)
        message_id = await _write(stack, guild, "look at this")
        member = guild.member_ids[1]
        with pytest.raises(StartError, match="not offered a command 'Track'"):
            await _act(stack, guild, member, "Track", message_id)
        tracked = await _act(stack, guild, guild.moderator_id, "Track", message_id)
        delete = tracked["message"]["components"][0]["components"][0]["custom_id"]
        thread = await _thread(stack, guild)
        with pytest.raises(StartError, match="Missing Access"):
            await _press(stack, member, thread["id"], thread["controls"], "moderation:ban:1")
        await _take_away(stack, guild, _BAN_MEMBERS)
        target = guild.member_ids[0]
        form = await _press(stack, guild.moderator_id, thread["id"], thread["controls"], f"moderation:ban:{target}")
        answer = await _send(stack, guild.moderator_id, form["record"]["id"], reason="scam")
        assert answer["message"]["content"] == (
            "I need *Ban Members* for this. Give it to my role in the server settings, then try again."
        )
        await _lose_the_role(stack, guild)
        asked = await _press(
            stack, guild.moderator_id, guild.general_id, tracked["message"]["id"], delete, wait="completed"
        )
        assert asked["message"]["content"] == "This is for moderators."
        assert not asked["modal"]


def _no_span_names_anybody(collector: Collector, *secrets: str) -> None:
    assert {"modbot-http", "modbot-gateway"} <= {span.service for span in collector.spans}
    assert [secret for secret in secrets if secret in str(collector.spans)] == []
    assert re.findall(r"\d{15,}", " ".join(str(span.attributes) for span in collector.spans)) == []
    allowed = {fact.value for fact in Fact}
    assert {name for span in collector.spans for name in span.attributes} <= allowed
    assert {(span.events, span.status) for span in collector.spans} == {(0, "")}, "no exception with its text"


async def _has_tree(collector: Collector) -> bool:
    return any(collector.way_to(span) == _TREE for span in collector.spans)


async def _no_metric_names_anybody(stack: Stack, guild: SimulatedGuild) -> None:
    addresses = [f"http://127.0.0.1:{port}" for port in stack.ports.gateways]
    people = (*guild.member_ids, guild.moderator_id, guild.guild_id)
    for address in (*addresses, stack.portal_url, stack.config_url):
        text = await metricskit.read(stack.session, address)
        assert len(metricskit.labels(text)) > 5
        assert metricskit.ids_in(text, *people) == set()


async def _first_guild(stack: Stack) -> SimulatedGuild:
    people = await simulated.discover(stack)
    await simulated.set_up(stack, people)
    return people[0]


async def _write(stack: Stack, guild: SimulatedGuild, text: str) -> str:
    body = {"do": "send", "user_id": int(guild.member_ids[0]), "channel_id": int(guild.general_id), "content": text}
    return str((await stack.control("POST", "act", body))["id"])


async def _act(stack: Stack, guild: SimulatedGuild, user: str, command: str, target: str) -> Any:
    return await simulated.interact(stack, user, guild.general_id, kind="message", command=command, target=target)


async def _open(stack: Stack, guild: SimulatedGuild, user: str, target: str) -> str:
    return str((await _act(stack, guild, user, "Report", target))["record"]["id"])


async def _press(stack: Stack, user: str, channel: str, message: str, custom_id: str, **more: Any) -> Any:
    return await simulated.interact(
        stack, user, channel, kind="component", message=message, custom_id=custom_id, **more
    )


async def _send(stack: Stack, user: str, form: str, **values: Any) -> Any:
    return await simulated.interact(stack, user, "0", kind="modal", interaction=form, values=values)


def _script(user: str, form: str) -> dict[str, Any]:
    return {"user": user, "kind": "modal", "interaction": form, "values": {"words": "it hurts"}}


async def _thread(stack: Stack, guild: SimulatedGuild) -> dict[str, Any]:
    """Return the only user thread, with the id of the message that holds the controls."""
    active = await simulated.api(stack, "GET", f"guilds/{guild.guild_id}/threads/active")
    (thread,) = [each for each in active["threads"] if each["parent_id"] == guild.mod_log_id]
    messages = await simulated.api(stack, "GET", f"channels/{thread['id']}/messages")
    (controls,) = [each["id"] for each in messages if each["components"]]
    return thread | {"controls": controls}


async def _has_entry(stack: Stack, guild: SimulatedGuild, text: str) -> bool:
    thread = await _thread(stack, guild)
    messages = await simulated.api(stack, "GET", f"channels/{thread['id']}/messages")
    return any(text in each["content"] for each in messages)


async def _take_away(stack: Stack, guild: SimulatedGuild, permission: int) -> None:
    """Give modbot a role that lacks one permission instead of its own."""
    bot = stack.discord["application_id"]
    roles = await simulated.api(stack, "GET", f"guilds/{guild.guild_id}/roles")
    own = next(role for role in roles if role["managed"])
    wanted = {"name": "modbot, weaker", "permissions": str(int(own["permissions"]) & ~permission)}
    made = await simulated.api(stack, "POST", f"guilds/{guild.guild_id}/roles", wanted)
    place = [{"id": made["id"], "position": own["position"] - 1}]
    await simulated.api(stack, "PATCH", f"guilds/{guild.guild_id}/roles", place)
    for channel in (guild.mod_log_id, guild.general_id):
        seen = {"type": 0, "allow": str(1 << 10)}
        await simulated.api(stack, "PUT", f"channels/{channel}/permissions/{made['id']}", seen)
    act = {"user_id": None, "guild_id": int(guild.guild_id), "target_id": int(bot)}
    await stack.control("POST", "act", act | {"do": "add_role", "role_id": int(made["id"])})
    await stack.control("POST", "act", act | {"do": "remove_role", "role_id": int(own["id"])})


async def _lose_the_role(stack: Stack, guild: SimulatedGuild) -> None:
    act = {"do": "remove_role", "guild_id": int(guild.guild_id), "target_id": int(guild.moderator_id)}
    await stack.control("POST", "act", act | {"role_id": int(guild.moderator_role_id)})


async def _names(stack: Stack, guild: SimulatedGuild, user: str) -> list[str]:
    """Return the name that nobody else has."""
    member = await simulated.api(stack, "GET", f"guilds/{guild.guild_id}/members/{user}")
    return [str(member["user"]["username"])]


async def _rows(stack: Stack, table: str) -> list[str]:
    connection = await asyncpg.connect(stack.database_url)
    try:
        return [str(dict(row)) for row in await connection.fetch(f'SELECT * FROM "{table}"')]
    finally:
        await connection.close()


async def _everything_in_postgres(stack: Stack) -> bytes:
    connection = await asyncpg.connect(stack.database_url)
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    finally:
        await connection.close()
    found = [await _rows(stack, row["tablename"]) for row in tables]
    assert sum(map(len, found)) > 0
    return "\n".join(line for rows in found for line in rows).encode()


def _files_with(state: Path, user_id: int, names: list[str]) -> list[str]:
    """Return the files in which a person's name or id stands: as text, as SQLite writes it and as PostgreSQL does."""
    traces = [str(user_id).encode(), user_id.to_bytes(8, "big"), user_id.to_bytes(8, "little")]
    traces += [name.encode() for name in names]
    files = [path for path in state.rglob("*") if path.is_file() and path.name not in _OF_THE_SIMULATOR]
    contents = [(path, path.read_bytes()) for path in files]
    return [str(path.relative_to(state)) for path, content in contents if any(trace in content for trace in traces)]
