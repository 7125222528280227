"""What a user sends with a filled-in modal: the components of MODAL_SUBMIT in the shape of the modal, checked as the client does.

Fields the user left alone keep their preset value. Raises `MisuseError` for what the client would not let through.
"""

from collections.abc import Mapping
from typing import Any

from discordsim.interactions import building
from discordsim.interactions.components import CHOICES, SELECTS, Kind
from discordsim.interactions.resolving import MisuseError, Resolved
from discordsim.world.payloads import Json


def submit_data(modal: Json, values: Mapping[str, Any], resolved: Resolved) -> Json:
    """Return the `data` of a MODAL_SUBMIT; `values` maps the custom ids of fields to a text, a list or a boolean."""
    rows = [_row(one, values, resolved) for one in modal["components"]]
    strange = set(values) - {one["custom_id"] for one in fields(modal)}
    if strange:
        raise MisuseError(f"the modal has no fields {', '.join(sorted(strange))}")
    data: Json = {"custom_id": modal["custom_id"], "components": rows}
    if resolved.data:
        data["resolved"] = resolved.data
    return data


def fields(modal: Json) -> list[Json]:
    """Return the fields of a modal in reading order."""
    found = []
    for one in modal["components"]:
        if one["type"] == Kind.LABEL:
            found.append(one["component"])
        elif one["type"] == Kind.ACTION_ROW:
            found.extend(one["components"])
    return found


def _row(row: Json, values: Mapping[str, Any], resolved: Resolved) -> Json:
    data: Json = {"type": row["type"], "id": row.get("id", 0)}
    if row["type"] == Kind.LABEL:
        data["component"] = _field(row["component"], values, resolved)
    elif row["type"] == Kind.ACTION_ROW:
        data["components"] = [_field(one, values, resolved) for one in row["components"]]
    return data


def _field(field: Json, values: Mapping[str, Any], resolved: Resolved) -> Json:
    kind, custom_id = Kind(field["type"]), field["custom_id"]
    data: Json = {"type": int(kind), "id": field.get("id", 0), "custom_id": custom_id}
    given = values.get(custom_id)
    if kind is Kind.TEXT_INPUT:
        return data | {"value": _text(field, field.get("value") or "" if given is None else given)}
    if kind is Kind.CHECKBOX:
        return data | {"value": bool(field.get("default")) if given is None else bool(given)}
    chosen = _preset(field) if given is None else [str(one) for one in ([given] if isinstance(given, str) else given)]
    check_chosen(field, chosen)
    if kind is Kind.RADIO_GROUP:
        return data | {"value": chosen[0] if chosen else None}
    building.resolve_values(int(kind), chosen, resolved)
    return data | {"values": chosen}


def _text(field: Json, value: Any) -> str:
    text, name = str(value), field["custom_id"]
    if not text and field.get("required") is not False:
        raise MisuseError(f"field {name} is required")
    low, high = field.get("min_length") or 0, field.get("max_length") or 4000
    if text and not low <= len(text) <= high:
        raise MisuseError(f"field {name} takes {low} to {high} characters")
    return text


def _preset(field: Json) -> list[str]:
    presets = [one["value"] for one in field.get("options") or [] if one.get("default")]
    return presets or [one["id"] for one in field.get("default_values") or []]


def check_chosen(field: Json, chosen: list[str]) -> None:
    """Raise `MisuseError` unless the chosen values fit the number and the options of a select or a group."""
    kind, name = field["type"], field["custom_id"]
    required = field.get("required") is not False
    asked = field.get("min_values")
    low = int(required) if asked is None else int(asked)
    high = 1 if kind == Kind.RADIO_GROUP else int(field.get("max_values") or (1 if kind in SELECTS else 10))
    if (chosen or required) and not low <= len(chosen) <= high:
        raise MisuseError(f"{name} takes {low} to {high} values")
    if kind in CHOICES or kind == Kind.STRING_SELECT:
        strange = set(chosen) - {one["value"] for one in field["options"]}
        if strange:
            raise MisuseError(f"{name} has no option {', '.join(sorted(strange))}")
