"""A person in front of the chat page: opens it as a member and does what people do, by what is written on the screen."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.async_api import Browser, Locator, Page, async_playwright, expect

from modbot.cli.guilds import SimulatedGuild

CHROMIUM = shutil.which("chromium")
NO_CHROMIUM = "Debian's chromium is not installed (scripts/install-test-tools)"
SHOTS = os.environ.get("MODBOT_SHOTS")
_ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
_PATIENCE_MS = 10_000
DESK, PHONE = (1280, 800), (390, 844)


@dataclass(slots=True)
class Screens:
    """One browser; `complaints` collects what the pages' consoles say."""

    browser: Browser
    address: str
    complaints: list[str] = field(default_factory=list)
    shots: int = 0

    async def visit(
        self, guild: SimulatedGuild, user_id: str, *, channel: str = "", size: tuple[int, int] = DESK
    ) -> Visitor:
        """Open the chat page as a member."""
        page = await self.browser.new_page(viewport={"width": size[0], "height": size[1]})
        page.set_default_timeout(_PATIENCE_MS)
        page.on("console", lambda line: line.type in {"error", "warning"} and self.complaints.append(line.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        where = f"guild={guild.guild_id}&user={user_id}&channel={channel or guild.general_id}"
        await page.goto(f"{self.address}/#{where}")
        await expect(page.locator("#live")).to_have_class("on")
        return Visitor(self, page)


@dataclass(slots=True)
class Visitor:
    """A member at their screen."""

    screens: Screens
    page: Page

    async def write(self, text: str, *, file: tuple[str, bytes] | None = None) -> None:
        """Write a message, with a text file if given."""
        if file is not None:
            name, content = file
            await self.page.set_input_files("#files", {"name": name, "mimeType": "text/plain", "buffer": content})
        await self.page.fill("#input", text)
        await self.page.press("#input", "Enter")

    def message(self, text: str) -> Locator:
        """Return the newest message with this text."""
        return self.page.locator("article.message", has_text=text).last

    async def open_menu(self, text: str) -> Locator:
        """Open the menu of a message."""
        await self.message(text).locator(".content").click(button="right", position={"x": 2, "y": 2})
        return self.page.get_by_role("menu")

    async def choose(self, text: str, entry: str) -> None:
        """Choose an entry of a message's menu."""
        await (await self.open_menu(text)).get_by_role("menuitem", name=entry, exact=True).click()

    async def press(self, label: str) -> None:
        """Press a button of the bot."""
        await self.page.locator("article").get_by_role("button", name=label, exact=True).last.click()

    def form(self, title: str) -> Locator:
        """Return the form with this title."""
        return self.page.get_by_role("dialog", name=title, exact=True)

    async def submit(self, title: str, *, choose: str = "", write: str = "") -> None:
        """Fill in a form and send it."""
        form = self.form(title)
        await expect(form).to_be_visible(timeout=_PATIENCE_MS)
        if choose:
            await form.locator("select").first.select_option(label=choose)
        if write:
            await form.locator("textarea").fill(write)
        await self.shoot(title)
        await form.get_by_role("button", name="Submit").click()

    async def expects(self, text: str) -> None:
        """Wait until a message with this text is there."""
        await expect(self.message(text)).to_be_visible(timeout=_PATIENCE_MS)

    async def is_told(self, text: str) -> None:
        """Wait until an answer with this text is there that only this member sees."""
        own = self.page.locator("article.ephemeral", has_text=text)
        await expect(own.last).to_be_visible(timeout=_PATIENCE_MS)
        await self.shoot(text)

    async def go(self, channel: str) -> None:
        """Open a channel from the list on the left."""
        await self.page.locator("#channels").get_by_role("button", name=channel).click()
        await expect(self.page.locator("#title")).to_contain_text(channel)

    async def shoot(self, name: str) -> None:
        """Keep a picture in the folder `MODBOT_SHOTS`, for people who want to look."""
        if SHOTS:
            self.screens.shots += 1
            safe = "".join(each if each.isalnum() else "-" for each in name)[:40]
            await self.page.screenshot(path=str(Path(SHOTS) / f"{self.screens.shots:02}-{safe}.png"))

    async def leave(self) -> None:
        """Close the page."""
        await self.page.close()


@asynccontextmanager
async def browsing(address: str) -> AsyncIterator[Screens]:
    """Open a browser in front of the chat page at this address."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        try:
            yield Screens(browser, address)
        finally:
            await browser.close()
