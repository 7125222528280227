"""Anonymous interactions that arrive as dispatches lose their identity (product rule 5)."""

from __future__ import annotations

from typing import Any

import msgspec

from modbot.discord import events, interactions
from modbot.discord.frames import Dispatch
from modbot.discord.intake import Batch
from modbot.domain.offsets import Offset
from modbot.features import all_features
from modbot.services.gateway.anonymising import anonymised
from modbot.shard.registry import Registry

MEMBER = 777_000_000_000_000_777
KEY = bytes(range(32))
OFFSET = Offset(session_id="s", resume_url="ws://127.0.0.1", seq=1)


def dispatch(name: str, kind: int) -> Dispatch:
    body: dict[str, Any] = {
        "id": "5",
        "application_id": "1",
        "type": 2,
        "token": "t",
        "guild_id": "9",
        "channel_id": "8",
        "data": {"id": "4", "name": name, "type": kind, "target_id": "3"},
        "member": {"user": {"id": str(MEMBER), "username": "somebody"}, "roles": [], "permissions": "0"},
    }
    raw = msgspec.json.encode(body)
    assert events.TYPES["INTERACTION_CREATE"] is interactions.Interaction
    return Dispatch(seq=1, name="INTERACTION_CREATE", data=interactions.decode(raw), raw=msgspec.Raw(raw))


def change(item: Dispatch) -> Dispatch:
    (changed,) = anonymised(Batch(items=(item,), offset=OFFSET), Registry(all_features()), lambda: KEY).items
    assert isinstance(changed, Dispatch)
    return changed


def test_who_reports_is_replaced() -> None:
    changed = change(dispatch("Report", 3))
    assert isinstance(changed.data, interactions.Interaction)
    assert changed.data.invoker is not None
    assert changed.data.invoker.id not in {0, MEMBER}
    assert str(MEMBER).encode() not in bytes(changed.raw)
    assert "somebody" not in repr(changed)


def test_who_tracks_is_not() -> None:
    item = dispatch("Track", 3)
    assert change(item) is item
