"""What a handler answers to an interaction, and how that becomes Discord's JSON.

`Reply` and `Update` say something now; `Later` promises that an effect completes the answer; `Modal` is a form. Nothing that is
quoted from a user pings: `allowed_mentions` is empty unless a reply names whom it means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from modbot.discord.interactions import ResponseType
from modbot.shard.feature import Deferral

EPHEMERAL = 1 << 6
COMPONENTS_V2 = 1 << 15
_MODAL_TITLE = 45


@dataclass(frozen=True, slots=True)
class Reply:
    """A message as an answer; with Components V2, `components` hold the text as well."""

    content: str = ""
    components: tuple[dict[str, Any], ...] = ()
    ephemeral: bool = True
    v2: bool = False


@dataclass(frozen=True, slots=True)
class Update:
    """The message of the pressed button changes."""

    content: str | None = None
    components: tuple[dict[str, Any], ...] = ()
    v2: bool = False


@dataclass(frozen=True, slots=True)
class Later:
    """The deferral that the command declares; an effect with the interaction's token completes it."""


@dataclass(frozen=True, slots=True)
class Modal:
    """A form. `fields` are label components, at most five."""

    custom_id: str
    title: str
    fields: tuple[dict[str, Any], ...]


Response = Reply | Update | Later | Modal


def encode(response: Response, deferral: Deferral) -> bytes:
    """Return the JSON of an initial response."""
    match response:
        case Later():
            return deferred(deferral)
        case Reply():
            kind, data = ResponseType.MESSAGE, message_data(response)
        case Update():
            kind, data = ResponseType.UPDATE, message_data(response)
        case Modal():
            kind, data = ResponseType.MODAL, _modal_data(response)
    return msgspec.json.encode({"type": int(kind), "data": data})


def deferred(deferral: Deferral) -> bytes:
    """Return the JSON of the declared deferral."""
    if deferral is Deferral.UPDATE:
        return msgspec.json.encode({"type": int(ResponseType.DEFERRED_UPDATE)})
    flags = EPHEMERAL if deferral is Deferral.EPHEMERAL else 0
    return msgspec.json.encode({"type": int(ResponseType.DEFERRED_MESSAGE), "data": {"flags": flags}})


def message_data(response: Reply | Update) -> dict[str, Any]:
    """Return the message body of a reply, as the callback and the follow-up endpoints take it."""
    data: dict[str, Any] = {"allowed_mentions": {"parse": []}}
    flags = COMPONENTS_V2 if response.v2 else 0
    if isinstance(response, Reply) and response.ephemeral:
        flags |= EPHEMERAL
    if flags:
        data["flags"] = flags
    if response.content is not None and not response.v2:
        data["content"] = response.content
    if response.components or isinstance(response, Update):
        data["components"] = list(response.components)
    return data


def _modal_data(modal: Modal) -> dict[str, Any]:
    return {"custom_id": modal.custom_id, "title": modal.title[:_MODAL_TITLE], "components": list(modal.fields)}


def text_input(
    custom_id: str,
    label: str,
    *,
    required: bool = False,
    paragraph: bool = True,
    max_length: int = 1000,
    description: str = "",
) -> dict[str, Any]:
    """Build a labelled text field of a modal."""
    field = {
        "type": 4,
        "custom_id": custom_id,
        "style": 2 if paragraph else 1,
        "required": required,
        "max_length": max_length,
    }
    return _label(label, description, field)


def select(
    custom_id: str,
    label: str,
    options: tuple[tuple[str, str], ...],
    *,
    required: bool = False,
    description: str = "",
    chosen: str = "",
) -> dict[str, Any]:
    """Build a labelled select menu of a modal from (value, label) pairs; `chosen` is selected from the start."""
    choices = [{"value": value, "label": text, "default": value == chosen} for value, text in options]
    field = {"type": 3, "custom_id": custom_id, "options": choices, "required": required, "min_values": int(required)}
    return _label(label, description, field)


def _label(label: str, description: str, component: dict[str, Any]) -> dict[str, Any]:
    labelled: dict[str, Any] = {"type": 18, "label": label, "component": component}
    if description:
        labelled["description"] = description
    return labelled
