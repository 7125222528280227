"""Effects: whatever dies and wherever, each act is seen once; what fails says so (I5)."""

import msgspec
import pytest
from shardkit import CHANNEL, GUILD, MEMBER

from modbot.discord.rest_errors import FencedError
from modbot.domain.ids import ChannelId, GuildId, MessageId, UserId
from modbot.shard import calls, interactions
from modbot.shard.effects import RefusedError, UserError
from modbot.shard.feature import Feature
from modbot.shard.migrations import Series

TABLES = Series("play_tables", ("CREATE TABLE kept (thread_id INTEGER NOT NULL)",))
feature = Feature("play")


class Story(msgspec.Struct, frozen=True):
    """Arguments."""

    text: str = "hello"


@feature.effect
async def whole(run, args: Story):
    thread = await run.request("thread", calls.create_thread(GuildId(GUILD), ChannelId(CHANNEL), args.text))
    await run.commit("keep", lambda tx: tx.execute("INSERT INTO kept VALUES (?)", (thread.id,)))
    await run.request("say", calls.send_message(ChannelId(thread.id), {"content": args.text}))
    await run.request("ban", calls.ban(GuildId(GUILD), UserId(MEMBER), reason="r"))
    await run.request("delete", calls.delete_message(ChannelId(CHANNEL), MessageId(5), reason="r"))
    await run.reply("answer", {"content": "done"})


@feature.effect
async def say(run, args: Story):
    try:
        await run.request("say", calls.send_message(ChannelId(CHANNEL), {"content": args.text}))
    except RefusedError as error:
        await run.request("instead", calls.send_message(ChannelId(1), {"content": f"refused {error.discord_code}"}))


@feature.effect
async def speak(run, args: Story):
    await run.request("say", calls.send_message(ChannelId(CHANNEL), {"content": args.text}))


@feature.effect
async def complain(run, args: Story):
    raise UserError(args.text)


@feature.effect
async def blunder(run, args: Story):
    raise KeyError(args.text)


@pytest.fixture
async def world(make_world):
    world = await make_world(feature, interactions.feature, series=[TABLES])
    world.discord.join(MEMBER)
    return world


async def ask(world, kind, text="hello", *, key="k", **options):
    def work(tx):
        tx.guild_id = GuildId(GUILD)
        return tx.effect(kind, Story(text), key=key, **options)

    return await world.engine.commit(work)


async def states(world):
    return await world.rows("SELECT name, state, error FROM effects ORDER BY effect_id")


async def test_a_death_at_any_point_leaves_each_act_done_once(make_world):
    point, died = 0, True
    while died:
        point += 1
        world = await make_world(feature, interactions.feature, series=[TABLES])
        world.discord.join(MEMBER)
        world.discord.messages[CHANNEL] = [{"id": "5"}]
        world.discord.killer.at = point
        await ask(world, whole, reply_token="token")
        await world.idle()
        died = world.discord.killer.dead.is_set()
        await world.reopen()
        await world.idle()
        assert len(world.discord.threads) == 1, point
        (thread,) = world.discord.threads
        assert world.discord.contents(thread) == ["hello"], point
        assert list(world.discord.bans) == [MEMBER], point
        assert world.discord.messages[CHANNEL] == [], point
        assert await world.rows("SELECT thread_id FROM kept") == [(thread,)], point
        assert world.discord.replies["token"][-1] == {"content": "done"}, point
        assert await states(world) == [("play.whole", "done", None)], point
    assert point > 25


async def test_a_lost_answer_is_asked_again_with_the_same_nonce(world, pauses):
    world.discord.lose("POST", "messages")
    await ask(world, say)
    await world.idle()
    bodies = [call["json"] for call in world.discord.made("POST", "messages")]
    assert len(bodies) == 2
    assert bodies[0] == bodies[1]
    assert bodies[0]["enforce_nonce"] is True
    assert len(bodies[0]["nonce"]) <= 25
    assert world.discord.contents(CHANNEL) == ["hello"]


