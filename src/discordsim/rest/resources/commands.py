"""Application commands, global and of a guild: list, create, overwrite all, get, edit, delete."""

from typing import Annotated

import msgspec
from msgspec import Meta

from discordsim.rest import command_forms, forms
from discordsim.rest.calls import Call, snowflake
from discordsim.rest.command_forms import CHAT_INPUT, MESSAGE, USER, CommandFields, NewCommand
from discordsim.rest.limited import require_command_creates
from discordsim.rest.resources.guilds import seen
from discordsim.rest.routing import Answer, Reply, Route
from discordsim.world import errors
from discordsim.world.payloads import Json

LIMITS = {CHAT_INPUT: 100, USER: 15, MESSAGE: 15}
_LISTED_ONLY_ON_DEMAND = ("name_localizations", "description_localizations")


class Overwrite(msgspec.Struct):
    """The list of Bulk Overwrite Application Commands."""

    items: Annotated[list[NewCommand], Meta(max_length=130)]


def _place(call: Call) -> tuple[int | None, dict[int, Json]]:
    """Return the guild of the path (None: global) and the commands there. Errors: 10004, 20012 (another application), 50001."""
    if call.id("application_id") != call.application.id:
        raise errors.DiscordError(403, 20012, "You are not authorized to perform this action on this application")
    if "guild_id" not in call.request.match_info:
        return None, call.application.global_commands
    guild = seen(call)
    return guild.id, call.application.guild_commands.setdefault(guild.id, {})


def _found(call: Call) -> tuple[dict[int, Json], Json]:
    _, kept = _place(call)
    command = kept.get(call.id("command_id"))
    if command is None:
        raise errors.named(10063)
    return kept, command


def listed(call: Call) -> Answer:
    """List the commands; localizations only with `with_localizations`."""
    _, kept = _place(call)
    hidden = () if call.query_flag("with_localizations") else _LISTED_ONLY_ON_DEMAND
    return [{key: value for key, value in one.items() if key not in hidden} for one in kept.values()]


def get(call: Call) -> Answer:
    """Return one command."""
    return _found(call)[1]


def create(call: Call) -> Answer:
    """Make a command; one of the same name and type is replaced and keeps its id."""
    guild_id, kept = _place(call)
    wanted = call.form(NewCommand)
    same = _same(kept, wanted)
    command = _made(call, guild_id, wanted, same["id"] if same else None)
    command_forms.check(command)
    _require_room([one for one in kept.values() if one is not same], command)
    if same is None:
        require_command_creates(call, guild_id, 1)
    kept[int(command["id"])] = command
    return Reply(command, 200 if same else 201)


def overwrite(call: Call) -> Answer:
    """Replace all commands; those that keep their name and type keep their id."""
    guild_id, kept = _place(call)
    wanted = forms.parse({"items": call.body}, Overwrite).items
    found: list[Json] = []
    for index, one in enumerate(wanted):
        same = kept.get(snowflake(str(one.id), f"{index}.id")) if one.id else _same(kept, one)
        command = _made(call, guild_id, one, same["id"] if same else None)
        command_forms.check(command, str(index))
        if any(_key(other) == _key(command) for other in found):
            text = "Application command names must be unique"
            raise errors.invalid(f"{index}.name", "APPLICATION_COMMANDS_DUPLICATE_NAME", text)
        _require_room(found, command)
        found.append(command)
    require_command_creates(call, guild_id, sum(int(one["id"]) not in kept for one in found))
    kept.clear()
    kept.update({int(one["id"]): one for one in found})
    return found


def edit(call: Call) -> Answer:
    """Change a command."""
    kept, command = _found(call)
    fields = forms.sent(call.form(CommandFields))
    changed = command | _normal(fields) | {"version": str(call.world.new_id())}
    command_forms.check(changed)
    if any(_key(one) == _key(changed) for one in kept.values() if one is not command):
        raise errors.invalid("name", "APPLICATION_COMMANDS_DUPLICATE_NAME", "Application command names must be unique")
    kept[int(changed["id"])] = changed
    return changed


def delete(call: Call) -> Answer:
    """Delete a command."""
    kept, command = _found(call)
    del kept[int(command["id"])]
    return None


def permissions(call: Call) -> Answer:
    """List the permissions of all commands in a guild: nobody set any."""
    _place(call)
    return []


def permission(call: Call) -> Answer:
    """Return the permissions of one command: nobody set any (10066)."""
    _place(call)
    raise errors.named(10066)


def _key(command: Json) -> tuple[int, str]:
    return command["type"], command["name"]


def _same(kept: dict[int, Json], wanted: NewCommand) -> Json | None:
    key = (wanted.type or CHAT_INPUT, wanted.name)
    return next((one for one in kept.values() if _key(one) == key), None)


def _made(call: Call, guild_id: int | None, wanted: NewCommand, command_id: str | None) -> Json:
    fields = forms.sent(wanted)
    kind = fields.pop("type") or CHAT_INPUT
    del fields["id"]
    command: Json = {
        "id": command_id or str(call.world.new_id()),
        "application_id": str(call.application.id),
        "version": str(call.world.new_id()),
        "default_member_permissions": None,
        "type": kind,
        "name_localizations": None,
        "description": "",
        "description_localizations": None,
        "nsfw": False,
    }
    if guild_id is None:
        command |= {"dm_permission": True, "contexts": None, "integration_types": [0]}
    else:
        command["guild_id"] = str(guild_id)
    return command | _normal(fields)


def _normal(fields: Json) -> Json:
    """Return sent fields as they are kept: bits as text, no nulls where Discord has a default."""
    bits = fields.get("default_member_permissions")
    normal = {key: value for key, value in fields.items() if value is not None or key in _NULLABLE}
    return normal | ({"default_member_permissions": str(bits)} if bits is not None else {})


_NULLABLE = frozenset({"default_member_permissions", "name_localizations", "description_localizations", "contexts"})


def _require_room(others: list[Json], command: Json) -> None:
    kind = command["type"]
    if sum(one["type"] == kind for one in others) >= LIMITS[kind]:
        text = f"Maximum number of application commands reached ({LIMITS[kind]})"
        raise errors.DiscordError(400, 30032, text)


_APPLICATION = "/applications/{application_id}"
ROUTES = tuple(
    Route(method, f"{place}{path}", handler)
    for place in (f"{_APPLICATION}/commands", f"{_APPLICATION}/guilds/{{guild_id}}/commands")
    for method, path, handler in (
        ("GET", "", listed),
        ("POST", "", create),
        ("PUT", "", overwrite),
        *((("GET", "/permissions", permissions),) if "guild_id" in place else ()),
        ("GET", "/{command_id}", get),
        ("PATCH", "/{command_id}", edit),
        ("DELETE", "/{command_id}", delete),
        *((("GET", "/{command_id}/permissions", permission),) if "guild_id" in place else ()),
    )
)
