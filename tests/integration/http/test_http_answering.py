"""I7: every interaction gets a valid first answer in time, whatever owner and config service do; anonymous people stay so (rule 5)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import aiohttp
import httpkit
import msgspec
import pytest
import structlog
from aiohttp import web
from httpkit import DEADLINE, GUILD, INTERACTION_TOKEN, SHARD, TOKEN, USER, Config, Discord, Owner, interaction

import tracekit
from modbot.domain import anonymity
from modbot.ops.tracing import Fact
from modbot.services.http import main
from tracekit import Recorder


async def never(_request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


def answers(response: web.Response) -> httpkit.Script:
    async def script(_request: web.Request) -> web.StreamResponse:
        return response

    return script


async def refusing(url: str) -> None:
    """Wait until a server takes no new connections."""
    host, port = url.removeprefix("http://").split(":")

    async def refused() -> bool:
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            return True
        writer.close()
        return False

    await httpkit.eventually(refused)


async def timed(discord: Discord, told: dict[str, Any]) -> tuple[dict[str, Any], float]:
    loop = asyncio.get_running_loop()
    started = loop.time()
    return await discord.interact(told), loop.time() - started


async def test_the_owner_answers_and_the_inbox_knows(discord: Discord, owner: Owner, config: Config) -> None:
    told = interaction(number=11)
    assert await discord.interact(told) == {"type": 4, "data": {"content": "from gateway-0"}}
    await config.until(lambda: 11 in config.inbox)
    headers, body = owner.asked[0]
    assert headers["path"] == f"/shards/{SHARD}/interactions"
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert (headers["x-modbot-epoch"], headers["x-modbot-journaled"]) == ("3", "1")
    assert msgspec.json.decode(body) == told
    entry = config.inbox[11]
    assert (entry.shard_id, entry.deferred, msgspec.json.decode(entry.payload)) == (SHARD, False, told)


async def test_an_owner_that_lost_the_shard_is_followed_to_the_new_one(
    discord: Discord, owner: Owner, config: Config
) -> None:
    newer = httpkit.Owner("gateway-1")

    async def stale(_request: web.Request) -> web.StreamResponse:
        await config.route(newer, 4)
        return httpkit.problem(409, "stale_epoch")

    owner.script = stale
    async with httpkit.started(newer):
        assert (await discord.interact(interaction()))["data"]["content"] == "from gateway-1"
        assert newer.asked[0][0]["x-modbot-epoch"] == "4"
    assert len(owner.asked) == 1


async def test_a_pod_that_is_not_ready_is_asked_again(discord: Discord, owner: Owner) -> None:
    async def once(_request: web.Request) -> web.StreamResponse:
        owner.script = None
        return httpkit.problem(503, "unavailable")

    owner.script = once
    assert (await discord.interact(interaction()))["type"] == 4
    assert len(owner.asked) == 2


@pytest.mark.parametrize(
    ("name", "answer"),
    [("quiet", {"type": 5, "data": {"flags": 64}}), ("loud", {"type": 5, "data": {"flags": 0}})],
)
async def test_a_late_owner_becomes_the_declared_deferral_in_time(
    discord: Discord, owner: Owner, config: Config, name: str, answer: dict[str, Any]
) -> None:
    owner.script = never
    found, seconds = await timed(discord, interaction(name, number=12))
    assert found == answer
    assert DEADLINE <= seconds < DEADLINE + 0.5
    await config.until(lambda: 12 in config.inbox and config.inbox[12].deferred)


async def test_a_late_button_becomes_a_deferred_update(discord: Discord, owner: Owner) -> None:
    owner.script = never
    told = interaction(type=3, data={"custom_id": "demo:press:7", "component_type": 2})
    assert await discord.interact(told) == {"type": 6}


async def test_a_dead_owner_becomes_a_deferral(discord: Discord, owner: Owner, config: Config) -> None:
    await owner.stop()
    found, seconds = await timed(discord, interaction(number=13))
    assert found["type"] == 5
    assert seconds < DEADLINE + 0.5
    await config.until(lambda: 13 in config.inbox and config.inbox[13].deferred)


async def test_without_any_owner_the_interaction_waits_in_the_inbox(config: Config) -> None:
    await config.route(None, 1)
    async with httpkit.http_pod(httpkit.settings_for(config.url)) as discord:
        assert (await discord.interact(interaction(number=14)))["type"] == 5
        await config.until(lambda: 14 in config.inbox and config.inbox[14].deferred)


async def test_a_form_cannot_be_deferred_and_is_built_here(discord: Discord, owner: Owner, config: Config) -> None:
    owner.script = never
    found = await discord.interact(interaction("form", number=15))
    assert (found["type"], found["data"]["custom_id"]) == (9, "demo:sent")
    await config.until(lambda: 15 in config.inbox and config.inbox[15].deferred)


@pytest.mark.parametrize(
    "response",
    [web.Response(body=b"not json"), web.Response(body=b'{"data":{}}'), web.Response(status=500), web.Response()],
    ids=["not json", "no type", "500", "empty"],
)
async def test_an_invalid_answer_of_the_owner_never_reaches_discord(
    config: Config, owner: Owner, response: web.Response
) -> None:
    body, status = response.body, response.status

    async def broken(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, status=status)

    owner.script = broken
    async with httpkit.http_pod(httpkit.settings_for(config.url)) as discord:
        assert await discord.interact(interaction()) == {"type": 5, "data": {"flags": 64}}


async def test_an_owner_that_refuses_for_good_means_an_apology_with_the_id(discord: Discord, owner: Owner) -> None:
    owner.script = answers(httpkit.problem(400, "invalid_input"))
    found, seconds = await timed(discord, interaction(number=16))
    assert (found["type"], found["data"]["flags"]) == (4, 64)
    assert "`16`" in found["data"]["content"]
    assert seconds < DEADLINE


@pytest.mark.parametrize(
    ("told", "part"),
    [
        (interaction("nobody-knows-this"), "do not know this"),
        (interaction(data={"id": "9", "name": "quiet", "type": 4}), "do not know this"),
        (interaction(type=3, data={"custom_id": "other:thing"}), "do not know this"),
        (interaction(guild_id=None), "servers only"),
    ],
)
async def test_what_nobody_answers_gets_a_sentence(
    discord: Discord, owner: Owner, told: dict[str, Any], part: str
) -> None:
    found = await discord.interact(told)
    assert (found["type"], found["data"]["flags"]) == (4, 64)
    assert part in found["data"]["content"]
    assert owner.asked == []


async def test_suggestions_are_empty(discord: Discord) -> None:
    assert await discord.interact(interaction(type=4)) == {"type": 8, "data": {"choices": []}}


async def test_a_failure_here_is_an_apology_and_the_log_does_not_quote(discord: Discord, owner: Owner) -> None:
    owner.script = never
    with structlog.testing.capture_logs() as lines:
        found = await discord.interact(interaction("broken", number=17))
    assert "`17`" in found["data"]["content"]
    failed = next(line for line in lines if line["event"] == "interaction_failed")
    assert (failed["interaction"], failed["code"]) == ("17", "RuntimeError")
    assert "quotes a secret" not in str(lines)


async def test_a_shape_that_is_not_understood_is_an_apology(discord: Discord) -> None:
    found = await discord.interact(interaction(number=18, member="somebody"))
    assert "`18`" in found["data"]["content"]


async def test_with_the_inbox_down_interactions_are_answered_and_counted(
    discord: Discord, owner: Owner, config: Config
) -> None:
    config.failing = True
    assert (await discord.interact(interaction(number=19)))["type"] == 4
    await config.until(lambda: config.calls == ["append"])
    await discord.until_metric("modbot_http_unjournaled_total", 1)
    assert (await discord.interact(interaction(number=20)))["type"] == 4
    asked = [headers["x-modbot-journaled"] for headers, _ in owner.asked]
    assert asked == ["1", "0", "0"], "the first is made durable at the owner when the inbox turned out to be down"
    assert await discord.metric("modbot_http_unjournaled_total") == 2
    assert config.calls == ["append"]


async def test_a_slow_inbox_does_not_hold_up_the_answer(discord: Discord, owner: Owner, config: Config) -> None:
    config.inbox_open.clear()
    _, seconds = await timed(discord, interaction(number=21))
    assert seconds < DEADLINE
    assert [headers["x-modbot-journaled"] for headers, _ in owner.asked] == ["1", "0"]
    config.inbox_open.set()
    await config.until(lambda: 21 in config.inbox)


async def test_appends_travel_together_one_call_at_a_time(discord: Discord, config: Config) -> None:
    config.inbox_open.clear()
    await discord.interact(interaction(number=100))
    await config.until(lambda: config.under_way == 1)
    await asyncio.gather(*(discord.interact(interaction(number=number)) for number in range(101, 121)))
    config.inbox_open.set()
    await config.until(lambda: len(config.inbox) == 21)
    assert (config.most_under_way, config.calls) == (1, ["append", "append"])


async def test_an_entry_that_is_refused_does_not_take_others_with_it(
    discord: Discord, config: Config, owner: Owner
) -> None:
    owner.script = never
    config.refused = {32}
    await asyncio.gather(*(discord.interact(interaction(number=number)) for number in (31, 32, 33)))
    await config.until(lambda: {number for number, entry in config.inbox.items() if entry.deferred} == {31, 33})
    await discord.until_metric("modbot_http_deferrals_lost_total", 1)


async def test_deferrals_survive_an_outage_of_the_config_service(
    discord: Discord, owner: Owner, config: Config
) -> None:
    owner.script = never
    config.failing = True
    assert (await discord.interact(interaction(number=22)))["type"] == 5
    await config.until(lambda: config.calls.count("defer") >= 2)
    assert config.inbox == {}
    assert await discord.metric("modbot_http_deferrals_pending") == 1
    config.failing = False
    await config.until(lambda: 22 in config.inbox and config.inbox[22].deferred)


async def test_the_end_of_the_process_waits_for_deferrals(config: Config, owner: Owner) -> None:
    owner.script = never
    config.failing = True
    async with contextlib.AsyncExitStack() as stack:
        discord = await stack.enter_async_context(httpkit.http_pod(httpkit.settings_for(config.url)))
        assert (await discord.interact(interaction(number=23)))["type"] == 5
        await config.until(lambda: "defer" in config.calls)
        stopping = asyncio.create_task(stack.pop_all().aclose())
        await config.until(lambda: config.calls.count("defer") >= 2)
        assert not stopping.done()
        config.failing = False
        await stopping
    assert config.inbox[23].deferred


async def test_an_open_request_is_answered_before_the_process_ends(config: Config, owner: Owner) -> None:
    reached, go = asyncio.Event(), asyncio.Event()

    async def slow(_request: web.Request) -> web.StreamResponse:
        reached.set()
        await go.wait()
        return web.json_response({"type": 4, "data": {}})

    owner.script = slow
    settings = httpkit.settings_for(config.url, deadline=2.0)
    async with aiohttp.ClientSession() as session, contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(main.serving_at(settings, httpkit.registry()))
        await httpkit.until_ready(url, session)
        asking = asyncio.create_task(Discord(url, session).interact(interaction(number=24)))
        await reached.wait()
        stopping = asyncio.create_task(stack.pop_all().aclose())
        await refusing(url)
        go.set()
        assert (await asking)["type"] == 4
        await stopping
    assert 24 in config.inbox


async def test_a_pod_that_never_saw_a_table_defers_and_delivers_later(config: Config) -> None:
    settings = httpkit.settings_for(config.url)
    async with httpkit.http_pod(settings, ready=False) as discord:
        for probe, status in (("/health", 200), ("/started", 503), ("/ready", 503)):
            async with discord.session.get(discord.url + probe) as answer:
                assert answer.status == status, probe
        assert (await discord.interact(interaction(number=25)))["type"] == 5
        await config.route(None, 1)
        await config.until(lambda: 25 in config.inbox and config.inbox[25].deferred)
        async with discord.session.get(discord.url + "/started") as answer:
            assert answer.status == 200


async def test_the_trace_of_an_interaction_goes_to_its_owner(
    discord: Discord, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    forged = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    with tracekit.recording(monkeypatch) as recorder:
        body = msgspec.json.encode(interaction("secret", number=31))
        status, _, _ = await discord.send(body, headers=httpkit.signed(body) | {"traceparent": forged})
        assert status == 200
        await httpkit.eventually(lambda: _ended(recorder, "interaction received"))
    received, forward = recorder.one("interaction received"), recorder.one("forward")
    assert received.parent is None, "whoever calls from outside decides nothing"
    assert forward.parent is not None
    assert forward.parent.span_id == received.context.span_id
    header = owner.asked[0][0]["traceparent"]
    assert f"{forward.context.trace_id:032x}-{forward.context.span_id:016x}" in header
    assert received.attributes == {Fact.COMMAND.value: "secret", Fact.OUTCOME.value: "answered"}
    told = "".join(span.to_json() for span in recorder.spans)
    assert [word for word in (*IDENTITY, str(GUILD), INTERACTION_TOKEN) if word in told] == []


async def _ended(recorder: Recorder, name: str) -> bool:
    return any(span.name == name for span in recorder.spans)


IDENTITY = (str(USER), "reporter-name", "Reporter Name", "reporter-avatar", "reporter-nick")


@pytest.mark.parametrize("mode", ["answered", "late", "inbox down"])
async def test_an_anonymous_person_never_leaves_the_process(
    discord: Discord, owner: Owner, config: Config, mode: str
) -> None:
    owner.script = never if mode == "late" else None
    config.failing = mode == "inbox down"
    with structlog.testing.capture_logs() as lines:
        found = await discord.interact(interaction("secret", number=26))
        if mode != "inbox down":
            await config.until(lambda: 26 in config.inbox and config.inbox[26].deferred == (mode == "late"))
    assert found["type"] == (9 if mode == "late" else 4)
    async with discord.session.get(discord.url + "/metrics") as answer:
        metrics = await answer.text()
    left = [owner.asked[0][1].decode(), *(entry.payload for entry in config.inbox.values()), str(lines), metrics]
    assert [word for word in IDENTITY for text in left if word in text] == []
    person = msgspec.json.decode(owner.asked[0][1])["member"]
    number = anonymity.pseudonym(bytes.fromhex(httpkit.KEY), guild_id=GUILD, user_id=USER)
    assert person == {"user": {"id": str(number)}, "roles": ["31"], "permissions": "8"}


async def test_someone_who_is_not_anonymous_arrives_whole(discord: Discord, owner: Owner) -> None:
    await discord.interact(interaction("quiet"))
    assert all(word.encode() in owner.asked[0][1] for word in IDENTITY)


async def test_an_anonymous_form_is_anonymous_too(discord: Discord, owner: Owner) -> None:
    message = {"id": "3", "channel_id": "77", "interaction_metadata": {"user": {"id": str(USER)}}}
    told = interaction(type=5, data={"custom_id": "demo:sent", "components": []}, message=message)
    await discord.interact(told)
    assert str(USER).encode() not in owner.asked[0][1]


async def test_tokens_and_payloads_are_not_logged(discord: Discord, owner: Owner, config: Config) -> None:
    owner.script = never
    config.failing = True
    with structlog.testing.capture_logs() as lines:
        await discord.interact(interaction())
        await config.until(lambda: "defer" in config.calls)
        config.failing = False
    assert len(lines) >= 2
    assert INTERACTION_TOKEN not in str(lines)
    assert TOKEN not in str(lines)
