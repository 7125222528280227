"""The actions on a member and their words."""

from __future__ import annotations

from enum import StrEnum

TIMEOUT_CHOICES: tuple[tuple[str, str], ...] = (
    ("3600", "1 hour"),
    ("21600", "6 hours"),
    ("72000", "20 hours"),
    ("259200", "3 days"),
    ("604800", "7 days"),
    ("2419200", "28 days"),
)
DEFAULT_TIMEOUT = 72_000
LONGEST_TIMEOUT = 2_419_200
WEEK = 604_800


class ActionKind(StrEnum):
    """What can be done to a member."""

    KICK = "kick"
    BAN = "ban"
    BAN_DELETE = "ban_delete"
    TIMEOUT = "timeout"


_TITLE = 45  # what Discord takes
_TITLES = {
    ActionKind.KICK: "Kick {name}?",
    ActionKind.BAN: "Ban {name}?",
    ActionKind.BAN_DELETE: "Ban {name} and delete 7 days?",
    ActionKind.TIMEOUT: "Time out {name}?",
}


def title(kind: ActionKind, name: str) -> str:
    """Ask about an action in at most 45 characters; a long name is cut."""
    template = _TITLES[kind]
    room = _TITLE - len(template.format(name=""))
    return template.format(name=name if len(name) <= room else f"{name[: room - 1]}…")


def past(kind: ActionKind, seconds: int | None) -> str:
    """Say what was done, to stand after the word was."""
    match kind:
        case ActionKind.KICK:
            return "kicked"
        case ActionKind.BAN:
            return "banned"
        case ActionKind.BAN_DELETE:
            return "banned, and their messages of the last 7 days were deleted"
        case ActionKind.TIMEOUT:
            return f"timed out for {duration(seconds or DEFAULT_TIMEOUT)}"


def duration(seconds: int) -> str:
    """Say a duration in its largest whole unit."""
    for size, word in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size and seconds % size == 0:
            number = seconds // size
            return f"{number} {word}{'' if number == 1 else 's'}"
    return f"{seconds} seconds"
