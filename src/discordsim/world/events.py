"""What the world tells its listeners: one `Dispatch` per gateway event, with the facts needed to decide who may get it.

A listener runs inside the change that caused the event: it must be quick. Deletions of threads and guild members are told before the
thing leaves the world, so that a listener can still ask who could see it.
"""

from dataclasses import dataclass
from enum import IntFlag

from discordsim.world.payloads import Json


class Intent(IntFlag):
    """Gateway intents."""

    GUILDS = 1 << 0
    GUILD_MEMBERS = 1 << 1
    GUILD_MODERATION = 1 << 2
    GUILD_EXPRESSIONS = 1 << 3
    GUILD_INTEGRATIONS = 1 << 4
    GUILD_WEBHOOKS = 1 << 5
    GUILD_INVITES = 1 << 6
    GUILD_VOICE_STATES = 1 << 7
    GUILD_PRESENCES = 1 << 8
    GUILD_MESSAGES = 1 << 9
    GUILD_MESSAGE_REACTIONS = 1 << 10
    GUILD_MESSAGE_TYPING = 1 << 11
    DIRECT_MESSAGES = 1 << 12
    DIRECT_MESSAGE_REACTIONS = 1 << 13
    DIRECT_MESSAGE_TYPING = 1 << 14
    MESSAGE_CONTENT = 1 << 15
    GUILD_SCHEDULED_EVENTS = 1 << 16
    AUTO_MODERATION_CONFIGURATION = 1 << 20
    AUTO_MODERATION_EXECUTION = 1 << 21
    GUILD_MESSAGE_POLLS = 1 << 24
    DIRECT_MESSAGE_POLLS = 1 << 25


@dataclass(frozen=True, slots=True)
class Dispatch:
    """One gateway event before it has a sequence number.

    `intents`: the receiver needs any of these bits; 0 means everybody. `user_id`: only for this user. `permission`: the
    receiver needs these bits in the guild. `channel_id`: the receiver must be able to see this channel or thread.
    """

    guild_id: int | None
    name: str
    data: Json
    intents: int = 0
    user_id: int | None = None
    permission: int | None = None
    channel_id: int | None = None


def without_content(data: Json, recipient_id: int) -> Json:
    """Return a message payload as an application without the MESSAGE_CONTENT intent gets it.

    Own messages, direct messages and messages that mention the recipient stay whole.
    """
    if "guild_id" not in data or data["author"]["id"] == str(recipient_id):
        return data
    if any(user["id"] == str(recipient_id) for user in data["mentions"]):
        return data
    stripped = {**data, "content": "", "embeds": [], "attachments": [], "components": []}
    stripped.pop("poll", None)
    if stripped.get("referenced_message"):
        inner = {**stripped["referenced_message"], "guild_id": data["guild_id"]}
        stripped["referenced_message"] = without_content(inner, recipient_id)
        stripped["referenced_message"].pop("guild_id")
    if "message_snapshots" in stripped:
        stripped["message_snapshots"] = [_bare_snapshot(shot) for shot in stripped["message_snapshots"]]
    return stripped


def _bare_snapshot(snapshot: Json) -> Json:
    bare = {"content": "", "embeds": [], "attachments": [], "components": []}
    return {**snapshot, "message": {**snapshot["message"], **bare}}
