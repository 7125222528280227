"""The whole bot as people use it, in a browser: report, look, track, act, set up, and go on after a pod was killed."""

from __future__ import annotations

import re
from pathlib import Path

import owning
import pytest
import visiting
from playwright.async_api import expect
from visiting import PHONE, Screens, Visitor

from modbot.cli import guilds as simulated
from modbot.cli.guilds import SimulatedGuild
from modbot.cli.stack import Plan, Stack

pytestmark = pytest.mark.skipif(visiting.CHROMIUM is None, reason=visiting.NO_CHROMIUM)
_BAIT = "Hey @everyone, **free** gold at https://scam.example/x_y"
_PLACE = "free"
_FILE = "how_to_claim.txt"


def _plan(state_folder: Path) -> Plan:
    return Plan(
        state=state_folder / "state",
        gateways=2,
        http=1,
        guilds=3,
        shard_count=4,
        chat_port=0,
        portal_port=0,
        config_port=0,
        gateway_port=0,
    )


async def test_a_day_by_hand(state_folder: Path) -> None:
    async with Stack.prepare(_plan(state_folder)) as stack:
        people = await simulated.discover(stack)
        await simulated.set_up(stack, people)
        async with visiting.browsing(stack.chat_url) as screens:
            guild = people[0]
            author = await _somebody_writes_and_two_report(screens, guild)
            moderator = await _the_moderator_looks(screens, guild)
            await _the_moderator_acts(stack, moderator, author, guild)
            await _somebody_who_moderates_no_more_is_refused(stack, screens, moderator, guild)
            await moderator.leave()
            await _reporting_survives_a_killed_pod(stack, screens, people[1])
        assert screens.complaints == []


async def _somebody_writes_and_two_report(screens: Screens, guild: SimulatedGuild) -> Visitor:
    author = await screens.visit(guild, guild.member_ids[0])
    await author.write(f"{_BAIT}\n# shouting", file=(_FILE, b"first, send your password"))
    await author.expects(_PLACE)
    first = await screens.visit(guild, guild.member_ids[1])
    menu = await first.open_menu(_PLACE)
    await expect(menu).to_contain_text("Apps")
    await expect(menu.get_by_role("menuitem", name="Track")).to_have_count(0)
    await first.shoot("menu of a member")
    await menu.get_by_role("menuitem", name="Report", exact=True).click()
    await first.submit("Report a message anonymously", choose="Spam or scam", write="They *always* do this @here")
    await first.is_told("Thank you. The moderators have been told, and they do not see who reported it.")
    await first.choose(_PLACE, "Report")
    await first.submit("Report a message anonymously")
    await first.is_told("You have reported this message already.")
    await expect(first.page.locator("#channels")).not_to_contain_text("mod-log")
    await first.leave()
    second = await screens.visit(guild, guild.member_ids[2], size=PHONE)
    await second.choose(_PLACE, "Report")
    await second.submit("Report a message anonymously")
    await second.is_told("Thank you.")
    assert await second.page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    await second.leave()
    return author


async def _the_moderator_looks(screens: Screens, guild: SimulatedGuild) -> Visitor:
    moderator = await screens.visit(guild, guild.moderator_id, channel=guild.mod_log_id)
    line = moderator.message("was reported for spam or scam")
    await expect(line).to_contain_text("“Hey @everyone, **free** gold at https://scam.example/x_y # shouting”")
    await expect(line).to_contain_text("first time on record")
    await expect(line).to_contain_text("1 link, 1 file")
    await expect(line).not_to_have_class(re.compile("pinged"))
    await moderator.expects("on record 2 times, all in the last 30 days")
    await moderator.shoot("mod log")
    await line.locator(".subtext button.mention").click()
    entry = moderator.message("Reported by 2 members")
    await expect(entry.locator("blockquote")).to_contain_text("Hey @\u200beveryone, **free** gold at")
    await expect(entry.locator("blockquote")).to_contain_text("# shouting")
    await expect(entry.locator(".heading")).to_have_count(0)
    await expect(entry).to_contain_text("“They *always* do this @here”")
    await expect(entry.locator("time.relative").first).to_contain_text(re.compile("ago|now"))
    await expect(moderator.page.locator("article.message", has_text="Reported by")).to_have_count(1)
    await moderator.shoot("thread")
    await _the_file_is_a_copy(moderator, guild)
    await entry.get_by_role("link", name="Message", exact=True).click()
    await expect(moderator.page.locator("#title")).to_have_text("# general")
    await expect(moderator.page.locator("article.found")).to_contain_text(_PLACE)
    await moderator.choose(_PLACE, "Track")
    await moderator.is_told("Tracked in #")
    await moderator.page.locator("article.ephemeral button.mention", has_text="history").click()
    await moderator.expects("Reported by 2 members · Tracked by")
    return moderator


