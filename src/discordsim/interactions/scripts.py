"""Scripted users: a JSON request such as "user 7 presses button x of message 5" becomes a `Press`.

Everything is checked as Discord's client does: the user sees the channel, the command is offered, the component exists and is enabled.
Errors: `MisuseError` with a sentence for the script's author, or Discord's own.
"""

from typing import Any

from discordsim.interactions import building, commands, modals, options
from discordsim.interactions.building import Press
from discordsim.interactions.commands import CommandType, Offer
from discordsim.interactions.components import SELECTS, Kind
from discordsim.interactions.hub import Interactions
from discordsim.interactions.records import InteractionType, Record
from discordsim.interactions.resolving import MisuseError, Resolved, pressed_message
from discordsim.world import access, drafts
from discordsim.world.model.channels import Channel
from discordsim.world.payloads import Json
from discordsim.world.permissions import Permission

KINDS = ("command", "user", "message", "component", "modal", "autocomplete")


def begin(interactions: Interactions, script: Json) -> Record:
    """Start the interaction that the script describes and return its record."""
    return interactions.begin(_Script(interactions, script).press())


def number(script: Json, key: str) -> int:
    """Return an id of the script."""
    value = script.get(key)
    if isinstance(value, bool) or not str(value).isdecimal():
        raise MisuseError(f"{key} must be an id")
    return int(str(value))


class _Script:
    def __init__(self, interactions: Interactions, script: Json) -> None:
        self._hub, self._script = interactions, script
        self._world = interactions.world
        self._user_id = number(script, "user")
        self._channel = self._place()
        self._resolved = Resolved(self._world, self._channel, self._user_id)

    def _place(self) -> Channel:
        opened = self._opened() if self._script.get("kind") == "modal" else None
        channel = self._world.channel(opened.channel_id if opened else number(self._script, "channel"))
        access.require(self._world, self._user_id, channel, Permission.VIEW_CHANNEL)
        return channel

    def _opened(self) -> Record:
        found = self._hub.records.get(number(self._script, "interaction"))
        if found is None or found.modal is None or found.user_id != self._user_id:
            raise MisuseError("interaction does not name one that opened a modal for this user")
        return found

    def press(self) -> Press:
        kind = self._script.get("kind")
        if kind == "component":
            return self._component()
        if kind == "modal":
            return self._modal()
        if kind in {"command", "autocomplete"}:
            return self._slash(focused=str(self._script.get("focused") or "") if kind == "autocomplete" else None)
        if kind in {"user", "message"}:
            return self._menu(CommandType.USER if kind == "user" else CommandType.MESSAGE)
        raise MisuseError(f"kind must be one of {', '.join(KINDS)}")

    def _offer(self, name: str, kind: CommandType) -> Offer:
        found = commands.find(self._world, self._user_id, self._channel, name, kind)
        if found is None:
            raise MisuseError(f"the user is not offered a command {name!r} of type {kind.name} here")
        return found

    def _command_data(self, offer: Offer) -> Json:
        data: Json = {"id": str(offer.command["id"]), "name": offer.command["name"], "type": int(offer.type)}
        if offer.guild_id is not None:
            data["guild_id"] = str(offer.guild_id)
        return data

    def _slash(self, *, focused: str | None) -> Press:
        name, *path = str(self._script.get("command") or "").removeprefix("/").split() or [""]
        offer = self._offer(name, CommandType.CHAT_INPUT)
        given: Any = self._script.get("options") or {}
        if not isinstance(given, dict):
            raise MisuseError("options must be an object of names and values")
        data = self._command_data(offer)
        built = options.build(offer.command.get("options") or [], path, given, self._resolved, focused=focused)
        if built:
            data["options"] = built
        if self._resolved.data:
            data["resolved"] = self._resolved.data
        kind = InteractionType.COMMAND if focused is None else InteractionType.AUTOCOMPLETE
        return self._made(offer, kind, " ".join([name, *path]), data)

    def _menu(self, kind: CommandType) -> Press:
        offer, target = self._offer(str(self._script.get("command") or ""), kind), number(self._script, "target")
        metadata: Json
        if kind is CommandType.USER:
            self._resolved.user(target)
            metadata = {"target_user": self._world.user(target).payload()}
        else:
            self._resolved.message(pressed_message(self._world, self._channel, target, self._user_id))
            metadata = {"target_message_id": str(target)}
        data = self._command_data(offer) | {"target_id": str(target), "resolved": self._resolved.data}
        return self._made(offer, InteractionType.COMMAND, offer.command["name"], data, metadata)

    def _made(self, offer: Offer, kind: InteractionType, name: str, data: Json, metadata: Json | None = None) -> Press:
        return Press(
            application=offer.application,
            user_id=self._user_id,
            channel=self._channel,
            type=kind,
            kind=str(self._script["kind"]),
            name=name,
            data=data,
            metadata=metadata or {},
        )

    def _component(self) -> Press:
        message = pressed_message(self._world, self._channel, number(self._script, "message"), self._user_id)
        application = self._world.applications.get(message.author.id)
        custom_id = self._script.get("custom_id")
        named = [one for one in drafts.walk(message.components) if custom_id and one.get("custom_id") == custom_id]
        if application is None or not named:
            raise MisuseError(f"the message has no component {custom_id!r}")
        if named[0].get("disabled"):
            raise MisuseError(f"component {custom_id!r} is disabled")
        given = self._script.get("values") or []
        values = [str(one) for one in given] if isinstance(given, list) else [str(given)]
        if named[0]["type"] in SELECTS:
            modals.check_chosen(named[0], values)
        return Press(
            application=application,
            user_id=self._user_id,
            channel=self._channel,
            type=InteractionType.COMPONENT,
            kind="button" if named[0]["type"] == Kind.BUTTON else "select",
            name=str(custom_id),
            data=building.component_data(named[0], values, self._resolved),
            message=message,
        )

    def _modal(self) -> Press:
        opened = self._opened()
        modal, values = opened.modal or {}, self._script.get("values") or {}
        if not isinstance(values, dict):
            raise MisuseError("values must be an object of custom ids and values")
        return Press(
            application=self._world.applications[opened.application_id],
            user_id=self._user_id,
            channel=self._channel,
            type=InteractionType.MODAL_SUBMIT,
            kind="modal",
            name=modal["custom_id"],
            data=modals.submit_data(modal, values, self._resolved),
            message=opened.pressed,
            opened_by=opened.metadata,
        )
