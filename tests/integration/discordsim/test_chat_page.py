import os
import shutil
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Page, async_playwright, expect

from discordsim.chat import routes as chat_routes
from discordsim.interactions import routes as interaction_routes
from discordsim.world import members, posting, threads
from discordsim.world.model.messages import Draft

CHROMIUM = shutil.which("chromium")
SHOTS = os.environ.get("DISCORDSIM_SHOTS")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="Debian's chromium is not installed (scripts/install-test-tools)"
)

PANEL = [
    {
        "type": 17,
        "accent_color": 0xE67E22,
        "components": [
            {"type": 10, "content": "### Report\n**Sami** was reported by 2 members."},
            {"type": 14},
            {
                "type": 9,
                "components": [{"type": 10, "content": "Open the case"}],
                "accessory": {"type": 2, "style": 1, "label": "Open", "custom_id": "open"},
            },
            {
                "type": 1,
                "components": [
                    {"type": 2, "style": 4, "label": "Ban", "custom_id": "ban"},
                    {"type": 2, "style": 2, "label": "Explain", "custom_id": "explain"},
                ],
            },
            {
                "type": 1,
                "components": [
                    {
                        "type": 3,
                        "custom_id": "tier",
                        "placeholder": "Choose a tier",
                        "options": [{"label": "Log", "value": "log"}, {"label": "Restrict", "value": "restrict"}],
                    }
                ],
            },
        ],
    }
]
MODAL = {
    "type": 9,
    "data": {
        "custom_id": "why",
        "title": "Why this ban?",
        "components": [
            {
                "type": 18,
                "label": "Reason",
                "description": "Shown in the audit log",
                "component": {"type": 4, "custom_id": "reason", "style": 2},
            },
            {
                "type": 18,
                "label": "Rule",
                "component": {
                    "type": 3,
                    "custom_id": "rule",
                    "options": [{"label": "Spam", "value": "spam"}, {"label": "Insults", "value": "insults"}],
                },
            },
        ],
    },
}


def answer(interaction):
    """A tiny moderation bot."""
    data = interaction["data"]
    name = data.get("name") or data.get("custom_id")
    fixed = {
        "Report": {"type": 4, "data": {"content": "Thank you, the moderators will look at it.", "flags": 64}},
        "panel": {"type": 4, "data": {"flags": 32768, "components": PANEL}},
        "ban": MODAL,
        "slow": {"type": 5},
        "open": {"type": 4, "data": {"content": "Opened."}},
    }
    if name == "why":
        row, rule = (one["component"] for one in data["components"])
        return {"type": 4, "data": {"content": f"Noted: {row['value']} ({rule['values'][0]})", "flags": 64}}
    if name == "tier":
        return {"type": 4, "data": {"content": f"Tier: {data['values'][0]}"}}
    return fixed.get(name) or web.Response(status=500)


@pytest.fixture
async def chat(stage):
    """A stage with its chat page and open browser; `problems` collects what the console complains about."""
    app = web.Application()
    interaction_routes.add_routes(app, stage)
    chat_routes.add_routes(app, stage)
    stage.endpoint.handler = answer
    stage.register("Report", kind=3)
    stage.register(
        "panel",
        description="Show the panel",
        options=[{"type": 6, "name": "who", "description": "Whom?", "required": True}],
    )
    stage.register("slow", description="Takes a while")
    stage.register("broken", description="Never answers")
    async with TestServer(app) as server, async_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        problems: list[str] = []

        async def visit(user, *, width=1280, height=800, channel=None) -> Page:
            page = await browser.new_page(viewport={"width": width, "height": height})
            page.set_default_timeout(5000)
            page.on("console", lambda line: problems.append(line.text) if line.type in {"error", "warning"} else None)
            page.on("pageerror", lambda error: problems.append(str(error)))
            where = f"guild={stage.guild.id}&user={user}&channel={channel or stage.place.general_id}"
            await page.goto(str(server.make_url("/")) + "#" + where)
            await expect(page.locator("#live")).to_have_class("on")
            return page

        yield stage, visit
        await browser.close()
    assert problems == []


