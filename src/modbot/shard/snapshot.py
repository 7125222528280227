"""The guild snapshot: names, roles, channels and our own roles of every guild of the shard, kept in the shard file.

A RESUME brings no GUILD_CREATE, so what modbot knows of a guild must survive the process. It is kept by the same offset rule as
everything else: the handlers below are ordinary event handlers of the engine's own feature. Threads are not part of it (they come and
go by the thousand); members are not either.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from modbot.discord.events import Guild, MemberUpdated, RoleChanged, RoleDeleted, UnavailableGuild
from modbot.discord.objects import Channel, Overwrite, Role
from modbot.domain import permissions
from modbot.domain.ids import ChannelId, GuildId, RoleId, UserId
from modbot.domain.permissions import OverwriteFacts, Permission, RoleFacts, Standing
from modbot.ops import statements
from modbot.shard.feature import Feature
from modbot.shard.transaction import Transaction

_SQL = statements.load("modbot.shard", "snapshot.sql")
feature = Feature("snapshot")
_UNKNOWN_OWNER = UserId(0)
TABLES = frozenset({"guilds", "roles", "channels"})
"""What Discord says of a guild. Where it is known already, an imported archive does not replace it by what Discord said once."""


@feature.on("GUILD_CREATE")
def take_guild(tx: Transaction, guild: Guild) -> None:
    """Replace what is known of a guild by what Discord says now."""
    if guild.unavailable:
        return
    bot_id = bot_user(tx)
    own = next((member.roles for member in guild.members if member.user and member.user.id == bot_id), ())
    tx.execute(_SQL["put_guild"], (guild.id, guild.name, guild.owner_id or _UNKNOWN_OWNER, _encode_ids(own), tx.now_ms))
    tx.execute(_SQL["drop_roles"], (guild.id,))
    tx.execute(_SQL["drop_channels"], (guild.id,))
    for role in guild.roles:
        _put_role(tx, guild.id, role)
    for channel in guild.channels:
        _put_channel(tx, guild.id, channel)


@feature.on("GUILD_UPDATE")
def update_guild(tx: Transaction, guild: Guild) -> None:
    """Follow a guild's name, owner and roles."""
    tx.execute(_SQL["rename_guild"], (guild.name, guild.owner_id or _UNKNOWN_OWNER, guild.id))


@feature.on("GUILD_DELETE")
def leave_guild(tx: Transaction, guild: UnavailableGuild) -> None:
    """Mark a guild that the bot was removed from; an outage changes nothing."""
    if not guild.unavailable:
        tx.execute(_SQL["leave_guild"], (tx.now_ms, guild.id))


@feature.on("GUILD_ROLE_CREATE")
def add_role(tx: Transaction, event: RoleChanged) -> None:
    """Keep a new role."""
    _put_role(tx, event.guild_id, event.role)


@feature.on("GUILD_ROLE_UPDATE")
def change_role(tx: Transaction, event: RoleChanged) -> None:
    """Keep a changed role."""
    _put_role(tx, event.guild_id, event.role)


@feature.on("GUILD_ROLE_DELETE")
def drop_role(tx: Transaction, event: RoleDeleted) -> None:
    """Forget a role."""
    tx.execute(_SQL["drop_role"], (event.guild_id, event.role_id))


@feature.on("CHANNEL_CREATE")
def add_channel(tx: Transaction, channel: Channel) -> None:
    """Keep a new channel."""
    _put_channel(tx, channel.guild_id, channel)


@feature.on("CHANNEL_UPDATE")
def change_channel(tx: Transaction, channel: Channel) -> None:
    """Keep a changed channel."""
    _put_channel(tx, channel.guild_id, channel)


@feature.on("CHANNEL_DELETE")
def drop_channel(tx: Transaction, channel: Channel) -> None:
    """Forget a channel."""
    tx.execute(_SQL["drop_channel"], (channel.guild_id or 0, channel.id))


