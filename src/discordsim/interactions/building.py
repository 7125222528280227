"""The interaction object as Discord sends it, for every kind of press.

Refuses to deliver: `Interactions` gives ids and tokens and takes the object from here.
"""

from dataclasses import dataclass, field
from typing import Any

from discordsim.interactions.records import InteractionType
from discordsim.interactions.resolving import Resolved, integration_owners, partial_channel
from discordsim.world import access
from discordsim.world.model.channels import Channel
from discordsim.world.model.messages import Message
from discordsim.world.model.users import Application
from discordsim.world.payloads import Json
from discordsim.world.world import World

ATTACHMENT_LIMIT = 10 * 1024 * 1024
USER_LOCALE = "en-US"


@dataclass(frozen=True, slots=True, kw_only=True)
class Press:
    """What a user did: everything from which an interaction object is made."""

    application: Application
    user_id: int
    channel: Channel
    type: InteractionType
    kind: str
    name: str
    data: Json
    message: Message | None = None
    opened_by: Json | None = None
    metadata: Json = field(default_factory=dict)


def interaction(world: World, press: Press, *, interaction_id: int, token: str) -> Json:
    """Return the whole interaction object."""
    channel, application = press.channel, press.application
    body: Json = {
        "id": str(interaction_id),
        "application_id": str(application.id),
        "type": int(press.type),
        "data": press.data,
        "token": token,
        "version": 1,
        "channel": partial_channel(world, channel, press.user_id),
        "channel_id": str(channel.id),
        "app_permissions": str(int(access.permissions_of(world, application.id, channel))),
        "locale": USER_LOCALE,
        "entitlements": [],
        "authorizing_integration_owners": integration_owners(channel.guild_id),
        "context": 1 if channel.guild_id is None else 0,
        "attachment_size_limit": ATTACHMENT_LIMIT,
    }
    body |= _who(world, press)
    if press.message is not None:
        body["message"] = press.message.payload()
    return body


def _who(world: World, press: Press) -> Json:
    channel = press.channel
    if channel.guild_id is None:
        return {"user": world.user(press.user_id).payload()}
    guild = world.guild(channel.guild_id)
    bits = access.permissions_of(world, press.user_id, channel)
    member = world.member(guild.id, press.user_id).payload() | {"permissions": str(int(bits))}
    return {
        "guild_id": str(guild.id),
        "guild": {"id": str(guild.id), "locale": guild.preferred_locale, "features": list(guild.features)},
        "guild_locale": guild.preferred_locale,
        "member": member,
    }


def metadata(world: World, press: Press, interaction_id: int) -> Json:
    """Return the `interaction_metadata` of messages that answer this press."""
    data: Json = {
        "id": str(interaction_id),
        "type": int(press.type),
        "user": world.user(press.user_id).payload(),
        "authorizing_integration_owners": integration_owners(press.channel.guild_id),
    }
    if press.type is InteractionType.COMMAND:
        data |= {"name": press.name, "command_type": press.data["type"]}
    if press.type is InteractionType.COMPONENT and press.message is not None:
        data["interacted_message_id"] = str(press.message.id)
    if press.type is InteractionType.MODAL_SUBMIT and press.opened_by is not None:
        data["triggering_interaction_metadata"] = press.opened_by
    return data | press.metadata


def component_data(component: Json, values: list[str], resolved: Resolved) -> Json:
    """Return the `data` of a pressed button or a used select."""
    kind = int(component["type"])
    data: Json = {"component_type": kind, "custom_id": component["custom_id"], "id": component.get("id", 0)}
    if kind in SELECT_RESOLVERS:
        data["values"] = values
        resolve_values(kind, values, resolved)
        if resolved.data:
            data["resolved"] = resolved.data
    return data


def resolve_values(kind: int, values: list[str], resolved: Resolved) -> None:
    """Resolve the ids chosen in a select of users, roles, channels or both."""
    resolver: Any = SELECT_RESOLVERS.get(kind)
    for value in values:
        if resolver is not None:
            resolver(resolved, int(value))


SELECT_RESOLVERS: dict[int, Any] = {
    3: None,
    5: Resolved.user,
    6: Resolved.role,
    7: Resolved.mentionable,
    8: Resolved.channel,
}
