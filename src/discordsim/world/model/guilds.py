"""Guilds with their roles, members, emojis and bans."""

from dataclasses import dataclass, field

from discordsim.world.model.channels import Channel
from discordsim.world.model.logs import AuditLogEntry
from discordsim.world.model.rules import AutoModRule
from discordsim.world.model.users import User
from discordsim.world.payloads import Json, iso, iso_or_none, text_id, text_ids


@dataclass(slots=True)
class Role:
    """One role; the role with the guild's id is @everyone."""

    id: int
    name: str
    permissions: int = 0
    position: int = 0
    color: int = 0
    hoist: bool = False
    managed: bool = False
    mentionable: bool = False
    bot_id: int | None = None

    def payload(self) -> Json:
        """Return the role object."""
        data: Json = {
            "id": str(self.id),
            "name": self.name,
            "permissions": str(int(self.permissions)),
            "position": self.position,
            "color": self.color,
            "colors": {"primary_color": self.color, "secondary_color": None, "tertiary_color": None},
            "hoist": self.hoist,
            "managed": self.managed,
            "mentionable": self.mentionable,
            "icon": None,
            "unicode_emoji": None,
            "flags": 0,
        }
        if self.bot_id is not None:
            data["tags"] = {"bot_id": str(self.bot_id)}
        return data


@dataclass(slots=True)
class Member:
    """A user in a guild; `roles` never names @everyone. Times in unix seconds."""

    user: User
    joined_at: float
    roles: list[int] = field(default_factory=list)
    nick: str | None = None
    communication_disabled_until: float | None = None
    flags: int = 0
    pending: bool = False
    deaf: bool = False
    mute: bool = False
    premium_since: float | None = None

    def payload(self, *, with_user: bool = True) -> Json:
        """Return the member object; messages carry it without the user."""
        data: Json = {
            "roles": text_ids(self.roles),
            "nick": self.nick,
            "avatar": None,
            "banner": None,
            "joined_at": iso(self.joined_at),
            "premium_since": iso_or_none(self.premium_since),
            "communication_disabled_until": iso_or_none(self.communication_disabled_until),
            "flags": self.flags,
            "pending": self.pending,
            "deaf": self.deaf,
            "mute": self.mute,
        }
        if with_user:
            data["user"] = self.user.payload()
        return data


@dataclass(slots=True)
class Emoji:
    """A custom emoji of a guild."""

    id: int
    name: str
    animated: bool = False

    def payload(self) -> Json:
        """Return the emoji object."""
        flags = {"require_colons": True, "managed": False, "animated": self.animated, "available": True}
        return {"id": str(self.id), "name": self.name, "roles": [], **flags}


@dataclass(slots=True)
class Ban:
    """A user who may not come back."""

    user: User
    reason: str | None = None

    def payload(self) -> Json:
        """Return the ban object."""
        return {"reason": self.reason, "user": self.user.payload()}


@dataclass(slots=True)
class Guild:
    """One guild. `unlisted_members` counts members that exist in number only, so that a small world can play a large one."""

    id: int
    name: str
    owner_id: int
    description: str | None = None
    verification_level: int = 1
    default_message_notifications: int = 1
    explicit_content_filter: int = 0
    preferred_locale: str = "en-US"
    features: list[str] = field(default_factory=list)
    system_channel_id: int | None = None
    rules_channel_id: int | None = None
    public_updates_channel_id: int | None = None
    afk_channel_id: int | None = None
    afk_timeout: int = 300
    nsfw_level: int = 0
    mfa_level: int = 0
    unlisted_members: int = 0
    unavailable: bool = False
    roles: dict[int, Role] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    threads: dict[int, Channel] = field(default_factory=dict)
    members: dict[int, Member] = field(default_factory=dict)
    emojis: dict[int, Emoji] = field(default_factory=dict)
    bans: dict[int, Ban] = field(default_factory=dict)
    audit_log: list[AuditLogEntry] = field(default_factory=list)
    rules: dict[int, AutoModRule] = field(default_factory=dict)

    @property
    def member_count(self) -> int:
        """Return the number of members, the unlisted ones included."""
        return len(self.members) + self.unlisted_members

    def payload(self) -> Json:
        """Return the guild object as REST and GUILD_UPDATE give it."""
        unset = (
            "icon icon_hash banner splash discovery_splash home_header application_id widget_channel_id "
            "vanity_url_code safety_alerts_channel_id incidents_data max_presences latest_onboarding_question_id hub_type"
        )
        return dict.fromkeys(unset.split()) | {
            "id": str(self.id),
            "name": self.name,
            "description": self.description,
            "owner_id": str(self.owner_id),
            "region": "deprecated",
            "features": list(self.features),
            "verification_level": self.verification_level,
            "default_message_notifications": self.default_message_notifications,
            "explicit_content_filter": self.explicit_content_filter,
            "mfa_level": self.mfa_level,
            "nsfw": False,
            "nsfw_level": self.nsfw_level,
            "preferred_locale": self.preferred_locale,
            "afk_channel_id": text_id(self.afk_channel_id),
            "afk_timeout": self.afk_timeout,
            "system_channel_id": text_id(self.system_channel_id),
            "system_channel_flags": 0,
            "rules_channel_id": text_id(self.rules_channel_id),
            "public_updates_channel_id": text_id(self.public_updates_channel_id),
            "widget_enabled": False,
            "max_members": 500_000,
            "max_video_channel_users": 25,
            "max_stage_video_channel_users": 50,
            "premium_tier": 0,
            "premium_subscription_count": 0,
            "premium_progress_bar_enabled": False,
            "roles": [role.payload() for role in self.roles.values()],
            "emojis": [emoji.payload() for emoji in self.emojis.values()],
            "stickers": [],
        }

    def create_payload(self, recipient_id: int, *, large_threshold: int = 50, with_presences: bool = False) -> Json:
        """Return the GUILD_CREATE data for one bot.

        Members are only the recipient, unless the session has the presences intent and the guild is not large.
        """
        large = self.member_count > large_threshold
        own = self.members[recipient_id]
        members = list(self.members.values()) if with_presences and not large else [own]
        return self.payload() | {
            "joined_at": iso(own.joined_at),
            "large": large,
            "unavailable": False,
            "member_count": self.member_count,
            "members": [member.payload() for member in members],
            "channels": [channel.payload() for channel in self.channels.values()],
            "threads": [
                self._seen_thread(thread, recipient_id)
                for thread in self.threads.values()
                if not thread.state().archived
            ],
            "voice_states": [],
            "presences": [],
            "stage_instances": [],
            "guild_scheduled_events": [],
            "soundboard_sounds": [],
            "embedded_activities": [],
            "activity_instances": [],
            "version": self.id,
        }

    @staticmethod
    def _seen_thread(thread: Channel, recipient_id: int) -> Json:
        data = thread.payload()
        if recipient_id in thread.state().members:
            data["member"] = thread.thread_member(recipient_id)
        return data
