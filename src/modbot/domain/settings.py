"""The settings of a guild: one schema for Discord, the portal and the CLI."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from modbot.domain.permissions import Permission


class SettingKind(StrEnum):
    """What a value stands for; `channel` and `role` values are snowflakes as text."""

    CHANNEL = "channel"
    ROLE = "role"


@dataclass(frozen=True, slots=True)
class SettingSpec:
    """One setting: its name, what it is for, and what modbot needs where it points to."""

    name: str
    kind: SettingKind
    title: str
    description: str
    needs: tuple[Permission, ...] = ()
    private: bool = False
    """Whether a channel must be hidden from members."""


MODERATOR_ROLE = SettingSpec(
    "moderator_role", SettingKind.ROLE, "Moderator role", "Holders may use modbot's moderator commands and buttons."
)
MOD_LOG = SettingSpec(
    "mod_log",
    SettingKind.CHANNEL,
    "Mod log",
    "The channel that gets one line per report and holds a thread per reported user.",
    (
        Permission.VIEW_CHANNEL,
        Permission.SEND_MESSAGES,
        Permission.CREATE_PUBLIC_THREADS,
        Permission.SEND_MESSAGES_IN_THREADS,
        Permission.READ_MESSAGE_HISTORY,
        Permission.ATTACH_FILES,
    ),
    private=True,
)
ALL = (MODERATOR_ROLE, MOD_LOG)
