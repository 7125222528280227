"""Checking bodies against declared forms, with Discord's way of saying what is wrong.

A form is a `msgspec.Struct`; fields that are not sent stay `UNSET`; unknown fields are ignored, as Discord does. Errors are 50035 with
the path of the first wrong field. Refuses to coerce: numbers in strings are only ids and permission bits.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from discordsim.world import errors
from discordsim.world.payloads import Json, unix

Id = Annotated[str, Meta(pattern=r"^\d{1,20}$")] | Annotated[int, Meta(ge=0)]
Bits = Annotated[str, Meta(pattern=r"^\d{1,19}$")] | Annotated[int, Meta(ge=0)]
Name = Annotated[str, Meta(min_length=1, max_length=100)]
Count = Annotated[int, Meta(ge=0)]
F = TypeVar("F", bound=msgspec.Struct)

_PLACE = re.compile(r"^(?P<text>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)
_MISSING = re.compile(r"missing required field `(\w+)`")
_LENGTH = re.compile(r"of length (<=|>=) (\d+)")
_BOUND = re.compile(r"(?:`int`|`float`) (<=|>=|<|>) (-?\d+)")


def parse(body: Any, form: type[F]) -> F:
    """Return the body as a form or raise 50035; an absent body counts as an empty object."""
    try:
        return msgspec.convert({} if body is None else body, form, strict=True)
    except msgspec.ValidationError as error:
        raise _explain(str(error)) from None


def sent(form: msgspec.Struct) -> Json:
    """Return only the fields that were sent, as plain JSON."""
    found = msgspec.to_builtins(form)
    assert isinstance(found, dict)
    return found


def number(value: str | int) -> int:
    """Return an id or permission bits as a number."""
    return int(value)


def numbers(values: Sequence[str | int] | None) -> list[int]:
    """Return several ids as numbers; nothing is no ids."""
    return [int(one) for one in values or ()]


def moment(value: str | None, field: str) -> float | None:
    """Return an ISO 8601 text as unix seconds or raise 50035; no time stays no time."""
    if value is None:
        return None
    try:
        return unix(value)
    except ValueError:
        text = f"Value {value!r} is not a valid ISO8601 timestamp."
        raise errors.invalid(field, "DATE_TIME_TYPE_PARSE", text) from None


def given(value: Any) -> bool:
    """Tell whether a field was sent and is not null."""
    return value is not UNSET and value is not None


def _explain(text: str) -> errors.DiscordError:
    match = _PLACE.match(text)
    assert match is not None
    path = _dotted(match["path"] or "$")
    missing = _MISSING.search(text)
    if missing:
        return errors.invalid(_join(path, missing[1]), "BASE_TYPE_REQUIRED", "This field is required")
    length = _LENGTH.search(text)
    if length:
        return _bad_length(path, length[1], int(length[2]))
    bound = _BOUND.search(text)
    if bound:
        kind = "NUMBER_TYPE_MAX" if bound[1].startswith("<") else "NUMBER_TYPE_MIN"
        return errors.invalid(path or "_", kind, f"int value should be {bound[1]} {bound[2]}.")
    return errors.invalid(path or "_", "BASE_TYPE_BAD_TYPE", match["text"])


def _bad_length(path: str, side: str, limit: int) -> errors.DiscordError:
    if side == "<=":
        return errors.too_long(path, limit)
    return errors.invalid(path, "BASE_TYPE_MIN_LENGTH", f"Must be {limit} or more in length.")


def _dotted(path: str) -> str:
    return re.sub(r"\[(\d+)\]", r".\1", path.removeprefix("$")).replace("[...]", "").strip(".")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


__all__ = ["UNSET", "Bits", "Count", "Id", "Name", "UnsetType", "given", "moment", "number", "numbers", "parse", "sent"]
