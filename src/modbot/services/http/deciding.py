"""What an http pod decides about a request from Discord, without any I/O: kind, plan, answer at the deadline, next try.

Every function is pure. The invariant behind them is I7: whatever happens, there is a valid first answer, and it is one that Discord
accepts for that kind of interaction (a form cannot be deferred, suggestions can only be empty).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

from modbot.discord.interactions import Interaction, InteractionType, ResponseType
from modbot.domain.errors import InvalidInputError
from modbot.domain.ids import GuildId
from modbot.shard import interactions, responses
from modbot.shard.feature import Command, Component, Deferral
from modbot.shard.registry import Registry
from modbot.shard.responses import Reply

PONG: Final = msgspec.json.encode({"type": int(ResponseType.PONG)})
NO_CHOICES: Final = msgspec.json.encode({"type": int(ResponseType.CHOICES), "data": {"choices": []}})
SERVERS_ONLY: Final = "I work in servers only. Please use this there."
UNKNOWN: Final = "I do not know this any more. I may have been updated since; please try it again from the menu."
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 0.25


class Kind(StrEnum):
    """What a signed request from Discord is."""

    PING = "ping"
    INTERACTION = "interaction"
    EVENT_PING = "event_ping"
    EVENT = "event"


class _Envelope(msgspec.Struct):
    """The few fields that tell interactions and webhook events apart."""

    type: int
    id: str | None = None
    version: int | None = None
    event: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class Immediate:
    """Answered here, without the owner."""

    body: bytes
    outcome: str


@dataclass(frozen=True, slots=True)
class Forward:
    """To be answered by the owner of the guild; `declared` knows what to say when the owner is late."""

    guild_id: GuildId
    declared: Command | Component


class Failure(StrEnum):
    """How a try to reach the owner failed."""

    STALE = "stale"
    UNREACHABLE = "unreachable"
    NOT_READY = "not_ready"
    INVALID = "invalid"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Retry:
    """Wait up to `pause` seconds (None: until the deadline) for a newer owner; without one, try the same again unless `newer_only`."""

    pause: float | None
    newer_only: bool


_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)


def decide_kind(body: bytes) -> Kind:
    """Tell what a request is; `InvalidInputError` when it is nothing that Discord sends.

    Both protocols use `type` 1 and both may carry a `version`: an event has an `event`, an interaction has an `id`.
    """
    try:
        found = _ENVELOPE.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidInputError("The body is neither an interaction nor a webhook event.") from None
    if found.id is None and found.version is not None:
        return _event_kind(found)
    if found.type == InteractionType.PING:
        return Kind.PING
    if found.id is None:
        raise InvalidInputError("The interaction has no id.")
    return Kind.INTERACTION


def decide_plan(interaction: Interaction, registry: Registry) -> Immediate | Forward:
    """Say who answers an interaction."""
    if interaction.type == InteractionType.AUTOCOMPLETE:
        return Immediate(NO_CHOICES, "choices")  # no option of modbot offers suggestions
    if interaction.guild_id is None:
        return Immediate(sentence(SERVERS_ONLY), "servers_only")
    declared = _declared(interaction, registry)
    if declared is None:
        return Immediate(sentence(UNKNOWN), "unknown")
    return Forward(interaction.guild_id, declared)


def decide_late_answer(interaction: Interaction, declared: Command | Component) -> Immediate:
    """Return what Discord is told when the owner did not answer in time."""
    if declared.modal is not None:
        return Immediate(responses.encode(declared.modal(interaction), declared.defers), "modal")
    return Immediate(responses.deferred(declared.defers), "deferred")


def decide_retry(failure: Failure, attempt: int) -> Retry | None:
    """Say how to go on after the `attempt`th try (from 1) failed; None: this owner will never answer it.

    Trying again is always safe: the interaction's id is the idempotency key of its shard.
    """
    match failure:
        case Failure.REFUSED:
            return None
        case Failure.STALE:
            return Retry(pause=None, newer_only=True)
        case Failure.UNREACHABLE if attempt == 1:
            return Retry(pause=0.0, newer_only=False)  # an idle connection that the owner closed meanwhile
        case _:
            return Retry(pause=min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(attempt, 8)), newer_only=False)


def sentence(text: str) -> bytes:
    """Return an answer that only the invoker sees."""
    return responses.encode(Reply(text), Deferral.EPHEMERAL)


def apology(interaction_id: str) -> bytes:
    """Return what somebody is told when modbot itself failed."""
    return sentence(
        f"Something went wrong on my side, and it is recorded as `{interaction_id}`. Please try again later."
    )


def _event_kind(found: _Envelope) -> Kind:
    if found.type == 0:
        return Kind.EVENT_PING
    if found.type == 1 and found.event is not msgspec.UNSET:
        return Kind.EVENT
    raise InvalidInputError("The webhook event has no event.")


def _declared(interaction: Interaction, registry: Registry) -> Command | Component | None:
    try:
        return interactions.find(registry, interaction)
    except ValueError:
        return None  # a kind of command that this version does not have