async def shoot(page, name):
    if SHOTS:
        await page.screenshot(path=str(Path(SHOTS) / f"{name}.png"))


def write(stage, author, text, **fields):
    draft = Draft(content=text, **fields)
    return posting.create(stage.world, stage.place.general_id, author, draft, enforce=False)


async def send(page, text):
    await page.fill("#input", text)
    await page.press("#input", "Enter")


async def test_two_people_talk_live(chat):
    stage, visit = chat
    one, two = await visit(stage.place.owner_id), await visit(stage.place.moderator_id)
    await send(one, "**Hello** <script>document.title='owned'</script> `code` ||secret||")
    text = two.locator("article .text").last
    await expect(text.locator("strong")).to_have_text("Hello")
    await expect(text).to_contain_text("<script>document.title='owned'</script>")
    assert await two.title() == "discordsim"
    await two.locator("article").last.hover()
    await two.get_by_label("Reply").last.click()
    await send(two, "welcome")
    await expect(one.locator("article .reply")).to_contain_text("Hello")
    await one.locator("article").last.hover()
    await one.get_by_label("React").last.click()
    await one.get_by_role("menuitem", name="🎉").click()
    await expect(two.locator(".reactions button")).to_have_text("🎉 1")
    await two.set_input_files("#files", {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"hi"})
    await send(two, "with a file")
    await expect(one.locator(".card.file a")).to_have_text("notes.txt")


async def test_hidden_channels_stay_hidden_and_threads_hang_below(chat):
    stage, visit = chat
    message = write(stage, stage.place.owner_id, "a start")
    closed = threads.create(
        stage.world, stage.place.general_id, "old thread", owner_id=stage.place.owner_id, private=False
    )
    threads.edit(stage.world, closed.id, {"archived": True})
    page = await visit(stage.place.member_ids[0])
    await expect(page.locator("#channels")).to_contain_text("general")
    await expect(page.locator("#channels")).not_to_contain_text("mod-log")
    await page.locator(f"#m{message.id}").click(button="right")
    await page.get_by_role("menuitem", name="Create thread").click()
    await page.get_by_label("Thread name").fill("a new thread")
    await page.get_by_role("button", name="Create").click()
    await expect(page.locator("#title")).to_have_text("# a new thread")
    await expect(page.locator(".channel.thread")).to_have_text(["↳ a new thread"])
    await page.get_by_label("Show archived threads").check()
    await expect(page.locator(".channel.thread")).to_have_count(2)
    await page.select_option("#person", str(stage.place.moderator_id))
    await expect(page.locator("#channels")).to_contain_text("mod-log")


async def test_report_is_seen_by_one_only(chat):
    stage, visit = chat
    bad = write(stage, stage.place.member_ids[0], "something rude")
    page, other = await visit(stage.place.member_ids[1]), await visit(stage.place.owner_id)
    await page.locator(f"#m{bad.id}").click(button="right")
    await page.get_by_role("menuitem", name="Report").click()
    await expect(page.locator(".ephemeral")).to_contain_text("Only you can see this")
    await expect(other.locator("article")).to_have_count(1)
    await page.get_by_role("button", name="Dismiss message").click()
    await expect(page.locator(".ephemeral")).to_have_count(0)


async def test_slash_command_buttons_select_and_modal(chat):
    stage, visit = chat
    write(stage, stage.place.member_ids[0], "# Rules\n> be kind\n- one\n- two")
    page = await visit(stage.place.moderator_id)
    await page.fill("#input", "/pa")
    await shoot(page, "suggestions-1280")
    await page.press("#input", "Enter")
    await page.locator("dialog select").select_option(str(stage.place.member_ids[0]))
    await page.get_by_role("button", name="Run").click()
    await expect(page.locator(".container")).to_contain_text("was reported")
    await shoot(page, "panel-1280")
    await page.get_by_role("button", name="Open").click()
    await expect(page.locator("article").last).to_contain_text("Opened.")
    await page.locator(".container select").select_option("restrict")
    await expect(page.locator("article").last).to_contain_text("Tier: restrict")
    await page.get_by_role("button", name="Ban").click()
    await page.get_by_label("Reason").fill("<b>loud</b>")
    await page.get_by_label("Rule").select_option("insults")
    await shoot(page, "modal-1280")
    await page.get_by_role("button", name="Submit").click()
    await expect(page.locator(".ephemeral")).to_contain_text("Noted: <b>loud</b> (insults)")
    await page.get_by_role("button", name="Explain").click()
    await expect(page.locator(".failure:not(:empty)")).to_contain_text("This interaction failed")
    await shoot(page, "after-1280")


