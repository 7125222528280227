"""AutoMod rules as a guild keeps them."""

from dataclasses import dataclass, field
from enum import IntEnum

from discordsim.world.payloads import Json, text_ids


class TriggerType(IntEnum):
    """What makes a rule look at a message."""

    KEYWORD = 1
    SPAM = 3
    KEYWORD_PRESET = 4
    MENTION_SPAM = 5
    MEMBER_PROFILE = 6


class ActionType(IntEnum):
    """What a matching rule does."""

    BLOCK_MESSAGE = 1
    SEND_ALERT_MESSAGE = 2
    TIMEOUT = 3
    BLOCK_MEMBER_INTERACTION = 4


_DEFAULTS: dict[TriggerType, Json] = {
    TriggerType.KEYWORD: {"keyword_filter": [], "regex_patterns": [], "allow_list": []},
    TriggerType.KEYWORD_PRESET: {"presets": [], "allow_list": []},
    TriggerType.MENTION_SPAM: {"mention_total_limit": 20, "mention_raid_protection_enabled": False},
    TriggerType.MEMBER_PROFILE: {"keyword_filter": [], "regex_patterns": [], "allow_list": []},
}


@dataclass(slots=True)
class AutoModRule:
    """One rule; `actions` are Discord's action objects, `trigger_metadata` is Discord's object."""

    id: int
    guild_id: int
    name: str
    creator_id: int
    trigger_type: TriggerType
    event_type: int = 1
    trigger_metadata: Json = field(default_factory=dict)
    actions: list[Json] = field(default_factory=list)
    enabled: bool = False
    exempt_roles: list[int] = field(default_factory=list)
    exempt_channels: list[int] = field(default_factory=list)

    def payload(self) -> Json:
        """Return the auto moderation rule object."""
        return {
            "id": str(self.id),
            "guild_id": str(self.guild_id),
            "name": self.name,
            "creator_id": str(self.creator_id),
            "event_type": self.event_type,
            "trigger_type": int(self.trigger_type),
            "trigger_metadata": _DEFAULTS.get(self.trigger_type, {}) | self.trigger_metadata,
            "actions": list(self.actions),
            "enabled": self.enabled,
            "exempt_roles": text_ids(self.exempt_roles),
            "exempt_channels": text_ids(self.exempt_channels),
        }
