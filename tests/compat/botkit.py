"""One working day of a moderation bot, told from the users' side: whatever library the bot is made with has to live through it.

Users act at the simulator's own doors (`/control`) only. What the bot did is read from the simulator's records and from what users see.
"""

import asyncio
import contextlib

import aiohttp

from discordsim.chat import views
from discordsim.world.model.logs import AuditAction
from discordsim.world.model.messages import MessageFlag

PATIENCE = 10.0
REASONS = ("spam", "scam", "harassment")
COMMANDS = {("warn", 1), ("history", 1), ("Standing", 2), ("Note", 3)}


class Users:
    """The members of one guild, who write and use commands, and the records of what came of it."""

    def __init__(self, site, http):
        self.site, self.world, self.http = site, site.simulator.world, http
        people = [one.user.id for one in site.guild.members.values() if not one.user.bot]
        self.moderator = site.guild.owner_id
        self.witness, self.target, self.spammer = [one for one in people if one != self.moderator][-3:]
        self._told = asyncio.Event()
        self.world.subscribe(lambda _dispatch: self._told.set())

    async def control(self, path, body=None):
        method = "GET" if body is None else "POST"
        async with self.http.request(method, f"{self.site.url}/control/{path}", json=body) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def say(self, content):
        act = {"do": "send", "user_id": self.moderator, "channel_id": self.site.general.id, "content": content}
        return await self.control("act", act)

    async def interact(self, *, user=None, wait="completed", **script):
        script |= {"user": user or self.moderator, "channel": self.site.general.id, "wait": wait}
        return await self.control("interact", script)

    def sees(self, *, user=None, channel=None):
        """Return the messages that a user is shown, oldest first."""
        return views.messages(self.world, channel or self.site.general.id, user or self.moderator)

    def shown(self, message_id, **whom):
        return next((one for one in self.sees(**whom) if one["id"] == str(message_id)), None)

    def audited(self):
        return [(one.action, one.user_id, one.target_id, one.reason) for one in self.site.guild.audit_log]

    async def until(self, condition):
        """Return what `condition` gives once that is true; it is asked again after each event of the world."""
        async with asyncio.timeout(PATIENCE):
            while not (found := condition()):
                self._told.clear()
                await self._told.wait()
        return found

    async def until_said(self, content):
        return await self.until(lambda: next((one for one in self.sees() if one["content"] == content), None))


def nothing_went_wrong(caplog):
    """Libraries log the exceptions of handlers and go on; here that is a failure."""
    assert [one.getMessage() for one in caplog.records if one.levelname in {"ERROR", "CRITICAL"}] == []


@contextlib.asynccontextmanager
async def users_of(site):
    async with aiohttp.ClientSession() as http:
        yield Users(site, http)


async def live_through_a_day(users, looked_up):
    """Play the day. `looked_up` is what the bot waits for between the deferral of /history and its completion."""
    report = await moderates(users)
    await answers_commands(users, looked_up)
    await answers_presses(users, report)
    await survives_a_cut(users)
    await every_interaction_was_answered_well(users)


async def moderates(users):
    """A message makes the bot report, edit, react, open a thread, ban and unban."""
    await users.say(f"!report {users.spammer}")
    banned = (AuditAction.MEMBER_BAN_ADD, users.site.app.id, users.spammer, "spam & more")
    unbanned = (AuditAction.MEMBER_BAN_REMOVE, users.site.app.id, users.spammer, "appealed")
    await users.until(lambda: users.audited()[-2:] == [banned, unbanned])
    assert users.spammer not in users.site.guild.members
    assert users.spammer not in users.site.guild.bans
    report = next(one for one in users.sees(user=users.witness) if one["attachments"])
    assert (report["content"], report["embeds"][0]["title"]) == ("report, edited", "Case 1")
    assert report["edited_timestamp"] is not None
    assert report["embeds"][0]["fields"][0]["value"] == f"<@{users.spammer}>"
    assert report["components"][0]["components"][0]["custom_id"] == "claim"
    async with users.http.get(report["attachments"][0]["url"]) as file:
        assert (report["attachments"][0]["filename"], await file.read()) == ("log.txt", b"what was said")
    assert [(one["emoji"]["name"], one["count"]) for one in report["reactions"]] == [("\N{EYES}", 1)]
    thread = users.world.channel(int(report["id"]))
    assert thread.name == "case 1"
    assert "inside" in [one["content"] for one in users.sees(channel=thread.id)]
    return report


