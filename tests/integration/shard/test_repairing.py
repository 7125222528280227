"""Gap repair: what was missed is applied once and in order, whatever dies and whatever comes live meanwhile (I3, I9)."""

import asyncio

import pytest
import shardkit
from repairkit import AUDIT, HISTORY, VIEW, ids, witness
from shardkit import BOT_ROLE, CHANNEL, GUILD, MOD_LOG

from modbot.discord.intake import Batch, Hole, SessionLost
from modbot.discord.rest_errors import FencedError, ForbiddenError, ServerError
from modbot.ops import metrics
from modbot.shard import gaps, marks, snapshot


async def test_what_was_missed_is_read_back_in_order(scene):
    before = [scene.write() for _ in range(3)]
    await scene.live(*before)
    missed = [scene.write() for _ in range(4)] + [scene.write(channel=MOD_LOG)]
    await scene.lose()
    await scene.begin("s2")
    await scene.repaired()
    assert await scene.seen() == ids(*before, *missed[:4])
    assert await scene.seen(MOD_LOG) == ids(missed[4])
    found = await scene.summary()
    assert (found.kind, found.session_id, found.last_seq, found.next_session_id) == ("session", "s1", 5, "s2")
    assert (found.guilds, found.repaired, found.messages, found.entries, found.unreadable) == (1, 1, 5, 0, 0)
    assert found.began_at < found.ended_at
    assert await scene.losses() == {"edits": (None, None), "deletions": (None, None)}


async def test_without_the_repair_the_messages_of_the_gap_are_missing(make_scene):
    """The broken variant: the same day without the feature that plans what to read."""
    scene = await make_scene(snapshot.feature, witness)
    before, missed = scene.write(), scene.write()
    await scene.live(before)
    await scene.lose()
    await scene.begin("s2")
    assert await scene.seen() == ids(before)
    assert missed["id"] not in await scene.seen()


async def test_a_death_at_any_point_applies_each_message_once(make_scene):
    """Live messages come before, during and after the repair; some are in Discord's answers already, some come late."""
    point, died = 0, True
    while died:
        point += 1
        scene = await make_scene()
        world = scene.world
        first = [scene.write() for _ in range(2)]
        await scene.live(*first)
        missed = [scene.write() for _ in range(230)]
        await scene.lose()
        world.kills_repairs = True
        await world.reopen(killer=shardkit.Killer(point))
        early, late = scene.write(), [scene.write() for _ in range(2)]
        await scene.begin("s2")
        await scene.live(early)
        await scene.settled()
        died = world.discord.killer.dead.is_set()
        await scene.live(late[0])
        await world.reopen()
        last = scene.write()
        await scene.live(late[1], last)
        await scene.settled()
        assert sorted(await scene.seen()) == sorted(ids(*first, *missed, early, *late, last)), point
        recovered = [each for each in await scene.seen() if each in ids(*missed)]
        assert recovered == ids(*missed), point
    assert point > 12


def move_marks_always(_tracker, tx, items):
    for item in items:
        if item.name == "MESSAGE_CREATE":
            tx.guild_id = GUILD
            marks.move(tx, item.data.channel_id, item.data.id)


@pytest.mark.parametrize("broken", ["marks move", "repair notes nothing", "stream notes nothing"])
async def test_the_same_day_finds_what_is_broken_on_purpose(make_scene, monkeypatch, broken):
    """Marks that go on during a repair lose; sides that do not look at each other apply twice."""
    if broken == "marks move":
        monkeypatch.setattr(marks.Tracker, "flush", move_marks_always)
    else:
        note, silent = marks.note, broken.split()[0]
        monkeypatch.setattr(marks, "note", lambda tx, *a, by, **k: True if by == silent else note(tx, *a, by=by, **k))
    scene = await make_scene()
    before = scene.write()
    await scene.live(before)
    missed = [scene.write() for _ in range(3)]
    await scene.lose()
    await scene.world.start_session("s2")
    early, late = scene.write(), scene.write()
    await scene.live(early)
    await scene.world.dispatch("GUILD_CREATE", scene.guild())
    await scene.settled()
    await scene.live(late)
    assert await scene.seen() != []
    assert sorted(await scene.seen()) != sorted(ids(before, *missed, early, late))


