"""The first answer to an interaction: its type, and whether that type may answer this kind of interaction.

Refuses to act on an answer; `answering` does.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from discordsim.interactions import bodies, components, forms
from discordsim.interactions.records import InteractionType
from discordsim.world import errors
from discordsim.world.payloads import Json


class ReplyType(IntEnum):
    """Interaction callback types."""

    PONG = 1
    MESSAGE = 4
    DEFERRED_MESSAGE = 5
    DEFERRED_UPDATE = 6
    UPDATE_MESSAGE = 7
    AUTOCOMPLETE = 8
    MODAL = 9


_COMMAND = {ReplyType.MESSAGE, ReplyType.DEFERRED_MESSAGE, ReplyType.MODAL}
_ALLOWED: dict[InteractionType, set[ReplyType]] = {
    InteractionType.PING: {ReplyType.PONG},
    InteractionType.COMMAND: _COMMAND,
    InteractionType.COMPONENT: _COMMAND | {ReplyType.DEFERRED_UPDATE, ReplyType.UPDATE_MESSAGE},
    InteractionType.AUTOCOMPLETE: {ReplyType.AUTOCOMPLETE},
    InteractionType.MODAL_SUBMIT: {ReplyType.MESSAGE, ReplyType.DEFERRED_MESSAGE},
}


@dataclass(frozen=True, slots=True)
class Reply:
    """A checked answer; `data` is the raw object for messages, the modal, or the choices under `choices`."""

    type: ReplyType
    data: Json


def parse(value: Any, *, asked: InteractionType, from_message: bool) -> Reply:
    """Return the checked answer or raise 50035. `from_message`: a modal opened by a component may also update its message."""
    body = forms.mapping(value, "body", known=("type", "data"))
    allowed = set(_ALLOWED[asked])
    if asked is InteractionType.MODAL_SUBMIT and from_message:
        allowed |= {ReplyType.DEFERRED_UPDATE, ReplyType.UPDATE_MESSAGE}
    kind = ReplyType(forms.one_of(body.get("type"), "type", {int(one) for one in allowed}))
    data = forms.mapping(body["data"] if body.get("data") is not None else {}, "data")
    if kind is ReplyType.MODAL:
        _check_modal(data)
    elif kind is ReplyType.AUTOCOMPLETE:
        _check_choices(data)
    elif kind is ReplyType.DEFERRED_MESSAGE:
        bodies.check_flags(data.get("flags"), "data.flags")
    elif kind is ReplyType.MESSAGE:
        bodies.parse_draft(data, attachments=[])
    return Reply(kind, data)


def _check_modal(data: Json) -> None:
    forms.mapping(data, "data", known=("custom_id", "title", "components", "flags"))
    forms.text(data.get("custom_id"), "data.custom_id", low=1, high=100)
    forms.text(data.get("title"), "data.title", low=1, high=45)
    components.check_modal(data.get("components"))


def _check_choices(data: Json) -> None:
    forms.mapping(data, "data", known=("choices",))
    if not isinstance(data.get("choices"), list):
        raise errors.invalid("data.choices", "BASE_TYPE_REQUIRED", "This field is required")
    for index, one in enumerate(forms.sequence(data["choices"], "data.choices", high=25)):
        choice = forms.mapping(one, f"data.choices.{index}", known=("name", "value", "name_localizations"))
        forms.text(choice.get("name"), f"data.choices.{index}.name", low=1, high=100)
        if isinstance(choice.get("value"), str):
            forms.text(choice["value"], f"data.choices.{index}.value", low=0, high=100)
        elif isinstance(choice.get("value"), bool) or not isinstance(choice.get("value"), int | float):
            raise errors.invalid(f"data.choices.{index}.value", "BASE_TYPE_REQUIRED", "A text or a number is required.")
