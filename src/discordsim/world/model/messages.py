"""Messages, their reactions and the draft from which a message is made."""

from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Protocol

from discordsim.world.model.users import User
from discordsim.world.payloads import Json, iso, iso_or_none, text_ids


class MessageType(IntEnum):
    """Kinds of messages this world makes."""

    DEFAULT = 0
    CHANNEL_PINNED_MESSAGE = 6
    USER_JOIN = 7
    THREAD_CREATED = 18
    REPLY = 19
    CHAT_INPUT_COMMAND = 20
    THREAD_STARTER_MESSAGE = 21
    CONTEXT_MENU_COMMAND = 23
    AUTO_MODERATION_ACTION = 24


class MessageFlag(IntFlag):
    """Message flags."""

    CROSSPOSTED = 1 << 0
    SUPPRESS_EMBEDS = 1 << 2
    HAS_THREAD = 1 << 5
    EPHEMERAL = 1 << 6
    LOADING = 1 << 7
    SUPPRESS_NOTIFICATIONS = 1 << 12
    IS_VOICE_MESSAGE = 1 << 13
    HAS_SNAPSHOT = 1 << 14
    IS_COMPONENTS_V2 = 1 << 15


class Drawable(Protocol):
    """Anything that can draw itself as JSON (a thread under its starter message)."""

    def payload(self) -> Json:
        """Return the JSON object."""
        ...


@dataclass(slots=True)
class Reaction:
    """One emoji under a message and who chose it, in order."""

    emoji: Json
    users: dict[int, None] = field(default_factory=dict)

    def payload(self, viewer_id: int | None = None) -> Json:
        """Return the reaction object as the viewer sees it."""
        count = len(self.users)
        return {
            "emoji": self.emoji,
            "count": count,
            "count_details": {"normal": count, "burst": 0},
            "burst_colors": [],
            "burst_count": 0,
            "me": viewer_id in self.users,
            "me_burst": False,
        }


@dataclass(slots=True, kw_only=True)
class Draft:
    """What a sender asks for: the fields of Create Message, plus what interactions and webhooks add.

    `visible_to` names the only reader of an ephemeral message.
    """

    content: str = ""
    embeds: list[Json] = field(default_factory=list)
    attachments: list[Json] = field(default_factory=list)
    components: list[Json] = field(default_factory=list)
    flags: int = 0
    nonce: str | int | None = None
    enforce_nonce: bool = False
    message_reference: Json | None = None
    allowed_mentions: Json | None = None
    sticker_items: list[Json] = field(default_factory=list)
    poll: Json | None = None
    tts: bool = False
    type: MessageType = MessageType.DEFAULT
    webhook_id: int | None = None
    application_id: int | None = None
    interaction_metadata: Json | None = None
    visible_to: int | None = None


@dataclass(slots=True, kw_only=True)
class Message:
    """One message in a channel."""

    id: int
    channel_id: int
    guild_id: int | None
    author: User
    timestamp: float
    content: str = ""
    type: MessageType = MessageType.DEFAULT
    edited_timestamp: float | None = None
    embeds: list[Json] = field(default_factory=list)
    attachments: list[Json] = field(default_factory=list)
    components: list[Json] = field(default_factory=list)
    flags: int = 0
    nonce: str | int | None = None
    tts: bool = False
    pinned: bool = False
    pinned_at: float | None = None
    mentions: list[User] = field(default_factory=list)
    mention_roles: list[int] = field(default_factory=list)
    mention_everyone: bool = False
    message_reference: Json | None = None
    referenced: "Message | None" = None
    snapshots: list[Json] = field(default_factory=list)
    reactions: dict[str, Reaction] = field(default_factory=dict)
    sticker_items: list[Json] = field(default_factory=list)
    poll: Json | None = None
    webhook_id: int | None = None
    application_id: int | None = None
    interaction_metadata: Json | None = None
    thread: Drawable | None = None
    position: int | None = None
    visible_to: int | None = None

    def payload(self, viewer_id: int | None = None, *, nested: bool = False) -> Json:
        """Return the message object; `viewer_id` decides the `me` of reactions, `nested` leaves out what it replies to."""
        data: Json = {
            "id": str(self.id),
            "type": int(self.type),
            "channel_id": str(self.channel_id),
            "author": self.author.payload(),
            "content": self.content,
            "timestamp": iso(self.timestamp),
            "edited_timestamp": iso_or_none(self.edited_timestamp),
            "tts": self.tts,
            "mention_everyone": self.mention_everyone,
            "mentions": [user.payload() for user in self.mentions],
            "mention_roles": text_ids(self.mention_roles),
            "attachments": list(self.attachments),
            "embeds": list(self.embeds),
            "components": list(self.components),
            "pinned": self.pinned,
            "flags": self.flags,
        }
        self._add_optional(data, viewer_id)
        if self.message_reference is not None:
            data["message_reference"] = self.message_reference
            if not nested and self.type in {MessageType.REPLY, MessageType.THREAD_STARTER_MESSAGE}:
                data["referenced_message"] = (
                    self.referenced.payload(viewer_id, nested=True) if self.referenced else None
                )
        return data

    def _add_optional(self, data: Json, viewer_id: int | None) -> None:
        if self.reactions:
            data["reactions"] = [reaction.payload(viewer_id) for reaction in self.reactions.values()]
        if self.webhook_id is not None:
            data["webhook_id"] = str(self.webhook_id)
        if self.application_id is not None:
            data["application_id"] = str(self.application_id)
        if self.thread is not None:
            data["thread"] = self.thread.payload()
        if self.snapshots:
            data["message_snapshots"] = list(self.snapshots)
        for key in ("nonce", "position", "poll", "interaction_metadata"):
            value = getattr(self, key)
            if value is not None:
                data[key] = value
        if self.sticker_items:
            data["sticker_items"] = list(self.sticker_items)

    def snapshot(self) -> Json:
        """Return the frozen copy that a forward of this message carries."""
        whole = self.payload(nested=True)
        kept = ("type", "content", "embeds", "attachments", "timestamp", "edited_timestamp", "flags", "mentions")
        return {"message": {key: whole[key] for key in (*kept, "mention_roles", "components")}}
