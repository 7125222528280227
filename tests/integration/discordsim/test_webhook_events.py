import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from discordsim.interactions.webhook_events import RETRY_SECONDS, WebhookEvents


@pytest.fixture
async def hook(stage):
    answers, received, pauses = [], [], []

    async def serve(request):
        raw = await request.read()
        stamp = request.headers["X-Signature-Timestamp"].encode()
        try:
            VerifyKey(stage.app.public_key).verify(stamp + raw, bytes.fromhex(request.headers["X-Signature-Ed25519"]))
        except BadSignatureError:
            return web.Response(status=401)
        received.append(await request.json())
        return web.Response(status=answers.pop(0) if answers else 204)

    async def sleep(seconds):
        pauses.append(seconds)

    app = web.Application()
    app.router.add_post("/events", serve)
    async with TestServer(app) as server, ClientSession():
        events = WebhookEvents(stage.world, stage.interactions.courier, sleep=sleep)
        yield stage, events, str(server.make_url("/events")), answers, received, pauses


async def test_check_and_send_with_retries(hook):
    stage, events, url, answers, received, pauses = hook
    assert await events.check(stage.app, url) is None
    stage.app.webhook_events_url = url
    answers += [500, 200]
    sending = await events.authorized(stage.app, stage.place.owner_id, stage.guild.id)
    assert sending.delivered
    assert sending.problems == ["HTTP status 500", "HTTP status 200"]
    assert pauses == [1.0, 2.0]
    assert received[-1]["event"]["data"]["guild"]["id"] == str(stage.guild.id)
    await events.deauthorized(stage.app, stage.place.owner_id)
    assert set(received[-1]["event"]["data"]) == {"user"}


async def test_gives_up_after_ten_minutes(hook):
    stage, events, url, answers, _, pauses = hook
    stage.app.webhook_events_url = url
    answers += [503] * 50
    assert not (await events.deauthorized(stage.app, stage.place.owner_id)).delivered
    assert RETRY_SECONDS / 2 < sum(pauses) <= RETRY_SECONDS
