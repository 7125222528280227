"""Members: joining, leaving, kick, ban, timeout, nickname, roles.

Every act checks permission and rank of its actor, tells the listeners and writes the audit log. Bots hear of their own arrival and
departure as GUILD_CREATE and GUILD_DELETE (see `guilds`).
"""

from collections.abc import Iterable

from discordsim.world import access, auditing, deleting, errors
from discordsim.world.events import Dispatch, Intent
from discordsim.world.model.guilds import Ban, Guild, Member
from discordsim.world.model.logs import AuditAction
from discordsim.world.payloads import Json, iso_or_none
from discordsim.world.permissions import Permission
from discordsim.world.world import World

MAX_TIMEOUT_SECONDS = 28 * 86_400.0
MAX_DELETE_SECONDS = 604_800
MAX_NICK = 32


def join(world: World, guild_id: int, user_id: int) -> Member:
    """Make a user a member; 40007 when banned. A second join changes nothing. Bots get GUILD_CREATE."""
    guild, user = world.guild(guild_id), world.user(user_id)
    if user_id in guild.bans:
        raise errors.named(40007)
    if user_id in guild.members:
        return guild.members[user_id]
    member = guild.members[user_id] = Member(user, world.now())
    if user.bot:
        world.emit(
            Dispatch(guild_id, "GUILD_CREATE", guild.create_payload(user_id), intents=Intent.GUILDS, user_id=user_id)
        )
    data = member.payload() | {"guild_id": str(guild_id)}
    world.emit(Dispatch(guild_id, "GUILD_MEMBER_ADD", data, intents=Intent.GUILD_MEMBERS))
    return member


def leave(world: World, guild_id: int, user_id: int) -> None:
    """Let a member go by itself. Errors: 10004, 10007; the owner cannot leave (50013)."""
    guild, member = world.guild(guild_id), world.member(guild_id, user_id)
    if user_id == guild.owner_id:
        raise errors.missing_permissions()
    _depart(world, guild, member)


def kick(world: World, guild_id: int, user_id: int, *, actor_id: int | None = None, reason: str | None = None) -> None:
    """Remove a member. Errors: 10004, 10007, 50001, 50013 (KICK_MEMBERS, rank)."""
    guild, member = world.guild(guild_id), world.member(guild_id, user_id)
    _require_over(world, guild, member, Permission.KICK_MEMBERS, actor_id)
    _depart(world, guild, member)
    auditing.record(world, guild, AuditAction.MEMBER_KICK, actor_id=actor_id, target_id=user_id, reason=reason)


def ban(
    world: World,
    guild_id: int,
    user_id: int,
    *,
    actor_id: int | None = None,
    reason: str | None = None,
    delete_message_seconds: int = 0,
) -> None:
    """Ban a user, member or not; repeating changes nothing. Errors: 10004, 10013, 50001, 50013 (BAN_MEMBERS, rank), 50035."""
    guild, user = world.guild(guild_id), world.user(user_id)
    member = guild.members.get(user_id)
    _require_over(world, guild, member, Permission.BAN_MEMBERS, actor_id)
    if not 0 <= delete_message_seconds <= MAX_DELETE_SECONDS:
        text = f"int value should be between 0 and {MAX_DELETE_SECONDS}."
        raise errors.invalid("delete_message_seconds", "NUMBER_TYPE_MAX", text)
    if user_id in guild.bans:
        return
    guild.bans[user_id] = Ban(user, reason)
    _emit_ban(world, guild, "GUILD_BAN_ADD", user.payload())
    if member is not None:
        _depart(world, guild, member)
    if delete_message_seconds:
        deleting.delete_recent_of(world, guild, user_id, delete_message_seconds)
    auditing.record(world, guild, AuditAction.MEMBER_BAN_ADD, actor_id=actor_id, target_id=user_id, reason=reason)


def unban(world: World, guild_id: int, user_id: int, *, actor_id: int | None = None, reason: str | None = None) -> None:
    """Lift a ban. Errors: 10004, 10026, 50001, 50013."""
    guild = world.guild(guild_id)
    access.require_in_guild(world, actor_id, guild, Permission.BAN_MEMBERS)
    found = guild.bans.pop(user_id, None)
    if found is None:
        raise errors.unknown_ban()
    _emit_ban(world, guild, "GUILD_BAN_REMOVE", found.user.payload())
    auditing.record(world, guild, AuditAction.MEMBER_BAN_REMOVE, actor_id=actor_id, target_id=user_id, reason=reason)


def time_out(
    world: World,
    guild_id: int,
    user_id: int,
    until: float | None,
    *,
    actor_id: int | None = None,
    reason: str | None = None,
) -> Member:
    """Silence a member until a moment in unix seconds, at most 28 days ahead; None ends it.

    Errors: 10004, 10007, 50001, 50013 (MODERATE_MEMBERS, rank, administrators are immune), 50035.
    """
    guild, member = world.guild(guild_id), world.member(guild_id, user_id)
    _require_over(world, guild, member, Permission.MODERATE_MEMBERS, actor_id)
    immune = access.guild_permissions_of(world, user_id, guild) & Permission.ADMINISTRATOR
    if until is not None and actor_id is not None and immune:
        raise errors.missing_permissions()
    if until is not None and until > world.now() + MAX_TIMEOUT_SECONDS:
        text = "The communication disabled until date must be within 28 days."
        raise errors.invalid("communication_disabled_until", "BASE_TYPE_BAD_TIME", text)
    before = member.communication_disabled_until
    member.communication_disabled_until = until
    _updated(
        world,
        guild,
        member,
        "communication_disabled_until",
        old=iso_or_none(before),
        new=iso_or_none(until),
        actor_id=actor_id,
        reason=reason,
    )
    return member


