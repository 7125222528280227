"""The things Discord talks about: users, members, roles, channels, messages.

Rules of these types, which the decoders rely on:

* Unknown fields are ignored and nearly every field has a default, so that Discord may add, omit or null what it likes; only what
  makes an object what it is (its id) is required.
* Ids and permission sets are integers here and decimal strings on the wire; the decoders run in msgspec's lax mode, which turns
  the one into the other at about a third more time than a plain string would take and leaves texts alone (a nickname `null`
  stays a text).
* Objects are frozen and hold no cycles, so they are not tracked by the garbage collector (`gc=False`): at tens of thousands of
  events per second the collector's walks would be the largest cost.

This module holds shapes only. It decides nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from modbot.domain.ids import ChannelId, GuildId, MessageId, RoleId, UserId


class Object(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """Base of everything that Discord sends."""


class User(Object, frozen=True, kw_only=True, gc=False):
    """An account."""

    id: UserId
    username: str = ""
    discriminator: str = "0"
    global_name: str | None = None
    avatar: str | None = None
    bot: bool = False
    system: bool = False
    public_flags: int = 0


class Member(Object, frozen=True, kw_only=True, gc=False):
    """A user in a guild. `user` is absent inside messages; `permissions` is present in interactions only."""

    user: User | None = None
    nick: str | None = None
    avatar: str | None = None
    roles: tuple[RoleId, ...] = ()
    joined_at: datetime | None = None
    premium_since: datetime | None = None
    communication_disabled_until: datetime | None = None
    pending: bool = False
    flags: int = 0
    permissions: int | None = None


class RoleTags(Object, frozen=True, kw_only=True, gc=False):
    """Who manages a role."""

    bot_id: UserId | None = None
    integration_id: int | None = None


class Role(Object, frozen=True, kw_only=True, gc=False):
    """A role of a guild; the one whose id is the guild's is @everyone."""

    id: RoleId
    name: str = ""
    permissions: int = 0
    position: int = 0
    color: int = 0
    hoist: bool = False
    managed: bool = False
    mentionable: bool = False
    tags: RoleTags | None = None


class Overwrite(Object, frozen=True, kw_only=True, gc=False):
    """A channel's exception to the permissions of a role (`type` 0) or a member (`type` 1)."""

    id: int
    type: int = 0
    allow: int = 0
    deny: int = 0


class ThreadMetadata(Object, frozen=True, kw_only=True, gc=False):
    """What only threads have."""

    archived: bool = False
    locked: bool = False
    invitable: bool = True
    auto_archive_duration: int = 0
    archive_timestamp: datetime | None = None
    create_timestamp: datetime | None = None


class Channel(Object, frozen=True, kw_only=True, gc=False):
    """A channel, category or thread. `permissions` is the invoker's, in interactions only."""

    id: ChannelId
    type: int = 0
    guild_id: GuildId | None = None
    name: str | None = None
    topic: str | None = None
    position: int = 0
    parent_id: ChannelId | None = None
    owner_id: UserId | None = None
    nsfw: bool = False
    flags: int = 0
    rate_limit_per_user: int = 0
    last_message_id: MessageId | None = None
    permission_overwrites: tuple[Overwrite, ...] = ()
    thread_metadata: ThreadMetadata | None = None
    message_count: int | None = None
    member_count: int | None = None
    permissions: int | None = None


class Emoji(Object, frozen=True, kw_only=True, gc=False):
    """A custom emoji (with id) or a Unicode one (its character is the name)."""

    id: int | None = None
    name: str | None = None
    animated: bool = False


class Reaction(Object, frozen=True, kw_only=True, gc=False):
    """How often an emoji stands under a message."""

    emoji: Emoji
    count: int = 0
    me: bool = False


class Attachment(Object, frozen=True, kw_only=True, gc=False):
    """A file of a message. Its links expire. `size` is in bytes."""

    id: int
    filename: str = ""
    content_type: str | None = None
    description: str | None = None
    size: int = 0
    url: str = ""
    proxy_url: str = ""
    width: int | None = None
    height: int | None = None


class EmbedField(Object, frozen=True, kw_only=True, gc=False):
    """A titled paragraph of an embed."""

    name: str = ""
    value: str = ""
    inline: bool = False


class EmbedText(Object, frozen=True, kw_only=True, gc=False):
    """Footer, author or provider of an embed: the texts of all three."""

    text: str | None = None
    name: str | None = None
    url: str | None = None


class EmbedMedia(Object, frozen=True, kw_only=True, gc=False):
    """Image, thumbnail or video of an embed."""

    url: str | None = None
    proxy_url: str | None = None


class Embed(Object, frozen=True, kw_only=True, gc=False):
    """A link preview or a rich embed."""

    type: str = "rich"
    title: str | None = None
    description: str | None = None
    url: str | None = None
    color: int | None = None
    author: EmbedText | None = None
    footer: EmbedText | None = None
    provider: EmbedText | None = None
    image: EmbedMedia | None = None
    thumbnail: EmbedMedia | None = None
    video: EmbedMedia | None = None
    fields: tuple[EmbedField, ...] = ()


