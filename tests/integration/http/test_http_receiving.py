"""What Discord may and may not send, over real sockets."""

from __future__ import annotations

import io

import httpkit
import msgspec
import pytest
import structlog
from httpkit import Discord, Owner

from modbot.services.http.receiving import BODY_LIMIT

PING = b'{"id":"1","type":1,"version":1,"token":"t"}'
EVENT = {"type": "APPLICATION_AUTHORIZED", "timestamp": "2026-11-23T10:00:00", "data": {"user": {"id": "4242"}}}
FORGED = {
    "no headers": {},
    "no timestamp": {"X-Signature-Ed25519": httpkit.signed(PING)["X-Signature-Ed25519"]},
    "no signature": {"X-Signature-Timestamp": "1790000000"},
    "another time": httpkit.signed(PING) | {"X-Signature-Timestamp": "1790000001"},
    "another body": httpkit.signed(PING + b" "),
    "not hexadecimal": httpkit.signed(PING) | {"X-Signature-Ed25519": "zz" * 64},
    "too short": httpkit.signed(PING) | {"X-Signature-Ed25519": "00"},
    "not ascii": httpkit.signed(PING) | {"X-Signature-Timestamp": "17\u00e9"},
}


def envelope(**changes: object) -> bytes:
    return msgspec.json.encode({"version": 1, "application_id": "1", "type": 1, "event": EVENT} | changes)


@pytest.mark.parametrize("path", ["/interactions", "/webhooks/discord"])
async def test_a_signed_ping_is_answered_at_both_addresses(discord: Discord, path: str) -> None:
    assert await discord.send(PING, path=path) == (200, b'{"type":1}', "application/json")


@pytest.mark.parametrize("headers", FORGED.values(), ids=FORGED.keys())
async def test_what_discord_did_not_sign_is_401_and_reaches_nobody(
    discord: Discord, owner: Owner, headers: dict[str, str]
) -> None:
    status, _, kind = await discord.send(PING, headers=headers)
    assert (status, kind) == (401, "application/problem+json")
    assert owner.asked == []
    assert await discord.metric("modbot_http_rejected_total", status="401") == 1


async def test_a_forged_interaction_is_neither_journaled_nor_forwarded(
    discord: Discord, owner: Owner, config: httpkit.Config
) -> None:
    body = msgspec.json.encode(httpkit.interaction())
    assert (await discord.send(body, headers=httpkit.signed(body + b" ")))[0] == 401
    assert (owner.asked, config.calls) == ([], [])


async def test_a_body_that_is_too_large_is_refused(discord: Discord) -> None:
    async with discord.session.post(discord.url + "/interactions", data=io.BytesIO(b" " * (BODY_LIMIT + 1))) as answer:
        assert answer.status == 413


async def test_a_chunked_body_that_is_too_large_is_refused(discord: Discord) -> None:
    async def chunks() -> object:
        for _ in range(BODY_LIMIT // 65536 + 1):
            yield b" " * 65536

    async with discord.session.post(discord.url + "/interactions", data=chunks()) as answer:
        assert answer.status == 413


async def test_only_post_is_taken(discord: Discord) -> None:
    async with discord.session.get(discord.url + "/interactions") as answer:
        assert (answer.status, answer.headers["allow"]) == (405, "POST")


async def test_a_webhook_ping_gets_204_and_nothing_else(discord: Discord) -> None:
    assert await discord.send(b'{"version":1,"application_id":"1","type":0}') == (204, b"", "")


async def test_a_webhook_event_is_logged_without_the_person(discord: Discord) -> None:
    data = {"user": {"id": "4242"}, "guild": {"id": "77"}, "integration_type": 0, "scopes": ["bot"]}
    with structlog.testing.capture_logs() as lines:
        status, body, _ = await discord.send(envelope(event=EVENT | {"data": data}), path="/webhooks/discord")
    assert (status, body) == (204, b"")
    assert [(line["type"], line["guild"]) for line in lines if line["event"] == "webhook_event"] == [
        ("APPLICATION_AUTHORIZED", "77")
    ]
    assert "4242" not in str(lines)


async def test_an_event_of_a_new_type_is_accepted(discord: Discord) -> None:
    assert (await discord.send(envelope(event=EVENT | {"type": "SOMETHING_NEW"})))[0] == 204
    assert await discord.metric("modbot_http_webhook_events_total", type="other") == 1


@pytest.mark.parametrize(
    "body",
    [
        envelope(event={"type": 3}),
        envelope(event=None),
        b'{"version":1,"type":1,"application_id":"1"}',
        b'{"version":1,"type":7,"application_id":"1"}',
        b'{"type":2}',
        b"[]",
        b"\xff",
        b"",
        b"[" * 5000,
    ],
)
async def test_signed_nonsense_is_400(discord: Discord, body: bytes) -> None:
    status, answer, kind = await discord.send(body)
    assert (status, kind, msgspec.json.decode(answer)["code"]) == (400, "application/problem+json", "invalid_input")
