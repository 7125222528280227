"""Checks of single fields of a body that an application sent; the first wrong one is refused with Discord's 50035.

Every function takes the value and its dotted path and returns the value in its checked type.
Refuses to know any object: which fields exist is said by `components`, `bodies` and `replies`.
"""

from collections.abc import Collection
from typing import Any

from discordsim.world import errors
from discordsim.world.payloads import Json


def mapping(value: Any, path: str, *, known: Collection[str] | None = None) -> Json:
    """Return a JSON object; with `known`, other keys are refused."""
    if not isinstance(value, dict):
        raise errors.invalid(path, "MODEL_TYPE_CONVERT", "Only dictionaries may be used in this field.")
    strange = sorted(set(value) - set(known)) if known is not None else []
    if strange:
        raise errors.invalid(f"{path}.{strange[0]}", "BASE_TYPE_UNKNOWN_FIELD", "This field is not known here.")
    return value


def sequence(value: Any, path: str, *, low: int = 0, high: int = 1000) -> list[Any]:
    """Return a list of `low` to `high` items; nothing counts as an empty list."""
    if value is None and low == 0:
        return []
    if not isinstance(value, list):
        raise errors.invalid(path, "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
    if not low <= len(value) <= high:
        raise errors.invalid(path, "BASE_TYPE_BAD_LENGTH", f"Must be between {low} and {high} in length.")
    return value


def text(value: Any, path: str, *, low: int = 0, high: int) -> str:
    """Return a text of `low` to `high` characters."""
    if value is None:
        raise errors.invalid(path, "BASE_TYPE_REQUIRED", "This field is required")
    if not isinstance(value, str):
        raise errors.invalid(path, "STRING_TYPE_CONVERT", "Could not interpret the value as string.")
    if not low <= len(value) <= high:
        raise errors.invalid(path, "BASE_TYPE_BAD_LENGTH", f"Must be between {low} and {high} in length.")
    return value


def maybe_text(value: Any, path: str, *, low: int = 0, high: int) -> str | None:
    """Return a text, or None when there is none."""
    return None if value is None else text(value, path, low=low, high=high)


def whole(value: Any, path: str, *, low: int, high: int) -> int:
    """Return a whole number between two bounds."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise errors.invalid(path, "NUMBER_TYPE_COERCE", f'Value "{value}" is not int.')
    if not low <= value <= high:
        raise errors.invalid(path, "NUMBER_TYPE_MAX", f"int value should be between {low} and {high}.")
    return value


def maybe_whole(value: Any, path: str, *, low: int, high: int) -> int | None:
    """Return a whole number, or None when there is none."""
    return None if value is None else whole(value, path, low=low, high=high)


def maybe_flag(value: Any, path: str) -> bool:
    """Return a boolean; nothing is False."""
    if value is None:
        return False
    if not isinstance(value, bool):
        raise errors.invalid(path, "BOOLEAN_TYPE_CONVERT", "Must be either true or false.")
    return value


def one_of(value: Any, path: str, allowed: Collection[int]) -> int:
    """Return a number out of a set."""
    if not isinstance(value, int) or isinstance(value, bool) or value not in allowed:
        listed = ", ".join(str(one) for one in sorted(allowed))
        raise errors.invalid(path, "BASE_TYPE_CHOICES", f"Value must be one of {{{listed}}}.")
    return value


def snowflake(value: Any, path: str) -> int:
    """Return an id sent as text or number."""
    if isinstance(value, bool) or not str(value).isdecimal() or len(str(value)) > 20:
        raise errors.invalid(path, "NUMBER_TYPE_COERCE", f'Value "{value}" is not snowflake.')
    return int(value)


def url(value: Any, path: str, *, schemes: tuple[str, ...] = ("http://", "https://")) -> str:
    """Return an address of at most 2048 characters with one of the schemes."""
    found = text(value, path, low=1, high=2048)
    if not found.startswith(schemes):
        raise errors.invalid(path, "URL_TYPE_INVALID_SCHEME", f"Scheme of {found[:40]!r} must be one of {schemes}.")
    return found
