"""The core loop through the real features: activity, reports, user threads, moderation, set-up."""

import msgspec
import openapi
import pytest
import shardkit
from shardkit import (
    BOT,
    BOT_ROLE,
    CHANNEL,
    GUILD,
    HIGH_ROLE,
    LOW_ROLE,
    MEMBER,
    MOD_LOG,
    MOD_ROLE,
    MODERATOR,
    OTHER,
    OWNER,
)

from modbot.discord import routes
from modbot.discord.rest_errors import ServerError
from modbot.domain.ids import GuildId, UserId
from modbot.domain.settings import MOD_LOG as MOD_LOG_SETTING
from modbot.domain.settings import MODERATOR_ROLE
from modbot.features import all_features
from modbot.shard import guild_settings

HOSTILE = [
    "`" * 300 + "```js\n" + "`@everyone` @here",
    "[click](https://evil.example/a_b) discord.gg/abc <@&1> <@2>",
    "a\u200b\u202eb" * 400,
    "\n" * 2000 + "x",
    "*_~|[]()\\>#" * 340,
    "> " * 2000,
    "https://example.com/" + "x" * 3900,
]


@pytest.fixture
async def world(make_world):
    world = await make_world(*all_features())
    await world.dispatch("GUILD_CREATE", shardkit.guild_body())
    await set_up(world, MODERATOR_ROLE, MOD_ROLE)
    await set_up(world, MOD_LOG_SETTING, MOD_LOG)
    world.discord.join(MEMBER, LOW_ROLE)
    world.discord.join(MODERATOR, MOD_ROLE)
    world.clock.advance(3600)
    return world


async def set_up(world, spec, value):
    def work(tx):
        tx.guild_id = GuildId(GUILD)
        guild_settings.change(tx, spec, None if value is None else str(value), changed_by=UserId(OWNER))

    await world.engine.commit(work)


def menu(world, name, message, **who):
    target = message["id"]
    data = {"name": name, "type": 3, "target_id": target, "resolved": {"messages": {target: message}}}
    return world.press(2, data, **who)


def form(world, custom_id, fields=None, *, name="user13 · history", **who):
    rows = [{"type": 18, "component": {"type": 4, "custom_id": key, **value}} for key, value in (fields or {}).items()]
    channel = {"id": "1", "type": 11, "name": name}
    return world.press(5, {"custom_id": custom_id, "components": rows}, channel=channel, **who)


async def report(world, message, *, user=77, words="", opened=True):
    """`user` is what the edge puts in the reporter's place."""
    if opened:
        await world.interact(menu(world, "Report", message, user=user, roles=[]))
    fields = {"words": {"value": words}, "category": {"values": ["spam"]}}
    answer = await world.interact(form(world, f"reports:report:{message['id']}", fields, user=user, roles=[]))
    await world.idle()
    return answer["data"]["content"]


def thread_of(world):
    return list(world.discord.threads)[-1]


def sent(world):
    return [call["json"] for call in world.discord.calls if call["json"] and "messages" in call["template"]]


def check_bodies(world):
    for body in sent(world):
        assert len(body.get("content", "")) <= 2000
        assert body["allowed_mentions"] == {"parse": []}
        ids = [each["custom_id"] for each in walk(body.get("components", [])) if "custom_id" in each]
        assert len(list(walk(body.get("components", [])))) <= 40
        assert len(ids) == len(set(ids))
        assert all(len(each) <= 100 for each in ids)


def check_requests(world):
    """Compare what was sent with Discord's own description, where it is at hand."""
    if not openapi.path().exists():
        pytest.skip("Discord's OpenAPI description is not there")
    checker = openapi.Checker()
    for call in world.discord.calls:
        template = checker.operation(call["method"], call["path"])
        assert template is not None, call["path"]
        if call["json"] is not None:
            place = f"/paths/{openapi._escaped(template)}/{call['method'].lower()}/requestBody/content/application~1json/schema"
            checker._add(call["method"], call["path"], "request", place, call["json"])
    checker.verify()


