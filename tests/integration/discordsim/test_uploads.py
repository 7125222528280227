import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from discordsim.interactions.uploads import read_body


@pytest.mark.parametrize("kind", [None, "application/json", "text/plain"])
async def test_payload_json_may_carry_any_content_type(kind):
    seen = []

    async def take(request):
        seen.append(await read_body(request))
        return web.Response()

    app = web.Application()
    app.router.add_post("/", take)
    form = aiohttp.FormData()
    form.add_field("payload_json", '{"content": "é"}', content_type=kind)
    form.add_field("files[0]", b"x", filename="a.txt")
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession() as client,
        client.post(server.make_url("/"), data=form) as answer,
    ):
        assert answer.status == 200
    body, uploads = seen[0]
    assert (body, [one.name for one in uploads]) == ({"content": "é"}, ["a.txt"])
