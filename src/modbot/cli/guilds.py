"""The simulated guilds as `modbot dev` and `modbot demo` use them: who is who, and setting modbot up in them."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any

from modbot.cli.stack import Stack, StartError

_COMMANDS_WITHIN = 30.0
_SIDE_BY_SIDE = 4


@dataclass(frozen=True, slots=True)
class SimulatedGuild:
    """A guild of the simulator with the people and places that a script needs."""

    guild_id: str
    name: str
    owner_id: str
    moderator_id: str
    member_ids: tuple[str, ...]
    moderator_role_id: str
    general_id: str
    mod_log_id: str


async def discover(stack: Stack) -> list[SimulatedGuild]:
    """Read the seeded guilds, as the bot sees them."""
    listed: list[dict[str, Any]] = []
    while page := await api(stack, "GET", f"users/@me/guilds?limit=200&after={listed[-1]['id'] if listed else 0}"):
        listed += page
    return [await _read(stack, guild["id"]) for guild in listed]


async def set_up(stack: Stack, guilds: list[SimulatedGuild]) -> None:
    """Let every owner use `/setup`, as a person would; guilds that were set up before are left alone."""
    remembered = stack.plan.state / "set-up.json"
    done: set[str] = set(json.loads(remembered.read_text("utf-8"))) if remembered.exists() else set()
    await _commands_registered(stack)
    places = asyncio.Semaphore(_SIDE_BY_SIDE)

    async def one(guild: SimulatedGuild) -> None:
        async with places:
            options = {"moderator_role": guild.moderator_role_id, "mod_log": guild.mod_log_id}
            await interact(stack, guild.owner_id, guild.general_id, kind="command", command="setup", options=options)

    await asyncio.gather(*(one(guild) for guild in guilds if guild.guild_id not in done))
    remembered.write_text(json.dumps([guild.guild_id for guild in guilds]), "utf-8")


async def interact(stack: Stack, user_id: str, channel_id: str, **script: Any) -> Any:
    """Use a command, button or form as a member; returns the record and what the member sees, once it is complete."""
    body = {"user": user_id, "channel": channel_id, "wait": "completed", **script}
    answer = await stack.control("POST", "interact", body)
    problem = answer["record"]["problem"]
    if problem is not None:
        raise StartError(f"The interaction {answer['record']['name']!r} failed: {problem}.")
    return answer


async def api(stack: Stack, method: str, path: str, body: Any = None) -> Any:
    """Call the simulated Discord's REST API as the bot, waiting when it says so."""
    headers = {"Authorization": f"Bot {stack.discord['bot_token']}"}
    while True:
        url = f"{stack.discord['api_url']}/{path}"
        async with stack.session.request(method, url, json=body, headers=headers) as answer:
            found = json.loads(await answer.text() or "null")
            if answer.status == 429:
                await asyncio.sleep(found["retry_after"])
                continue
            if answer.status >= 400:
                raise StartError(f"{method} {path}: {answer.status} {found}")
            return found


async def _read(stack: Stack, guild_id: str) -> SimulatedGuild:
    guild = await api(stack, "GET", f"guilds/{guild_id}")
    channels = await api(stack, "GET", f"guilds/{guild_id}/channels")
    members = await api(stack, "GET", f"guilds/{guild_id}/members?limit=1000")
    role = next(each["id"] for each in guild["roles"] if each["name"] == "Moderator")
    people = [member for member in members if not member["user"].get("bot")]
    others = [member for member in people if member["user"]["id"] != guild["owner_id"]]
    return SimulatedGuild(
        guild_id=guild_id,
        name=guild["name"],
        owner_id=guild["owner_id"],
        moderator_id=next(member["user"]["id"] for member in others if role in member["roles"]),
        member_ids=tuple(member["user"]["id"] for member in others if role not in member["roles"]),
        moderator_role_id=role,
        general_id=next(each["id"] for each in channels if each["name"] == "general"),
        mod_log_id=next(each["id"] for each in channels if each["name"] == "mod-log"),
    )


async def _commands_registered(stack: Stack) -> None:
    deadline = time.monotonic() + _COMMANDS_WITHIN
    path = f"applications/{stack.discord['application_id']}/commands"
    while not await api(stack, "GET", path):
        if time.monotonic() > deadline:
            raise StartError("modbot's commands were not registered; the gateway pods' logs say why.")
        await asyncio.sleep(0.1)
