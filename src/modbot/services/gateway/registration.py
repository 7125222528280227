"""Registering the commands with Discord: from one pod, and only when they differ from what is registered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from modbot.discord import routes
from modbot.domain.errors import ModbotError
from modbot.domain.permissions import Permission
from modbot.services.gateway.surroundings import Surroundings
from modbot.shard.feature import Access, Command, CommandKind, Option

_log = structlog.get_logger()
_LOOK_EVERY = 1.0
_TRY_AGAIN = 5.0
_GUILD_ONLY = [0]
# Discord's own gate, the first of two: the second is checked at every use.
_DEFAULT_PERMISSIONS = {
    Access.EVERYONE: None,
    Access.MODERATOR: str(int(Permission.MANAGE_MESSAGES)),
    Access.ADMINISTRATOR: str(int(Permission.MANAGE_GUILD)),
}


def payload(command: Command) -> dict[str, Any]:
    """Return a command as Discord's API takes it."""
    body: dict[str, Any] = {
        "name": command.name,
        "type": int(command.kind),
        "contexts": _GUILD_ONLY,
        "integration_types": [0],
        "default_member_permissions": _DEFAULT_PERMISSIONS[command.access],
    }
    if command.kind is CommandKind.SLASH:
        body["description"] = command.description
        body["options"] = [_option(option) for option in command.options]
    return body


def _option(option: Option) -> dict[str, Any]:
    body: dict[str, Any] = {
        "name": option.name,
        "description": option.description,
        "type": int(option.kind),
        "required": option.required,
    }
    if option.choices:
        body["choices"] = [{"name": label, "value": value} for value, label in option.choices]
    return body


def differ(wanted: list[dict[str, Any]], registered: list[dict[str, Any]]) -> bool:
    """Tell whether Discord has other commands than we want; fields that Discord adds do not count."""
    by_name = {(each["type"], each["name"]): each for each in registered}
    if by_name.keys() != {(each["type"], each["name"]) for each in wanted}:
        return True
    return any(_differs(each, by_name[each["type"], each["name"]]) for each in wanted)


async def register_commands(surroundings: Surroundings, is_registrar: Callable[[], bool]) -> None:
    """Wait until this pod is the one that registers, then bring Discord's list to ours, once."""
    wanted = [payload(command) for command in surroundings.tools.registry.commands.values()]
    while True:
        if is_registrar():
            try:
                await _bring_up_to_date(surroundings, wanted)
            except ModbotError as error:
                _log.warning("commands_not_registered", code=error.code, error=str(error))
                await asyncio.sleep(_TRY_AGAIN)
                continue
            await asyncio.Event().wait()
        await asyncio.sleep(_LOOK_EVERY)


async def _bring_up_to_date(surroundings: Surroundings, wanted: list[dict[str, Any]]) -> None:
    tools = surroundings.tools
    answer = await tools.rest.request(routes.get_global_commands(tools.application_id))
    registered = msgspec.json.decode(answer.body, type=list[dict[str, Any]])
    if differ(wanted, registered):
        await tools.rest.request(routes.set_global_commands(tools.application_id), json=wanted)
        _log.info("commands_registered", count=len(wanted))


def _differs(wanted: dict[str, Any], registered: dict[str, Any]) -> bool:
    for name, value in wanted.items():
        known = registered.get(name)
        if name == "options":
            if _options(value) != _options(known or []):
                return True
        elif known != value:
            return True
    return False


def _options(options: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [
        (
            each["name"],
            each["description"],
            each["type"],
            each.get("required", False),
            [(choice["name"], choice["value"]) for choice in each.get("choices", [])],
        )
        for each in options
    ]