async def test_every_request_of_the_core_loop_is_as_discord_describes_it(world):
    message = shardkit.message_body(500, content="bad", embeds=[{"title": "t"}])
    await world.interact(menu(world, "Track", message))
    await report(world, message)
    for kind in ("timeout", "kick", "ban", "ban_delete"):
        world.discord.join(MEMBER, LOW_ROLE)
        fields = {"reason": {"value": "why"}, "seconds": {"type": 3, "values": ["3600"]}}
        await world.interact(form(world, f"moderation:confirm:{kind}:{MEMBER}", fields))
        await world.idle()
    await world.interact(form(world, f"reports:confirm-delete:user:{MEMBER}"))
    await world.idle()
    await world.dispatch(
        "INTERACTION_CREATE", msgspec.to_builtins(world.press(2, {"name": "setup", "type": 1}, user=OWNER))
    )
    await world.idle()
    assert {call["method"] for call in world.discord.calls} == {"GET", "POST", "PUT", "PATCH", "DELETE"}
    check_requests(world)


def walk(components):
    for each in components:
        yield each
        yield from walk(each.get("components", []))


class TestActivity:
    async def rows(self, world):
        return await world.rows("SELECT message_id, chars, words, attachments, reactions FROM activity")

    async def test_people_are_counted_and_nobody_else(self, world):
        odd = [{"author": {"id": "5", "bot": True}}, {"author": {"id": "5", "system": True}}, {"webhook_id": "9"}]
        odd += [{"type": 7}, {"type": 20}]
        bodies = [shardkit.message_body(number, **more) for number, more in enumerate(odd, 10)]
        private = shardkit.message_body(30)
        del private["guild_id"]
        files = [{"id": "1", "filename": "a.png", "size": 1, "url": "https://cdn/a"}]
        alone = shardkit.message_body(31, content="", attachments=files)
        await world.dispatch("MESSAGE_CREATE", *bodies, private, alone, shardkit.message_body(32, type=19))
        assert await self.rows(world) == [(31, 0, 0, 1, 0), (32, 5, 1, 0, 0)]

    async def test_an_edit_keeps_the_reactions_and_a_preview_changes_nothing(self, world):
        await world.dispatch("MESSAGE_CREATE", shardkit.message_body(1))
        emoji = {"message_id": "1", "channel_id": str(CHANNEL), "guild_id": str(GUILD), "emoji": {"name": "x"}}
        await world.dispatch("MESSAGE_REACTION_ADD", {**emoji, "user_id": "1"}, {**emoji, "user_id": "2"})
        await world.dispatch("MESSAGE_REACTION_ADD", {**emoji, "user_id": "1"})
        await world.dispatch("MESSAGE_UPDATE", shardkit.message_body(1, content="two words"))
        assert await self.rows(world) == [(1, 9, 2, 0, 2)]
        preview = {"id": "1", "channel_id": str(CHANNEL), "guild_id": str(GUILD), "embeds": []}
        await world.dispatch("MESSAGE_UPDATE", preview, shardkit.message_body(99))
        assert await self.rows(world) == [(1, 9, 2, 0, 2)]

    async def test_reactions_are_a_set(self, world):
        await world.dispatch("MESSAGE_CREATE", shardkit.message_body(1))
        base = {"message_id": "1", "channel_id": str(CHANNEL), "guild_id": str(GUILD)}
        one, two = ({**base, "emoji": {"name": name}, "user_id": "1"} for name in ("x", "y"))
        await world.dispatch("MESSAGE_REACTION_REMOVE", one)
        await world.dispatch("MESSAGE_REACTION_ADD", one, two, {**one, "user_id": "2"})
        await world.dispatch("MESSAGE_REACTION_REMOVE", one, one)
        assert (await self.rows(world))[0][4] == 2
        await world.dispatch("MESSAGE_REACTION_REMOVE_EMOJI", {**base, "emoji": {"name": "x"}})
        assert (await self.rows(world))[0][4] == 1
        await world.dispatch("MESSAGE_REACTION_REMOVE_ALL", base)
        assert (await self.rows(world))[0][4] == 0

    async def test_deleted_messages_leave_no_rows(self, world):
        await world.dispatch("MESSAGE_CREATE", *(shardkit.message_body(number) for number in (1, 2, 3)))
        place = {"channel_id": str(CHANNEL), "guild_id": str(GUILD)}
        await world.dispatch("MESSAGE_DELETE", {"id": "1", **place})
        await world.dispatch("MESSAGE_DELETE_BULK", {"ids": ["2", "3", "4"], **place})
        assert await self.rows(world) == []


