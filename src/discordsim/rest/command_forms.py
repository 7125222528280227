"""The rules of application commands: names, descriptions, options, choices, and the 8000 characters of all of them.

Refuses to store anything; see `resources.commands`.
"""

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from discordsim.rest.forms import Bits
from discordsim.world import errors
from discordsim.world.payloads import Json

CHAT_INPUT, USER, MESSAGE = 1, 2, 3
MAX_CHARACTERS = 8000
_NAME = re.compile(r"^[-_'\w]{1,32}$", re.UNICODE)
_SUB, _GROUP = 1, 2
_WITH_CHOICES = frozenset({3, 4, 10})
Description = Annotated[str, Meta(max_length=100)]
CommandName = Annotated[str, Meta(min_length=1, max_length=32)]
Localized = dict[str, Annotated[str, Meta(min_length=1, max_length=100)]] | None


class Choice(msgspec.Struct, omit_defaults=True):
    """One choice of an option."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    value: Annotated[str, Meta(max_length=6000)] | int | float
    name_localizations: Localized = None


class Option(msgspec.Struct, omit_defaults=True):
    """One option, sub-command or group of sub-commands."""

    type: Literal[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    name: CommandName
    description: Annotated[str, Meta(min_length=1, max_length=100)]
    name_localizations: Localized = None
    description_localizations: Localized = None
    required: bool | None = None
    choices: Annotated[list[Choice], Meta(max_length=25)] | None = None
    options: "Annotated[list[Option], Meta(max_length=25)] | None" = None
    channel_types: list[int] | None = None
    min_value: int | float | None = None
    max_value: int | float | None = None
    min_length: Annotated[int, Meta(ge=0, le=6000)] | None = None
    max_length: Annotated[int, Meta(ge=1, le=6000)] | None = None
    autocomplete: bool | None = None


class CommandFields(msgspec.Struct):
    """The body of Edit Application Command."""

    name: CommandName | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    options: Annotated[list[Option], Meta(max_length=25)] | UnsetType | None = UNSET
    name_localizations: Localized | UnsetType = UNSET
    description_localizations: Localized | UnsetType = UNSET
    default_member_permissions: Bits | UnsetType | None = UNSET
    dm_permission: bool | UnsetType | None = UNSET
    nsfw: bool | UnsetType | None = UNSET
    contexts: list[Literal[0, 1, 2]] | UnsetType | None = UNSET
    integration_types: list[Literal[0, 1]] | UnsetType | None = UNSET


class NewCommand(CommandFields, kw_only=True):
    """The body of Create Application Command and one item of an overwrite; `id` keeps a command when it is renamed."""

    name: CommandName
    type: Literal[1, 2, 3] | None = None
    id: Any = None


def check(command: Json, path: str = "") -> None:
    """Raise 50035 unless the finished command object obeys the rules."""
    kind, dot = command["type"], f"{path}." if path else ""
    if kind == CHAT_INPUT:
        _check_name(command["name"], f"{dot}name")
        if not command["description"]:
            raise errors.invalid(f"{dot}description", "BASE_TYPE_REQUIRED", "This field is required")
    elif command["description"] or command.get("options"):
        name = "description" if command["description"] else "options"
        text = "Context menu commands cannot have this field"
        raise errors.invalid(f"{dot}{name}", "APPLICATION_COMMAND_CONTEXT_MENU_FIELD", text)
    _check_options(command.get("options") or [], f"{dot}options", depth=0)
    if _characters(command) > MAX_CHARACTERS:
        text = f"Command exceeds maximum size ({MAX_CHARACTERS})"
        raise errors.invalid(f"{dot}name", "APPLICATION_COMMAND_TOO_LARGE", text)


def _check_name(name: str, path: str) -> None:
    if not _NAME.match(name) or name != name.lower():
        text = "Command name is invalid"
        raise errors.invalid(path, "APPLICATION_COMMAND_INVALID_NAME", text)


def _check_options(options: list[Json], path: str, *, depth: int) -> None:
    seen: set[str] = set()
    optional = False
    nested = {one["type"] in {_SUB, _GROUP} for one in options}
    if len(nested) > 1:
        text = "Sub-command and sub-command group option types are mutually exclusive to all other types"
        raise errors.invalid(path, "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", text)
    for index, option in enumerate(options):
        place = f"{path}.{index}"
        _check_name(option["name"], f"{place}.name")
        if option["name"] in seen:
            text = "Option name must be unique"
            raise errors.invalid(f"{place}.name", "APPLICATION_COMMAND_OPTIONS_NAME_DUPLICATE", text)
        seen.add(option["name"])
        if option.get("required") and optional:
            text = "Required options must be placed before non-required options"
            raise errors.invalid(place, "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", text)
        optional = optional or not option.get("required")
        _check_option(option, place, depth=depth)


def _check_option(option: Json, path: str, *, depth: int) -> None:
    kind = option["type"]
    if kind in {_SUB, _GROUP}:
        if depth >= (1 if kind == _GROUP else 2):
            raise errors.invalid(f"{path}.type", "APPLICATION_COMMAND_OPTIONS_NESTING", "Options are nested too deep")
        _check_options(option.get("options") or [], f"{path}.options", depth=depth + 1)
    elif option.get("options"):
        raise errors.invalid(f"{path}.options", "APPLICATION_COMMAND_OPTIONS_NESTING", "Only sub-commands have options")
    if option.get("choices") and (kind not in _WITH_CHOICES or option.get("autocomplete")):
        text = "Choices are not possible here"
        raise errors.invalid(f"{path}.choices", "APPLICATION_COMMAND_OPTIONS_CHOICES", text)


def _characters(command: Json) -> int:
    texts = [command["name"], command.get("description") or ""]
    texts += [str(choice["value"]) + choice["name"] for choice in command.get("choices") or []]
    return sum(map(len, texts)) + sum(_characters(one) for one in command.get("options") or [])