async def test_a_live_message_that_the_repair_has_applied_is_passed_over_also_after_it(scene):
    await scene.live(scene.write())
    await scene.lose()
    both = scene.write()
    await scene.begin("s2")
    await scene.repaired()
    await scene.live(both)
    assert (await scene.seen()).count(int(both["id"])) == 1
    after = scene.write()
    await scene.live(after)
    await scene.world.engine.commit(gaps.forget_old)
    assert await scene.world.rows("SELECT count(*) FROM noted") == [(1,)]
    scene.world.clock.advance(3700)
    await scene.world.engine.commit(gaps.forget_old)
    assert await scene.world.rows("SELECT count(*) FROM noted") == [(0,)]
    assert await scene.world.rows("SELECT last_id FROM marks WHERE place_id = ?", CHANNEL) == [(int(after["id"]),)]


async def test_a_message_deleted_while_its_page_was_under_way_does_not_come_back(scene):
    await scene.live(scene.write())
    kept, gone = scene.write(), scene.write()
    await scene.lose()
    where = {"id": gone["id"], "channel_id": str(CHANNEL), "guild_id": str(GUILD)}
    scene.meanwhile("messages", lambda: scene.live(where, name="MESSAGE_DELETE"))
    await scene.begin("s2")
    await scene.repaired()
    assert int(gone["id"]) not in await scene.seen()
    assert int(kept["id"]) in await scene.seen()


async def test_a_message_edited_while_its_page_was_under_way_is_read_again(scene):
    await scene.live(scene.write())
    old = scene.write("old")
    await scene.lose()

    async def edit():
        old["content"] = "new"
        await scene.live(old, name="MESSAGE_UPDATE")

    scene.meanwhile("messages", edit)
    await scene.begin("s2")
    await scene.repaired()
    rows = await scene.world.rows("SELECT what FROM seen WHERE id = ?", int(old["id"]))
    assert rows == [("edit",), ("new",)]
    assert len(scene.world.discord.made("GET", "messages")) == 2


async def test_a_second_gap_during_a_repair_joins_it(scene):
    await scene.live(scene.write())
    first = [scene.write() for _ in range(3)]
    await scene.lose()
    await scene.world.start_session("s2")
    between = scene.write()
    await scene.live(between)
    await scene.lose()
    second = [scene.write() for _ in range(3)]
    await scene.begin("s3")
    await scene.repaired()
    assert sorted((await scene.seen())[1:]) == ids(*first, between, *second)
    one, two = await scene.world.engine.list_gaps()
    assert (one.messages, two.messages, one.repaired, two.repaired) == (6, 0, 1, 1)


async def test_a_gap_without_news_costs_no_request_for_channels(scene):
    await scene.live(scene.write())
    await scene.lose()
    await scene.begin("s2")
    await scene.repaired()
    assert [call["template"] for call in scene.world.discord.calls] == ["/guilds/{guild_id}/audit-logs"]
    assert scene.world.discord.calls[0]["background"] is True


async def test_new_channels_and_threads_are_read_and_old_messages_of_unknown_ones_are_not(scene):
    await scene.live(scene.write())
    old = scene.write(channel=700)
    scene.world.clock.advance(60)
    await scene.live(scene.write())
    archived = scene.write(channel=701)
    await scene.live(archived)
    hidden = scene.write(channel=701)
    new = scene.write(channel=700)
    await scene.lose()
    await scene.begin("s2", threads=[{"id": "700", "type": 11, "parent_id": str(CHANNEL), "guild_id": str(GUILD)}])
    await scene.repaired()
    assert await scene.seen(700) == ids(new)
    assert await scene.seen(701) == ids(archived, hidden), "a thread that was archived in the gap is read as well"
    assert old["id"] not in await scene.seen(700)


async def test_the_audit_log_is_read_from_the_last_known_entry(scene):
    known = scene.act()
    await scene.live(known, name="GUILD_AUDIT_LOG_ENTRY_CREATE")
    missed = [scene.act() for _ in range(120)]
    await scene.lose()
    await scene.begin("s2")
    late = scene.act()
    scene.meanwhile("audit-logs", lambda: scene.live(late, name="GUILD_AUDIT_LOG_ENTRY_CREATE"))
    await scene.repaired()
    await scene.live(missed[-1], name="GUILD_AUDIT_LOG_ENTRY_CREATE")
    assert sorted(await scene.seen(0)) == ids(known, *missed, late)
    assert (await scene.summary()).entries in {120, 121}