class TestReports:
    async def test_a_report_becomes_an_entry_and_a_line(self, world):
        answer = await report(world, shardkit.message_body(500, content="bad"), words="look")
        assert answer.startswith("Thank you")
        _controls, entry = world.discord.contents(thread_of(world))
        assert "> bad" in entry
        assert "look" in entry
        assert [line.startswith("🚩 **user13**") for line in world.discord.contents(MOD_LOG)] == [True]
        check_bodies(world)

    async def test_the_same_member_reports_a_message_once(self, world):
        message = shardkit.message_body(500)
        await report(world, message)
        assert "already" in await report(world, message)
        assert await world.rows("SELECT count(*) FROM reports") == [(1,)]

    async def test_more_reports_of_one_message_stand_in_one_entry(self, world):
        message = shardkit.message_body(500)
        for user in (77, 78, 79):
            await report(world, message, user=user)
        contents = world.discord.contents(thread_of(world))
        assert len(contents) == 2
        assert "Reported by 3 members" in contents[1]
        assert len(world.discord.contents(MOD_LOG)) == 3

    @pytest.mark.parametrize("code", [30046, 10008])
    async def test_an_entry_that_cannot_be_edited_is_followed_by_a_new_one(self, world, code):
        message = shardkit.message_body(500)
        await report(world, message)
        world.discord.reject("PATCH", "/messages/", code)
        await report(world, message, user=78)
        assert len(world.discord.contents(thread_of(world))) == 3
        await report(world, message, user=79)
        assert len(world.discord.contents(thread_of(world))) == 3

    async def test_one_member_cannot_flood(self, world):
        answers = [await report(world, shardkit.message_body(500 + n)) for n in range(6)]
        assert [answer.startswith("Thank you") for answer in answers] == [True] * 5 + [False]
        world.clock.advance(3601)
        assert (await report(world, shardkit.message_body(600))).startswith("Thank you")

    async def test_what_is_kept_goes_in_time(self, world):
        await report(world, shardkit.message_body(500, content="secret words"))
        await world.fire_timers(59 * 60)
        assert (await world.row("SELECT evidence FROM reported_messages"))[0] is not None
        await world.fire_timers(60)
        assert await world.row("SELECT evidence FROM reported_messages") == (None,)
        assert await world.row("SELECT reporter FROM reports") == (77,)
        await world.fire_timers(47 * 3600)
        assert await world.row("SELECT reporter FROM reports") == (None,)

    async def test_opening_the_form_again_keeps_the_words_no_longer(self, world):
        message = shardkit.message_body(500, content="secret words")
        await report(world, message)
        await world.fire_timers(50 * 60)
        await world.interact(menu(world, "Report", message, user=78, roles=[]))
        await world.fire_timers(10 * 60)
        assert await world.row("SELECT evidence FROM reported_messages") == (None,)

    async def test_a_form_that_was_never_sent_leaves_nothing(self, world):
        await world.interact(menu(world, "Report", shardkit.message_body(500), user=77, roles=[]))
        await world.fire_timers(3600)
        assert await world.rows("SELECT * FROM reported_messages") == []
        assert "too long" in await report(world, shardkit.message_body(500), opened=False)

    async def test_a_late_report_does_not_wipe_the_quote_out_of_the_entry(self, world):
        message = shardkit.message_body(500, content="the quoted words")
        await report(world, message)
        await world.interact(menu(world, "Report", message, user=78, roles=[]))
        await world.fire_timers(3601)
        await report(world, message, user=78, opened=False)
        contents = world.discord.contents(thread_of(world))
        assert any("> the quoted words" in each for each in contents)

    async def test_reporting_again_after_the_deletion_works(self, world):
        message = shardkit.message_body(500)
        await report(world, message)
        await world.dispatch("MESSAGE_DELETE", {"id": "500", "channel_id": str(CHANNEL), "guild_id": str(GUILD)})
        assert (await report(world, message, user=78)).startswith("Thank you")

    @pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
    async def test_hostile_texts_fit_and_ping_nobody(self, world, text):
        author = {"id": str(MEMBER), "username": "`**@everyone**`[x](http://y.example)"}
        message = shardkit.message_body(500, content=text[:4000])
        message["author"] = author
        for user in range(77, 82):
            await report(world, message, user=user, words=text[:500])
        check_bodies(world)
        for body in sent(world):
            content = body.get("content", "").replace("\\@", "")
            assert "@everyone" not in content
            assert "@here" not in content
            assert "](https://evil" not in content
            assert "```" not in content

    async def test_attachments_are_uploaded_again(self, world):
        files = [{"id": "1", "filename": "a.png", "size": 3, "url": "https://cdn/a"}]
        files += [{"id": "2", "filename": "gone.png", "size": 3, "url": "https://cdn/gone"}]
        world.discord.files["https://cdn/a"] = b"abc"
        await report(world, shardkit.message_body(500, attachments=files))
        assert world.discord.uploads == ["a.png"]

    async def test_a_report_does_not_wait_for_ever_for_its_files(self, world):
        world.discord.files["https://cdn/a"] = ServerError(routes.get_guild(GUILD), http_status=503)
        file = {"id": "1", "filename": "a.png", "size": 3, "url": "https://cdn/a"}
        await report(world, shardkit.message_body(500, attachments=[file]))
        assert world.discord.uploads == []
        assert any("Reported by" in each for each in world.discord.contents(thread_of(world)))

    async def test_files_that_discord_finds_too_large_are_left_out(self, world):
        await report(world, shardkit.message_body(499))
        world.discord.files["https://cdn/a"] = b"abc"
        file = {"id": "1", "filename": "a.png", "size": 3, "url": "https://cdn/a"}
        world.discord.reject("POST", "messages", 40005)
        await report(world, shardkit.message_body(500, attachments=[file]))
        assert len([each for each in world.discord.contents(thread_of(world)) if "Reported by" in each]) == 2

    async def test_tracking_names_the_moderator_and_deletes_on_request(self, world):
        message = shardkit.message_body(500)
        world.discord.messages[CHANNEL] = [{"id": "500"}]
        interaction = menu(world, "Track", message)
        assert (await world.interact(interaction))["type"] == 5
        await world.idle()
        assert f"Tracked by <@{MODERATOR}>" in world.discord.contents(thread_of(world))[1]
        (answer,) = world.discord.replies[interaction.token]
        (button,) = [each for each in walk(answer["components"]) if "custom_id" in each]
        modal = await world.interact(world.press(3, {"custom_id": button["custom_id"], "component_type": 2}))
        assert modal["type"] == 9
        await world.interact(form(world, modal["data"]["custom_id"], {"reason": {"value": "rude"}}))
        await world.idle()
        assert world.discord.messages[CHANNEL] == []
        assert "rude" in world.discord.made("DELETE", "messages")[0]["reason"]

    async def test_delete_all_counts_what_is_gone_and_tells_what_was_refused(self, world):
        for number in (500, 501, 502):
            await report(world, shardkit.message_body(number), user=number)
        world.discord.messages[CHANNEL] = [{"id": "500"}, {"id": "502"}]
        world.discord.reject("DELETE", "messages", 50013)
        interaction = form(world, f"reports:confirm-delete:user:{MEMBER}", {"reason": {"value": ""}})
        await world.interact(interaction)
        await world.idle()
        (answer,) = world.discord.replies[interaction.token]
        assert answer["content"].startswith("2 of 3 reported messages deleted. I need *Manage Messages*")
        assert await world.rows("SELECT message_id FROM reported_messages WHERE deleted_at IS NULL") == [(500,)]


