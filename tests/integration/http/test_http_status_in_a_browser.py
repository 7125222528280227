"""The status page renews itself in a real browser, under its own content security policy."""

from __future__ import annotations

import shutil

import httpkit
import pytest
from httpkit import Config, Owner
from playwright.async_api import async_playwright

CHROMIUM = shutil.which("chromium")


@pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed (scripts/install-test-tools)")
async def test_the_numbers_change_in_place_and_an_absent_server_is_said(config: Config, owner: Owner) -> None:
    assert owner.url
    httpkit.tell(config)
    wrong: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = await browser.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        async with httpkit.http_pod(httpkit.settings_for(config.url)) as discord:
            await page.clock.install()
            await page.goto(discord.url + "/status")
            await page.locator(".verdict", has_text="All 1 shards are served").wait_for(timeout=5000)
            httpkit.tell(config, connected=False)
            await httpkit.eventually(lambda: renewed(page, ".verdict:has-text('not connected')"))
        await httpkit.eventually(lambda: renewed(page, "#offline:visible"))
        await browser.close()
    assert wrong == []


async def renewed(page: object, selector: str) -> bool:
    """Let five seconds of the page's clock pass and tell whether something is there."""
    await page.clock.run_for(5000)
    return await page.locator(selector).count() == 1