async def test_what_may_not_be_read_is_a_result(scene):
    scene.permissions = VIEW
    await scene.live(scene.write(), scene.write(channel=MOD_LOG))
    scene.write()
    scene.write(channel=MOD_LOG)
    await scene.lose()
    before = metrics.GAP_UNREADABLE.labels("messages")._value.get()
    await scene.begin("s2")
    await scene.repaired()
    assert scene.world.discord.calls == [], "Discord would answer with an empty list"
    losses = await scene.losses()
    assert losses["audit log"] == ("needs View Audit Log", None)
    assert losses["unreadable channels"] == ("needs Read Message History", 1)
    assert (await scene.summary()).unreadable == 2
    assert metrics.GAP_UNREADABLE.labels("messages")._value.get() == before + 2


async def test_a_channel_is_judged_by_its_own_permissions_and_a_thread_by_those_of_its_channel(scene):
    await scene.live(scene.write(), scene.write(channel=700))
    scene.write()
    scene.write(channel=700)
    await scene.lose()
    guild = scene.guild(threads=[{"id": "700", "type": 11, "parent_id": str(CHANNEL), "guild_id": str(GUILD)}])
    closed = next(each for each in guild["channels"] if each["id"] == str(CHANNEL))
    closed["parent_id"] = "800"
    closed["permission_overwrites"] = [{"id": str(BOT_ROLE), "type": 0, "allow": "0", "deny": str(HISTORY)}]
    guild["channels"].append({"id": "800", "type": 4, "name": "category"})
    await scene.world.start_session("s2")
    await scene.world.dispatch("GUILD_CREATE", guild)
    await scene.repaired()
    assert scene.world.discord.made("GET", "messages") == []
    assert (await scene.summary()).unreadable == 2


async def test_a_hidden_channel_has_lost_nothing(scene):
    scene.permissions = AUDIT
    scene.write()
    await scene.lose()
    await scene.begin("s2")
    await scene.repaired()
    assert "unreadable channels" not in await scene.losses()


async def test_a_refusal_is_recorded_and_the_rest_is_read(scene):
    await scene.live(scene.write(), scene.write(channel=MOD_LOG))
    missed = scene.write(channel=MOD_LOG)
    scene.write()
    await scene.lose()
    scene.world.discord.fail(
        "GET", "messages", lambda route: ForbiddenError(route, http_status=403, discord_code=50001), times=1
    )
    await scene.begin("s2")
    await scene.repaired()
    paths = [call["path"] for call in scene.world.discord.made("GET", "messages")]
    assert paths == [f"/channels/{MOD_LOG}/messages", f"/channels/{CHANNEL}/messages"]
    assert (await scene.losses())["unreadable channels"] == ("403 50001", 1)
    assert int(missed["id"]) not in await scene.seen(MOD_LOG)


async def test_what_fails_for_passing_reasons_is_tried_again_and_recorded_in_the_end(scene):
    await scene.live(scene.write())
    missed = scene.write()
    await scene.lose()
    scene.world.discord.fail("GET", "messages", lambda route: ServerError(route, http_status=500), times=3)
    scene.world.discord.fail("GET", "audit-logs", lambda route: ServerError(route, http_status=500), times=99)
    await scene.begin("s2")
    async with asyncio.timeout(5):
        while (await scene.summary()).repaired == 0:
            scene.world.clock.advance(400)
            scene.world.engine.repairer.notice()
            await asyncio.sleep(0)
    assert (await scene.seen())[-1] == int(missed["id"])
    assert (await scene.losses())["audit log"] == ("500 0", None)


async def test_without_a_lease_the_repair_waits(scene, monkeypatch):
    monkeypatch.setattr("modbot.shard.repairing._HELD_BACK", 0)
    await scene.live(scene.write())
    missed = scene.write()
    await scene.lose()
    scene.world.discord.fail("GET", "", lambda _route: FencedError("no lease"), times=30)
    await scene.begin("s2")
    await scene.repaired()
    assert (await scene.seen())[-1] == int(missed["id"])
    assert "unreadable channels" not in await scene.losses()


async def test_a_handler_that_fails_on_a_recovered_message_leaves_a_dead_letter(scene):
    await scene.live(scene.write())
    poison, fine = scene.write("poison"), scene.write()
    await scene.lose()
    await scene.begin("s2")
    await scene.repaired()
    assert (await scene.seen())[-1] == int(fine["id"])
    rows = await scene.world.rows("SELECT cause, handler FROM dead_letters")
    assert rows == [(f"recovered/message/{poison['id']}", "witness.created")]


