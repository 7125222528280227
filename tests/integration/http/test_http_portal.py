"""The public pages: they render in every state of the cluster, show numbers only, and carry the security headers."""

from __future__ import annotations

import asyncio
import re

import httpkit
import msgspec
import pytest
from httpkit import Config, Discord, tell

from modbot.services.http.cluster_status import KEEP

PAGES = ("/", "/status", "/status.json", "/started", "/health", "/ready", "/metrics", "/nowhere")


async def page(discord: Discord, path: str, **headers: str) -> str:
    async with discord.session.get(discord.url + path, headers=headers) as answer:
        assert answer.status == 200
        return await answer.text()


@pytest.mark.parametrize("path", PAGES)
async def test_every_answer_carries_the_security_headers(discord: Discord, path: str) -> None:
    async with discord.session.get(discord.url + path) as answer:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "script-src 'self';" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"


async def test_the_status_page_shows_numbers(discord: Discord, config: Config) -> None:
    tell(config)
    text = await page(discord, "/status")
    assert "All 1 shards are served." in text
    assert "1\N{NARROW NO-BREAK SPACE}234" in text
    assert "56.8" in text
    assert re.search(r'<noscript><meta http-equiv="refresh" content="\d+"></noscript>', text)
    assert "out of date" not in text


async def test_nothing_internal_is_public(discord: Discord, config: Config) -> None:
    tell(config)
    for path in ("/status", "/status.json"):
        text = await page(discord, path)
        assert [word for word in ("an-incarnation", "an-internal-address", "a-store") if word in text] == []


@pytest.mark.parametrize(
    ("path", "accept"), [("/status.json", "*/*"), ("/status", "application/json"), ("/status.json", "text/html")]
)
async def test_the_json_twin(discord: Discord, config: Config, path: str, accept: str) -> None:
    tell(config)
    found = msgspec.json.decode(await page(discord, path, accept=accept))
    assert (found["overall"], found["stale"], found["guilds"], found["shards_served"]) == ("serving", False, 1234, 1)
    assert [pod["name"] for pod in found["pods"]] == ["gateway-0"]


async def test_a_shard_that_is_not_connected_is_said(discord: Discord, config: Config) -> None:
    tell(config, connected=False)
    text = await page(discord, "/status")
    assert "1 of 1 shards is not connected" in text
    assert "degraded" in text


async def test_with_the_config_service_down_the_last_numbers_are_shown_with_their_age(
    discord: Discord, config: Config
) -> None:
    tell(config)
    await page(discord, "/status")
    config.failing = True
    await asyncio.sleep(KEEP)
    text = await page(discord, "/status")
    assert "gateway-0" in text
    assert re.search(r"They are \d+(\.\d)?\N{NO-BREAK SPACE}(ms|s) old", text)
    found = msgspec.json.decode(await page(discord, "/status.json"))
    assert (found["overall"], found["stale"]) == ("unknown", True)
    assert found["age_seconds"] >= KEEP


async def test_without_any_numbers_the_page_says_so(discord: Discord, config: Config) -> None:
    config.failing = True
    text = await page(discord, "/status")
    assert "nothing is known" in text
    assert "<table" not in text


async def test_names_are_escaped(discord: Discord, config: Config) -> None:
    tell(config, name="<script>")
    text = await page(discord, "/status")
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


async def test_static_files_are_named_by_their_content_and_kept_for_ever(discord: Discord) -> None:
    addresses = re.findall(r'(?:href|src)="(/static/[^"]+)"', await page(discord, "/"))
    assert len(set(addresses)) == 2
    for address in addresses:
        async with discord.session.get(discord.url + address) as answer:
            assert answer.status == 200
            assert "immutable" in answer.headers["cache-control"]
    async with discord.session.get(discord.url + "/static/portal.css") as answer:
        assert answer.status == 404


@pytest.mark.parametrize("path", ["/", "/status"])
async def test_pages_have_nothing_inline_and_nothing_from_other_hosts(discord: Discord, path: str) -> None:
    text = await page(discord, path)
    assert re.findall(r"<script(?! src=\"/static/status\.[0-9a-f]{12}\.js\" defer></script>)", text) == []
    assert "://" not in text
    assert "style=" not in text


async def test_every_link_of_the_pages_works(discord: Discord) -> None:
    for path in ("/", "/status"):
        for address in re.findall(r'href="(/[^"]*)"', await page(discord, path)):
            async with discord.session.get(discord.url + address) as answer:
                assert answer.status == 200, address


async def test_a_missing_page_is_a_page(discord: Discord) -> None:
    async with discord.session.get(discord.url + "/nowhere") as answer:
        assert (answer.status, answer.content_type) == (404, "text/html")


async def test_two_processes_can_share_a_port(config: Config, owner: httpkit.Owner) -> None:
    assert owner.url
    first = msgspec.structs.replace(httpkit.settings_for(config.url), reuse_port=True)
    async with httpkit.http_pod(first) as discord:
        second = msgspec.structs.replace(first, port=int(discord.url.rsplit(":", 1)[1]))
        async with httpkit.http_pod(second) as other:
            assert other.url == discord.url
