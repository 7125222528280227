"""Permission bits, and the rule by which Discord computes what a member may do in a channel.

Owner and Administrator may everything; else the roles' bits add up, a channel's overwrites apply in the order everyone,
roles, member; a timeout leaves only seeing and reading; without VIEW_CHANNEL nothing is left.
A thread has no overwrites: it takes those of its parent, and SEND_MESSAGES_IN_THREADS stands for SEND_MESSAGES.
Refuses to look up anything: guild, member and channel are given.
"""

from enum import IntFlag

from discordsim.world.model.channels import Channel
from discordsim.world.model.guilds import Guild, Member, Role


class Permission(IntFlag):
    """All permission bits of API v10."""

    CREATE_INSTANT_INVITE = 1 << 0
    KICK_MEMBERS = 1 << 1
    BAN_MEMBERS = 1 << 2
    ADMINISTRATOR = 1 << 3
    MANAGE_CHANNELS = 1 << 4
    MANAGE_GUILD = 1 << 5
    ADD_REACTIONS = 1 << 6
    VIEW_AUDIT_LOG = 1 << 7
    PRIORITY_SPEAKER = 1 << 8
    STREAM = 1 << 9
    VIEW_CHANNEL = 1 << 10
    SEND_MESSAGES = 1 << 11
    SEND_TTS_MESSAGES = 1 << 12
    MANAGE_MESSAGES = 1 << 13
    EMBED_LINKS = 1 << 14
    ATTACH_FILES = 1 << 15
    READ_MESSAGE_HISTORY = 1 << 16
    MENTION_EVERYONE = 1 << 17
    USE_EXTERNAL_EMOJIS = 1 << 18
    VIEW_GUILD_INSIGHTS = 1 << 19
    CONNECT = 1 << 20
    SPEAK = 1 << 21
    MUTE_MEMBERS = 1 << 22
    DEAFEN_MEMBERS = 1 << 23
    MOVE_MEMBERS = 1 << 24
    USE_VAD = 1 << 25
    CHANGE_NICKNAME = 1 << 26
    MANAGE_NICKNAMES = 1 << 27
    MANAGE_ROLES = 1 << 28
    MANAGE_WEBHOOKS = 1 << 29
    MANAGE_GUILD_EXPRESSIONS = 1 << 30
    USE_APPLICATION_COMMANDS = 1 << 31
    REQUEST_TO_SPEAK = 1 << 32
    MANAGE_EVENTS = 1 << 33
    MANAGE_THREADS = 1 << 34
    CREATE_PUBLIC_THREADS = 1 << 35
    CREATE_PRIVATE_THREADS = 1 << 36
    USE_EXTERNAL_STICKERS = 1 << 37
    SEND_MESSAGES_IN_THREADS = 1 << 38
    USE_EMBEDDED_ACTIVITIES = 1 << 39
    MODERATE_MEMBERS = 1 << 40
    VIEW_CREATOR_MONETIZATION_ANALYTICS = 1 << 41
    USE_SOUNDBOARD = 1 << 42
    CREATE_GUILD_EXPRESSIONS = 1 << 43
    CREATE_EVENTS = 1 << 44
    USE_EXTERNAL_SOUNDS = 1 << 45
    SEND_VOICE_MESSAGES = 1 << 46
    SET_VOICE_CHANNEL_STATUS = 1 << 48
    SEND_POLLS = 1 << 49
    USE_EXTERNAL_APPS = 1 << 50
    PIN_MESSAGES = 1 << 51
    BYPASS_SLOWMODE = 1 << 52


ALL = Permission(sum(bit.value for bit in Permission))
NONE = Permission(0)
_IN_TIMEOUT = Permission.VIEW_CHANNEL | Permission.READ_MESSAGE_HISTORY


def in_guild(guild: Guild, member: Member) -> Permission:
    """Return the permissions of a member without any channel, timeout included by nobody: it acts on `permissions_in`."""
    if guild.owner_id == member.user.id:
        return ALL
    bits = guild.roles[guild.id].permissions
    for role_id in member.roles:
        bits |= guild.roles[role_id].permissions
    return ALL if bits & Permission.ADMINISTRATOR else Permission(bits)


def effective_in_guild(guild: Guild, member: Member, *, now: float) -> Permission:
    """Return the guild-wide permissions with a running timeout applied (`now` in unix seconds)."""
    return _with_timeout(guild, member, in_guild(guild, member), now=now)


def permissions_in(guild: Guild, member: Member, channel: Channel, *, now: float) -> Permission:
    """Return what the member may do in the channel or thread at `now` (unix seconds)."""
    base = in_guild(guild, member)
    if base & Permission.ADMINISTRATOR:
        return base
    place = guild.channels.get(channel.parent_id or 0, channel) if channel.is_thread else channel
    bits = _with_timeout(guild, member, Permission(_overwritten(guild, member, place, base)), now=now)
    if not bits & Permission.VIEW_CHANNEL:
        return NONE
    return bits


def _overwritten(guild: Guild, member: Member, channel: Channel, base: int) -> int:
    overwrites = channel.overwrites
    everyone = overwrites.get(guild.id)
    if everyone is not None:
        base = base & ~everyone.deny | everyone.allow
    allow = deny = 0
    for role_id in member.roles:
        found = overwrites.get(role_id)
        if found is not None:
            allow |= found.allow
            deny |= found.deny
    base = base & ~deny | allow
    own = overwrites.get(member.user.id)
    return base if own is None else base & ~own.deny | own.allow


def _with_timeout(guild: Guild, member: Member, bits: Permission, *, now: float) -> Permission:
    until = member.communication_disabled_until
    exempt = guild.owner_id == member.user.id or bits & Permission.ADMINISTRATOR
    return bits & _IN_TIMEOUT if until is not None and until > now and not exempt else bits


def top_role(guild: Guild, member: Member) -> Role:
    """Return the member's highest role; of equal positions the older one (the lower id) stands higher."""
    held = [guild.roles[role_id] for role_id in member.roles]
    return max([*held, guild.roles[guild.id]], key=_height)


def outranks(guild: Guild, actor: Member, target: Member) -> bool:
    """Tell whether the actor may act on the target: the owner on all, nobody on the owner, else the higher top role."""
    if target.user.id == guild.owner_id:
        return False
    if actor.user.id == guild.owner_id:
        return True
    return _height(top_role(guild, actor)) > _height(top_role(guild, target))


def outranks_role(guild: Guild, actor: Member, role: Role) -> bool:
    """Tell whether the actor may edit, give or take the role."""
    return actor.user.id == guild.owner_id or _height(top_role(guild, actor)) > _height(role)


def _height(role: Role) -> tuple[int, int]:
    return role.position, -role.id
