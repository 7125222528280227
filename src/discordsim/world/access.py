"""Who may do what: the checks that operations make for an acting user. `actor_id=None` is the world itself and may everything.

50001 answers those who cannot see the place, 50013 those who see it but lack the permission or the rank.
"""

from discordsim.world import errors, permissions
from discordsim.world.model.channels import Channel, ChannelType
from discordsim.world.model.guilds import Guild, Member, Role
from discordsim.world.permissions import Permission
from discordsim.world.world import World


def permissions_of(world: World, user_id: int, channel: Channel) -> Permission:
    """Return what a user may do in a channel; nothing when not in its guild, everything in own direct messages."""
    if channel.guild_id is None:
        return permissions.ALL if any(user.id == user_id for user in channel.recipients) else permissions.NONE
    guild = world.guild(channel.guild_id)
    member = guild.members.get(user_id)
    if member is None:
        return permissions.NONE
    bits = permissions.permissions_in(guild, member, channel, now=world.now())
    hidden = channel.type is ChannelType.PRIVATE_THREAD and user_id not in channel.state().members
    return permissions.NONE if hidden and not bits & Permission.MANAGE_THREADS else bits


def guild_permissions_of(world: World, user_id: int, guild: Guild) -> Permission:
    """Return the guild-wide permissions of a user, with a timeout applied; nothing when not a member."""
    member = guild.members.get(user_id)
    return permissions.NONE if member is None else permissions.effective_in_guild(guild, member, now=world.now())


def can_see(world: World, user_id: int, channel_id: int) -> bool:
    """Tell whether the user sees the channel or thread; False for unknown channels."""
    channel = world.channels.get(channel_id)
    return channel is not None and bool(permissions_of(world, user_id, channel) & Permission.VIEW_CHANNEL)


def require(world: World, actor_id: int | None, channel: Channel, needed: Permission) -> None:
    """Raise 50001 or 50013 unless the actor sees the channel and has all needed bits there."""
    if actor_id is None:
        return
    bits = permissions_of(world, actor_id, channel)
    if not bits & Permission.VIEW_CHANNEL:
        raise errors.missing_access()
    if bits & needed != needed:
        raise errors.missing_permissions()


def require_in_guild(world: World, actor_id: int | None, guild: Guild, needed: Permission) -> None:
    """Raise 50001 for strangers and 50013 for members without all needed bits."""
    if actor_id is None:
        return
    if actor_id not in guild.members:
        raise errors.missing_access()
    if guild_permissions_of(world, actor_id, guild) & needed != needed:
        raise errors.missing_permissions()


def require_rank(guild: Guild, actor_id: int | None, target: Member | None) -> None:
    """Raise 50013 unless the actor outranks the target; users outside the guild have no rank."""
    if actor_id is not None and target is not None and not permissions.outranks(guild, guild.members[actor_id], target):
        raise errors.missing_permissions()


def require_above_role(guild: Guild, actor_id: int | None, role: Role) -> None:
    """Raise 50013 unless the role is below the actor's top role."""
    if actor_id is not None and not permissions.outranks_role(guild, guild.members[actor_id], role):
        raise errors.missing_permissions()


def require_may_grant(world: World, guild: Guild, actor_id: int | None, bits: int) -> None:
    """Raise 50013 when the actor would give permissions it does not have itself."""
    if actor_id is not None and bits & ~guild_permissions_of(world, actor_id, guild):
        raise errors.missing_permissions()
