"""Permissions: what a member may do in a channel, and who may act on whom. Discord's documented algorithm, without I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntFlag

from modbot.domain.ids import GuildId, RoleId, UserId


class Permission(IntFlag):
    """The permission bits modbot talks about."""

    KICK_MEMBERS = 1 << 1
    BAN_MEMBERS = 1 << 2
    ADMINISTRATOR = 1 << 3
    MANAGE_CHANNELS = 1 << 4
    MANAGE_GUILD = 1 << 5
    VIEW_AUDIT_LOG = 1 << 7
    VIEW_CHANNEL = 1 << 10
    SEND_MESSAGES = 1 << 11
    MANAGE_MESSAGES = 1 << 13
    EMBED_LINKS = 1 << 14
    ATTACH_FILES = 1 << 15
    READ_MESSAGE_HISTORY = 1 << 16
    MENTION_EVERYONE = 1 << 17
    MANAGE_ROLES = 1 << 28
    MANAGE_THREADS = 1 << 34
    CREATE_PUBLIC_THREADS = 1 << 35
    CREATE_PRIVATE_THREADS = 1 << 36
    SEND_MESSAGES_IN_THREADS = 1 << 38
    MODERATE_MEMBERS = 1 << 40


NAMES: Mapping[Permission, str] = {
    Permission.KICK_MEMBERS: "Kick Members",
    Permission.BAN_MEMBERS: "Ban Members",
    Permission.MANAGE_CHANNELS: "Manage Channels",
    Permission.VIEW_AUDIT_LOG: "View Audit Log",
    Permission.VIEW_CHANNEL: "View Channel",
    Permission.SEND_MESSAGES: "Send Messages",
    Permission.MANAGE_MESSAGES: "Manage Messages",
    Permission.EMBED_LINKS: "Embed Links",
    Permission.ATTACH_FILES: "Attach Files",
    Permission.READ_MESSAGE_HISTORY: "Read Message History",
    Permission.MANAGE_ROLES: "Manage Roles",
    Permission.MANAGE_THREADS: "Manage Threads",
    Permission.CREATE_PUBLIC_THREADS: "Create Public Threads",
    Permission.SEND_MESSAGES_IN_THREADS: "Send Messages in Threads",
    Permission.MODERATE_MEMBERS: "Timeout Members",
}
ALL = (1 << 53) - 1


@dataclass(frozen=True, slots=True)
class RoleFacts:
    """What permissions need to know of a role."""

    role_id: RoleId
    position: int
    permissions: int


@dataclass(frozen=True, slots=True)
class OverwriteFacts:
    """A channel's exception for a role or a member."""

    target_id: int
    is_member: bool
    allow: int
    deny: int


def base_permissions(
    guild_id: GuildId, owner_id: UserId, user_id: UserId, held: Iterable[RoleId], roles: Mapping[RoleId, RoleFacts]
) -> int:
    """Return a member's permissions in the guild as a whole."""
    if user_id == owner_id:
        return ALL
    bits = 0
    for role_id in (RoleId(guild_id), *held):
        role = roles.get(role_id)
        bits |= role.permissions if role else 0
    return ALL if bits & Permission.ADMINISTRATOR else bits


def channel_permissions(
    base: int, guild_id: GuildId, user_id: UserId, held: Iterable[RoleId], overwrites: Iterable[OverwriteFacts]
) -> int:
    """Apply a channel's overwrites: @everyone, then all roles together, then the member."""
    if base & Permission.ADMINISTRATOR:
        return ALL
    facts, roles = list(overwrites), set(held)
    everyone = [each for each in facts if not each.is_member and each.target_id == guild_id]
    of_roles = [each for each in facts if not each.is_member and each.target_id in roles]
    own = [each for each in facts if each.is_member and each.target_id == user_id]
    bits = base
    for group in (everyone, of_roles, own):
        for each in group:
            bits &= ~each.deny
        for each in group:
            bits |= each.allow
    return bits


def missing(bits: int, wanted: Iterable[Permission]) -> list[str]:
    """Name the wanted permissions that are not there, in the words of Discord's settings."""
    return [NAMES.get(each, each.name or str(each.value)) for each in wanted if not bits & each]


def highest(held: Iterable[RoleId], roles: Mapping[RoleId, RoleFacts]) -> int:
    """Return the position of a member's highest role; 0 is @everyone."""
    return max((roles[role_id].position for role_id in held if role_id in roles), default=0)


@dataclass(frozen=True, slots=True)
class Standing:
    """A member's place in the hierarchy. Somebody who is not in the guild has no roles."""

    user_id: UserId
    roles: tuple[RoleId, ...]


def objection(
    *, actor: Standing, target: Standing, bot: Standing, owner_id: UserId, roles: Mapping[RoleId, RoleFacts]
) -> str | None:
    """Say why the actor may not act on the target, or None when they may (nobody acts at or above their own highest role)."""
    if target.user_id == actor.user_id:
        return "You cannot do this to yourself."
    if target.user_id == bot.user_id:
        return "I do not act on myself."
    if target.user_id == owner_id:
        return "The server's owner is out of reach."
    level = highest(target.roles, roles)
    if actor.user_id != owner_id and level >= highest(actor.roles, roles):
        return "Their highest role is not below yours."
    if level >= highest(bot.roles, roles):
        return "Their highest role is not below mine. Move my role up in the server settings."
    return None
