"""Export and import while the shard works: its effects and timers stop and go on with the rows, each act once."""

import asyncio
from datetime import timedelta

import msgspec
import pytest
from shardkit import CHANNEL, GUILD_ID

from modbot.domain.ids import ChannelId, GuildId
from modbot.shard import archives, calls
from modbot.shard.archive import ArchiveDamagedError, Purpose
from modbot.shard.feature import Feature
from modbot.shard.importing import GuildHasRowsError

NEIGHBOUR = GuildId(GUILD_ID + (1 << 22))


class Text(msgspec.Struct, frozen=True):
    """Arguments."""

    text: str


feature = Feature("twice")


@feature.effect
async def post(run, args: Text):
    await run.request("first", calls.send_message(ChannelId(CHANNEL), {"content": f"{args.text} 1"}))
    await run.request("second", calls.send_message(ChannelId(CHANNEL), {"content": f"{args.text} 2"}))


@feature.timer
def ring(tx, args: Text):
    tx.cause = f"timer/{args.text}"
    tx.effect(post, args)


class Gate:
    """Lets a world's requests pass until a text is named: then it is closed for that one, and tells when it was reached."""

    def __init__(self, world):
        self._send, self._held, self.reached, self.open = world.discord.request, "", asyncio.Event(), asyncio.Event()
        world.discord.request = self._request

    def close_for(self, text):
        self._held = text
        self.reached.clear()
        self.open.clear()

    async def _request(self, route, *, json=None, **more):
        if json and json.get("content") == self._held:
            self.reached.set()
            await self.open.wait()
        return await self._send(route, json=json, **more)


def asked(text, guild_id=GUILD_ID):
    def work(tx):
        tx.guild_id, tx.cause = guild_id, f"test/{text}"
        return tx.effect(post, Text(text))

    return work


async def ask(world, text, guild_id=GUILD_ID):
    await world.engine.commit(asked(text, guild_id))


async def cut(world, path):
    await archives.export_guild(world.engine, GUILD_ID, path, purpose=Purpose.TRANSFER)


@pytest.fixture
async def source(make_world):
    return await make_world(feature)


@pytest.fixture
async def target(make_world):
    return await make_world(feature)


async def test_an_effect_goes_on_elsewhere_behind_its_last_finished_step(source, target, tmp_path):
    gate = Gate(source)
    gate.close_for("x 2")
    await ask(source, "x")
    await gate.reached.wait()
    await cut(source, tmp_path / "cut")
    done = await archives.import_guild(target.engine, GUILD_ID, tmp_path / "cut", replace=False)
    await target.idle()
    assert source.discord.contents(CHANNEL) == ["x 1"]
    assert target.discord.contents(CHANNEL) == ["x 2"]
    assert done.rows == 3
    assert await target.rows("SELECT state, epoch FROM effects") == [("done", 1)]


async def test_replaced_effects_stop_and_the_neighbours_go_on(source, target, tmp_path):
    gate = Gate(target)
    gate.close_for("old 2")
    Gate(source).close_for("new 1")
    await ask(source, "new")
    await cut(source, tmp_path / "cut")
    await ask(target, "old")
    await gate.reached.wait()
    await ask(target, "neighbour", NEIGHBOUR)
    done = await archives.import_guild(target.engine, GUILD_ID, tmp_path / "cut", replace=True)
    gate.open.set()
    await target.idle()
    assert sorted(target.discord.contents(CHANNEL)) == ["neighbour 1", "neighbour 2", "new 1", "new 2", "old 1"]
    assert (done.dropped_effects, done.ended_effects) == (1, 0)


@pytest.mark.parametrize("damaged", [True, False])
async def test_after_a_refused_import_effects_go_on(source, target, tmp_path, damaged):
    gate = Gate(target)
    gate.close_for("old 2")
    await ask(source, "new")
    await cut(source, tmp_path / "cut")
    if damaged:
        (tmp_path / "cut").write_bytes(b"")
    await ask(target, "old")
    await gate.reached.wait()
    with pytest.raises(ArchiveDamagedError if damaged else GuildHasRowsError):
        await archives.import_guild(target.engine, GUILD_ID, tmp_path / "cut", replace=False)
    gate.open.set()
    await target.idle()
    assert target.discord.contents(CHANNEL) == ["old 1", "old 2"]
    assert await target.rows("SELECT state FROM effects") == [("done",)]


async def test_what_is_asked_for_while_effects_are_held_is_done_once(target):
    gate = Gate(target)
    async with target.engine.without_effects(GUILD_ID):
        await ask(target, "before")
        await ask(target, "neighbour", NEIGHBOUR)
        await target.idle()
        assert target.discord.contents(CHANNEL) == ["neighbour 1", "neighbour 2"]
        gate.close_for("after 1")
    await ask(target, "after")
    await gate.reached.wait()
    gate.open.set()
    await target.idle()
    assert sorted(target.discord.contents(CHANNEL)[2:]) == ["after 1", "after 2", "before 1", "before 2"]


@pytest.mark.parametrize("before", [True, False])
async def test_an_effect_that_comes_while_the_rows_are_read_is_done_once(target, monkeypatch, before):
    """Just before or after the reading of the rows another commit asks for an effect."""
    engine, committed = target.engine, []
    commit = engine.commit

    async def slow(work, **options):
        if before and work.__name__ == "pending":
            committed.append(await commit(asked("between")))
        result = await commit(work, **options)
        if not before and work.__name__ == "pending":
            committed.append(await commit(asked("between")))
        return result

    monkeypatch.setattr(engine, "commit", slow)
    async with engine.without_effects(GUILD_ID):
        await ask(target, "held")
    await target.idle()
    assert committed
    assert sorted(target.discord.contents(CHANNEL)) == ["between 1", "between 2", "held 1", "held 2"]


async def test_timers_of_an_archive_fire_where_they_arrive(source, target, tmp_path):
    def wind(tx):
        tx.guild_id, tx.cause = GUILD_ID, "test"
        tx.timer(ring, Text("late"), key="k", after=timedelta(seconds=60))

    await source.engine.commit(wind)
    await cut(source, tmp_path / "cut")
    target.clock.advance(120)
    await archives.import_guild(target.engine, GUILD_ID, tmp_path / "cut", replace=False)
    while not target.discord.contents(CHANNEL)[1:]:  # noqa: ASYNC110 - the timer asks for the effect when it likes
        await asyncio.sleep(0)
    assert target.discord.contents(CHANNEL) == ["late 1", "late 2"]


async def test_the_file_is_open_for_everybody_again(source, target, tmp_path):
    """The archive is read beside the shard file for one transaction only, whether that commits or not."""
    await ask(source, "x")
    await cut(source, tmp_path / "cut")
    copy = (tmp_path / "cut").read_bytes()
    for replace in (False, True, False):
        (tmp_path / "cut").write_bytes(copy)
        if replace or not await target.rows("SELECT 1 FROM effects"):
            await archives.import_guild(target.engine, GUILD_ID, tmp_path / "cut", replace=replace)
        else:
            with pytest.raises(GuildHasRowsError):
                await archives.import_guild(target.engine, GUILD_ID, tmp_path / "cut", replace=replace)
        open_now = {row[1] for row in await target.rows("PRAGMA database_list")}
        assert open_now - {"temp"} == {"main"}, "a migration may have opened SQLite's own place for temporary things"