class TestUserThreads:
    async def test_the_controls_are_posted_once(self, world):
        await report(world, shardkit.message_body(500))
        await report(world, shardkit.message_body(501), user=78)
        assert len(world.discord.threads) == 1
        assert sum(bool(message["components"]) for message in world.discord.messages[thread_of(world)]) == 1

    async def test_a_thread_that_was_deleted_is_replaced(self, world):
        await report(world, shardkit.message_body(500))
        gone = thread_of(world)
        await world.dispatch(
            "THREAD_DELETE", {"id": str(gone), "guild_id": str(GUILD), "parent_id": str(MOD_LOG), "type": 11}
        )
        await report(world, shardkit.message_body(501), user=78)
        assert len(world.discord.threads) == 2
        assert len(world.discord.contents(thread_of(world))) == 2

    @pytest.mark.parametrize("code", [10003, 50083])
    async def test_a_thread_that_is_gone_or_locked_is_replaced_without_an_event(self, world, code):
        await report(world, shardkit.message_body(500))
        world.discord.reject("POST", "/messages", code)
        await report(world, shardkit.message_body(501), user=78)
        assert len(world.discord.threads) == 2
        assert await world.rows("SELECT state FROM effects WHERE state <> 'done'") == []

    async def test_a_thread_that_is_gone_before_it_has_controls_is_replaced(self, world):
        world.discord.reject("POST", "/messages", 50001)
        await report(world, shardkit.message_body(500))
        assert len(world.discord.threads) == 1
        world.discord.reject("POST", "/messages", 10003)
        await report(world, shardkit.message_body(501), user=78)
        assert len(world.discord.threads) == 2
        assert len(world.discord.contents(thread_of(world))) == 2


