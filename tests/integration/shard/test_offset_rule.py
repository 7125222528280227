"""The offset rule under random streams, batches and deaths: the file is the fold of all events, each once, in order (I3, I4)."""

import asyncio
import shutil
import tempfile
from pathlib import Path

import msgspec
import pytest
import shardkit
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from modbot.discord.events import MessageDeleted
from modbot.discord.intake import Batch
from modbot.discord.objects import Message
from modbot.shard import dispatching
from modbot.shard.feature import EffectKind, Feature
from modbot.shard.migrations import Series

_TABLES = """
CREATE TABLE seen (number INTEGER PRIMARY KEY, message_id INTEGER NOT NULL, kind TEXT NOT NULL);
CREATE TABLE totals (guild_id INTEGER PRIMARY KEY, total INTEGER NOT NULL);
"""


class Nothing(msgspec.Struct, frozen=True):
    """No arguments."""


class Photographer:
    """Copies the file as a crash would leave it, at moments inside and between transactions."""

    def __init__(self, path):
        self.path = path
        self.countdown = None
        self.picture = None

    def moment(self):
        if self.countdown is None or self.picture is not None:
            return
        self.countdown -= 1
        if self.countdown < 0:
            self.picture = Path(tempfile.mkdtemp(dir=self.path.parent)) / "file.sqlite3"
            for suffix in ("", "-wal"):
                source = self.path.with_name(self.path.name + suffix)
                if source.exists():
                    shutil.copy(source, self.picture.with_name(self.picture.name + suffix))


def probe(photographer, poison=frozenset()):
    feature = Feature("probe")

    async def nothing(run, args):
        await asyncio.sleep(0)

    kind = EffectKind("probe.nothing", Nothing, nothing)
    feature.effects.append(kind)

    def note(tx, event, what):
        photographer.moment()
        tx.execute("INSERT INTO seen (message_id, kind) VALUES (?, ?)", (event.id, what))
        tx.execute("INSERT INTO totals VALUES (?1, 1) ON CONFLICT DO UPDATE SET total = total + 1", (tx.guild_id,))
        assert tx.effect(kind, Nothing())
        photographer.moment()
        if event.id in poison:
            raise ValueError("poison")

    @feature.on("MESSAGE_CREATE")
    def created(tx, message: Message):
        note(tx, message, "create")

    @feature.on("MESSAGE_DELETE")
    def deleted(tx, message: MessageDeleted):
        note(tx, message, "delete")

    return feature


async def transactional(world, items, offset):
    await world.engine.apply(Batch(items, offset))


async def at_receipt(world, items, offset):
    """Break the rule: store the number when the dispatches arrive, in a transaction of its own."""
    registry, photographer = world.registry, world.photographer
    await world.engine.commit(lambda tx: dispatching.apply_batch(tx, Batch((), offset), registry))
    photographer.moment()
    await world.engine.commit(lambda tx: dispatching.apply_batch(tx, Batch(items, offset), registry))
    world.engine._offset = offset


async def play(folder, apply, stream, poison):
    kinds, sizes, deaths = stream
    photographer = Photographer(folder / "file.sqlite3")
    events = [
        shardkit.dispatch(2 + n, "MESSAGE_DELETE" if gone else "MESSAGE_CREATE", shardkit.message_body(1 + n))
        for n, gone in enumerate(kinds)
    ]
    world = shardkit.World(
        photographer.path, [probe(photographer, poison)], series=[Series("probe_tables", (_TABLES,))]
    )
    world.photographer = photographer
    await world.open()
    await world.start_session()
    deaths, sizes, turn = list(deaths), list(sizes), 0
    photographer.countdown = deaths.pop() if deaths else None
    while (done := world.engine.offset.seq - 1) < len(events):
        items = tuple(events[done : done + sizes[turn % len(sizes)]])
        turn += 1
        await apply(world, items, world.offset(items[-1].seq))
        photographer.moment()
        if photographer.picture is not None:
            await world.engine.close()
            world.path = photographer.path = photographer.picture
            photographer.picture, photographer.countdown = None, deaths.pop() if deaths else None
            await world.open(expected=True)
    seen = await world.rows("SELECT message_id, kind FROM seen ORDER BY number")
    totals = await world.rows("SELECT total FROM totals")
    letters = await world.rows("SELECT handler, cause FROM dead_letters ORDER BY dead_letter_id")
    effects = await world.rows("SELECT key FROM effects WHERE name = 'probe.nothing' ORDER BY effect_id")
    await world.close()
    return seen, totals, letters, effects


def exactly_once(apply, kinds, sizes, deaths, poison=frozenset()):
    with tempfile.TemporaryDirectory() as folder:
        seen, totals, letters, effects = asyncio.run(play(Path(folder), apply, (kinds, sizes, deaths), poison))
    names = ["delete" if gone else "create" for gone in kinds]
    fine = [(n, name) for n, name in enumerate(names, 1) if n not in poison]
    sick = [(f"probe.{names[n - 1]}d", f"s1/{n + 1}") for n in range(1, len(kinds) + 1) if n in poison]
    assert seen == fine
    assert totals == ([(len(fine),)] if fine else [])
    assert letters == sick
    assert effects == [(f"probe.nothing:s1/{n + 1}",) for n, _name in fine]


STREAMS = st.tuples(
    st.lists(st.booleans(), min_size=1, max_size=25),
    st.lists(st.integers(1, 8), min_size=1, max_size=5),
    st.lists(st.integers(0, 20), max_size=4),
)
QUICK = settings(
    max_examples=40,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
    print_blob=False,
)


@QUICK
@given(STREAMS)
def test_each_event_is_applied_once_and_in_order_whenever_the_process_dies(stream):
    exactly_once(transactional, *stream)


@QUICK
@given(STREAMS, st.frozensets(st.integers(1, 25), max_size=5))
def test_a_handler_that_fails_holds_up_nobody_and_loses_nothing(stream, poison):
    exactly_once(transactional, *stream, poison)


def test_the_same_test_finds_a_number_that_is_stored_at_receipt():
    @QUICK
    @given(STREAMS)
    def broken(stream):
        exactly_once(at_receipt, *stream)

    with pytest.raises(AssertionError):
        broken()
