"""The dispatches modbot understands: one type per event name, and the table that ties them.

A feature asks for names; the decoder builds only what is asked for. Names that Discord uses for the same shape share a type
(`ROLE_CREATE` and `ROLE_UPDATE`). What is not in the table cannot be asked for: adding an event means adding its type here.
"""

from __future__ import annotations

from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

import msgspec

from modbot.discord.interactions import Interaction
from modbot.discord.objects import AuditLogEntry, Channel, Emoji, Member, Message, Object, Role, User
from modbot.domain.ids import ChannelId, GuildId, MessageId, RoleId, UserId


class UnavailableGuild(Object, frozen=True, kw_only=True, gc=False):
    """A guild by its id. In GUILD_DELETE `unavailable` means an outage; without it the bot was removed."""

    id: GuildId
    unavailable: bool = False


class Application(Object, frozen=True, kw_only=True, gc=False):
    """This application."""

    id: int
    flags: int = 0


class Ready(Object, frozen=True, kw_only=True, gc=False):
    """A session begins."""

    session_id: str
    resume_gateway_url: str
    user: User
    guilds: tuple[UnavailableGuild, ...] = ()
    application: Application | None = None
    shard: tuple[int, int] | None = None


class Resumed(Object, frozen=True, kw_only=True, gc=False):
    """The replay is over; events are live again."""


class Guild(Object, frozen=True, kw_only=True, gc=False):
    """A guild as GUILD_CREATE and GUILD_UPDATE tell it; members, channels and threads come with GUILD_CREATE only."""

    id: GuildId
    name: str = ""
    icon: str | None = None
    owner_id: UserId | None = None
    preferred_locale: str = "en-US"
    system_channel_id: ChannelId | None = None
    rules_channel_id: ChannelId | None = None
    public_updates_channel_id: ChannelId | None = None
    verification_level: int = 0
    features: tuple[str, ...] = ()
    roles: tuple[Role, ...] = ()
    channels: tuple[Channel, ...] = ()
    threads: tuple[Channel, ...] = ()
    members: tuple[Member, ...] = ()
    member_count: int | None = None
    joined_at: datetime | None = None
    large: bool = False
    unavailable: bool = False


class RoleChanged(Object, frozen=True, kw_only=True, gc=False):
    """A role was made or changed."""

    guild_id: GuildId
    role: Role


class RoleDeleted(Object, frozen=True, kw_only=True, gc=False):
    """A role is gone."""

    guild_id: GuildId
    role_id: RoleId


class ThreadListSync(Object, frozen=True, kw_only=True, gc=False):
    """The active threads of channels that the bot can see from now on."""

    guild_id: GuildId
    channel_ids: tuple[ChannelId, ...] = ()
    threads: tuple[Channel, ...] = ()


class ThreadMembers(Object, frozen=True, kw_only=True, gc=False):
    """People joined or left a thread."""

    id: ChannelId
    guild_id: GuildId
    member_count: int = 0
    removed_member_ids: tuple[UserId, ...] = ()


class MemberAdded(Member, frozen=True, kw_only=True, gc=False):
    """Somebody joined. May repeat for a member who is there already."""

    guild_id: GuildId


class MemberUpdated(Member, frozen=True, kw_only=True, gc=False):
    """A member's roles, nickname or timeout changed; always whole."""

    guild_id: GuildId


class MemberRemoved(Object, frozen=True, kw_only=True, gc=False):
    """Somebody left, was kicked or was banned; the audit log says which."""

    guild_id: GuildId
    user: User


class BanChanged(Object, frozen=True, kw_only=True, gc=False):
    """A ban was set or lifted."""

    guild_id: GuildId
    user: User


class MessageDeleted(Object, frozen=True, kw_only=True, gc=False):
    """A message is gone."""

    id: MessageId
    channel_id: ChannelId
    guild_id: GuildId | None = None


class MessagesDeleted(Object, frozen=True, kw_only=True, gc=False):
    """Several messages of one channel are gone at once."""

    ids: tuple[MessageId, ...]
    channel_id: ChannelId
    guild_id: GuildId | None = None