async def answers_commands(users, looked_up):
    """Slash commands with options, autocomplete and a deferral; menus of a user and of a message."""
    registered = users.site.app.global_commands.values()
    assert {(one["name"], one["type"]) for one in registered} == COMMANDS
    typing = await users.interact(
        kind="autocomplete", command="warn", focused="reason", options={"user": str(users.target), "reason": "s"}
    )
    assert [one["value"] for one in typing["choices"]] == ["spam", "scam"]
    await warns(users)
    await looks_up_later(users, looked_up)
    standing = await users.interact(kind="user", command="Standing", target=users.target)
    assert standing["message"]["content"] == f"<@{users.target}> is in good standing"
    assert users.shown(standing["message"]["id"], user=users.witness) is None


async def warns(users):
    """An immediate answer that everybody sees."""
    options = {"user": str(users.target), "reason": "scam"}
    warned = await users.interact(kind="command", command="warn", options=options)
    assert (warned["record"]["first_type"], warned["record"]["name"]) == (4, "warn")
    number = warned["message"]["id"]
    seen = await users.until(lambda: found if "reactions" in (found := users.shown(number, user=users.witness)) else {})
    assert seen["content"] == f"<@{users.target}> was warned: scam"
    assert seen["interaction_metadata"]["user"]["id"] == str(users.moderator)


async def looks_up_later(users, looked_up):
    """A deferral only its user sees, completed by an edit some time later."""
    waiting = await users.interact(kind="command", command="history", wait="answered")
    number, record = waiting["message"]["id"], waiting["record"]
    assert (record["first_type"], record["completed"], record["ephemeral"]) == (5, None, True)
    assert waiting["message"]["flags"] == MessageFlag.EPHEMERAL | MessageFlag.LOADING
    looked_up.set()
    seen = await users.until(lambda: found if (found := users.shown(number))["content"] else None)
    assert (seen["content"], seen["flags"]) == ("no cases", MessageFlag.EPHEMERAL)
    hint = await users.until_said("ask again tomorrow")
    assert [users.shown(one, user=users.witness) for one in (number, hint["id"])] == [None, None]


async def answers_presses(users, report):
    """A button that changes its message; a modal that a menu opens, and the answer to what was written in it."""
    pressed = await users.interact(kind="component", message=report["id"], custom_id="claim")
    assert pressed["record"]["first_type"] == 7
    seen = users.shown(report["id"], user=users.witness)
    assert seen["content"] == f"claimed by <@{users.moderator}>"
    assert seen["components"][0]["components"][0]["disabled"]
    assert [one["filename"] for one in seen["attachments"]] == ["log.txt"]
    opened = await users.interact(kind="message", command="Note", target=report["id"])
    assert (opened["record"]["first_type"], opened["modal"]["title"]) == (9, "Write a note")
    sent = await users.interact(kind="modal", interaction=opened["record"]["id"], values={"text": "seen before"})
    assert sent["message"]["content"] == f"noted on {report['id']}: seen before"
    assert sent["record"]["ephemeral"]


async def survives_a_cut(users):
    """What got lost with the socket is answered once after a RESUME, and so is a command; nobody identifies again."""
    (before,) = await users.control("sessions")
    await users.control("faults/dispatch", {"kind": "drop", "name": "MESSAGE_CREATE"})
    await users.say("!ping")
    assert (await users.control("faults/sockets", {"action": "cut"}))["sockets"] == 1
    await users.until_said("pong")
    (after,) = await users.control("sessions")
    assert (after["session_id"], after["resumes"]) == (before["session_id"], before["resumes"] + 1)
    assert (await users.control("counters"))["identifies"] == 1
    await warns(users)
    assert [one["content"] for one in users.sees()].count("pong") == 1


async def every_interaction_was_answered_well(users):
    """In time, once, over the callback endpoint, and nothing is owed to anybody."""
    listed = await users.control("interactions")
    records = listed["interactions"]
    kinds = ["autocomplete", "command", "command", "user", "button", "message", "modal", "command"]
    assert [one["kind"] for one in records] == kinds
    for one in records:
        assert (one["source"], one["problem"], one["answered_twice"]) == ("callback", None, False)
        assert one["first_response_ms"] < 3000
        assert one["completed"] is not None
    wrong = {name: listed["summary"][name] for name in ("pending", "failed", "answered_twice", "unfinished")}
    assert set(wrong.values()) == {0}, wrong