async def test_after_the_nonce_has_worn_off_the_first_message_is_looked_for(world, pauses):
    world.discord.killer.at = 6  # after the message was sent, before the journal knows
    await ask(world, say, text="two lines\nwith an end \n")
    await world.idle()
    assert len(world.discord.contents(CHANNEL)) == 1
    world.clock.advance(600)
    await world.reopen()
    await world.idle()
    assert len(world.discord.contents(CHANNEL)) == 1
    assert (await states(world))[0][1] == "done"


async def test_different_effects_have_different_nonces(world):
    for key in ("a", "b"):
        await ask(world, say, key=key)
    await world.idle()
    assert len({call["json"]["nonce"] for call in world.discord.calls}) == 2


async def test_a_refused_step_is_not_asked_again(world):
    world.discord.reject("POST", "messages", 50013)
    world.discord.lose("POST", "messages")
    await ask(world, say)
    await world.idle()
    paths = [call["path"] for call in world.discord.made("POST", "messages")]
    assert paths == [f"/channels/{CHANNEL}/messages", "/channels/1/messages", "/channels/1/messages"]
    assert world.discord.contents(1) == ["refused 50013"]


async def test_the_same_key_is_asked_for_once(world):
    assert await ask(world, say) is True
    await world.idle()
    assert await ask(world, say) is False
    await world.idle()
    assert world.discord.contents(CHANNEL) == ["hello"]


async def test_a_lane_keeps_its_order_and_others_go_past(world, pauses):
    world.discord.lose("POST", "messages")
    for text in ("one", "two", "three"):
        await ask(world, say, text=text, key=text, lane="user/1")
    await ask(world, say, text="other", key="other", lane="user/2")
    await world.idle()
    contents = world.discord.contents(CHANNEL)
    assert [text for text in contents if text != "other"] == ["one", "two", "three"]
    assert contents.index("other") < contents.index("three")


async def test_a_lane_keeps_its_order_over_a_restart(world, pauses):
    world.discord.killer.at = 4
    for text in ("one", "two", "three"):
        await ask(world, say, text=text, key=text, lane="user/1")
    await world.idle()
    await world.reopen()
    await world.idle()
    assert world.discord.contents(CHANNEL) == ["one", "two", "three"]


async def test_what_fails_for_passing_reasons_is_postponed_ever_longer_and_then_failed(world, pauses):
    world.discord.fail("POST", "messages", _server_error, times=99)
    await ask(world, say)
    await world.idle()
    assert len(pauses.seconds) == 11
    for number, pause in enumerate(pauses.seconds):
        longest = min(300.0, 0.5 * 2**number)
        assert longest / 2 - 0.002 <= pause <= longest
    ((_name, state, error),) = await states(world)
    assert (state, error.split(":")[0]) == ("failed", "discord_server")


def _server_error(route):
    from modbot.discord.rest_errors import ServerError

    return ServerError(route, http_status=500)


async def test_what_waits_is_counted_with_the_age_of_the_oldest(world, pauses, clock):
    assert world.engine.effects_waiting() == (0, 0.0)
    world.discord.fail("POST", "messages", _server_error, times=99)
    await world.engine.quiesce(1)
    for text in ("one", "two"):
        await ask(world, say, text=text, key=text, lane="user/1")
    await ask(world, say, text="three", key="three")
    clock.advance(40)
    assert world.engine.effects_waiting() == (3, 40.0)


async def test_attempts_survive_a_restart(world, pauses):
    world.discord.fail("POST", "messages", _server_error, times=3)
    world.discord.killer.at = 13
    await ask(world, say)
    await world.idle()
    ((attempts,),) = await world.rows("SELECT attempts FROM effects")
    assert attempts > 0
    await world.reopen()
    await world.idle()
    assert (await states(world))[0][1] == "done"


async def test_waiting_for_a_lease_costs_no_attempt(world, pauses):
    world.discord.fail("POST", "messages", lambda _route: FencedError("no lease"), times=50)
    await ask(world, say)
    await world.idle()
    assert await world.row("SELECT state, attempts FROM effects") == ("done", 0)
    assert world.discord.contents(CHANNEL) == ["hello"]


async def test_a_failure_tells_the_person_who_asked(world, pauses):
    await ask(world, complain, text="There is nobody there.", reply_token="token")
    await world.idle()
    assert [reply["content"] for reply in world.discord.replies["token"]] == ["There is nobody there."]
    assert await world.rows("SELECT count(reply_token) FROM effects") == [(0,)]


