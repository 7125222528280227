"""The rows of a transfer in both files: at every moment at most one shard handles a guild's events, and none is lost."""

import pytest
import shardkit
from shardkit import GUILD, GUILD_ID, SHARD

from modbot.discord.intake import Batch, Hole, SessionLost
from modbot.discord.objects import Message
from modbot.domain import alignment
from modbot.domain.errors import NotOwnerError
from modbot.domain.ids import TransferId
from modbot.features import all_features
from modbot.shard import archive, archives, arriving, transfers
from modbot.shard.archive import Purpose
from modbot.shard.feature import Feature
from modbot.shard.migrations import Series
from modbot.shard.transfers import GuildMovingError, State, TransferRefusedError

TABLES = Series(
    "told_tables",
    ("CREATE TABLE told (told_id INTEGER PRIMARY KEY, guild_id INTEGER NOT NULL, message_id INTEGER) STRICT",),
)
feature = Feature("told")


@feature.on("MESSAGE_CREATE")
def note(tx, message: Message):
    """What is handled twice shows."""
    tx.execute("INSERT INTO told (guild_id, message_id) VALUES (?, ?)", (tx.guild_id, message.id))


ONE, TWO = TransferId(1), TransferId(2)
NEIGHBOUR = GUILD + (1 << 22)


@pytest.fixture
async def giver(make_world):
    world = await make_world(*all_features(), feature, series=[TABLES])
    await world.dispatch("GUILD_CREATE", shardkit.guild_body())
    return world


@pytest.fixture
async def taker(make_world):
    world = await make_world(*all_features(), feature, series=[TABLES])
    await world.engine.commit(lambda tx: transfers.stand_aside(tx, GUILD_ID))
    return world


def at(world, work, *arguments, **options):
    return world.engine.commit(lambda tx: work(tx, GUILD_ID, *arguments, **options))


async def say(number, *worlds, guild=GUILD):
    for world in worlds:
        await world.dispatch("MESSAGE_CREATE", shardkit.message_body(number, guild_id=str(guild)))


async def messages(world):
    return [row[0] for row in await world.rows("SELECT message_id FROM told ORDER BY told_id")]


async def state(world):
    row = await at(world, transfers.read)
    return None if row is None else row.state


async def hand_over(giver, taker, path):
    """Do what the two pods do behind the cut."""
    applied = await at(giver, transfers.cut, ONE)
    held = await at(taker, transfers.held_hashes)
    await archives.export_guild(giver.engine, GUILD_ID, path, purpose=Purpose.TRANSFER)
    manifest = archive.check(path)
    plan = alignment.decide(applied, held)
    async with taker.engine.without_effects(GUILD_ID):
        await taker.engine.commit(
            lambda tx: arriving.arrive(tx, path, manifest, ONE, rest=plan.rest, registry=taker.registry)
        )


async def prepare(giver, taker):
    await at(giver, transfers.begin_recording, ONE)
    await say(1, giver, taker)
    await at(taker, transfers.begin_holding, ONE)
    await say(2, giver, taker)


async def test_a_guild_goes_over_with_every_event_once(giver, taker, tmp_path):
    await prepare(giver, taker)
    await say(3, taker)  # the giver's session is slower
    await hand_over(giver, taker, tmp_path / "cut")
    assert await messages(taker) == [1, 2, 3]
    await say(3, giver)
    await say(4, giver, taker)
    assert await messages(giver) == [1, 2], "behind the cut the giver only holds"
    await at(giver, transfers.stand_aside)
    await say(5, giver, taker)
    assert await messages(giver) == []
    assert await messages(taker) == [1, 2, 3, 4, 5]
    assert (await state(giver), await state(taker)) == (State.AWAY, None)
    assert (
        await giver.rows("SELECT 1 FROM guilds UNION SELECT 1 FROM held_events UNION SELECT 1 FROM recorded_events")
        == []
    )


@pytest.mark.parametrize("cut", [True, False])
async def test_a_transfer_that_is_given_up_changes_nothing(giver, taker, cut):
    await prepare(giver, taker)
    if cut:
        await at(giver, transfers.cut, ONE)
    await say(3, giver, taker)
    assert await at(giver, arriving.release, giver.registry) == (1 if cut else 0)
    await at(taker, transfers.stand_aside)
    await say(4, giver, taker)
    assert await messages(giver) == [1, 2, 3, 4]
    assert await messages(taker) == []
    assert (await state(giver), await state(taker)) == (None, State.AWAY)


async def test_both_sides_go_on_after_a_death_at_any_step(giver, taker, tmp_path):
    for step in (
        lambda: at(giver, transfers.begin_recording, ONE),
        lambda: say(1, giver, taker),
        lambda: at(taker, transfers.begin_holding, ONE),
        lambda: say(2, giver, taker),
        lambda: at(giver, transfers.cut, ONE),
        lambda: say(3, giver, taker),
    ):
        await step()
        await giver.reopen()
        await taker.reopen()
    await at(giver, transfers.begin_recording, ONE)
    await at(taker, transfers.begin_holding, ONE)
    await hand_over(giver, taker, tmp_path / "cut")
    assert await messages(taker) == [1, 2, 3]


async def test_neighbours_are_served_all_the_while(giver, taker):
    await prepare(giver, taker)
    await at(giver, transfers.cut, ONE)
    await say(10, giver, guild=NEIGHBOUR)
    assert await messages(giver) == [1, 2, 10]


async def test_marks_of_a_guild_that_is_away_stand_still(giver):
    await say(1, giver)
    await at(giver, transfers.stand_aside)
    await say(2, giver)
    assert await giver.rows("SELECT * FROM marks WHERE guild_id = ?", GUILD) == []