async def _the_file_is_a_copy(moderator: Visitor, guild: SimulatedGuild) -> None:
    link = moderator.page.locator(".card.file a", has_text=_FILE)
    address = await link.get_attribute("href")
    assert address is not None
    assert guild.general_id not in address
    answer = await moderator.page.request.get(f"{moderator.screens.address}{address}")
    assert await answer.body() == b"first, send your password"


async def _the_moderator_acts(stack: Stack, moderator: Visitor, author: Visitor, guild: SimulatedGuild) -> None:
    name = await _name(stack, guild, guild.member_ids[0])
    await moderator.press("Timeout")
    await expect(moderator.form(f"Time out {name}?").locator("select")).to_have_value("72000")
    await moderator.submit(f"Time out {name}?", choose="1 hour", write="advertising *again*")
    await moderator.is_told(f"Done: {name} was timed out for 1 hour.")
    await moderator.expects("“advertising *again*”")
    await moderator.press("Delete all reported messages")
    await moderator.submit("Delete all reported messages?")
    await moderator.is_told("1 reported message deleted.")
    await moderator.press("Kick")
    await moderator.submit(f"Kick {name}?")
    await moderator.is_told(f"Done: {name} was kicked.")
    await expect(author.page.locator(".notice")).to_contain_text("is no longer in this guild")
    await author.leave()
    await moderator.press("Kick")
    await moderator.submit(f"Kick {name}?")
    await moderator.is_told(f"{name} is not in this server any more.")
    await moderator.press("Ban")
    await moderator.submit(f"Ban {name}?", write="scam")
    await moderator.is_told(f"Done: {name} was banned.")
    await moderator.go("general")
    await expect(moderator.page.locator("article", has_text=_PLACE)).to_have_count(0)
    await moderator.go("mod-log")
    for done in ("timed out for 1 hour", "1 reported message deleted", "was kicked by", "was banned by"):
        await moderator.expects(done)
    await moderator.shoot("mod log in the evening")
    await moderator.go("history")
    log = await simulated.api(stack, "GET", f"guilds/{guild.guild_id}/audit-logs?limit=20")
    reasons = [entry.get("reason") or "" for entry in log["audit_log_entries"]]
    assert any(guild.moderator_id in reason and reason.endswith("advertising *again*") for reason in reasons)
    assert any(guild.moderator_id in reason and reason.endswith("scam") for reason in reasons)


async def _somebody_who_moderates_no_more_is_refused(
    stack: Stack, screens: Screens, moderator: Visitor, guild: SimulatedGuild
) -> None:
    await simulated.api(stack, "POST", f"guilds/{guild.guild_id}/roles", {"name": "Guardians"})
    owner = await screens.visit(guild, guild.owner_id)
    await owner.write("/setup")
    await owner.form("/setup").get_by_role("button", name="Run").click()
    await owner.is_told("modbot's settings for this server")
    await expect(owner.message("Moderator role:")).to_contain_text("@Moderator")
    await expect(owner.message("Mod log:")).to_contain_text("#mod-log")
    await owner.write("/setup")
    form = owner.form("/setup")
    await form.locator("select").first.select_option(label="@Guardians")
    await form.get_by_role("button", name="Run").click()
    await owner.is_told("Moderator role: @Guardians")
    await expect(owner.page.locator("#log")).not_to_contain_text("Everybody can see")
    await owner.write("/setup")
    await form.locator("select[name=mod_log]").select_option(label="#general")
    await form.get_by_role("button", name="Run").click()
    await owner.is_told("Everybody can see that channel and would read the reports.")
    await owner.leave()
    await moderator.press("Ban + delete 7 days")
    await moderator.is_told("This is for moderators.")
    await expect(moderator.page.get_by_role("dialog")).to_have_count(0)


async def _reporting_survives_a_killed_pod(stack: Stack, screens: Screens, guild: SimulatedGuild) -> None:
    author = await screens.visit(guild, guild.member_ids[0])
    await author.write("the pod dies now")
    await author.leave()
    reporter = await screens.visit(guild, guild.member_ids[1])
    await reporter.choose("the pod dies now", "Report")
    await expect(reporter.form("Report a message anonymously")).to_be_visible()
    owner = await owning.owner_of(stack, guild)
    stack.children[owner].kill()
    await reporter.submit("Report a message anonymously", write="sent while nobody was there")
    await reporter.is_told("Thank you.")
    await stack.until(lambda: _restarted(stack, owner), f"{owner} to come back")
    moderator = await screens.visit(guild, guild.moderator_id, channel=guild.mod_log_id)
    await moderator.expects("“the pod dies now”")
    await moderator.go("history")
    await moderator.expects("“sent while nobody was there”")
    await reporter.leave()
    await moderator.leave()


async def _restarted(stack: Stack, name: str) -> bool:
    return stack.children[name].restarts == 1


async def _name(stack: Stack, guild: SimulatedGuild, user_id: str) -> str:
    member = await simulated.api(stack, "GET", f"guilds/{guild.guild_id}/members/{user_id}")
    return str(member["user"]["username"])