class TestModeration:
    async def act(self, world, kind, *, target=MEMBER, fields=None, **who):
        interaction = form(
            world, f"moderation:confirm:{kind}:{target}", {"reason": {"value": "why"}, **(fields or {})}, **who
        )
        assert (await world.interact(interaction))["type"] == 5
        state = await world.rows("SELECT state FROM actions WHERE action_id = ?", interaction.id)
        assert state in ([("planned",)], [("running",)])
        await world.idle()
        replies = world.discord.replies.get(interaction.token, [])
        return await world.row("SELECT state, error FROM actions WHERE action_id = ?", interaction.id), replies

    @pytest.mark.parametrize("kind", ["kick", "ban", "ban_delete", "timeout"])
    async def test_an_action_is_done_recorded_and_announced(self, world, kind):
        fields = {"seconds": {"type": 3, "values": ["3600"]}} if kind == "timeout" else {}
        (state, error), replies = await self.act(world, kind, fields=fields)
        assert (state, error) == ("done", None)
        assert replies[0]["content"].startswith("Done")
        assert f"by <@{MODERATOR}>" in world.discord.contents(thread_of(world))[-1]
        assert "why" in world.discord.contents(MOD_LOG)[-1]
        assert len(world.discord.contents(MOD_LOG)) == 1
        if kind == "timeout":
            assert world.discord.members[MEMBER]["communication_disabled_until"].startswith("2026-03-01T14:00")
        else:
            assert MEMBER not in world.discord.members
        if kind.startswith("ban"):
            assert world.discord.bans[MEMBER] == {"delete_message_seconds": 604800 if kind == "ban_delete" else 0}
        check_bodies(world)

    @pytest.mark.parametrize(
        ("target", "roles", "actor", "words"),
        [
            (OWNER, [], MODERATOR, "owner"),
            (OTHER, [MOD_ROLE], MODERATOR, "not below yours"),
            (OTHER, [HIGH_ROLE], OWNER, "not below mine"),
            (OTHER, [BOT_ROLE], OWNER, "not below mine"),
            (BOT, [BOT_ROLE], OWNER, "myself"),
            (MODERATOR, [], MODERATOR, "yourself"),
        ],
    )
    async def test_nobody_acts_above_their_place(self, world, target, roles, actor, words):
        world.discord.join(target, *roles)
        (state, error), replies = await self.act(world, "ban", target=target, user=actor)
        assert (state, world.discord.bans) == ("failed", {})
        assert words in error
        assert words in replies[0]["content"]

    async def test_who_left_cannot_be_kicked_but_banned(self, world):
        del world.discord.members[MEMBER]
        (state, error), _replies = await self.act(world, "kick")
        assert (state, "not in this server" in error) == ("failed", True)
        assert (await self.act(world, "ban"))[0][0] == "done"

    async def test_a_refusal_of_discord_is_recorded_and_told(self, world):
        world.discord.reject("PUT", "/bans/", 50013)
        (state, error), replies = await self.act(world, "ban")
        assert (state, error) == ("failed", replies[0]["content"])
        assert "*Ban Members*" in error

    async def test_what_was_done_is_told_even_when_it_cannot_be_announced(self, world):
        await set_up(world, MOD_LOG_SETTING, None)
        (state, _error), replies = await self.act(world, "ban")
        assert state == "done"
        assert "was banned" in replies[0]["content"]
        assert "mod log" in replies[0]["content"]

    @pytest.mark.parametrize("kind", ["kick", "ban", "timeout"])
    async def test_a_death_at_any_point_leaves_one_act_and_a_true_record(self, make_world, kind):
        point, died = 0, True
        while died:
            point += 1
            world = await make_world(*all_features())
            await world.dispatch("GUILD_CREATE", shardkit.guild_body())
            await set_up(world, MODERATOR_ROLE, MOD_ROLE)
            await set_up(world, MOD_LOG_SETTING, MOD_LOG)
            world.discord.join(MEMBER, LOW_ROLE)
            world.discord.killer.at = point
            await world.interact(form(world, f"moderation:confirm:{kind}:{MEMBER}"))
            await world.idle()
            died = world.discord.killer.dead.is_set()
            await world.reopen()
            await world.idle()
            assert await world.row("SELECT state, error FROM actions") == ("done", None), point
            assert len(world.discord.threads) == 1, point
            assert len(world.discord.contents(thread_of(world))) == 2, point
            assert len(world.discord.contents(MOD_LOG)) == 1, point
        assert point > 25

    async def test_the_audit_logs_entry_is_attached_to_our_own_action(self, world):
        await self.act(world, "ban")
        entry = {"id": "4000", "action_type": 22, "user_id": str(BOT), "target_id": str(MEMBER), "guild_id": str(GUILD)}
        await world.dispatch("GUILD_AUDIT_LOG_ENTRY_CREATE", {**entry, "id": "3999", "user_id": "1"}, entry)
        await world.dispatch("GUILD_AUDIT_LOG_ENTRY_CREATE", entry)
        assert await world.row("SELECT audit_log_id FROM actions") == (4000,)

    async def test_a_button_asks_first_and_checks_who_presses(self, world):
        press = {"custom_id": f"moderation:ban:{MEMBER}", "component_type": 2}
        assert (await world.interact(world.press(3, press)))["type"] == 9
        assert (await world.interact(world.press(3, press, roles=[])))["type"] == 4
        refused = form(world, f"moderation:confirm:ban:{MEMBER}", roles=[])
        assert (await world.interact(refused))["type"] == 4
        assert await world.rows("SELECT * FROM actions") == []


