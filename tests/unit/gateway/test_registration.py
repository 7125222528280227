"""What is registered with Discord, and when it counts as different."""

import asyncio
import contextlib
import types

import msgspec
import pytest

from modbot.discord.rest import Response
from modbot.discord.rest_errors import ServerError
from modbot.features import all_features
from modbot.services.gateway import registration
from modbot.shard.registry import Registry


class Rest:
    """Discord's list of commands."""

    def __init__(self, registered, failures=0):
        self.registered = registered
        self.failures = failures
        self.written = []
        self.asked = asyncio.Event()

    async def request(self, route, *, json=None):
        if self.failures:
            self.failures -= 1
            raise ServerError(route, http_status=503)
        if route.method == "PUT":
            self.written.append(json)
            self.registered = json
        self.asked.set()
        return Response(status=200, body=msgspec.json.encode(self.registered))


@pytest.fixture
def registry():
    return Registry(all_features())


def wanted(registry):
    return [registration.payload(command) for command in registry.commands.values()]


def as_discord_keeps_it(payload):
    extra = {"id": "1", "version": "2", "nsfw": False, "description": payload.get("description", "")}
    options = [{key: value for key, value in each.items() if value} for each in payload.get("options", [])]
    return {**payload, **extra, **({"options": options} if options else {})}


def test_commands_are_for_guilds_and_gated(registry):
    by_name = {each["name"]: each for each in wanted(registry)}
    assert by_name["Report"]["default_member_permissions"] is None
    assert by_name["Track"]["default_member_permissions"] == str(1 << 13)
    assert by_name["setup"]["default_member_permissions"] == str(1 << 5)
    for each in by_name.values():
        assert each["contexts"] == [0]
        assert len(each["name"]) <= 32
        assert len(each.get("description", "")) <= 100
        assert ("description" in each) == (each["type"] == 1)
        for option in each.get("options", []):
            assert option["name"] == option["name"].lower()
            assert 1 <= len(option["description"]) <= 100


def test_what_discord_adds_is_no_difference(registry):
    commands = wanted(registry)
    kept = [as_discord_keeps_it(each) for each in commands]
    assert not registration.differ(commands, kept)
    assert not registration.differ(commands, kept[::-1])
    assert registration.differ(commands, kept[1:])
    assert registration.differ(commands[1:], kept)
    assert registration.differ(commands, [{**each, "default_member_permissions": "0"} for each in kept])
    assert registration.differ(commands, [{**each, "options": []} for each in kept])


async def run(rest, registry, monkeypatch, *, registrar=True):
    monkeypatch.setattr(registration, "_TRY_AGAIN", 0)
    monkeypatch.setattr(registration, "_LOOK_EVERY", 0)
    tools = types.SimpleNamespace(registry=registry, rest=rest, application_id=1)
    task = asyncio.create_task(registration.register_commands(types.SimpleNamespace(tools=tools), lambda: registrar))
    for _turn in range(50):
        await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_an_old_list_is_replaced_once_even_after_failures(registry, monkeypatch):
    rest = Rest([], failures=2)
    await run(rest, registry, monkeypatch)
    assert rest.written == [wanted(registry)]


async def test_a_list_that_is_right_is_left_alone(registry, monkeypatch):
    rest = Rest([as_discord_keeps_it(each) for each in wanted(registry)])
    await run(rest, registry, monkeypatch)
    assert rest.asked.is_set()
    assert rest.written == []


async def test_who_is_not_the_registrar_does_nothing(registry, monkeypatch):
    rest = Rest([])
    await run(rest, registry, monkeypatch, registrar=False)
    assert not rest.asked.is_set()
