"""The decisions of an http pod without any I/O."""

from __future__ import annotations

import msgspec
import pytest

from modbot.discord.interactions import Interaction, InteractionData
from modbot.domain.errors import InvalidInputError
from modbot.domain.ids import GuildId, InteractionId
from modbot.services.http import deciding
from modbot.services.http.deciding import Failure, Forward, Immediate, Kind, Retry
from modbot.shard.feature import Access, CommandKind, Deferral, Feature
from modbot.shard.registry import Registry
from modbot.shard.responses import Modal, Reply

feature = Feature("demo")


@feature.command("ask", kind=CommandKind.SLASH, access=Access.EVERYONE, defers=Deferral.PUBLIC)
def ask(_tx: object, _interaction: object) -> Reply:
    return Reply("x")


@feature.command(
    "fill",
    kind=CommandKind.SLASH,
    access=Access.EVERYONE,
    defers=Deferral.EPHEMERAL,
    modal=lambda interaction: Modal(f"demo:{interaction.id}", "T" * 60, ()),
)
def fill(_tx: object, _interaction: object) -> Reply:
    return Reply("x")


REGISTRY = Registry((feature,))


def told(name: str, *, kind: int = 2, guild: int | None = 1, command: int = 1) -> Interaction:
    guild_id = None if guild is None else GuildId(guild)
    data = InteractionData(name=name, type=command)
    return Interaction(id=InteractionId(5), type=kind, guild_id=guild_id, data=data)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"type":1}', Kind.PING),
        (b'{"id":"1","type":1,"version":1}', Kind.PING),
        (b'{"id":"1","type":2,"version":1}', Kind.INTERACTION),
        (b'{"version":1,"type":0}', Kind.EVENT_PING),
        (b'{"version":1,"type":1,"event":{}}', Kind.EVENT),
    ],
)
def test_both_protocols_are_told_apart(body: bytes, kind: Kind) -> None:
    assert deciding.decide_kind(body) is kind


@pytest.mark.parametrize("body", [b"", b"1", b'{"type":2}', b'{"version":1,"type":1}', b'{"version":1,"type":2}'])
def test_what_is_neither_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInputError):
        deciding.decide_kind(body)


def test_a_known_command_is_forwarded() -> None:
    assert deciding.decide_plan(told("ask"), REGISTRY) == Forward(GuildId(1), ask)


@pytest.mark.parametrize(
    ("interaction", "outcome"),
    [
        (told("gone"), "unknown"),
        (told("ask", command=4), "unknown"),
        (told("ask", kind=9), "unknown"),
        (told("ask", guild=None), "servers_only"),
        (told("ask", kind=4), "choices"),
    ],
)
def test_what_the_owner_is_not_needed_for(interaction: Interaction, outcome: str) -> None:
    plan = deciding.decide_plan(interaction, REGISTRY)
    assert isinstance(plan, Immediate)
    assert plan.outcome == outcome


def test_at_the_deadline_a_form_is_sent_and_everything_else_deferred() -> None:
    late = deciding.decide_late_answer(told("ask"), ask)
    assert (late.outcome, msgspec.json.decode(late.body)) == ("deferred", {"type": 5, "data": {"flags": 0}})
    late = deciding.decide_late_answer(told("fill"), fill)
    found = msgspec.json.decode(late.body)
    assert (late.outcome, found["type"], found["data"]["custom_id"]) == ("modal", 9, "demo:5")
    assert len(found["data"]["title"]) == 45


def test_a_refusal_is_final_and_a_lost_shard_waits_for_the_newer_owner() -> None:
    assert deciding.decide_retry(Failure.REFUSED, 1) is None
    assert deciding.decide_retry(Failure.STALE, 1) == Retry(pause=None, newer_only=True)


def test_a_closed_idle_connection_is_tried_again_at_once_and_a_dead_owner_with_pauses() -> None:
    pauses = []
    for attempt in range(1, 8):
        retry = deciding.decide_retry(Failure.UNREACHABLE, attempt)
        assert retry is not None
        pauses.append(retry.pause)
    assert pauses == [0.0, 0.2, 0.25, 0.25, 0.25, 0.25, 0.25]


@pytest.mark.parametrize("failure", [Failure.NOT_READY, Failure.INVALID])
def test_a_pod_that_answers_badly_is_never_asked_without_a_pause(failure: Failure) -> None:
    retry = deciding.decide_retry(failure, 1)
    assert retry is not None
    assert retry.pause == 0.1
