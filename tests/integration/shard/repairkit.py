"""What the tests of gap repair share: a guild that talks, a session that is lost, and witnesses that write down what they are given."""

import asyncio

import shardkit
from shardkit import CHANNEL, GUILD, OTHER

from modbot.discord.events import AuditLogEntryCreated, BanChanged, MessageDeleted
from modbot.discord.intake import Batch, SessionLost
from modbot.discord.objects import Message
from modbot.domain.ids import first_snowflake_at
from modbot.shard import recovering
from modbot.shard.feature import Feature
from modbot.shard.migrations import Series

TABLES = Series(
    "seen_tables", ("CREATE TABLE seen (number INTEGER PRIMARY KEY, what TEXT, id INTEGER, place INTEGER)",)
)
VIEW, HISTORY, AUDIT, BAN = 1 << 10, 1 << 16, 1 << 7, 1 << 2
witness = Feature("witness")


def see(tx, what, number, place=0):
    tx.execute("INSERT INTO seen (what, id, place) VALUES (?, ?, ?)", (what, number, place))


@witness.on("MESSAGE_CREATE")
def created(tx, message: Message):
    assert message.guild_id == GUILD
    see(tx, message.text, message.id, message.channel_id)
    if message.text == "poison":
        raise ValueError("poison")


@witness.on("MESSAGE_UPDATE")
def edited(tx, message: Message):
    see(tx, "edit", message.id, message.channel_id)


@witness.on("MESSAGE_DELETE")
def deleted(tx, event: MessageDeleted):
    tx.execute("DELETE FROM seen WHERE id = ?", (event.id,))


@witness.on("GUILD_AUDIT_LOG_ENTRY_CREATE")
def audited(tx, entry: AuditLogEntryCreated):
    see(tx, "entry", entry.id)


with_bans = Feature("with_bans")


@with_bans.on("GUILD_BAN_ADD")
def banned(tx, event: BanChanged):
    see(tx, "ban", event.user.id)


@with_bans.on("GUILD_BAN_REMOVE")
def unbanned(tx, event: BanChanged):
    see(tx, "unban", event.user.id)


def number(clock, n):
    """The id of a message that is written now."""
    return first_snowflake_at(clock.now()) + n


class Scene:
    """A guild with two channels, a session that is lost, and a Discord that remembers what was written."""

    def __init__(self, world):
        self.world = world
        self.count = 0
        self.permissions = VIEW | HISTORY | AUDIT | BAN
        self.reading = None

    def write(self, text="hello", *, channel=CHANNEL):
        """Somebody writes; returns the message as Discord has it."""
        self.count += 1
        self.world.clock.advance(0.001)
        body = shardkit.message_body(number(self.world.clock, self.count), content=text, channel=channel)
        self.world.discord.messages.setdefault(channel, []).append(body)
        return body

    def act(self):
        """Somebody does what the audit log records."""
        self.count += 1
        self.world.clock.advance(0.001)
        entry = {"id": str(number(self.world.clock, self.count)), "action_type": 12, "user_id": str(OTHER)}
        self.world.discord.entries.append(entry)
        return {**entry, "guild_id": str(GUILD)}

    async def live(self, *bodies, name="MESSAGE_CREATE"):
        await self.world.dispatch(name, *bodies)

    def guild(self, *, threads=()):
        body = shardkit.guild_body()
        body["roles"][0]["permissions"] = "0"
        body["roles"][3]["permissions"] = str(self.permissions)
        for channel in (*body["channels"], *threads):
            written = self.world.discord.messages.get(int(channel["id"]), [])
            channel["last_message_id"] = max((each["id"] for each in written), key=int, default=None)
        body["threads"] = list(threads)
        return body

    async def lose(self):
        world = self.world
        lost = SessionLost("op 9", world.offset())
        await world.engine.apply(Batch((lost,), None))
        world.clock.advance(1)

    async def begin(self, session, **options):
        await self.world.start_session(session)
        await self.world.dispatch("GUILD_CREATE", self.guild(**options))

    async def settled(self):
        """Wait until the repair is finished, or the process is dead."""
        world = self.world
        async with asyncio.timeout(5):
            while not world.discord.killer.dead.is_set():
                step = await world.engine.commit(lambda tx: recovering.next_step(tx, world.registry))
                if step.source is None and step.unfinished == 0:
                    return
                await asyncio.sleep(0)

    async def repaired(self):
        await self.settled()
        await self.world.idle()

    async def seen(self, place=CHANNEL):
        return [row[0] for row in await self.world.rows("SELECT id FROM seen WHERE place = ? ORDER BY number", place)]

    async def losses(self):
        rows = await self.world.rows("SELECT kind, reason, number FROM gap_losses ORDER BY kind, place_id")
        return {kind: (reason, known) for kind, reason, known in rows}

    async def summary(self):
        (one,) = await self.world.engine.list_gaps()
        return one

    def meanwhile(self, part, happen):
        """Let something happen after Discord answered a request and before the answer is applied; once."""
        request = self.world.discord.request

        async def asked(route, **options):
            answer = await request(route, **options)
            if self.reading is not None and part in route.template:
                happened, self.reading = self.reading, None
                await happened()
            return answer

        self.reading = happen
        self.world.discord.request = asked


def ids(*bodies):
    return [int(body["id"]) for body in bodies]
