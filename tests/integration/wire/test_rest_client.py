"""The REST client against a scripted HTTP server on a real socket."""

import asyncio
import contextlib
import json
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

import tracekit
from modbot.discord import routes
from modbot.discord.budgets import Budget, EgressClosedError
from modbot.discord.objects import Message
from modbot.discord.rest import File, RestClient
from modbot.discord.rest_errors import (
    FencedError,
    ForbiddenError,
    InvalidFormError,
    MissingPermissionsError,
    RateLimitedError,
    RejectedError,
    RestError,
    ServerError,
    TokenInvalidError,
    UnknownError,
)
from modbot.domain.ids import ChannelId, GuildId, InteractionId, MessageId, UserId
from modbot.ops import metrics, tracing
from modbot.ops.settings import Secret
from modbot.ops.tracing import Fact

TOKEN = "bot.token.that.must.not.leak"
ITOKEN = "interaction-token-that-must-not-leak"
SEND = routes.create_message(ChannelId(1))
NONCE = routes.create_message(ChannelId(1), nonce=True)
READ = routes.get_channel(ChannelId(1))


class Server:
    """Answers with the next of `answers`: (status, body, headers), an exception class to break the connection, or a function."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []
        self.came = asyncio.Event()

    async def handle(self, request):
        answer = self.answers.pop(0) if self.answers else (200, {}, {})
        body = b""
        if callable(answer):  # reads the body itself
            answer = await answer(request)
        else:
            body = await request.read()
        self.requests.append((request.method, request.path, dict(request.query), dict(request.headers), body))
        self.came.set()
        if answer == "break":
            request.transport.abort()
            return web.Response()
        if answer == "hang":
            await asyncio.sleep(30)
        status, content, headers = answer
        text = content if isinstance(content, str) else json.dumps(content)
        return web.Response(status=status, text=text, headers=headers, content_type="application/json")


@asynccontextmanager
async def client(*answers, **options):
    server = Server(*answers)
    runner = web.ServerRunner(web.Server(server.handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    budget = options.pop("budget", None) or Budget(per_second=1000)
    try:
        async with aiohttp.ClientSession() as http, asyncio.timeout(10):
            given = {"http": http, "token": Secret(TOKEN), "budget": budget, "backoff": 0.01, "rng": lambda: 0.5}
            base = f"http://127.0.0.1:{runner.addresses[0][1]}/api/v10"
            server.rest = RestClient(base_url=base, **(given | options))
            server.budget = budget
            yield server
    finally:
        await runner.cleanup()


def limited(seconds, scope="user", **headers):
    return (
        429,
        {"message": "slow down", "retry_after": seconds, "global": scope == "global"},
        {"X-RateLimit-Scope": scope} | headers,
    )


async def test_request_carries_token_json_query_and_reason():
    async with client((200, {"id": "5", "channel_id": "1", "content": "null"}, {})) as server:
        answer = await server.rest.request(
            SEND, json={"content": "hi"}, params={"limit": 5}, reason="Übel: " + "x" * 600
        )
        assert answer.decode(Message).text == "null"
        method, path, query, headers, body = server.requests[0]
        assert (method, path, query) == ("POST", "/api/v10/channels/1/messages", {"limit": "5"})
        assert json.loads(body) == {"content": "hi"}
        assert headers["Authorization"] == f"Bot {TOKEN}"
        assert headers["User-Agent"].startswith("DiscordBot (")
        assert headers["X-Audit-Log-Reason"].startswith("%C3%9Cbel%3A%20xxx")
        assert headers["X-Audit-Log-Reason"].count("x") == 512 - len("Übel: ")


async def test_interaction_needs_no_bot_token_and_no_share():
    async with client((204, "", {}), budget=Budget(per_second=0)) as server:
        await server.rest.request(routes.interaction_callback(InteractionId(7), Secret(ITOKEN)), json={"type": 5})
        _, path, _, headers, _ = server.requests[0]
        assert path == f"/api/v10/interactions/7/{ITOKEN}/callback"
        assert "Authorization" not in headers


async def test_emoji_in_the_path_is_encoded_once():
    async def look(request):
        assert request.raw_path.endswith("/reactions/%F0%9F%91%8D/@me")
        return 204, "", {}

    async with client(look) as server:
        await server.rest.request(routes.add_reaction(ChannelId(1), MessageId(2), "👍"))


@pytest.mark.parametrize(
    ("answers", "outcomes", "scopes"),
    [
        ([(200, {}, {})], {"done": 1}, {}),
        ([limited(0.01), (200, {}, {})], {"limited": 1, "done": 1}, {"user": 1}),
        ([limited(0.01, "shared"), (200, {}, {})], {"limited": 1, "done": 1}, {"shared": 1}),
        (
            [limited(0.01, "global", **{"X-RateLimit-Global": "true"}), (200, {}, {})],
            {"limited": 1, "done": 1},
            {"global": 1},
        ),
        ([(403, {"code": 50013}, {})], {"denied": 1}, {}),
        ([(404, {"code": 10003}, {})], {"refused": 1}, {}),
        ([(502, "", {}), (200, {}, {})], {"failed": 1, "done": 1}, {}),
        (["break", (200, {}, {})], {"unanswered": 1, "done": 1}, {}),
    ],
)
async def test_each_try_is_counted_by_what_came_of_it(answers, outcomes, scopes):
    before = _counted()
    async with client(*answers) as server:
        with contextlib.suppress(RestError):
            await server.rest.request(NONCE, json={})
    after = _counted()
    assert {key: after[key] - before[key] for key in after if after[key] != before[key]} == outcomes | scopes


async def test_each_try_is_a_span_that_names_the_template_only(monkeypatch):
    with tracekit.recording(monkeypatch) as recorder:
        async with client((502, "", {}), (200, {}, {})) as server:
            with tracing.below(None), tracing.span("effect", {}):
                await server.rest.request(routes.edit_original(7, Secret(ITOKEN)), json={"content": "a text"})
            effect = recorder.one("effect")
            tries = [span for span in recorder.spans if span.name == "request to Discord"]
            assert [span.attributes[Fact.STATUS.value] for span in tries] == [502, 200]
            assert {span.parent.span_id for span in tries} == {effect.context.span_id}
            assert tries[0].attributes[Fact.ROUTE.value].count("{") == 2
            told = "".join(span.to_json() for span in recorder.spans)
            assert ITOKEN not in told
            assert "a text" not in told


async def test_what_is_done_in_the_background_begins_no_trace(monkeypatch):
    with tracekit.recording(monkeypatch) as recorder:
        async with client((200, {}, {})) as server:
            await server.rest.request(READ)
        assert recorder.spans == []


async def test_what_was_not_sent_is_counted_as_fenced():
    before = _counted()
    async with client(gate=lambda _seconds: "no lease") as server:
        with pytest.raises(FencedError):
            await server.rest.request(READ)
    assert _counted()["fenced"] == before["fenced"] + 1


def _counted():
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {
        next(iter(sample.labels.values())): sample.value
        for family in families
        if family.name in {"modbot_rest_requests", "modbot_rest_limited"}
        for sample in family.samples
        if sample.name.endswith("_total")
    }


async def test_files_are_uploaded_again_on_a_second_try():
    seen = []

    async def read(request):
        parts = await request.post()
        seen.append((bytes(parts["payload_json"]), parts["files[0]"].filename, parts["files[0]"].file.read()))
        return (502, "", {}) if len(seen) == 1 else (200, {}, {})

    async with client(read, read) as server:
        await server.rest.request(NONCE, json={"content": "log"}, files=[File(name="a.txt", data=b"abc")])
    assert seen == [(b'{"content":"log"}', "a.txt", b"abc")] * 2


@pytest.mark.parametrize(("scope", "counted"), [("user", 1), ("global", 1), ("shared", 0)])
async def test_429_is_waited_for_and_repeated_even_for_requests_that_are_not_repeatable(scope, counted):
    async with client(limited(0.05, scope), (200, {}, {})) as server:
        start = asyncio.get_running_loop().time()
        await server.rest.request(SEND, json={})
        assert asyncio.get_running_loop().time() - start >= 0.05
        assert len(server.requests) == 2
        assert server.budget.take_invalid() == counted


async def test_user_limit_holds_its_channel_only_and_global_holds_all():
    for scope, others_wait in (("user", False), ("global", True)):
        async with client(limited(0.3, scope)) as server:
            first = asyncio.create_task(server.rest.request(SEND, json={}))
            await server.came.wait()
            await asyncio.sleep(0.05)
            other = asyncio.create_task(server.rest.request(routes.create_message(ChannelId(2)), json={}))
            await asyncio.sleep(0.1)
            assert other.done() is not others_wait
            await asyncio.gather(first, other)


async def test_429_of_a_proxy_without_discords_json_holds_all():
    async with client((429, "<html>error 1015</html>", {"Retry-After": "0.2"})) as server:
        start = asyncio.get_running_loop().time()
        await server.rest.request(SEND, json={})
        assert asyncio.get_running_loop().time() - start >= 0.2
        assert server.budget.take_invalid() == 1


async def test_long_429_is_given_back_to_the_caller():
    async with client(limited(500)) as server:
        with pytest.raises(RateLimitedError) as caught:
            await server.rest.request(SEND, json={})
        assert caught.value.retry_after == 500
        assert caught.value.scope == "user"


async def test_endless_429s_end():
    async with client(*[limited(0.001)] * 9, tries=3) as server:
        with pytest.raises(RateLimitedError):
            await server.rest.request(SEND, json={})
        assert len(server.requests) == 3


async def test_waiting_for_a_share_that_never_comes_ends():
    async with client(budget=Budget(per_second=0), patience=0.05) as server:
        with pytest.raises(RateLimitedError, match="local"):
            await server.rest.request(SEND, json={})
        assert server.requests == []
        server.budget.set_share(100, True)
        await server.rest.request(SEND, json={})  # the bucket was given back


async def test_limit_of_the_headers_is_kept():
    def headers(remaining):
        return {
            "X-RateLimit-Bucket": "b", "X-RateLimit-Limit": "2", "X-RateLimit-Remaining": str(remaining),
            "X-RateLimit-Reset-After": "0.2",
        }  # fmt: skip

    async with client(*[(200, {}, headers(each)) for each in (1, 0, 1, 0)]) as server:
        loop = asyncio.get_running_loop()
        start, times = loop.time(), []

        async def one():
            await server.rest.request(SEND, json={})
            times.append(loop.time() - start)

        await asyncio.gather(*(one() for _ in range(4)))
        assert times[1] < 0.19
        assert times[2] >= 0.19


@pytest.mark.parametrize("failure", [(500, "", {}), (503, "<html>", {}), "break"])
async def test_unknown_outcome_is_repeated_only_where_that_is_safe(failure):
    async with client(failure, failure, (200, {}, {})) as server:
        await server.rest.request(NONCE, json={})
        assert len(server.requests) == 3
    async with client(failure) as server:
        with pytest.raises(ServerError) as caught:
            await server.rest.request(SEND, json={})
        assert caught.value.retry
        assert len(server.requests) == 1


async def test_no_answer_in_time_is_a_server_error():
    async with client("hang") as server:
        with pytest.raises(ServerError, match="Timeout"):
            await server.rest.request(SEND, json={}, timeout=0.05)


async def test_unreachable_server_is_a_server_error_after_some_tries():
    async with aiohttp.ClientSession() as http:
        rest = RestClient(
            http=http, base_url="http://127.0.0.1:1", token=Secret(TOKEN), budget=Budget(per_second=100), backoff=0.001
        )
        with pytest.raises(ServerError):
            await rest.request(READ)


@pytest.mark.parametrize(
    ("status", "code", "kind", "counted"),
    [
        (400, 50035, InvalidFormError, 0),
        (401, 0, TokenInvalidError, 1),
        (403, 50013, MissingPermissionsError, 1),
        (403, 50001, MissingPermissionsError, 1),
        (403, 20000, ForbiddenError, 1),
        (404, 10008, UnknownError, 0),
        (405, 0, RejectedError, 0),
        (302, 0, RejectedError, 0),
    ],
)
async def test_errors_are_typed_counted_and_not_repeated(status, code, kind, counted):
    async with client((status, {"code": code, "message": "Discord's sentence"}, {})) as server:
        with pytest.raises(kind) as caught:
            await server.rest.request(READ)
        assert type(caught.value) is kind
        assert (caught.value.http_status, caught.value.discord_code) == (status, code)
        assert len(server.requests) == 1
        assert server.budget.take_invalid() == counted


async def test_rejected_form_names_fields_but_not_texts():
    errors = {"embeds": {"0": {"title": {"_errors": [{"code": "BASE_TYPE_MAX_LENGTH", "message": "private words"}]}}}}
    async with client((400, {"code": 50035, "message": "private words", "errors": errors}, {})) as server:
        with pytest.raises(InvalidFormError) as caught:
            await server.rest.request(SEND, json={})
        assert caught.value.fields == ("embeds.0.title: BASE_TYPE_MAX_LENGTH",)
        assert "private" not in str(caught.value)


async def test_fenced_request_never_leaves_and_is_asked_anew_before_each_try():
    asked = []

    def gate(seconds):
        asked.append(seconds)
        return "the lease ends in 1.0 s" if len(asked) > 2 else None

    async with client((500, "", {}), (500, "", {}), (200, {}, {}), gate=gate) as server:
        with pytest.raises(FencedError, match=r"lease ends in 1\.0 s"):
            await server.rest.request(READ, timeout=2.5)
        assert asked == [2.5, 2.5, 2.5]
        assert len(server.requests) == 2
        with pytest.raises(FencedError):
            await server.rest.request(routes.interaction_callback(InteractionId(1), Secret(ITOKEN)), json={})
        with pytest.raises(FencedError):  # a fenced request gives its place in the bucket back
            await server.rest.request(READ)


async def test_gate_is_asked_after_all_waiting():
    open_ = True
    async with client(limited(0.1), gate=lambda _seconds: None if open_ else "lost") as server:
        request = asyncio.create_task(server.rest.request(SEND, json={}))
        await server.came.wait()
        open_ = False
        with pytest.raises(FencedError):
            await request
        assert len(server.requests) == 1


async def test_closed_breaker_refuses_everything_also_interactions():
    async with client() as server:
        server.budget.set_share(1000, False)
        for route in (READ, routes.follow_up(5, Secret(ITOKEN))):
            with pytest.raises(EgressClosedError):
                await server.rest.request(route)
        assert server.requests == []
        server.budget.set_share(1000, True)
        await server.rest.request(READ)


async def test_requests_of_one_bucket_arrive_in_order():
    async with client() as server:
        await asyncio.gather(
            *(server.rest.request(routes.ban(GuildId(1), UserId(number)), json={}) for number in range(30))
        )
        assert [int(path.rsplit("/", 1)[1]) for _, path, *_ in server.requests] == list(range(30))


async def test_tokens_are_in_no_error_and_no_log(capsys):
    route = routes.edit_original(5, Secret(ITOKEN))
    answers = [
        (401, {"message": "x"}, {}), (404, {"code": 10015}, {}), (400, {"code": 50035}, {}), limited(0.01), (403, {}, {}),
        (500, "", {}), (500, "", {}), "break", "hang",
    ]  # fmt: skip
    texts = []
    async with client(*answers, tries=2) as server:
        for _ in range(7):
            try:
                await server.rest.request(route, json={}, timeout=0.1)
            except Exception as error:  # noqa: BLE001
                texts.append(
                    f"{error!r} {error} {error.__cause__!r} {error.__context__ if not error.__suppress_context__ else ''}"
                )
        texts.append(repr(server.rest) + repr(vars(server.rest)))
    printed = capsys.readouterr()
    assert len(texts) >= 6
    for secret in (TOKEN, ITOKEN):
        assert not [text for text in [*texts, printed.out, printed.err] if secret in text]