def rename(
    world: World,
    guild_id: int,
    user_id: int,
    nick: str | None,
    *,
    actor_id: int | None = None,
    reason: str | None = None,
) -> Member:
    """Set or clear a nickname. Errors: 10004, 10007, 50001, 50013 (CHANGE_NICKNAME or MANAGE_NICKNAMES and rank), 50035."""
    guild, member = world.guild(guild_id), world.member(guild_id, user_id)
    if actor_id == user_id:
        access.require_in_guild(world, actor_id, guild, Permission.CHANGE_NICKNAME)
    else:
        _require_over(world, guild, member, Permission.MANAGE_NICKNAMES, actor_id)
    if nick is not None and len(nick) > MAX_NICK:
        raise errors.too_long("nick", MAX_NICK)
    before, member.nick = member.nick, nick or None
    _updated(world, guild, member, "nick", old=before, new=member.nick, actor_id=actor_id, reason=reason)
    return member


def add_role(
    world: World, guild_id: int, user_id: int, role_id: int, *, actor_id: int | None = None, reason: str | None = None
) -> None:
    """Give a role; repeating changes nothing. Errors: 10004, 10007, 10011, 50001, 50013 (MANAGE_ROLES, rank of the role)."""
    held = world.member(guild_id, user_id).roles
    set_roles(world, guild_id, user_id, dict.fromkeys([*held, role_id]), actor_id=actor_id, reason=reason)


def remove_role(
    world: World, guild_id: int, user_id: int, role_id: int, *, actor_id: int | None = None, reason: str | None = None
) -> None:
    """Take a role; repeating changes nothing. Errors as `add_role`."""
    world.role(guild_id, role_id)
    left = [one for one in world.member(guild_id, user_id).roles if one != role_id]
    set_roles(world, guild_id, user_id, left, actor_id=actor_id, reason=reason)


def set_roles(
    world: World,
    guild_id: int,
    user_id: int,
    role_ids: Iterable[int],
    *,
    actor_id: int | None = None,
    reason: str | None = None,
) -> Member:
    """Replace a member's roles; the actor must stand above every role that comes or goes. Errors as `add_role`."""
    guild, member = world.guild(guild_id), world.member(guild_id, user_id)
    access.require_in_guild(world, actor_id, guild, Permission.MANAGE_ROLES)
    wanted = list(dict.fromkeys(role_ids))
    added = [world.role(guild_id, one) for one in wanted if one not in member.roles]
    removed = [guild.roles[one] for one in member.roles if one not in wanted]
    for role in [*added, *removed]:
        if role.id == guild_id or (role.managed and actor_id is not None):
            raise errors.named(50028)
        access.require_above_role(guild, actor_id, role)
    if not added and not removed:
        return member
    member.roles = wanted
    announce_update(world, guild, member)
    sides = {"$add": added, "$remove": removed}
    changes: list[Json] = [
        {"key": key, "new_value": [{"id": str(role.id), "name": role.name} for role in roles]}
        for key, roles in sides.items()
        if roles
    ]
    action = AuditAction.MEMBER_ROLE_UPDATE
    auditing.record(world, guild, action, actor_id=actor_id, target_id=user_id, changes=changes, reason=reason)
    return member


def announce_update(world: World, guild: Guild, member: Member) -> None:
    """Emit GUILD_MEMBER_UPDATE; of itself a bot hears without any intent."""
    data = member.payload() | {"guild_id": str(guild.id)}
    intents = 0 if member.user.bot else Intent.GUILD_MEMBERS
    world.emit(Dispatch(guild.id, "GUILD_MEMBER_UPDATE", data, intents=intents))


def _require_over(world: World, guild: Guild, target: Member | None, needed: Permission, actor_id: int | None) -> None:
    access.require_in_guild(world, actor_id, guild, needed)
    access.require_rank(guild, actor_id, target)


def _depart(world: World, guild: Guild, member: Member) -> None:
    user = member.user
    data: Json = {"guild_id": str(guild.id), "user": user.payload()}
    world.emit(Dispatch(guild.id, "GUILD_MEMBER_REMOVE", data, intents=Intent.GUILD_MEMBERS))
    if user.bot:
        world.emit(Dispatch(guild.id, "GUILD_DELETE", {"id": str(guild.id)}, intents=Intent.GUILDS, user_id=user.id))
    del guild.members[user.id]
    for thread in guild.threads.values():
        thread.state().members.pop(user.id, None)


def _emit_ban(world: World, guild: Guild, name: str, user: Json) -> None:
    data: Json = {"guild_id": str(guild.id), "user": user}
    world.emit(Dispatch(guild.id, name, data, intents=Intent.GUILD_MODERATION, permission=Permission.BAN_MEMBERS))


def _updated(
    world: World,
    guild: Guild,
    member: Member,
    key: str,
    *,
    old: str | None,
    new: str | None,
    actor_id: int | None,
    reason: str | None,
) -> None:
    if old == new:
        return
    announce_update(world, guild, member)
    changes = auditing.differences({key: old}, {key: new})
    action = AuditAction.MEMBER_UPDATE
    auditing.record(world, guild, action, actor_id=actor_id, target_id=member.user.id, changes=changes, reason=reason)
