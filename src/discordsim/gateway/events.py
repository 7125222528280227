"""A dispatch on its way to sessions: encoded at most once per form, with the ids that identify it in logs.

Two forms exist: whole, and without message content for applications that lack the intent.
"""

from typing import NamedTuple

from discordsim.gateway import frames
from discordsim.world.events import Dispatch, Intent, without_content
from discordsim.world.payloads import Json

_WITH_CONTENT = frozenset({"MESSAGE_CREATE", "MESSAGE_UPDATE"})
_KEYS = ("id", "message_id", "user_id", "role_id", "edited_timestamp", "joined_at", "nonce")
_NESTED = (("user", "id"), ("role", "id"), ("emoji", "name"))


class Event(NamedTuple):
    """One event as a session gets it: `data` is encoded, `key` names what it is about."""

    name: str
    guild_id: int | None
    key: tuple[str, ...]
    data: bytes


def key_of(data: Json) -> tuple[str, ...]:
    """Return the identifying values of a payload, in a fixed order."""
    found = [str(data[name]) for name in _KEYS if data.get(name) is not None]
    for name, inner in _NESTED:
        nested = data.get(name)
        if isinstance(nested, dict) and nested.get(inner) is not None:
            found.append(str(nested[inner]))
    if "ids" in data:
        found.extend(data["ids"])
    return tuple(found)


def made(name: str, data: Json, guild_id: int | None = None) -> Event:
    """Return an event that did not come from the world (READY, RESUMED, chunks)."""
    return Event(name, guild_id, key_of(data), frames.encoded(data))


class Outgoing:
    """A dispatch of the world with its encoded forms, made when first needed."""

    def __init__(self, dispatch: Dispatch) -> None:
        self.dispatch = dispatch
        self._whole: Event | None = None
        self._bare: dict[int, Event] = {}

    def for_session(self, application_id: int, intents: int) -> Event:
        """Return the form that a session with these intents gets."""
        if self.dispatch.name not in _WITH_CONTENT or intents & _MESSAGE_CONTENT:
            return self.whole()
        found = self._bare.get(application_id)
        if found is None:
            data = without_content(self.dispatch.data, application_id)
            found = self._bare[application_id] = self.whole()._replace(data=frames.encoded(data))
        return found

    def whole(self) -> Event:
        """Return the form with everything."""
        if self._whole is None:
            self._whole = made(self.dispatch.name, self.dispatch.data, self.dispatch.guild_id)
        return self._whole


_MESSAGE_CONTENT = int(Intent.MESSAGE_CONTENT)
