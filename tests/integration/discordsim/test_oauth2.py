import base64
import hashlib
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from discordsim.oauth2 import routes

BACK = "https://portal.example/callback"
VERIFIER = "v" * 50
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")


@pytest.fixture
async def portal(stage):
    stage.app.redirect_uris.append(BACK)
    app = web.Application()
    routes.add_routes(app, stage)
    async with TestServer(app) as server, ClientSession(base_url=server.make_url("/")) as client:
        yield stage, client


def asked(stage, **more):
    base = {"client_id": str(stage.app.id), "response_type": "code", "redirect_uri": BACK, "scope": "identify guilds"}
    return base | {"state": "s&t", "code_challenge": CHALLENGE, "code_challenge_method": "S256"} | more


async def agree(stage, client, **more):
    form = asked(stage) | {"user": str(stage.place.moderator_id), "decision": "approve"} | more
    async with client.post("/oauth2/authorize", data=form, allow_redirects=False) as answer:
        assert answer.status == 302
        return {key: value[0] for key, value in parse_qs(urlsplit(answer.headers["Location"]).query).items()}


async def trade(stage, client, **form):
    data = {"client_id": str(stage.app.id), "client_secret": stage.app.client_secret} | form
    async with client.post("/api/oauth2/token", data=data) as answer:
        return answer.status, await answer.json()


def exchange(code, **more):
    return {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "code_verifier": VERIFIER} | more


async def test_sign_in_read_refresh_revoke(portal):
    stage, client = portal
    back = await agree(stage, client)
    assert back["state"] == "s&t"
    status, tokens = await trade(stage, client, **exchange(back["code"]))
    assert status == 200
    assert (await trade(stage, client, **exchange(back["code"])))[1] == {"error": "invalid_grant"}
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    async with client.get("/api/v10/users/@me", headers=headers) as answer:
        assert (await answer.json())["id"] == str(stage.place.moderator_id)
    async with client.get("/api/v10/users/@me/guilds", headers=headers) as answer:
        assert [(one["id"], one["owner"]) for one in await answer.json()] == [(str(stage.guild.id), False)]
    async with client.get(f"/api/v10/users/@me/guilds/{stage.guild.id}/member", headers=headers) as answer:
        assert answer.status == 403
    async with client.get("/api/oauth2/@me", headers=headers) as answer:
        assert (await answer.json())["scopes"] == ["identify", "guilds"]
    renew = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    status, renewed = await trade(stage, client, **renew)
    assert status == 200
    assert (await trade(stage, client, **renew))[0] == 400
    basic = base64.b64encode(f"{stage.app.id}:{stage.app.client_secret}".encode()).decode()
    async with client.post(
        "/api/oauth2/token/revoke",
        data={"token": renewed["access_token"]},
        headers={"Authorization": f"Basic {basic}"},
    ) as answer:
        assert answer.status == 200
    for old in (tokens, renewed):
        async with client.get("/api/users/@me", headers={"Authorization": f"Bearer {old['access_token']}"}) as answer:
            assert answer.status == 401


async def test_wrong_proofs_are_refused(portal):
    stage, client = portal
    for wrong in ({"code_verifier": "w" * 50}, {"redirect_uri": BACK + "/x"}, {"code": "none"}):
        code = (await agree(stage, client))["code"]
        assert (await trade(stage, client, **exchange(code) | wrong))[1] == {"error": "invalid_grant"}
    code = (await agree(stage, client))["code"]
    assert (await trade(stage, client, **exchange(code, client_secret="x")))[0] == 401
    stage.clock.now += 601
    assert (await trade(stage, client, **exchange(code)))[1] == {"error": "invalid_grant"}


async def test_consent_page_escapes_and_refuses(portal):
    stage, client = portal
    stage.world.user(stage.place.owner_id).global_name = "<script>alert(1)</script>"
    async with client.get("/oauth2/authorize", params=asked(stage, state='"><b>')) as answer:
        page = await answer.text()
    assert "<script>" not in page
    assert "<b>" not in page
    for wrong in ({"redirect_uri": "https://evil.example"}, {"client_id": "1"}, {"code_challenge_method": "plain"}):
        async with client.get("/oauth2/authorize", params=asked(stage) | wrong) as answer:
            assert answer.status == 400
    assert (await agree(stage, client, decision="cancel")) == {"error": "access_denied", "state": "s&t"}