class TestSetUp:
    async def run(self, world, **options):
        given = [{"name": name, "type": 7, "value": str(value)} for name, value in options.items()]
        interaction = world.press(2, {"name": "setup", "type": 1, "options": given}, user=OWNER, permissions=1 << 5)
        return (await world.interact(interaction))["data"]["content"]

    async def test_showing_changes_nothing(self, world):
        before = await world.rows("SELECT * FROM settings_history")
        shown = await self.run(world)
        assert f"<@&{MOD_ROLE}>" in shown
        assert f"<#{MOD_LOG}>" in shown
        await self.run(world, mod_log=MOD_LOG)
        assert await world.rows("SELECT * FROM settings_history") == before

    async def test_changes_are_versioned(self, world):
        await self.run(world, mod_log=CHANNEL)
        await self.run(world, mod_log=MOD_LOG, moderator_role=HIGH_ROLE)
        rows = await world.rows("SELECT version, name, old_value, new_value, changed_by FROM settings_history")
        assert [row[0] for row in rows] == [1, 2, 3, 4, 5]
        assert rows[2] == (3, "mod_log", str(MOD_LOG), str(CHANNEL), OWNER)

    async def test_a_cleared_setting_is_empty(self, world):
        assert "Mod log: not set" in await self.run(world, clear="mod_log")
        row = await world.row("SELECT old_value, new_value FROM settings_history ORDER BY version DESC LIMIT 1")
        assert row == (str(MOD_LOG), None)
        assert f"<@&{MOD_ROLE}>" in await self.run(world), "the other one stays"

    @pytest.mark.parametrize(
        "options", [{"moderator_role": GUILD}, {"moderator_role": 999}, {"mod_log": 999}, {"mod_log": MOD_ROLE}]
    )
    async def test_what_cannot_be_is_refused_as_a_whole(self, world, options):
        before = await world.rows("SELECT * FROM settings_history")
        answer = await self.run(world, **{"moderator_role": HIGH_ROLE, **options})
        assert "choose a" in answer
        assert await world.rows("SELECT * FROM settings_history") == before