async def test_a_missing_permission_is_named(world):
    world.discord.reject("POST", "messages", 50013)
    await ask(world, speak, reply_token="token")
    await world.idle()
    assert "*Send Messages*" in world.discord.replies["token"][0]["content"]


async def test_a_defect_is_tried_three_times_and_told_with_an_id(world, pauses):
    await ask(world, blunder, text="user text", reply_token="token")
    await world.idle()
    assert len(pauses.seconds) == 2
    text = world.discord.replies["token"][0]["content"]
    assert "`KeyError-1`" in text
    assert "user text" not in text


@pytest.mark.parametrize("code", [10008, 10015, 10062, 50027])
async def test_an_answer_that_nobody_waits_for_is_no_failure(world, code):
    world.discord.reject("PATCH", "@original", code)
    await ask(world, whole, reply_token="token")
    await world.idle()
    assert (await states(world))[0][1] == "done"


@pytest.mark.parametrize("times", [1, 3])
async def test_an_answer_that_overtook_the_first_response_is_sent_again(world, times):
    world.discord.reject("PATCH", "@original", 10015, times=times)
    await ask(world, whole, reply_token="token")
    await world.idle()
    assert world.discord.replies == {"token": [{"content": "done"}]}
    assert len(world.discord.made("PATCH", "@original")) == times + 1
    assert (await states(world))[0][1] == "done"


async def test_an_answer_is_not_sent_after_its_token_has_died(world):
    await ask(world, complain, reply_token="token", key="late")
    world.clock.advance(16 * 60)
    await world.idle()
    assert world.discord.replies == {}


async def test_an_effect_of_an_unknown_kind_fails_and_holds_up_nobody(world, pauses):
    insert = (
        "INSERT INTO effects (guild_id, key, name, lane, args, epoch, due_at, created_at)"
        " VALUES (1, 'x', 'gone.kind', 'l', '{}', 1, 0, 0)"
    )
    await world.rows(insert)
    await world.reopen()
    await ask(world, say)
    await world.idle()
    assert [row[1] for row in await states(world)] == ["failed", "done"]


async def test_nothing_runs_after_the_engine_was_closed(world):
    engine = world.engine
    late = world.writer.submit(engine._file, lambda tx: tx.effect(say, Story(), key="late"))
    await engine.runner.close()
    await late
    await engine.runner.wait_idle()
    assert world.discord.calls == []
    await world.reopen()
    await world.idle()
    assert world.discord.contents(CHANNEL) == ["hello"]


async def test_an_owner_that_was_overtaken_sends_nothing_more(world, pauses):
    world.discord.fail("POST", "messages", _server_error)
    await ask(world, say)
    await world.engine.commit(lambda tx: tx.execute("UPDATE shard SET epoch = 9"))
    await world.idle()
    assert len(world.discord.made("POST", "messages")) <= 1
    await world.engine.close()
    await world.open(epoch=9, expected=True)
    await world.idle()
    assert world.discord.contents(CHANNEL) == ["hello"]


async def test_a_full_disk_is_not_blamed_on_the_effect(world, pauses):
    pages = (await world.row("PRAGMA page_count"))[0]
    await ask(world, whole, reply_token="t")
    world.engine._file.connection.execute(f"PRAGMA max_page_count = {pages}")
    padding = "x" * 500_000
    world.engine.runner._journal = _Stuffed(world.engine, padding)
    await world.idle()
    assert world.engine.broken.done()
    world.engine._file.connection.execute("PRAGMA max_page_count = 1000000")
    assert await world.rows("SELECT state, attempts FROM effects") == [("pending", 0)]
    await world.reopen()
    await world.idle()
    assert await world.rows("SELECT state FROM effects") == [("done",)]
    assert len(world.discord.threads) == 1


class _Stuffed:
    """Writes a lot with everything, so that a small disk is full."""

    def __init__(self, engine, padding):
        self._engine, self._padding = engine, padding

    async def commit(self, work):
        def more(tx):
            tx.execute("INSERT INTO dead_letters VALUES (NULL, 0, ?, '', '', NULL, 0)", (self._padding,))
            return work(tx)

        return await self._engine.commit(more)
