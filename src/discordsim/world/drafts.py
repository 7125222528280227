"""Checks and small completions of message drafts: limits, mentions, component ids.

Refuses to touch channels or permissions; see `posting`.
"""

import itertools
import re
import zlib
from collections.abc import Iterator

from discordsim.world import errors
from discordsim.world.model.messages import Draft, MessageFlag
from discordsim.world.payloads import Json

MAX_CONTENT = 2000
MAX_EMBEDS = 10
MAX_NONCE = 25
MAX_COMPONENTS_V2 = 40
_ONE_CHOICE: Json = {"min_values": 1, "max_values": 1}
_DEFAULTS: dict[int, Json] = {
    3: _ONE_CHOICE,
    5: _ONE_CHOICE,
    6: _ONE_CHOICE,
    7: _ONE_CHOICE,
    8: _ONE_CHOICE,
    11: {"description": None, "spoiler": False},
    13: {"name": None, "size": None, "spoiler": False},
    14: {"spacing": 1, "divider": True},
    17: {"accent_color": None, "spoiler": False},
}
_USER = re.compile(r"<@!?(\d{1,20})>")
_ROLE = re.compile(r"<@&(\d{1,20})>")
_EVERYONE = re.compile(r"@(everyone|here)\b")


def check(draft: Draft) -> None:
    """Raise 50006 for an empty draft (a deferred answer may wait empty) and 50035 for one that breaks a limit."""
    if len(draft.content) > MAX_CONTENT:
        raise errors.too_long("content", MAX_CONTENT)
    if len(draft.embeds) > MAX_EMBEDS:
        raise errors.invalid("embeds", "BASE_TYPE_MAX_LENGTH", f"Must be {MAX_EMBEDS} or fewer in length.")
    if isinstance(draft.nonce, str) and len(draft.nonce) > MAX_NONCE:
        raise errors.too_long("nonce", MAX_NONCE)
    if draft.flags & MessageFlag.IS_COMPONENTS_V2:
        _check_components_v2(draft)
    parts = (draft.content.strip(), draft.embeds, draft.attachments, draft.components, draft.sticker_items, draft.poll)
    waiting = draft.flags & MessageFlag.LOADING
    if not any(parts) and not is_forward(draft) and not waiting:
        raise errors.named(50006)


def _check_components_v2(draft: Draft) -> None:
    for name in ("content", "embeds", "poll", "sticker_items"):
        if getattr(draft, name):
            text = f"The '{name}' field cannot be used when using MessageFlags.IS_COMPONENTS_V2"
            raise errors.invalid(name, "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2", text)
    if sum(1 for _ in walk(draft.components)) > MAX_COMPONENTS_V2:
        raise errors.invalid(
            "components", "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {MAX_COMPONENTS_V2} in length."
        )


def is_forward(draft: Draft) -> bool:
    """Tell whether the draft forwards another message."""
    return draft.message_reference is not None and draft.message_reference.get("type", 0) == 1


def walk(components: list[Json]) -> Iterator[Json]:
    """Yield every component, parents before children."""
    for component in components:
        yield component
        children = list(component.get("components", []))
        children += [component[key] for key in ("accessory", "component") if component.get(key)]
        yield from walk(children)


def finished_embeds(embeds: list[Json]) -> list[Json]:
    """Return embeds with what Discord fills in: the type, and `inline` of fields."""
    finished = []
    for embed in embeds:
        whole = {"type": "rich", **embed}
        if embed.get("fields"):
            whole["fields"] = [{"inline": False, **one} for one in embed["fields"]]
        finished.append(whole)
    return finished


def number(components: list[Json]) -> list[Json]:
    """Give an `id` to each component that came without one (or with 0), rising in reading order, and the defaults of its kind."""
    taken = {component["id"] for component in walk(components) if component.get("id")}
    free = (candidate for candidate in itertools.count(1) if candidate not in taken)
    for component in walk(components):
        if not component.get("id"):
            component["id"] = next(free)
        _complete(component)
    return components


def _complete(component: Json) -> None:
    """Fill in what Discord adds to a component: defaults of its kind, and where its media are served."""
    defaults = _DEFAULTS.get(component["type"], {})
    component.update({key: value for key, value in defaults.items() if component.get(key) is None})
    for item in component.get("items", []):
        item.update({"description": item.get("description"), "spoiler": bool(item.get("spoiler"))})
    for media in [one.get(key) for one in (component, *component.get("items", [])) for key in ("media", "file")]:
        if media:
            media.setdefault("id", str(zlib.crc32(media["url"].encode())))
            media.setdefault("proxy_url", media["url"])


def mentioned(draft: Draft) -> tuple[list[int], list[int], bool]:
    """Return the user ids, role ids and whether everyone is addressed, after `allowed_mentions`."""
    allowed = draft.allowed_mentions
    users = _ids(_USER, draft, allowed, "users")
    roles = _ids(_ROLE, draft, allowed, "roles")
    everyone = bool(_EVERYONE.search(draft.content)) and (allowed is None or "everyone" in allowed.get("parse", []))
    return users, roles, everyone


def _ids(pattern: re.Pattern[str], draft: Draft, allowed: Json | None, kind: str) -> list[int]:
    found = list(dict.fromkeys(int(text) for text in pattern.findall(draft.content)))
    if allowed is None or kind in allowed.get("parse", []):
        return found
    listed = {int(one) for one in allowed.get(kind) or []}
    return [one for one in found if one in listed]
