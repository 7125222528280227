"""How a feature says what it does: event handlers, commands, components, modals, timers and effects.

A feature is a package with a `feature = Feature("name", package=__name__)` and functions that are declared on it. The declaration
holds everything that another process needs to know without running the handler: the http pods read who may use a command, how it
is deferred and which modal answers it; the registration reads names and options; the engine finds the handler. `docs/how-to/
add-a-feature.md` builds one from top to bottom.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_type_hints

import msgspec

from modbot.discord import events
from modbot.domain.errors import SettingsError
from modbot.shard import migrations

if TYPE_CHECKING:
    from modbot.discord.interactions import Interaction
    from modbot.shard.effects import Run
    from modbot.shard.responses import Modal, Response
    from modbot.shard.transaction import Transaction

_A = TypeVar("_A", bound=msgspec.Struct)
_E = TypeVar("_E", bound=msgspec.Struct)
_SEPARATOR = ":"


class Access(StrEnum):
    """Who may use a command or press a button. Checked on the server at every use; Discord's own gate is only the first."""

    EVERYONE = "everyone"
    MODERATOR = "moderator"
    ADMINISTRATOR = "administrator"


class Deferral(StrEnum):
    """How a first answer is put off when the real one takes longer; its visibility is fixed with it."""

    EPHEMERAL = "ephemeral"
    PUBLIC = "public"
    UPDATE = "update"


class CommandKind(IntEnum):
    """Discord's application command types."""

    SLASH = 1
    USER = 2
    MESSAGE = 3


class OptionKind(IntEnum):
    """Discord's option types that modbot uses."""

    STRING = 3
    INTEGER = 4
    BOOLEAN = 5
    USER = 6
    CHANNEL = 7
    ROLE = 8


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a slash command; with `choices` (value, label), Discord offers only these."""

    name: str
    description: str
    kind: OptionKind
    required: bool = False
    choices: tuple[tuple[str, str], ...] = ()


class ButtonStyle(IntEnum):
    """Discord's button colours."""

    BLURPLE = 1
    GREY = 2
    GREEN = 3
    RED = 4


@dataclass(frozen=True, slots=True)
class Control:
    """A button that stands at the top of every user thread; its custom id carries the user's id."""

    label: str
    style: ButtonStyle
    row: int


EventHandler = Callable[["Transaction", Any], None]
InteractionHandler = Callable[["Transaction", "Interaction"], "Response"]


@dataclass(frozen=True, slots=True)
class Command:
    """A slash command or a context-menu entry.

    With `modal`, the first answer is that form: it is built in the http pod from the interaction alone. `handler` then runs as well
    (to keep what the form refers to) and its response is not sent. `anonymous`: who used it is replaced by a keyed hash before
    anything is stored or forwarded.
    """

    name: str
    kind: CommandKind
    access: Access
    defers: Deferral
    handler: InteractionHandler
    description: str = ""
    options: tuple[Option, ...] = ()
    modal: Callable[[Interaction], Modal] | None = None
    anonymous: bool = False


@dataclass(frozen=True, slots=True)
class Component:
    """A button or select menu (`modal=False`) or a form that was sent (`modal=True`), found by the prefix of its custom id."""

    prefix: str
    access: Access
    defers: Deferral
    handler: InteractionHandler
    modal: Callable[[Interaction], Modal] | None = None
    anonymous: bool = False
    is_form: bool = False
    control: Control | None = None

    def custom_id(self, *parts: object) -> str:
        """Build the custom id that finds this component again, at most 100 characters."""
        text = _SEPARATOR.join((self.prefix, *(str(part) for part in parts)))
        if len(text) > 100:
            raise ValueError(f"custom id of {self.prefix} is {len(text)} characters long, Discord takes 100")
        return text


def custom_id_parts(custom_id: str) -> list[str]:
    """Return what was given to `Component.custom_id`."""
    return custom_id.split(_SEPARATOR)[2:]


def custom_id_prefix(custom_id: str) -> str:
    """Return the part of a custom id that finds its component."""
    return _SEPARATOR.join(custom_id.split(_SEPARATOR, 2)[:2])


