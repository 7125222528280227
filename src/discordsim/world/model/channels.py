"""Channels, threads and direct messages, with their overwrites and messages."""

from dataclasses import dataclass, field
from enum import IntEnum

from discordsim.world.model.messages import Message
from discordsim.world.model.users import User
from discordsim.world.payloads import Json, iso, iso_or_none, text_id, text_ids


class ChannelType(IntEnum):
    """Kinds of channels."""

    GUILD_TEXT = 0
    DM = 1
    GUILD_VOICE = 2
    GUILD_CATEGORY = 4
    GUILD_ANNOUNCEMENT = 5
    ANNOUNCEMENT_THREAD = 10
    PUBLIC_THREAD = 11
    PRIVATE_THREAD = 12
    GUILD_STAGE_VOICE = 13
    GUILD_FORUM = 15


THREADS = frozenset({ChannelType.ANNOUNCEMENT_THREAD, ChannelType.PUBLIC_THREAD, ChannelType.PRIVATE_THREAD})
WITH_MESSAGES = frozenset(set(ChannelType) - {ChannelType.GUILD_CATEGORY, ChannelType.GUILD_FORUM})
FLAG_PINNED_THREAD = 1 << 1


@dataclass(slots=True)
class PermissionOverwrite:
    """What a channel allows or denies to a role (`type` 0) or a member (`type` 1)."""

    id: int
    type: int
    allow: int = 0
    deny: int = 0

    def payload(self) -> Json:
        """Return the overwrite object."""
        return {"id": str(self.id), "type": self.type, "allow": str(self.allow), "deny": str(self.deny)}


@dataclass(slots=True)
class ThreadState:
    """What only threads have. Times in unix seconds, `auto_archive_duration` in minutes; `members` maps to join times."""

    create_timestamp: float
    archive_timestamp: float
    archived: bool = False
    locked: bool = False
    invitable: bool | None = None
    auto_archive_duration: int = 1440
    members: dict[int, float] = field(default_factory=dict)
    message_count: int = 0
    total_message_sent: int = 0
    applied_tags: list[int] = field(default_factory=list)

    def payload(self) -> Json:
        """Return the `thread_metadata` object."""
        data: Json = {
            "archived": self.archived,
            "archive_timestamp": iso(self.archive_timestamp),
            "auto_archive_duration": self.auto_archive_duration,
            "locked": self.locked,
            "create_timestamp": iso(self.create_timestamp),
        }
        if self.invitable is not None:
            data["invitable"] = self.invitable
        return data


@dataclass(slots=True)
class Channel:
    """Any channel. Threads carry `thread`, direct messages carry `recipients` and no guild."""

    id: int
    type: ChannelType
    guild_id: int | None
    name: str = ""
    position: int = 0
    parent_id: int | None = None
    topic: str | None = None
    nsfw: bool = False
    rate_limit_per_user: int = 0
    default_auto_archive_duration: int | None = None
    overwrites: dict[int, PermissionOverwrite] = field(default_factory=dict)
    owner_id: int | None = None
    flags: int = 0
    available_tags: list[Json] = field(default_factory=list)
    last_message_id: int | None = None
    last_pin_timestamp: float | None = None
    thread: ThreadState | None = None
    recipients: list[User] = field(default_factory=list)
    messages: dict[int, Message] = field(default_factory=dict)
    last_posts: dict[int, float] = field(default_factory=dict)

    @property
    def is_thread(self) -> bool:
        """Tell whether this is a thread."""
        return self.thread is not None

    def state(self) -> ThreadState:
        """Return the thread part; ValueError when this is no thread."""
        if self.thread is None:
            raise ValueError(f"channel {self.id} is not a thread")
        return self.thread

    def payload(self) -> Json:
        """Return the channel object as REST and gateway give it."""
        if self.type is ChannelType.DM:
            return self._dm_payload()
        data = self._common_payload()
        return self._thread_payload(data, self.thread) if self.thread else self._guild_payload(data)

    def _common_payload(self) -> Json:
        data: Json = {
            "id": str(self.id),
            "type": int(self.type),
            "guild_id": text_id(self.guild_id),
            "name": self.name,
            "parent_id": text_id(self.parent_id),
            "flags": self.flags,
        }
        if self.type is not ChannelType.GUILD_CATEGORY:
            data["last_message_id"] = text_id(self.last_message_id)
            data["rate_limit_per_user"] = self.rate_limit_per_user
        if self.last_pin_timestamp is not None:
            data["last_pin_timestamp"] = iso_or_none(self.last_pin_timestamp)
        return data

    def _guild_payload(self, data: Json) -> Json:
        data["position"] = self.position
        data["permission_overwrites"] = [overwrite.payload() for overwrite in self.overwrites.values()]
        data["nsfw"] = self.nsfw
        if self.type in {ChannelType.GUILD_VOICE, ChannelType.GUILD_STAGE_VOICE}:
            data |= {"bitrate": 64000, "user_limit": 0, "rtc_region": None}
        elif self.type is not ChannelType.GUILD_CATEGORY:
            data["topic"] = self.topic
            if self.default_auto_archive_duration is not None:
                data["default_auto_archive_duration"] = self.default_auto_archive_duration
        if self.type is ChannelType.GUILD_FORUM:
            data |= {
                "available_tags": list(self.available_tags),
                "default_reaction_emoji": None,
                "default_sort_order": None,
                "default_forum_layout": 0,
                "default_thread_rate_limit_per_user": 0,
            }
        return data

    def _thread_payload(self, data: Json, thread: ThreadState) -> Json:
        data |= {
            "owner_id": text_id(self.owner_id),
            "thread_metadata": thread.payload(),
            "message_count": thread.message_count,
            "total_message_sent": thread.total_message_sent,
            "member_count": min(len(thread.members), 50),
        }
        if thread.applied_tags:
            data["applied_tags"] = text_ids(thread.applied_tags)
        return data

    def _dm_payload(self) -> Json:
        return {
            "id": str(self.id),
            "type": int(self.type),
            "flags": self.flags,
            "last_message_id": text_id(self.last_message_id),
            "recipients": [user.payload() for user in self.recipients],
        }

    def thread_member(self, user_id: int) -> Json:
        """Return the thread member object of one who is in the thread; KeyError otherwise."""
        joined = iso(self.state().members[user_id])
        return {"id": str(self.id), "user_id": str(user_id), "join_timestamp": joined, "flags": 1}
