"""Members: look up, change (nickname, roles, timeout), kick, roles one by one."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from discordsim.rest import forms
from discordsim.rest.calls import Call
from discordsim.rest.forms import Id
from discordsim.rest.resources.guilds import seen
from discordsim.rest.routing import Answer, Route
from discordsim.world import access, errors, members
from discordsim.world.model.users import FLAG_MEMBERS
from discordsim.world.permissions import Permission

MAX_LISTED = 1000
_NEEDED = {
    "nick": Permission.MANAGE_NICKNAMES,
    "roles": Permission.MANAGE_ROLES,
    "communication_disabled_until": Permission.MODERATE_MEMBERS,
}


class MemberFields(msgspec.Struct):
    """The body of Modify Guild Member; voice fields are refused, because nobody is in voice here."""

    nick: Annotated[str, Meta(max_length=32)] | UnsetType | None = UNSET
    roles: Annotated[list[Id], Meta(max_length=250)] | UnsetType | None = UNSET
    communication_disabled_until: str | UnsetType | None = UNSET
    mute: bool | UnsetType | None = UNSET
    deaf: bool | UnsetType | None = UNSET
    channel_id: Id | UnsetType | None = UNSET


class OwnFields(msgspec.Struct):
    """The body of Modify Current Member."""

    nick: Annotated[str, Meta(max_length=32)] | UnsetType | None = UNSET


def get(call: Call) -> Answer:
    """Return a member."""
    guild = seen(call)
    return call.world.member(guild.id, call.id("user_id")).payload()


def listed(call: Call) -> Answer:
    """List members by id; needs the GUILD_MEMBERS intent."""
    guild = seen(call)
    if not call.application.flags & FLAG_MEMBERS:
        raise errors.missing_access()
    limit, after = call.query_number("limit", 1, low=1, high=MAX_LISTED), call.query_id("after") or 0
    ids = sorted(one for one in guild.members if one > after)
    return [guild.members[one].payload() for one in ids[:limit]]


def search(call: Call) -> Answer:
    """List members whose user name or nickname starts with the query."""
    guild, wanted = seen(call), call.request.query.get("query", "").lower()
    if not wanted:
        raise errors.invalid("query", "BASE_TYPE_REQUIRED", "This field is required")
    limit = call.query_number("limit", 1, low=1, high=MAX_LISTED)
    found = [
        one
        for one in guild.members.values()
        if any(name and name.lower().startswith(wanted) for name in (one.user.username, one.user.global_name, one.nick))
    ]
    return [one.payload() for one in found[:limit]]


def edit(call: Call) -> Answer:
    """Change nickname, roles and timeout: all of them or, when one is not allowed, none."""
    guild, user_id, wanted = seen(call), call.id("user_id"), call.form(MemberFields)
    member = call.world.member(guild.id, user_id)
    if any(value is not UNSET for value in (wanted.mute, wanted.deaf, wanted.channel_id)):
        raise errors.DiscordError(400, 40032, "Target user is not connected to voice.")
    _require_all(call, wanted, user_id)
    world, actor, reason = call.world, call.actor_id, call.reason
    if wanted.communication_disabled_until is not UNSET:
        until = forms.moment(wanted.communication_disabled_until, "communication_disabled_until")
        members.time_out(world, guild.id, user_id, until, actor_id=actor, reason=reason)
    if wanted.roles is not UNSET:
        members.set_roles(world, guild.id, user_id, forms.numbers(wanted.roles), actor_id=actor, reason=reason)
    if wanted.nick is not UNSET:
        members.rename(world, guild.id, user_id, wanted.nick, actor_id=actor, reason=reason)
    return member.payload()


def _require_all(call: Call, wanted: MemberFields, user_id: int) -> None:
    guild = seen(call)
    for name, needed in _NEEDED.items():
        own_name = name == "nick" and user_id == call.actor_id
        if getattr(wanted, name) is not UNSET and not own_name:
            access.require_in_guild(call.world, call.actor_id, guild, needed)
    member = call.world.member(guild.id, user_id)
    if wanted.communication_disabled_until is not UNSET or (wanted.nick is not UNSET and user_id != call.actor_id):
        access.require_rank(guild, call.actor_id, member)
    if wanted.roles is not UNSET:
        for role_id in set(forms.numbers(wanted.roles)) ^ set(member.roles):
            role = call.world.role(guild.id, role_id)
            if role.managed or role_id == guild.id:
                raise errors.named(50028)
            access.require_above_role(guild, call.actor_id, role)


def edit_own(call: Call) -> Answer:
    """Change the bot's own nickname."""
    guild, wanted = seen(call), call.form(OwnFields)
    if wanted.nick is not UNSET:
        members.rename(call.world, guild.id, call.actor_id, wanted.nick, actor_id=call.actor_id, reason=call.reason)
    return call.world.member(guild.id, call.actor_id).payload()


def kick(call: Call) -> Answer:
    """Remove a member."""
    members.kick(call.world, call.id("guild_id"), call.id("user_id"), actor_id=call.actor_id, reason=call.reason)
    return None


def add_role(call: Call) -> Answer:
    """Give a role."""
    where = call.id("guild_id"), call.id("user_id"), call.id("role_id")
    members.add_role(call.world, *where, actor_id=call.actor_id, reason=call.reason)
    return None


def remove_role(call: Call) -> Answer:
    """Take a role."""
    where = call.id("guild_id"), call.id("user_id"), call.id("role_id")
    members.remove_role(call.world, *where, actor_id=call.actor_id, reason=call.reason)
    return None


_ALL = "/guilds/{guild_id}/members"
_ONE = f"{_ALL}/{{user_id}}"
ROUTES = (
    Route("GET", _ALL, listed),
    Route("GET", f"{_ALL}/search", search),
    Route("PATCH", f"{_ALL}/@me", edit_own),
    Route("GET", _ONE, get),
    Route("PATCH", _ONE, edit),
    Route("DELETE", _ONE, kick),
    Route("PUT", f"{_ONE}/roles/{{role_id}}", add_role),
    Route("DELETE", f"{_ONE}/roles/{{role_id}}", remove_role),
)
