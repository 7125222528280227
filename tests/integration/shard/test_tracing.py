"""The span in which an effect was asked for is in its row, so its requests join that trace, also at the next owner."""

import msgspec
import pytest
from shardkit import CHANNEL, GUILD

import tracekit
from modbot.domain.ids import ChannelId, GuildId
from modbot.ops import tracing
from modbot.ops.tracing import Fact
from modbot.shard import calls
from modbot.shard.feature import Feature

feature = Feature("told")


class Story(msgspec.Struct, frozen=True):
    """Arguments."""

    text: str = "a text of somebody"


@feature.effect
async def first(run, args: Story):
    await run.request("say", calls.send_message(ChannelId(CHANNEL), {"content": args.text}))
    await run.commit("more", lambda tx: tx.effect(second, args))


@feature.effect
async def second(run, args: Story):
    await run.request("say", calls.send_message(ChannelId(CHANNEL), {"content": args.text}))


@pytest.fixture
def recorder(monkeypatch):
    with tracekit.recording(monkeypatch) as found:
        yield found


async def ask(world, *, traced=True):
    def work(tx):
        tx.guild_id = GuildId(GUILD)
        tx.effect(first, Story(), key="k")

    if not traced:
        return await world.engine.commit(work)
    with tracing.below(None), tracing.span("asked", {}):
        return await world.engine.commit(work)


async def test_an_effect_and_what_it_asks_for_belong_to_the_trace(make_world, recorder):
    world = await make_world(feature)
    await ask(world)
    await world.idle()
    asked = recorder.one("asked")
    one, two = [span for span in recorder.spans if span.name == "effect"]
    assert [one.attributes[Fact.EFFECT.value], two.attributes[Fact.EFFECT.value]] == ["told.first", "told.second"]
    assert one.parent.span_id == asked.context.span_id
    assert two.parent.span_id == one.context.span_id
    assert {span.context.trace_id for span in recorder.spans} == {asked.context.trace_id}
    assert one.attributes[Fact.ATTEMPTS.value] == 1
    assert one.attributes[Fact.OUTCOME.value] == "done"
    told = str([dict(span.attributes) for span in recorder.spans])
    assert [secret for secret in (str(GUILD), str(CHANNEL), "a text of") if secret in told] == []
    assert await world.rows("SELECT trace FROM effects") == [(None,), (None,)], "forgotten with the token"


async def test_the_trace_goes_on_at_the_next_owner(make_world, recorder):
    world = await make_world(feature)
    await world.engine.quiesce(1)
    await ask(world)
    ((stored,),) = await world.rows("SELECT trace FROM effects")
    assert stored is not None
    await world.reopen()
    await world.idle()
    one = next(span for span in recorder.spans if span.name == "effect")
    assert one.parent.span_id == recorder.one("asked").context.span_id


async def test_a_neighbour_in_the_same_commit_does_not_lend_its_trace(make_world, recorder):
    world = await make_world(feature)
    await world.engine.quiesce(1)
    await ask(world)

    def work(tx):
        tx.guild_id = GuildId(GUILD)
        tx.effect(second, Story(), key="untraced")

    await world.engine.commit(work)
    rows = await world.rows("SELECT name, trace IS NULL FROM effects ORDER BY effect_id")
    assert rows == [("told.first", 0), ("told.second", 1)]


async def test_without_an_exporter_no_row_holds_anything(make_world):
    world = await make_world(feature)
    await world.engine.quiesce(1)
    await ask(world)
    assert await world.rows("SELECT trace FROM effects") == [(None,)]
