"""Auto moderation rules of a guild."""

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from discordsim.rest import forms
from discordsim.rest.calls import Call
from discordsim.rest.forms import Id, Name
from discordsim.rest.resources.guilds import seen
from discordsim.rest.routing import Answer, Route
from discordsim.world import access, automod, errors
from discordsim.world.model.guilds import Guild
from discordsim.world.model.rules import ActionType, TriggerType
from discordsim.world.payloads import Json
from discordsim.world.permissions import Permission

_PER_TRIGGER = {TriggerType.KEYWORD: 6, TriggerType.SPAM: 1, TriggerType.KEYWORD_PRESET: 1, TriggerType.MENTION_SPAM: 1}
Word = Annotated[str, Meta(min_length=1, max_length=60)]


class Metadata(msgspec.Struct):
    """What a trigger looks for; which fields count depends on the trigger."""

    keyword_filter: Annotated[list[Word], Meta(max_length=1000)] | UnsetType | None = UNSET
    regex_patterns: (
        Annotated[list[Annotated[str, Meta(min_length=1, max_length=260)]], Meta(max_length=10)] | UnsetType | None
    ) = UNSET
    presets: list[Literal[1, 2, 3]] | UnsetType | None = UNSET
    allow_list: Annotated[list[Word], Meta(max_length=1000)] | UnsetType | None = UNSET
    mention_total_limit: Annotated[int, Meta(ge=0, le=50)] | UnsetType | None = UNSET
    mention_raid_protection_enabled: bool | UnsetType | None = UNSET


class ActionMetadata(msgspec.Struct):
    """Where to alert, for how long to silence, what to say."""

    channel_id: Id | UnsetType = UNSET
    duration_seconds: Annotated[int, Meta(ge=0, le=2_419_200)] | UnsetType = UNSET
    custom_message: Annotated[str, Meta(max_length=150)] | UnsetType | None = UNSET


class Action(msgspec.Struct):
    """What a rule does."""

    type: Literal[1, 2, 3, 4]
    metadata: ActionMetadata | UnsetType | None = UNSET


class RuleFields(msgspec.Struct):
    """The body of Modify Auto Moderation Rule."""

    name: Name | UnsetType = UNSET
    event_type: Literal[1, 2] | UnsetType = UNSET
    trigger_metadata: Metadata | UnsetType | None = UNSET
    actions: Annotated[list[Action], Meta(min_length=1, max_length=5)] | UnsetType = UNSET
    enabled: bool | UnsetType | None = UNSET
    exempt_roles: Annotated[list[Id], Meta(max_length=20)] | UnsetType | None = UNSET
    exempt_channels: Annotated[list[Id], Meta(max_length=50)] | UnsetType | None = UNSET


class NewRule(RuleFields, kw_only=True):
    """The body of Create Auto Moderation Rule."""

    name: Name
    event_type: Literal[1, 2]
    trigger_type: Literal[1, 3, 4, 5, 6]
    actions: Annotated[list[Action], Meta(min_length=1, max_length=5)] | UnsetType = UNSET


def _guild(call: Call) -> Guild:
    guild = seen(call)
    access.require_in_guild(call.world, call.actor_id, guild, Permission.MANAGE_GUILD)
    return guild


def listed(call: Call) -> Answer:
    """List the rules."""
    return [one.payload() for one in _guild(call).rules.values()]


def get(call: Call) -> Answer:
    """Return one rule."""
    return automod.rule_of(call.world, _guild(call).id, call.id("rule_id")).payload()


def create(call: Call) -> Answer:
    """Make a rule; how many there may be depends on the trigger."""
    guild, wanted = _guild(call), call.form(NewRule)
    kind = TriggerType(wanted.trigger_type)
    if sum(one.trigger_type is kind for one in guild.rules.values()) >= _PER_TRIGGER.get(kind, 1):
        text = "Maximum number of this type of rule reached"
        raise errors.invalid("trigger_type", "AUTO_MODERATION_MAX_RULES_OF_TYPE_EXCEEDED", text)
    fields = _fields(wanted)
    made = automod.create_rule(call.world, guild.id, fields, actor_id=call.actor_id, reason=call.reason)
    return made.payload()


def edit(call: Call) -> Answer:
    """Change a rule."""
    where, fields = (_guild(call).id, call.id("rule_id")), _fields(call.form(RuleFields))
    return automod.edit_rule(call.world, *where, fields, actor_id=call.actor_id, reason=call.reason).payload()


def delete(call: Call) -> Answer:
    """Delete a rule."""
    where = _guild(call).id, call.id("rule_id")
    automod.delete_rule(call.world, *where, actor_id=call.actor_id, reason=call.reason)
    return None


def _fields(wanted: RuleFields) -> Json:
    fields = {key: value for key, value in forms.sent(wanted).items() if value is not None}
    metadata = fields.get("trigger_metadata") or {}
    fields["trigger_metadata"] = {key: value for key, value in metadata.items() if value is not None}
    if "trigger_metadata" not in forms.sent(wanted):
        del fields["trigger_metadata"]
    for index, text in enumerate(metadata.get("regex_patterns") or []):
        _require_pattern(index, text)
    if "actions" in fields:
        fields["actions"] = [_action(index, one) for index, one in enumerate(fields["actions"])]
    return fields


def _require_pattern(index: int, text: str) -> None:
    try:
        re.compile(text)
    except re.error as error:
        place = f"trigger_metadata.regex_patterns.{index}"
        raise errors.invalid(place, "AUTO_MODERATION_INVALID_REGEX", str(error)) from None


def _action(index: int, action: dict[str, Any]) -> Json:
    metadata = {key: value for key, value in (action.get("metadata") or {}).items() if value is not None}
    needed = {ActionType.SEND_ALERT_MESSAGE: "channel_id", ActionType.TIMEOUT: "duration_seconds"}
    name = needed.get(ActionType(action["type"]))
    if name is not None and name not in metadata:
        raise errors.invalid(f"actions.{index}.metadata.{name}", "BASE_TYPE_REQUIRED", "This field is required")
    if "channel_id" in metadata:
        metadata["channel_id"] = str(metadata["channel_id"])
    return {"type": action["type"], "metadata": metadata}


_ALL = "/guilds/{guild_id}/auto-moderation/rules"
ROUTES = (
    Route("GET", _ALL, listed),
    Route("POST", _ALL, create),
    Route("GET", f"{_ALL}/{{rule_id}}", get),
    Route("PATCH", f"{_ALL}/{{rule_id}}", edit),
    Route("DELETE", f"{_ALL}/{{rule_id}}", delete),
)