async def test_a_silent_session_is_repaired_from_when_it_fell_silent(scene):
    """Other events went on, so the stream was followed in a way; a channel that nobody knew is read from the silence on."""
    await scene.live(scene.write())
    since = scene.world.clock.now()
    missed, elsewhere = scene.write(), scene.write(channel=700)
    scene.world.clock.advance(60)
    await scene.world.dispatch("GUILD_UPDATE", scene.guild())
    await scene.world.engine.apply(Batch((SessionLost("quiet", scene.world.offset(), since),), None))
    await scene.begin("s2", threads=[{"id": "700", "type": 11, "parent_id": str(CHANNEL), "guild_id": str(GUILD)}])
    await scene.repaired()
    assert (await scene.seen())[1:] == ids(missed)
    assert await scene.seen(700) == ids(elsewhere)
    assert (await scene.summary()).kind == "silence"


async def hole(scene, missing):
    world = scene.world
    after = world.seq
    world.seq += missing + 1
    body = shardkit.dispatch(world.seq, "MESSAGE_CREATE", scene.write())
    await world.engine.apply(Batch((Hole(after, world.seq), body), world.offset()))
    return int(body.data.id)


async def test_a_hole_in_a_session_is_filled_as_far_as_discord_remembers(scene):
    await scene.live(scene.write())
    missed = [scene.write(), scene.write(channel=MOD_LOG)]
    entry = scene.act()
    scene.world.discord.channels = scene.guild()["channels"]
    next_one = await hole(scene, 5)
    await scene.repaired()
    assert sorted(await scene.seen())[1:] == [*ids(missed[0]), next_one]
    assert await scene.seen(MOD_LOG) == ids(missed[1])
    assert await scene.seen(0) == ids(entry)
    found = await scene.summary()
    assert (found.kind, found.missing, found.messages, found.entries) == ("hole", 5, 2, 1)
    assert (found.last_seq, found.next_seq) == (3, 9)
    assert found.reason == "dispatches 4 to 8 never came"


@pytest.mark.parametrize("part", ["/channels", "threads/active", "audit-logs"])
async def test_an_answer_that_was_under_way_when_the_next_hole_opened_is_too_old(scene, part):
    await scene.live(scene.write())
    scene.world.discord.channels = scene.guild()["channels"]
    later = []

    async def skip_more():
        later.extend([scene.write(), scene.act()])
        scene.world.discord.channels = scene.guild()["channels"]
        await hole(scene, 2)

    scene.meanwhile(part, skip_more)
    await hole(scene, 1)
    await scene.repaired()
    assert int(later[0]["id"]) in await scene.seen()
    assert int(later[1]["id"]) in await scene.seen(0)


async def test_a_page_that_was_under_way_when_the_session_was_lost_again_is_too_old(scene):
    await scene.live(scene.write())
    missed = [scene.write()]
    await scene.lose()

    async def lose_again():
        await scene.lose()
        missed.append(scene.write())
        await scene.begin("s3")

    scene.meanwhile("messages", lose_again)
    await scene.begin("s2")
    await scene.repaired()
    assert (await scene.seen())[1:] == ids(*missed)


async def test_a_hole_before_the_guild_is_created_opens_its_repair_all_the_same(scene):
    await scene.live(scene.write())
    missed = scene.write()
    await scene.lose()
    await scene.world.start_session("s2")
    scene.world.discord.channels = scene.guild()["channels"]
    last = await hole(scene, 1)
    await scene.repaired()
    assert sorted(await scene.seen())[1:] == [*ids(missed), last]


async def test_a_guild_that_was_left_in_the_gap_needs_no_repair_and_begins_anew_when_joined_again(scene):
    await scene.live(scene.write())
    scene.write()
    await scene.lose()
    await scene.world.start_session("s2")
    await scene.world.dispatch("GUILD_DELETE", {"id": str(GUILD)})
    await scene.repaired()
    assert await scene.world.rows("SELECT state FROM repairs") == [("left",)]
    missed_while_away = scene.write()
    await scene.world.dispatch("GUILD_DELETE", {"id": str(GUILD)})
    await scene.world.dispatch("GUILD_CREATE", scene.guild())
    rows = await scene.world.rows("SELECT last_id FROM marks WHERE place_id = ?", CHANNEL)
    assert rows == [(int(missed_while_away["id"]),)]


async def test_a_file_from_before_the_marks_is_repaired_from_when_it_was_followed(scene):
    first = scene.write()
    scene.world.clock.advance(1)
    await scene.live(first)
    await scene.world.rows("DELETE FROM marks")
    missed = scene.write()
    await scene.lose()
    await scene.begin("s2")
    await scene.repaired()
    assert (await scene.seen())[-1] == int(missed["id"])
    assert len(await scene.seen()) == 2