class ReactionChanged(Object, frozen=True, kw_only=True, gc=False):
    """A member added or removed a reaction."""

    user_id: UserId
    channel_id: ChannelId
    message_id: MessageId
    emoji: Emoji
    guild_id: GuildId | None = None
    member: Member | None = None
    message_author_id: UserId | None = None
    burst: bool = False


class ReactionsCleared(Object, frozen=True, kw_only=True, gc=False):
    """All reactions, or with `emoji` all of that one, were removed from a message."""

    channel_id: ChannelId
    message_id: MessageId
    guild_id: GuildId | None = None
    emoji: Emoji | None = None


class AuditLogEntryCreated(AuditLogEntry, frozen=True, kw_only=True, gc=False):
    """Somebody did something that the audit log records."""

    guild_id: GuildId


class AutoModerationAction(Object, frozen=True, kw_only=True, gc=False):
    """What a rule of Discord's AutoMod does; `metadata` as Discord sends it."""

    type: int
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)


class AutoModerationRule(Object, frozen=True, kw_only=True, gc=False):
    """A rule of Discord's AutoMod; `trigger_metadata` as Discord sends it."""

    id: int
    guild_id: GuildId
    name: str = ""
    creator_id: UserId | None = None
    event_type: int = 0
    trigger_type: int = 0
    trigger_metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    actions: tuple[AutoModerationAction, ...] = ()
    enabled: bool = False
    exempt_roles: tuple[RoleId, ...] = ()
    exempt_channels: tuple[ChannelId, ...] = ()


class AutoModerationExecuted(Object, frozen=True, kw_only=True, gc=False):
    """Discord's AutoMod did one action; an incident gives one event per action."""

    guild_id: GuildId
    action: AutoModerationAction
    rule_id: int
    rule_trigger_type: int = 0
    user_id: UserId
    channel_id: ChannelId | None = None
    message_id: MessageId | None = None
    alert_system_message_id: MessageId | None = None
    content: str = ""
    matched_keyword: str | None = None
    matched_content: str | None = None


TYPES: Final[MappingProxyType[str, type[Object]]] = MappingProxyType(
    {
        "READY": Ready,
        "RESUMED": Resumed,
        "GUILD_CREATE": Guild,
        "GUILD_UPDATE": Guild,
        "GUILD_DELETE": UnavailableGuild,
        "GUILD_ROLE_CREATE": RoleChanged,
        "GUILD_ROLE_UPDATE": RoleChanged,
        "GUILD_ROLE_DELETE": RoleDeleted,
        "CHANNEL_CREATE": Channel,
        "CHANNEL_UPDATE": Channel,
        "CHANNEL_DELETE": Channel,
        "THREAD_CREATE": Channel,
        "THREAD_UPDATE": Channel,
        "THREAD_DELETE": Channel,
        "THREAD_LIST_SYNC": ThreadListSync,
        "THREAD_MEMBERS_UPDATE": ThreadMembers,
        "GUILD_MEMBER_ADD": MemberAdded,
        "GUILD_MEMBER_UPDATE": MemberUpdated,
        "GUILD_MEMBER_REMOVE": MemberRemoved,
        "GUILD_BAN_ADD": BanChanged,
        "GUILD_BAN_REMOVE": BanChanged,
        "GUILD_AUDIT_LOG_ENTRY_CREATE": AuditLogEntryCreated,
        "MESSAGE_CREATE": Message,
        "MESSAGE_UPDATE": Message,
        "MESSAGE_DELETE": MessageDeleted,
        "MESSAGE_DELETE_BULK": MessagesDeleted,
        "MESSAGE_REACTION_ADD": ReactionChanged,
        "MESSAGE_REACTION_REMOVE": ReactionChanged,
        "MESSAGE_REACTION_REMOVE_ALL": ReactionsCleared,
        "MESSAGE_REACTION_REMOVE_EMOJI": ReactionsCleared,
        "AUTO_MODERATION_RULE_CREATE": AutoModerationRule,
        "AUTO_MODERATION_RULE_UPDATE": AutoModerationRule,
        "AUTO_MODERATION_RULE_DELETE": AutoModerationRule,
        "AUTO_MODERATION_ACTION_EXECUTION": AutoModerationExecuted,
        "INTERACTION_CREATE": Interaction,
    }
)