async def test_thinking_is_filled_and_silence_is_shown(chat):
    stage, visit = chat
    page = await visit(stage.place.moderator_id)
    await send(page, "/slow")
    await expect(page.locator("article .thinking")).to_contain_text("is thinking")
    record = next(iter(stage.interactions.records.values()))
    stage.interactions.follow_up(record, {"content": "All done."}, [])
    await expect(page.locator("article").last).to_contain_text("All done.")
    await send(page, "/broken")
    await expect(page.locator(".failed")).to_contain_text("The application did not respond")


async def test_moderating_from_the_user_menu(chat):
    stage, visit = chat
    target = stage.place.member_ids[0]
    write(stage, target, "spam")
    page = await visit(stage.place.moderator_id)
    await page.locator("article .name").click()
    await page.get_by_role("menuitem", name="Kick").click()
    await page.get_by_label("Reason").fill("spam")
    await page.get_by_role("button", name="kick").click()
    await page.locator("article .name").click()
    await expect(page.get_by_role("menuitem", name="(left)")).to_be_visible()
    assert target not in stage.guild.members
    assert [entry.reason for entry in stage.guild.audit_log][-1:] == ["spam"]


async def test_works_on_a_phone(chat):
    stage, visit = chat
    for index, text in enumerate(
        ["Good morning!", "Has anybody seen *the otter*?", f"It is over <#{stage.place.general_id}>"]
    ):
        write(stage, [stage.place.owner_id, *stage.place.member_ids][index], text)
    members.rename(stage.world, stage.guild.id, stage.place.owner_id, "The Boss")
    page = await visit(stage.place.moderator_id, width=390, height=844)
    await send(page, "/panel")
    await page.locator("dialog select").select_option(str(stage.place.member_ids[0]))
    await page.get_by_role("button", name="Run").click()
    await expect(page.locator(".container")).to_be_visible()
    await shoot(page, "chat-390")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390
    await page.get_by_role("button", name="Channels").click()
    await expect(page.locator("nav")).to_be_in_viewport()
    await shoot(page, "side-390")
    await page.locator(".channel", has_text="mod-log").click()
    await expect(page.locator("#title")).to_have_text("# mod-log")


async def test_simulator_drawer_cuts_a_session(chat):
    stage, visit = chat
    asked = []

    async def sessions(route):
        one = {"session_id": "s1", "shard": [0, 2], "connected": True, "seq": 7, "guilds": 3, "buffer": 5, "resumes": 1}
        await route.fulfill(json=[one])

    async def sockets(route):
        asked.append(route.request.post_data_json)
        await route.fulfill(json={"sockets": 1})

    page = await visit(stage.place.moderator_id)
    await page.route("**/control/sessions", sessions)
    await page.route("**/control/faults/sockets", sockets)
    await send(page, "/broken")
    await expect(page.locator(".failed")).to_be_visible()
    await page.get_by_role("button", name="Simulator").click()
    await expect(page.locator("#drawer")).to_contain_text("Shard 0/2")
    await expect(page.locator("#drawer")).to_contain_text("HTTP status 500")
    await shoot(page, "drawer-1280")
    async with page.expect_response("**/control/faults/sockets"):
        await page.get_by_role("button", name="Cut").click()
    async with page.expect_response("**/control/faults/sockets"):
        await page.get_by_role("button", name="Op 7").click()
    await expect(page.locator("#notices .notice")).to_have_count(0)
    assert asked == [{"session_id": "s1", "action": "cut"}, {"session_id": "s1", "action": "reconnect"}]
