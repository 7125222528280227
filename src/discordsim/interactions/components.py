"""The rules of message and modal components: which may stand where, their fields, and the limits over the whole tree.

Refuses to change anything; raises 50035 with the path of the first component that Discord would refuse.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Any

from discordsim.interactions import forms
from discordsim.world import drafts, errors
from discordsim.world.payloads import Json

MAX_COMPONENTS = 40
MAX_TEXT = 4000
MAX_ROWS = 5


class Kind(IntEnum):
    """Component types."""

    ACTION_ROW = 1
    BUTTON = 2
    STRING_SELECT = 3
    TEXT_INPUT = 4
    USER_SELECT = 5
    ROLE_SELECT = 6
    MENTIONABLE_SELECT = 7
    CHANNEL_SELECT = 8
    SECTION = 9
    TEXT_DISPLAY = 10
    THUMBNAIL = 11
    MEDIA_GALLERY = 12
    FILE = 13
    SEPARATOR = 14
    CONTAINER = 17
    LABEL = 18
    RADIO_GROUP = 21
    CHECKBOX_GROUP = 22
    CHECKBOX = 23


SELECTS = frozenset(
    {Kind.STRING_SELECT, Kind.USER_SELECT, Kind.ROLE_SELECT, Kind.MENTIONABLE_SELECT, Kind.CHANNEL_SELECT}
)
CHOICES = frozenset({Kind.RADIO_GROUP, Kind.CHECKBOX_GROUP})
_IN_CONTAINER = frozenset(
    {Kind.ACTION_ROW, Kind.TEXT_DISPLAY, Kind.SECTION, Kind.MEDIA_GALLERY, Kind.SEPARATOR, Kind.FILE}
)
_TOP_V2 = _IN_CONTAINER | {Kind.CONTAINER}
_TOP_MODAL = frozenset({Kind.ACTION_ROW, Kind.LABEL, Kind.TEXT_DISPLAY})
_IN_LABEL = SELECTS | CHOICES | {Kind.TEXT_INPUT, Kind.CHECKBOX}
_BUTTON_LINK, _BUTTON_PREMIUM = 5, 6


def check_message(value: Any, *, v2: bool) -> list[Json]:
    """Return the components of a message or raise 50035: legacy rows only, unless the message carries IS_COMPONENTS_V2."""
    if v2:
        found = _children(value, "components", _TOP_V2, low=1, high=MAX_COMPONENTS)
    else:
        found = _children(value, "components", frozenset({Kind.ACTION_ROW}), high=MAX_ROWS)
    _check_tree(found)
    return found


def check_modal(value: Any) -> list[Json]:
    """Return the one to five components of a modal or raise 50035."""
    found = _children(value, "data.components", _TOP_MODAL, low=1, high=MAX_ROWS, modal=True)
    _check_tree(found)
    return found


def _check_tree(found: list[Json]) -> None:
    every = list(drafts.walk(found))
    if len(every) > MAX_COMPONENTS:
        raise errors.invalid("components", "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {MAX_COMPONENTS} in length.")
    for key, code in (("custom_id", "COMPONENT_CUSTOM_ID_DUPLICATED"), ("id", "COMPONENT_ID_DUPLICATED")):
        seen: set[Any] = set()
        for one in every:
            if one.get(key) and one[key] in seen:
                raise errors.invalid(f"components.{key}", code, f"Component {key} cannot be duplicated: {one[key]}")
            seen.add(one.get(key))
    if sum(len(one["content"]) for one in every if one["type"] == Kind.TEXT_DISPLAY) > MAX_TEXT:
        raise errors.invalid(
            "components", "COMPONENT_DISPLAYABLE_TEXT_SIZE_EXCEEDED", f"Texts exceed {MAX_TEXT} characters."
        )


def _children(
    value: Any, path: str, allowed: frozenset[Kind], *, low: int = 0, high: int, modal: bool = False
) -> list[Json]:
    found = forms.sequence(value, path, low=low, high=high)
    for index, one in enumerate(found):
        _check(one, f"{path}.{index}", allowed, modal=modal)
    return found


def _check(value: Any, path: str, allowed: frozenset[Kind], *, modal: bool = False) -> None:
    component = forms.mapping(value, path)
    kind = Kind(forms.one_of(component.get("type"), f"{path}.type", allowed))
    forms.maybe_whole(component.get("id"), f"{path}.id", low=0, high=2**31 - 1)
    if kind is Kind.ACTION_ROW:
        _check_row(component, path, modal=modal)
    elif kind in SELECTS:
        _check_select(component, path, kind)
    elif kind in CHOICES:
        _check_choices(component, path, kind)
    else:
        _CHECKS[kind](component, path)


def _check_row(row: Json, path: str, *, modal: bool) -> None:
    if modal:
        _children(row.get("components"), f"{path}.components", frozenset({Kind.TEXT_INPUT}), low=1, high=1, modal=True)
        forms.text(row["components"][0].get("label"), f"{path}.components.0.label", low=1, high=45)
        return
    found = forms.sequence(row.get("components"), f"{path}.components", low=1, high=5)
    kinds = {one.get("type") for one in found if isinstance(one, dict)}
    if kinds & SELECTS:
        _children(found, f"{path}.components", SELECTS, low=1, high=1)
    else:
        _children(found, f"{path}.components", frozenset({Kind.BUTTON}), low=1, high=5)


def _check_button(button: Json, path: str) -> None:
    style = forms.one_of(button.get("style"), f"{path}.style", range(1, 7))
    forms.maybe_text(button.get("label"), f"{path}.label", high=80)
    forms.maybe_flag(button.get("disabled"), f"{path}.disabled")
    if style == _BUTTON_LINK:
        forms.url(button.get("url"), f"{path}.url", schemes=("http://", "https://", "discord://"))
    elif style != _BUTTON_PREMIUM:
        _check_custom_id(button, path)
    if style != _BUTTON_PREMIUM and not button.get("label") and not button.get("emoji"):
        raise errors.invalid(path, "BUTTON_COMPONENT_MISSING_LABEL_OR_EMOJI", "A button must have a label or emoji.")
    if style in {_BUTTON_LINK, _BUTTON_PREMIUM} and button.get("custom_id"):
        raise errors.invalid(path, "BUTTON_COMPONENT_CUSTOM_ID_URL_MUTUALLY_EXCLUSIVE", "No custom id here.")


def _check_custom_id(component: Json, path: str) -> None:
    forms.text(component.get("custom_id"), f"{path}.custom_id", low=1, high=100)


def _check_select(select: Json, path: str, kind: Kind) -> None:
    _check_custom_id(select, path)
    forms.maybe_text(select.get("placeholder"), f"{path}.placeholder", high=150)
    low = forms.maybe_whole(select.get("min_values"), f"{path}.min_values", low=0, high=25)
    high = forms.maybe_whole(select.get("max_values"), f"{path}.max_values", low=1, high=25)
    forms.maybe_flag(select.get("required"), f"{path}.required")
    if (1 if high is None else high) < (1 if low is None else low):
        raise errors.invalid(f"{path}.max_values", "SELECT_COMPONENT_MAX_BELOW_MIN", "Must not be below min_values.")
    if kind is Kind.STRING_SELECT:
        _check_options(select, path, low=1, high=25)
    elif select.get("options"):
        raise errors.invalid(f"{path}.options", "BASE_TYPE_UNKNOWN_FIELD", "Only string selects have options.")


def _check_choices(group: Json, path: str, kind: Kind) -> None:
    _check_custom_id(group, path)
    _check_options(group, path, low=2 if kind is Kind.RADIO_GROUP else 1, high=10)


def _check_options(holder: Json, path: str, *, low: int, high: int) -> None:
    found = forms.sequence(holder.get("options"), f"{path}.options", low=low, high=high)
    values: set[str] = set()
    for index, one in enumerate(found):
        place = f"{path}.options.{index}"
        option = forms.mapping(one, place)
        forms.text(option.get("label"), f"{place}.label", low=1, high=100)
        forms.maybe_text(option.get("description"), f"{place}.description", high=100)
        value = forms.text(option.get("value"), f"{place}.value", low=1, high=100)
        if value in values:
            raise errors.invalid(f"{place}.value", "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED", f"Duplicated: {value}")
        values.add(value)


def _check_text_input(field: Json, path: str) -> None:
    _check_custom_id(field, path)
    forms.one_of(field.get("style"), f"{path}.style", {1, 2})
    forms.maybe_text(field.get("label"), f"{path}.label", low=1, high=45)
    forms.maybe_text(field.get("placeholder"), f"{path}.placeholder", high=100)
    low = forms.maybe_whole(field.get("min_length"), f"{path}.min_length", low=0, high=4000)
    high = forms.maybe_whole(field.get("max_length"), f"{path}.max_length", low=1, high=4000)
    forms.maybe_text(field.get("value"), f"{path}.value", low=0, high=high or 4000)
    forms.maybe_flag(field.get("required"), f"{path}.required")
    if (low or 0) > (high or 4000):
        raise errors.invalid(f"{path}.max_length", "NUMBER_TYPE_MIN", "Must not be below min_length.")


def _check_label(label: Json, path: str) -> None:
    forms.text(label.get("label"), f"{path}.label", low=1, high=45)
    forms.maybe_text(label.get("description"), f"{path}.description", high=100)
    _check(label.get("component"), f"{path}.component", _IN_LABEL, modal=True)
    if label["component"].get("label"):
        raise errors.invalid(f"{path}.component.label", "BASE_TYPE_UNKNOWN_FIELD", "The label component has the label.")


def _check_section(section: Json, path: str) -> None:
    _children(section.get("components"), f"{path}.components", frozenset({Kind.TEXT_DISPLAY}), low=1, high=3)
    _check(section.get("accessory"), f"{path}.accessory", frozenset({Kind.BUTTON, Kind.THUMBNAIL}))


def _check_text_display(display: Json, path: str) -> None:
    forms.text(display.get("content"), f"{path}.content", low=1, high=MAX_TEXT)


def _check_media(item: Any, path: str) -> None:
    media = forms.mapping(forms.mapping(item, path).get("media"), f"{path}.media")
    forms.url(media.get("url"), f"{path}.media.url", schemes=("http://", "https://", "attachment://"))
    forms.maybe_text(item.get("description"), f"{path}.description", high=1024)


def _check_gallery(gallery: Json, path: str) -> None:
    for index, item in enumerate(forms.sequence(gallery.get("items"), f"{path}.items", low=1, high=10)):
        _check_media(item, f"{path}.items.{index}")


def _check_file(holder: Json, path: str) -> None:
    media = forms.mapping(holder.get("file"), f"{path}.file")
    forms.url(media.get("url"), f"{path}.file.url", schemes=("attachment://",))


def _check_separator(separator: Json, path: str) -> None:
    if separator.get("spacing") is not None:
        forms.one_of(separator["spacing"], f"{path}.spacing", {1, 2})


def _check_container(container: Json, path: str) -> None:
    _children(container.get("components"), f"{path}.components", _IN_CONTAINER, low=1, high=MAX_COMPONENTS)
    forms.maybe_whole(container.get("accent_color"), f"{path}.accent_color", low=0, high=0xFFFFFF)


_CHECKS: dict[Kind, Callable[[Json, str], None]] = {
    Kind.BUTTON: _check_button,
    Kind.TEXT_INPUT: _check_text_input,
    Kind.SECTION: _check_section,
    Kind.TEXT_DISPLAY: _check_text_display,
    Kind.THUMBNAIL: _check_media,
    Kind.MEDIA_GALLERY: _check_gallery,
    Kind.FILE: _check_file,
    Kind.SEPARATOR: _check_separator,
    Kind.CONTAINER: _check_container,
    Kind.LABEL: _check_label,
    Kind.CHECKBOX: _check_custom_id,
}
