"""What stands at the top of a user thread."""

from __future__ import annotations

from typing import Any

from modbot.domain import texts
from modbot.domain.ids import UserId
from modbot.shard.feature import Component
from modbot.shard.responses import COMPONENTS_V2

_BLURPLE = 0x5865F2
_THREAD_NAME = 100


def thread_name(username: str) -> str:
    """Return the name of a user's thread."""
    return texts.cut(f"{username} · history", _THREAD_NAME)


def controls(user_id: UserId, username: str, components: list[Component]) -> dict[str, Any]:
    """Build the message with the moderators' buttons, in rows of the order in which features declare them."""
    rows: dict[int, list[dict[str, Any]]] = {}
    for component in components:
        control = component.control
        if control is not None:
            button = {"type": 2, "style": int(control.style), "label": control.label}
            rows.setdefault(control.row, []).append({**button, "custom_id": component.custom_id(user_id)})
    heading = (
        f"### Moderator controls\n<@{user_id}> ({texts.escape(username)}) · `{user_id}`\n"
        "-# Everything that happens around this member is collected here. Each button asks before it acts."
    )
    inner: list[dict[str, Any]] = [{"type": 10, "content": heading}, {"type": 14, "divider": True, "spacing": 1}]
    inner += [{"type": 1, "components": rows[row]} for row in sorted(rows)]
    return {
        "flags": COMPONENTS_V2,
        "components": [{"type": 17, "accent_color": _BLURPLE, "components": inner}],
        "allowed_mentions": {"parse": []},
    }
