"""Entries of a guild's audit log."""

from dataclasses import dataclass, field
from enum import IntEnum

from discordsim.world.payloads import Json, text_id


class AuditAction(IntEnum):
    """What was done."""

    GUILD_UPDATE = 1
    CHANNEL_CREATE = 10
    CHANNEL_UPDATE = 11
    CHANNEL_DELETE = 12
    CHANNEL_OVERWRITE_CREATE = 13
    CHANNEL_OVERWRITE_UPDATE = 14
    CHANNEL_OVERWRITE_DELETE = 15
    MEMBER_KICK = 20
    MEMBER_BAN_ADD = 22
    MEMBER_BAN_REMOVE = 23
    MEMBER_UPDATE = 24
    MEMBER_ROLE_UPDATE = 25
    BOT_ADD = 28
    ROLE_CREATE = 30
    ROLE_UPDATE = 31
    ROLE_DELETE = 32
    MESSAGE_DELETE = 72
    MESSAGE_BULK_DELETE = 73
    MESSAGE_PIN = 74
    MESSAGE_UNPIN = 75
    THREAD_CREATE = 110
    THREAD_UPDATE = 111
    THREAD_DELETE = 112
    AUTO_MODERATION_RULE_CREATE = 140
    AUTO_MODERATION_RULE_UPDATE = 141
    AUTO_MODERATION_RULE_DELETE = 142
    AUTO_MODERATION_BLOCK_MESSAGE = 143
    AUTO_MODERATION_FLAG_TO_CHANNEL = 144
    AUTO_MODERATION_USER_COMMUNICATION_DISABLED = 145


@dataclass(slots=True)
class AuditLogEntry:
    """Who did what to whom, what changed, and why."""

    id: int
    action: AuditAction
    user_id: int | None
    target_id: int | None
    changes: list[Json] = field(default_factory=list)
    options: Json = field(default_factory=dict)
    reason: str | None = None

    def payload(self) -> Json:
        """Return the audit log entry object."""
        data: Json = {
            "id": str(self.id),
            "action_type": int(self.action),
            "user_id": text_id(self.user_id),
            "target_id": text_id(self.target_id),
        }
        if self.changes:
            data["changes"] = list(self.changes)
        if self.options:
            data["options"] = dict(self.options)
        if self.reason is not None:
            data["reason"] = self.reason
        return data