async def test_effects_and_timers_stand_still_between_the_shards(giver):
    await at(giver, transfers.begin_recording, ONE)
    await giver.engine.commit(
        lambda tx: tx.execute(
            "INSERT INTO timers (guild_id, name, key, due_at, args) VALUES (?, 'reports.forget_evidence', 'k', 1, '{\"message_id\": 5}')",
            (GUILD,),
        )
    )
    await giver.engine.commit(
        lambda tx: tx.execute(
            "INSERT INTO effects (guild_id, key, name, lane, args, epoch, due_at, created_at) VALUES (?, 'k', 'interactions.complete', 'l', '{}', 1, 1, 1)",
            (GUILD,),
        )
    )
    await at(giver, transfers.cut, ONE)
    await giver.reopen()
    giver.engine.look_at_timers()
    await giver.idle()
    assert await giver.rows("SELECT name FROM timers") == [("reports.forget_evidence",)]
    assert await giver.rows("SELECT state FROM effects") == [("pending",)]
    async with giver.engine.without_effects(GUILD_ID):
        await at(giver, arriving.release, giver.registry)
    giver.engine.look_at_timers()
    await giver.idle()
    await giver.fire_timers()
    assert await giver.rows("SELECT name FROM timers") == []
    assert await giver.rows("SELECT state FROM effects") != [("pending",)]


async def test_interactions_wait_or_go_elsewhere(giver, taker):
    press = giver.press(2, {"name": "setup", "type": 1})
    await at(giver, transfers.begin_recording, ONE)
    await giver.engine.interact(press, deferred=False, durable=False)
    await at(giver, transfers.cut, ONE)
    with pytest.raises(GuildMovingError):
        await giver.engine.interact(press, deferred=False, durable=False)
    await at(giver, transfers.stand_aside)
    with pytest.raises(NotOwnerError):
        await giver.engine.interact(press, deferred=False, durable=False)
    await at(taker, transfers.begin_holding, ONE)
    with pytest.raises(GuildMovingError):
        await taker.engine.interact(press, deferred=False, durable=False)


async def test_an_interrupted_session_is_noticed_by_the_taker(taker):
    await at(taker, transfers.begin_holding, ONE)
    await say(1, taker)
    hole = Batch((Hole(taker.seq, taker.seq + 5),), taker.offset())
    await taker.engine.apply(hole)
    assert (await at(taker, transfers.read)).broken
    await at(taker, transfers.begin_holding, ONE)
    assert (await at(taker, transfers.read)).broken, "what is held has a hole, however often it is begun"
    await at(taker, transfers.begin_holding, TWO)
    assert not (await at(taker, transfers.read)).broken
    await taker.engine.apply(Batch((SessionLost("test", taker.offset()),), None))
    assert (await at(taker, transfers.read)).broken


async def test_a_new_session_has_to_tell_of_the_guild_again(taker):
    assert (await at(taker, transfers.read)).seen
    await taker.start_session("s2")
    assert not (await at(taker, transfers.read)).seen
    await taker.dispatch("GUILD_CREATE", shardkit.guild_body())
    assert (await at(taker, transfers.read)).seen
    assert await taker.rows("SELECT 1 FROM guilds") == []


async def test_wrong_orders_are_refused(giver, taker):
    for work in (transfers.cut, transfers.require_cut, transfers.begin_holding):
        with pytest.raises(TransferRefusedError):
            await at(giver, work, ONE)
    with pytest.raises(TransferRefusedError):
        await at(taker, transfers.begin_recording, ONE)
    await at(giver, transfers.begin_recording, ONE)
    for work in (transfers.begin_recording, transfers.cut):
        with pytest.raises(TransferRefusedError):
            await at(giver, work, TWO)


async def test_a_guild_under_repair_stays_until_it_is_whole(giver):
    await at(giver, transfers.begin_recording, ONE)
    sql = "INSERT INTO repairs (guild_id, gap_id, state) VALUES (?, 1, 'open')"
    await giver.engine.commit(lambda tx: tx.execute(sql, (GUILD,)))
    with pytest.raises(TransferRefusedError, match="repaired"):
        await at(giver, transfers.cut, ONE)


async def test_the_record_keeps_the_last_thousand(giver):
    await at(giver, transfers.begin_recording, ONE)
    bodies = [shardkit.message_body(number) for number in range(1005)]
    await giver.dispatch("MESSAGE_CREATE", *bodies)
    applied = await at(giver, transfers.recorded)
    assert len(applied) == 1000
    assert applied[-1] == transfers.content_hash(shardkit.dispatch(1, "MESSAGE_CREATE", bodies[-1]))


async def test_content_hashes_differ_by_name_and_body_not_by_session():
    body = shardkit.message_body(1)
    first, again = shardkit.dispatch(1, "MESSAGE_CREATE", body), shardkit.dispatch(9, "MESSAGE_CREATE", body)
    other = shardkit.dispatch(1, "MESSAGE_UPDATE", body)
    assert transfers.content_hash(first) == transfers.content_hash(again) != transfers.content_hash(other)
    assert transfers.content_hash(shardkit.dispatch(1, "GUILD_CREATE", shardkit.guild_body())) is None


async def test_a_new_dedicated_file_serves_nobody_until_its_guild_arrives(tmp_path, clock, pauses):
    world = shardkit.World(tmp_path / "own.sqlite3", (*all_features(), feature), series=[TABLES], clock=clock)
    shard_id, shardkit.SHARD = SHARD, f"guild-{GUILD}"
    try:
        await world.open()
        await world.start_session()
        await world.dispatch("GUILD_CREATE", shardkit.guild_body())
        await say(1, world)
        assert (await state(world), await messages(world)) == (State.AWAY, [])
    finally:
        shardkit.SHARD = shard_id
        await world.close()
