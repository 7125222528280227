"""Guilds as a whole: change them, take a bot in, let it go, look up who is in them."""

from collections.abc import Mapping
from typing import Any

from discordsim.world import access, auditing, members, roles
from discordsim.world.events import Dispatch, Intent
from discordsim.world.model.guilds import Guild, Member, Role
from discordsim.world.model.logs import AuditAction, AuditLogEntry
from discordsim.world.permissions import Permission
from discordsim.world.world import World

_FIELDS = frozenset(
    {
        "name",
        "description",
        "verification_level",
        "default_message_notifications",
        "explicit_content_filter",
        "preferred_locale",
        "afk_timeout",
        "features",
    }
)
_CHANNEL_FIELDS = frozenset({"system_channel_id", "rules_channel_id", "public_updates_channel_id", "afk_channel_id"})


def create(world: World, name: str, owner_id: int, *, guild_id: int | None = None) -> Guild:
    """Create an empty guild with its owner and @everyone; `guild_id` may be chosen by seeding."""
    guild = Guild(guild_id or world.new_id(), name, owner_id)
    guild.roles[guild.id] = Role(guild.id, "@everyone", int(EVERYONE))
    guild.members[owner_id] = Member(world.user(owner_id), world.now())
    world.guilds[guild.id] = guild
    return guild


EVERYONE = (
    Permission.VIEW_CHANNEL
    | Permission.SEND_MESSAGES
    | Permission.SEND_MESSAGES_IN_THREADS
    | Permission.CREATE_PUBLIC_THREADS
    | Permission.CREATE_PRIVATE_THREADS
    | Permission.READ_MESSAGE_HISTORY
    | Permission.ADD_REACTIONS
    | Permission.EMBED_LINKS
    | Permission.ATTACH_FILES
    | Permission.USE_EXTERNAL_EMOJIS
    | Permission.CHANGE_NICKNAME
    | Permission.USE_APPLICATION_COMMANDS
    | Permission.CONNECT
    | Permission.SPEAK
    | Permission.SEND_POLLS
)


def edit(
    world: World, guild_id: int, fields: Mapping[str, Any], *, actor_id: int | None = None, reason: str | None = None
) -> Guild:
    """Change a guild with Discord's JSON fields. Errors: 10004, 50001, 50013 (MANAGE_GUILD)."""
    guild = world.guild(guild_id)
    access.require_in_guild(world, actor_id, guild, Permission.MANAGE_GUILD)
    before = guild.payload()
    for key in _FIELDS & fields.keys():
        setattr(guild, key, fields[key])
    for key in _CHANNEL_FIELDS & fields.keys():
        setattr(guild, key, None if fields[key] is None else world.channel(int(fields[key])).id)
    after = guild.payload()
    world.emit(Dispatch(guild_id, "GUILD_UPDATE", after, intents=Intent.GUILDS))
    changes, action = auditing.differences(before, after), AuditAction.GUILD_UPDATE
    auditing.record(world, guild, action, actor_id=actor_id, target_id=guild_id, changes=changes, reason=reason)
    return guild


def add_bot(
    world: World, guild_id: int, application_id: int, permissions: Permission, *, actor_id: int | None = None
) -> Member:
    """Let an application's bot join with its managed role, just above @everyone as in Discord. Errors: 10004, 10013, 40007, 50013."""
    guild, bot = world.guild(guild_id), world.user(application_id)
    access.require_in_guild(world, actor_id, guild, Permission.MANAGE_GUILD)
    if application_id in guild.members:
        return guild.members[application_id]
    role = roles.create(world, guild_id, {"name": bot.username, "permissions": int(permissions)})
    role.managed, role.bot_id = True, application_id
    member = members.join(world, guild_id, application_id)
    members.set_roles(world, guild_id, application_id, [role.id])
    auditing.record(world, guild, AuditAction.BOT_ADD, actor_id=actor_id, target_id=application_id)
    return member


def remove_bot(world: World, guild_id: int, application_id: int) -> None:
    """Let the bot leave; its managed role goes with it. Errors: 10004, 10007."""
    guild = world.guild(guild_id)
    members.leave(world, guild_id, application_id)
    for role in [one for one in guild.roles.values() if one.bot_id == application_id]:
        role.managed = False
        roles.delete(world, guild_id, role.id)


def set_unavailable(world: World, guild_id: int, *, unavailable: bool) -> None:
    """Play an outage of one guild: GUILD_DELETE with `unavailable`, and GUILD_CREATE when it is over, for each bot in it."""
    guild = world.guild(guild_id)
    guild.unavailable = unavailable
    for member in [one for one in guild.members.values() if one.user.bot]:
        bot_id = member.user.id
        name, data = "GUILD_DELETE", {"id": str(guild_id), "unavailable": True}
        if not unavailable:
            name, data = "GUILD_CREATE", guild.create_payload(bot_id)
        world.emit(Dispatch(guild_id, name, data, intents=Intent.GUILDS, user_id=bot_id))


def audit_log(
    world: World,
    guild_id: int,
    *,
    viewer_id: int | None = None,
    action_type: int | None = None,
    user_id: int | None = None,
    target_id: int | None = None,
    before: int | None = None,
    after: int | None = None,
    limit: int = 50,
) -> list[AuditLogEntry]:
    """Return entries newest first (oldest first with `after`). Errors: 10004, 50001, 50013 (VIEW_AUDIT_LOG)."""
    guild = world.guild(guild_id)
    access.require_in_guild(world, viewer_id, guild, Permission.VIEW_AUDIT_LOG)
    found = [
        entry
        for entry in guild.audit_log
        if (action_type is None or entry.action == action_type)
        and (user_id is None or entry.user_id == user_id)
        and (target_id is None or entry.target_id == target_id)
        and (before is None or entry.id < before)
        and (after is None or entry.id > after)
    ]
    return found[:limit] if after is not None else found[::-1][:limit]