@dataclass(frozen=True, slots=True)
class TimerKind(Generic[_A]):
    """Something that happens later, in a transaction of its own."""

    name: str
    args_type: type[_A]
    handler: Callable[[Transaction, _A], None]


@dataclass(frozen=True, slots=True)
class EffectKind(Generic[_A]):
    """Something that acts on the outside world; its steps are journaled."""

    name: str
    args_type: type[_A]
    body: Callable[[Run, _A], Awaitable[None]]


@dataclass(slots=True)
class Feature:
    """One feature and all its declarations."""

    name: str
    package: str = ""
    """The package whose `migrations` folder belongs to the feature; empty when it has no tables of its own."""
    withheld: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Columns by table that an archive for people leaves empty: what is secret, or kept for a short time only. They must allow NULL."""
    events: list[tuple[str, EventHandler]] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    components: list[Component] = field(default_factory=list)
    timers: list[TimerKind[Any]] = field(default_factory=list)
    effects: list[EffectKind[Any]] = field(default_factory=list)

    def migrations(self) -> migrations.Series:
        """Return the feature's series of migrations."""
        return migrations.read_series(self.name, self.package) if self.package else migrations.Series(self.name, ())

    def on(self, event: str) -> Callable[[Callable[[Transaction, _E], None]], Callable[[Transaction, _E], None]]:
        """Handle a gateway event by its name; the handler's annotation must be the type that `discord.events` has for it."""

        def declare(handler: Callable[[Transaction, _E], None]) -> Callable[[Transaction, _E], None]:
            if events.TYPES.get(event) is not _args_type(handler):
                raise SettingsError(f"{self._named(handler)} does not take what {event} brings.")
            self.events.append((event, handler))
            return handler

        return declare

    def command(
        self,
        name: str,
        *,
        kind: CommandKind,
        access: Access,
        defers: Deferral,
        description: str = "",
        options: tuple[Option, ...] = (),
        modal: Callable[[Interaction], Modal] | None = None,
        anonymous: bool = False,
    ) -> Callable[[InteractionHandler], Command]:
        """Declare a command; the decorated name becomes the `Command`."""

        def declare(handler: InteractionHandler) -> Command:
            command = Command(name, kind, access, defers, handler, description, options, modal, anonymous)
            self.commands.append(command)
            return command

        return declare

    def component(
        self,
        name: str,
        *,
        access: Access,
        defers: Deferral,
        modal: Callable[[Interaction], Modal] | None = None,
        control: Control | None = None,
    ) -> Callable[[InteractionHandler], Component]:
        """Declare a button or select menu; the decorated name becomes the `Component` whose `custom_id` goes into messages."""

        def declare(handler: InteractionHandler) -> Component:
            return self._add(Component(self._prefix(name), access, defers, handler, modal, control=control))

        return declare

    def form(
        self, name: str, *, access: Access, defers: Deferral, anonymous: bool = False
    ) -> Callable[[InteractionHandler], Component]:
        """Declare what happens when a modal is sent."""

        def declare(handler: InteractionHandler) -> Component:
            return self._add(Component(self._prefix(name), access, defers, handler, anonymous=anonymous, is_form=True))

        return declare

    def timer(self, handler: Callable[[Transaction, _A], None]) -> TimerKind[_A]:
        """Declare a timer; the decorated name becomes the `TimerKind` to give to `Transaction.timer`."""
        kind = TimerKind(self._named(handler), _args_type(handler), handler)
        self.timers.append(kind)
        return kind

    def effect(self, body: Callable[[Run, _A], Awaitable[None]]) -> EffectKind[_A]:
        """Declare an effect; the decorated name becomes the `EffectKind` to give to `Transaction.effect`."""
        kind = EffectKind(self._named(body), _args_type(body), body)
        self.effects.append(kind)
        return kind

    def _add(self, component: Component) -> Component:
        self.components.append(component)
        return component

    def _prefix(self, name: str) -> str:
        return f"{self.name}{_SEPARATOR}{name}"

    def _named(self, function: Callable[..., Any]) -> str:
        return f"{self.name}.{function.__name__}"


def _args_type(function: Callable[..., Any]) -> Any:
    """Return the annotated type of the last parameter."""
    hints = get_type_hints(function)
    hints.pop("return", None)
    return list(hints.values())[-1]