class StickerItem(Object, frozen=True, kw_only=True, gc=False):
    """A sticker of a message."""

    id: int
    name: str = ""
    format_type: int = 0


class PollMedia(Object, frozen=True, kw_only=True, gc=False):
    """The text and emoji of a poll's question or answer."""

    text: str | None = None
    emoji: Emoji | None = None


class PollAnswer(Object, frozen=True, kw_only=True, gc=False):
    """One answer of a poll."""

    answer_id: int = 0
    poll_media: PollMedia | None = None


class Poll(Object, frozen=True, kw_only=True, gc=False):
    """A poll."""

    question: PollMedia | None = None
    answers: tuple[PollAnswer, ...] = ()
    expiry: datetime | None = None
    allow_multiselect: bool = False


class MessageReference(Object, frozen=True, kw_only=True, gc=False):
    """What a message replies to (`type` 0) or forwards (`type` 1)."""

    type: int = 0
    message_id: MessageId | None = None
    channel_id: ChannelId | None = None
    guild_id: GuildId | None = None


class SnapshotMessage(Object, frozen=True, kw_only=True, gc=False):
    """What a forwarded message looked like."""

    type: int = 0
    content: str = ""
    flags: int = 0
    timestamp: datetime | None = None
    edited_timestamp: datetime | None = None
    attachments: tuple[Attachment, ...] = ()
    embeds: tuple[Embed, ...] = ()
    mentions: tuple[User, ...] = ()
    mention_roles: tuple[RoleId, ...] = ()
    sticker_items: tuple[StickerItem, ...] = ()


class Snapshot(Object, frozen=True, kw_only=True, gc=False):
    """The envelope of a forwarded message."""

    message: SnapshotMessage


class Message(Object, frozen=True, kw_only=True, gc=False):
    """A message, whole (created, fetched) or as far as an update tells it.

    `content` and `edited_timestamp` are `UNSET` when an update does not speak of them. `guild_id` and `member` are present in
    dispatches only. `components` stay as Discord's JSON.
    """

    id: MessageId
    channel_id: ChannelId
    guild_id: GuildId | None = None
    author: User | None = None
    member: Member | None = None
    content: str | msgspec.UnsetType = msgspec.UNSET
    timestamp: datetime | None = None
    edited_timestamp: datetime | msgspec.UnsetType | None = msgspec.UNSET
    type: int = 0
    flags: int = 0
    tts: bool = False
    pinned: bool = False
    nonce: int | str | None = None
    webhook_id: int | None = None
    application_id: int | None = None
    mention_everyone: bool = False
    mentions: tuple[User, ...] = ()
    mention_roles: tuple[RoleId, ...] = ()
    attachments: tuple[Attachment, ...] | msgspec.UnsetType = msgspec.UNSET
    embeds: tuple[Embed, ...] | msgspec.UnsetType = msgspec.UNSET
    reactions: tuple[Reaction, ...] = ()
    sticker_items: tuple[StickerItem, ...] = ()
    poll: Poll | None = None
    message_reference: MessageReference | None = None
    message_snapshots: tuple[Snapshot, ...] = ()
    thread: Channel | None = None
    components: tuple[dict[str, Any], ...] = ()
    referenced_message: Message | None = None

    @property
    def text(self) -> str:
        """Return the content, empty when Discord did not send it."""
        return "" if self.content is msgspec.UNSET else self.content


class Ban(Object, frozen=True, kw_only=True, gc=False):
    """One entry of a guild's ban list."""

    user: User
    reason: str | None = None


class AuditLogChange(Object, frozen=True, kw_only=True, gc=False):
    """One changed property of an audit log entry; values as Discord sends them."""

    key: str
    old_value: Any = None
    new_value: Any = None


class AuditLogOptions(Object, frozen=True, kw_only=True, gc=False):
    """Details of an audit log entry; which ones depends on `action_type`."""

    application_id: int | None = None
    auto_moderation_rule_name: str | None = None
    auto_moderation_rule_trigger_type: int | None = None
    channel_id: ChannelId | None = None
    count: int | None = None
    delete_member_days: int | None = None
    id: int | None = None
    members_removed: int | None = None
    message_id: MessageId | None = None
    role_name: str | None = None
    type: int | None = None


class AuditLogEntry(Object, frozen=True, kw_only=True, gc=False):
    """Who did what to whom. The id is a snowflake, so a repeated entry is recognised exactly."""

    id: int
    action_type: int
    user_id: UserId | None = None
    target_id: int | None = None
    reason: str | None = None
    changes: tuple[AuditLogChange, ...] = ()
    options: AuditLogOptions | None = None


class AuditLog(Object, frozen=True, kw_only=True, gc=False):
    """A page of a guild's audit log, newest entry first."""

    audit_log_entries: tuple[AuditLogEntry, ...] = ()
    users: tuple[User, ...] = ()