@feature.on("GUILD_MEMBER_UPDATE")
def follow_own_roles(tx: Transaction, member: MemberUpdated) -> None:
    """Follow our own roles in the guild."""
    if member.user is not None and member.user.id == bot_user(tx):
        tx.execute(_SQL["set_own_roles"], (_encode_ids(member.roles), member.guild_id))


def mark_absent(tx: Transaction, present: Iterable[GuildId]) -> None:
    """A new session began: guilds that READY does not list have been left meanwhile."""
    listed = msgspec.json.encode(list(present)).decode()
    tx.execute(_SQL["leave_unlisted"], (tx.now_ms, listed))


def bot_user(tx: Transaction) -> UserId:
    """Return our own user id."""
    return UserId(tx.value(_SQL["bot_user"]) or 0)


def owner_of(tx: Transaction) -> UserId:
    """Return the owner of the current guild."""
    return UserId(tx.value(_SQL["owner"], (tx.guild_id,)) or 0)


def roles_of(tx: Transaction) -> dict[RoleId, RoleFacts]:
    """Return the roles of the current guild."""
    rows = tx.all(_SQL["roles"], (tx.guild_id,))
    return {RoleId(row[0]): RoleFacts(RoleId(row[0]), row[1], row[2]) for row in rows}


def own_standing(tx: Transaction) -> Standing:
    """Return our own place in the hierarchy of the current guild."""
    held = tx.value(_SQL["own_roles"], (tx.guild_id,)) or "[]"
    return Standing(bot_user(tx), tuple(msgspec.json.decode(held, type=list[RoleId])))


def own_permissions(tx: Transaction, channel_id: ChannelId) -> int | None:
    """Return what we may do in a channel of the current guild, or None when there is no such channel."""
    row = tx.one(_SQL["overwrites"], (tx.guild_id, channel_id))
    if row is None:
        return None
    own, base = own_standing(tx), own_guild_permissions(tx)
    return permissions.channel_permissions(base, tx.guild_id, own.user_id, own.roles, _overwrites(row[0]))


def own_guild_permissions(tx: Transaction) -> int:
    """Return what we may do in the current guild as a whole."""
    own = own_standing(tx)
    return permissions.base_permissions(tx.guild_id, owner_of(tx), own.user_id, own.roles, roles_of(tx))


def everybody_sees(tx: Transaction, channel_id: ChannelId) -> bool:
    """Tell whether a member without any role sees a channel of the current guild."""
    row = tx.one(_SQL["overwrites"], (tx.guild_id, channel_id))
    everyone = roles_of(tx).get(RoleId(tx.guild_id))
    if row is None or everyone is None:
        return False
    bits = permissions.channel_permissions(everyone.permissions, tx.guild_id, UserId(0), (), _overwrites(row[0]))
    return bool(bits & Permission.VIEW_CHANNEL)


def channel_kind(tx: Transaction, channel_id: ChannelId) -> int | None:
    """Return a channel's type (Discord's number), or None when the guild has no such channel."""
    kind = tx.value(_SQL["channel_kind"], (tx.guild_id, channel_id))
    return None if kind is None else int(kind)


def _overwrites(encoded: str) -> list[OverwriteFacts]:
    overwrites = msgspec.json.decode(encoded, type=list[Overwrite])
    return [OverwriteFacts(each.id, each.type == 1, each.allow, each.deny) for each in overwrites]


def _put_role(tx: Transaction, guild_id: GuildId, role: Role) -> None:
    tx.execute(_SQL["put_role"], (guild_id, role.id, role.name, role.position, role.permissions, int(role.managed)))


def _put_channel(tx: Transaction, guild_id: GuildId | None, channel: Channel) -> None:
    if guild_id is None:
        return
    overwrites = msgspec.json.encode(channel.permission_overwrites).decode()
    tx.execute(
        _SQL["put_channel"], (guild_id, channel.id, channel.parent_id, channel.type, channel.name or "", overwrites)
    )


def _encode_ids(ids: Iterable[RoleId]) -> str:
    return msgspec.json.encode(list(ids)).decode()
