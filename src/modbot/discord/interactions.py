"""Interactions, however they arrive: over the gateway (INTERACTION_CREATE) or as an HTTP request.

The token of an interaction is a secret for 15 minutes: it is part of the object because answering needs it, and `repr` hides it.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

import msgspec

from modbot.discord.objects import Attachment, Channel, Member, Message, Object, Role, User
from modbot.domain.errors import InvalidInputError
from modbot.domain.ids import ChannelId, GuildId, InteractionId, MessageId, RoleId, UserId


class InteractionType(IntEnum):
    """What kind of interaction it is."""

    PING = 1
    COMMAND = 2
    COMPONENT = 3
    AUTOCOMPLETE = 4
    MODAL = 5


class ResponseType(IntEnum):
    """How an interaction may be answered."""

    PONG = 1
    MESSAGE = 4
    DEFERRED_MESSAGE = 5
    DEFERRED_UPDATE = 6
    UPDATE = 7
    CHOICES = 8
    MODAL = 9


class Option(Object, frozen=True, kw_only=True, gc=False):
    """A value or a sub-command of a chat command. Ids in `value` stay texts, as Discord sends them."""

    name: str
    type: int
    value: str | int | float | bool | None = None
    focused: bool = False
    options: tuple[Option, ...] = ()


class Resolved(Object, frozen=True, kw_only=True, gc=False):
    """The objects that an interaction's ids stand for."""

    users: dict[UserId, User] = msgspec.field(default_factory=dict)
    members: dict[UserId, Member] = msgspec.field(default_factory=dict)
    roles: dict[RoleId, Role] = msgspec.field(default_factory=dict)
    channels: dict[ChannelId, Channel] = msgspec.field(default_factory=dict)
    messages: dict[MessageId, Message] = msgspec.field(default_factory=dict)
    attachments: dict[int, Attachment] = msgspec.field(default_factory=dict)


class ModalField(Object, frozen=True, kw_only=True, gc=False):
    """A submitted component of a modal: a row or label with children, or a field with its value."""

    type: int
    custom_id: str = ""
    value: str | bool | None = None
    values: tuple[str, ...] = ()
    component: ModalField | None = None
    components: tuple[ModalField, ...] = ()


class InteractionData(Object, frozen=True, kw_only=True, gc=False):
    """What was invoked: a command (`id`, `name`, `options`), a component (`custom_id`, `values`) or a modal (`components`)."""

    id: int | None = None
    name: str = ""
    type: int = 0
    guild_id: GuildId | None = None
    target_id: int | None = None
    options: tuple[Option, ...] = ()
    resolved: Resolved | None = None
    custom_id: str = ""
    component_type: int = 0
    values: tuple[str, ...] = ()
    components: tuple[ModalField, ...] = ()

    def fields(self) -> dict[str, ModalField]:
        """Return the fields of a submitted modal by custom id, whatever rows or labels they stand in."""
        found: dict[str, ModalField] = {}
        queue = list(self.components)
        while queue:
            each = queue.pop()
            if each.custom_id:
                found[each.custom_id] = each
            queue.extend(each.components)
            if each.component is not None:
                queue.append(each.component)
        return found


class Interaction(Object, frozen=True, kw_only=True, gc=False):
    """Somebody used a command, a component or a modal. In a guild `member` tells who, elsewhere `user`."""

    id: InteractionId
    type: int
    token: str = ""
    application_id: int = 0
    guild_id: GuildId | None = None
    channel_id: ChannelId | None = None
    channel: Channel | None = None
    member: Member | None = None
    user: User | None = None
    data: InteractionData | None = None
    message: Message | None = None
    locale: str = "en-US"
    guild_locale: str | None = None
    app_permissions: int = 0
    context: int | None = None
    authorizing_integration_owners: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def invoker(self) -> User | None:
        """Return who it is, in a guild or not; nobody for a PING."""
        return self.member.user if self.member is not None else self.user

    def __repr__(self) -> str:
        return f"Interaction(id={self.id}, type={self.type}, guild_id={self.guild_id}, token=***)"


_DECODER: Final = msgspec.json.Decoder(Interaction, strict=False)


def decode(body: bytes) -> Interaction:
    """Read the body of an interaction request; `InvalidInputError` names the field that is not as expected."""
    try:
        return _DECODER.decode(body)
    except msgspec.MsgspecError as error:
        raise InvalidInputError(f"The interaction is not valid: {error}.") from None
