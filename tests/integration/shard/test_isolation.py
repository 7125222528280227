"""I10: what belongs to one guild is never found from another, although many guilds share a file."""

from shardkit import CHANNEL, MEMBER

from modbot.discord.objects import Message, User
from modbot.domain.evidence import Evidence
from modbot.domain.ids import ChannelId, GuildId, InteractionId, MessageId, UserId
from modbot.domain.settings import MOD_LOG
from modbot.features import all_features
from modbot.features.reports import records
from modbot.shard import guild_settings

HERE, THERE = GuildId(1 << 40), GuildId(1 << 41)
NOT_OF_A_GUILD = {"shard", "migrations", "gaps", "dead_letters"}


def within(guild_id, work):
    def scoped(tx):
        tx.guild_id = guild_id
        return work(tx)

    return scoped


async def test_every_key_begins_with_the_guild(make_world):
    world = await make_world(*all_features())
    tables = {row[0] for row in await world.rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {"effects", "timers", "activity", "reports", "actions"} <= tables
    for table in tables - NOT_OF_A_GUILD - {"sqlite_sequence"}:
        keys = await world.rows(
            "SELECT (SELECT name FROM pragma_index_info(l.name) WHERE seqno = 0) FROM pragma_index_list(?) AS l "
            'WHERE l."unique"',
            table,
        )
        rowid = await world.rows("SELECT name FROM pragma_table_info(?) WHERE pk = 1", table)
        assert ("guild_id",) in [*keys, *rowid], f"{table} is found without its guild"


async def test_the_same_ids_in_two_guilds_are_two_things(make_world):
    world = await make_world(*all_features())
    message = Message(id=MessageId(5), channel_id=ChannelId(CHANNEL), author=User(id=UserId(MEMBER), username="a"))

    def report(tx):
        guild_settings.change(tx, MOD_LOG, "7", changed_by=UserId(1))
        records.keep(tx, message, Evidence(text="only here"))
        entry = records.read_entry(tx, message.id)
        return records.add_report(tx, report_id=InteractionId(9), entry=entry, kind="track", staff_id=UserId(2))

    assert await world.engine.commit(within(HERE, report))
    assert await world.engine.commit(within(THERE, lambda tx: records.read_entry(tx, message.id))) is None
    assert await world.engine.commit(within(THERE, guild_settings.mod_log)) is None
    statistics = await world.engine.commit(within(THERE, lambda tx: records.statistics(tx, UserId(MEMBER), 0)))
    assert (statistics.total, statistics.channels) == (0, 0)
    assert (await world.engine.commit(within(THERE, lambda tx: records.undeleted(tx, UserId(MEMBER)))))[0] == ()
    assert await world.engine.commit(within(THERE, report)), "the same report id there is another report"
    await world.engine.commit(within(THERE, lambda tx: records.mark_deleted(tx, message.id)))
    assert len((await world.engine.commit(within(HERE, lambda tx: records.undeleted(tx, UserId(MEMBER)))))[0]) == 1
