"""Slash command options: values given by a script or a form become the typed, nested `options` of the interaction.

Checks what Discord's client checks before it sends: required options, choices, bounds, kinds. Raises `MisuseError`.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from discordsim.interactions.resolving import MisuseError, Resolved
from discordsim.world.payloads import Json


class OptionType(IntEnum):
    """Command option types."""

    SUB_COMMAND = 1
    SUB_COMMAND_GROUP = 2
    STRING = 3
    INTEGER = 4
    BOOLEAN = 5
    USER = 6
    CHANNEL = 7
    ROLE = 8
    MENTIONABLE = 9
    NUMBER = 10
    ATTACHMENT = 11


_NESTED = frozenset({OptionType.SUB_COMMAND, OptionType.SUB_COMMAND_GROUP})


def build(
    declared: list[Json], path: list[str], given: Mapping[str, Any], resolved: Resolved, *, focused: str | None = None
) -> list[Json]:
    """Return the options for a command whose declared options are given.

    `path` names the sub-command (and its group before it). `focused` marks the option being typed; then required ones may miss.
    """
    nested = [one for one in declared if one["type"] in _NESTED]
    if nested:
        name = path[0] if path else ""
        chosen = next((one for one in nested if one["name"] == name), None)
        if chosen is None:
            raise MisuseError(f"choose a sub-command out of {', '.join(one['name'] for one in nested)}")
        inner = build(chosen.get("options") or [], path[1:], given, resolved, focused=focused)
        return [{"name": name, "type": chosen["type"], "options": inner}]
    if path:
        raise MisuseError(f"there is no sub-command {' '.join(path)}")
    strange = set(given) - {one["name"] for one in declared}
    if strange:
        raise MisuseError(f"unknown options: {', '.join(sorted(strange))}")
    return [built for one in declared if (built := _option(one, given, resolved, focused)) is not None]


def _option(declared: Json, given: Mapping[str, Any], resolved: Resolved, focused: str | None) -> Json | None:
    name, kind = declared["name"], OptionType(declared["type"])
    if given.get(name) is None:
        if declared.get("required") and focused is None:
            raise MisuseError(f"option {name} is required")
        return None
    if focused == name:
        return {"name": name, "type": int(kind), "value": given[name], "focused": True}
    return {"name": name, "type": int(kind), "value": _value(declared, kind, given[name], resolved)}


def _value(declared: Json, kind: OptionType, value: Any, resolved: Resolved) -> Any:
    if kind in {OptionType.STRING, OptionType.INTEGER, OptionType.NUMBER}:
        return _scalar(declared, kind, value)
    if kind is OptionType.BOOLEAN:
        return value if isinstance(value, bool) else str(value).lower() == "true"
    if kind is OptionType.ATTACHMENT:
        resolved.attachment(value)
        return value["id"]
    if not str(value).isdecimal():
        raise MisuseError(f"option {declared['name']} takes an id")
    _RESOLVERS[kind](resolved, int(value))
    return str(value)


_RESOLVERS = {
    OptionType.USER: Resolved.user,
    OptionType.CHANNEL: Resolved.channel,
    OptionType.ROLE: Resolved.role,
    OptionType.MENTIONABLE: Resolved.mentionable,
}


def _scalar(declared: Json, kind: OptionType, value: Any) -> str | int | float:
    name = declared["name"]
    try:
        typed = str(value) if kind is OptionType.STRING else int(value) if kind is OptionType.INTEGER else float(value)
    except (TypeError, ValueError) as error:
        raise MisuseError(f"option {name} takes a number") from error
    size = len(typed) if isinstance(typed, str) else typed
    low, high = ("min_length", "max_length") if kind is OptionType.STRING else ("min_value", "max_value")
    lowest, highest = declared.get(low), declared.get(high)
    if (lowest is not None and size < lowest) or (highest is not None and size > highest):
        raise MisuseError(f"option {name} is out of its bounds")
    choices = [one["value"] for one in declared.get("choices") or []]
    if choices and typed not in choices:
        raise MisuseError(f"option {name} takes one of {choices}")
    return typed
