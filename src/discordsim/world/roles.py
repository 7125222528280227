"""Roles of a guild: create, change, move, delete. Giving and taking them is in `members`."""

from collections.abc import Mapping
from typing import Any

from discordsim.world import access, auditing, errors
from discordsim.world.events import Dispatch, Intent
from discordsim.world.model.guilds import Guild, Role
from discordsim.world.model.logs import AuditAction
from discordsim.world.permissions import Permission
from discordsim.world.world import World

MAX_ROLES = 250
_FIELDS = frozenset({"name", "permissions", "color", "hoist", "mentionable", "position"})


def create(
    world: World, guild_id: int, fields: Mapping[str, Any], *, actor_id: int | None = None, reason: str | None = None
) -> Role:
    """Create a role just above @everyone. Errors: 10004, 50001, 50013 (MANAGE_ROLES, own permissions only), 30005."""
    guild = world.guild(guild_id)
    access.require_in_guild(world, actor_id, guild, Permission.MANAGE_ROLES)
    if len(guild.roles) >= MAX_ROLES:
        raise errors.named(30005)
    bits = int(fields.get("permissions", guild.roles[guild_id].permissions) or 0)
    access.require_may_grant(world, guild, actor_id, int(fields.get("permissions") or 0))
    role = Role(world.new_id(), "new role", bits, position=1)
    _assign(role, {**fields, "permissions": bits})
    for other in guild.roles.values():
        other.position += other.id != guild_id and other.position >= role.position
    guild.roles[role.id] = role
    _announce(world, guild, role, "GUILD_ROLE_CREATE")
    changes = auditing.differences({}, role.payload())
    auditing.record(
        world, guild, AuditAction.ROLE_CREATE, actor_id=actor_id, target_id=role.id, changes=changes, reason=reason
    )
    return role


def edit(
    world: World,
    guild_id: int,
    role_id: int,
    fields: Mapping[str, Any],
    *,
    actor_id: int | None = None,
    reason: str | None = None,
) -> Role:
    """Change a role. Errors: 10004, 10011, 50001, 50013 (MANAGE_ROLES, rank, own permissions only)."""
    guild, role = world.guild(guild_id), world.role(guild_id, role_id)
    access.require_in_guild(world, actor_id, guild, Permission.MANAGE_ROLES)
    access.require_above_role(guild, actor_id, role)
    if fields.get("permissions") is not None:
        access.require_may_grant(world, guild, actor_id, int(fields["permissions"]) & ~role.permissions)
    before = role.payload()
    _assign(role, fields)
    _announce(world, guild, role, "GUILD_ROLE_UPDATE")
    changes = auditing.differences(before, role.payload())
    auditing.record(
        world, guild, AuditAction.ROLE_UPDATE, actor_id=actor_id, target_id=role.id, changes=changes, reason=reason
    )
    return role


def delete(
    world: World, guild_id: int, role_id: int, *, actor_id: int | None = None, reason: str | None = None
) -> None:
    """Delete a role and take it from all members and channels. Errors: 10004, 10011, 50001, 50013, 50028 (@everyone, managed)."""
    guild, role = world.guild(guild_id), world.role(guild_id, role_id)
    access.require_in_guild(world, actor_id, guild, Permission.MANAGE_ROLES)
    access.require_above_role(guild, actor_id, role)
    if role_id == guild_id or role.managed:
        raise errors.named(50028)
    for member in guild.members.values():
        if role_id in member.roles:
            member.roles.remove(role_id)
    for channel in guild.channels.values():
        channel.overwrites.pop(role_id, None)
    del guild.roles[role_id]
    data = {"guild_id": str(guild_id), "role_id": str(role_id)}
    world.emit(Dispatch(guild_id, "GUILD_ROLE_DELETE", data, intents=Intent.GUILDS))
    changes = auditing.differences(role.payload(), {})
    auditing.record(
        world, guild, AuditAction.ROLE_DELETE, actor_id=actor_id, target_id=role_id, changes=changes, reason=reason
    )


def _assign(role: Role, fields: Mapping[str, Any]) -> None:
    for key in _FIELDS & fields.keys():
        value = fields[key]
        if value is not None:
            setattr(role, key, int(value) if key in {"permissions", "color", "position"} else value)


def _announce(world: World, guild: Guild, role: Role, name: str) -> None:
    data = {"guild_id": str(guild.id), "role": role.payload()}
    world.emit(Dispatch(guild.id, name, data, intents=Intent.GUILDS))
