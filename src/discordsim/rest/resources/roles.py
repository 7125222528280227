"""Roles of a guild."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from discordsim.rest import forms
from discordsim.rest.calls import Call
from discordsim.rest.forms import Bits, Id
from discordsim.rest.resources.guilds import seen
from discordsim.rest.routing import Answer, Route
from discordsim.world import access, roles
from discordsim.world.permissions import Permission


class Colors(msgspec.Struct):
    """A role's colours; only the first one is kept."""

    primary_color: Annotated[int, Meta(ge=0, le=0xFFFFFF)] | None = None


class RoleFields(msgspec.Struct):
    """The body of Create and Modify Guild Role."""

    name: Annotated[str, Meta(max_length=100)] | UnsetType | None = UNSET
    permissions: Bits | UnsetType | None = UNSET
    color: Annotated[int, Meta(ge=0, le=16777215)] | UnsetType | None = UNSET
    colors: Colors | UnsetType | None = UNSET
    hoist: bool | UnsetType | None = UNSET
    mentionable: bool | UnsetType | None = UNSET


class Position(msgspec.Struct):
    """Where a role goes."""

    id: Id
    position: Annotated[int, Meta(ge=0, le=250)] | None = None


class Positions(msgspec.Struct):
    """The list of Modify Guild Role Positions."""

    items: list[Position]


def listed(call: Call) -> Answer:
    """List the roles."""
    return [one.payload() for one in seen(call).roles.values()]


def get(call: Call) -> Answer:
    """Return one role."""
    return call.world.role(seen(call).id, call.id("role_id")).payload()


def _fields(call: Call) -> dict[str, object]:
    fields = forms.sent(call.form(RoleFields))
    colors = fields.pop("colors", None)
    if colors and colors["primary_color"] is not None:
        fields["color"] = colors["primary_color"]
    return {key: value for key, value in fields.items() if value is not None}


def create(call: Call) -> Answer:
    """Make a role."""
    made = roles.create(call.world, seen(call).id, _fields(call), actor_id=call.actor_id, reason=call.reason)
    return made.payload()


def edit(call: Call) -> Answer:
    """Change a role."""
    where = seen(call).id, call.id("role_id")
    return roles.edit(call.world, *where, _fields(call), actor_id=call.actor_id, reason=call.reason).payload()


def move(call: Call) -> Answer:
    """Change positions of several roles: all of them or none."""
    guild, wanted = seen(call), forms.parse({"items": call.body}, Positions).items
    access.require_in_guild(call.world, call.actor_id, guild, Permission.MANAGE_ROLES)
    for one in wanted:
        access.require_above_role(guild, call.actor_id, call.world.role(guild.id, int(one.id)))
    for one in wanted:
        if one.position is not None:
            fields = {"position": one.position}
            roles.edit(call.world, guild.id, int(one.id), fields, actor_id=call.actor_id, reason=call.reason)
    return [one.payload() for one in guild.roles.values()]


def delete(call: Call) -> Answer:
    """Delete a role."""
    where = seen(call).id, call.id("role_id")
    roles.delete(call.world, *where, actor_id=call.actor_id, reason=call.reason)
    return None


_ALL = "/guilds/{guild_id}/roles"
ROUTES = (
    Route("GET", _ALL, listed),
    Route("POST", _ALL, create),
    Route("PATCH", _ALL, move),
    Route("GET", f"{_ALL}/{{role_id}}", get),
    Route("PATCH", f"{_ALL}/{{role_id}}", edit),
    Route("DELETE", f"{_ALL}/{{role_id}}", delete),
)
