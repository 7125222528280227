"""`modbot adopt`: makes the config service's database take over what the replica store knows and the database does not.

That is needed when PostgreSQL was lost and made anew, when an old copy of it came back, and when one deployment follows another (`modbot single`
does it by itself). First a plan is made, from the names in the store and, for guilds that have or had a shard of their own, from their
restored files. Then, in this order: look once more that nobody serves from the store; one transaction in the database; the claim. Whatever is
interrupted is completed by doing it again.

It is refused while somebody serves: two clusters must never serve one bot.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from modbot.cli import examining, finding, tables
from modbot.cluster import protocol
from modbot.cluster.client import ConfigClient
from modbot.domain import adopting as rules
from modbot.domain import ids
from modbot.domain.adopting import Home, Row, Verdict
from modbot.domain.errors import AdoptionRefusedError, UnavailableError
from modbot.domain.ids import ClusterId, Epoch, GuildId, ShardId
from modbot.ops import claims
from modbot.ops.replicas import ReplicaStore, StoreError
from modbot.shard import inspecting

_AGAIN = 3.0
_log = structlog.get_logger(__name__)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One shard of the plan: the newest epoch in the store and in the database, the epoch from which it goes on, and what it becomes."""

    shard_id: ShardId
    store: Epoch
    database: Epoch
    epoch: Epoch
    becomes: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to do. `holder`: whose the store is. `waits`: why it cannot be done now, or empty. `done`: it was done."""

    cluster: ClusterId
    holder: ClusterId | None
    shards: list[Line]
    waits: str = ""
    done: bool = False

    @property
    def empty(self) -> bool:
        """Whether the database knows all that the store does, and the store is its own or nobody's."""
        return not self.shards and self.holder in {None, self.cluster}


@dataclass(frozen=True, slots=True)
class Telling:
    """What a person says about guilds whose files contradict each other."""

    own: frozenset[GuildId] = frozenset()
    formula: frozenset[GuildId] = frozenset()


UNTOLD = Telling()


@dataclass(frozen=True, slots=True)
class _Draft:
    plan: Plan
    request: protocol.AdoptRequest
    newest: Mapping[ShardId, Epoch]
    missed: tuple[str, ...]


def run(*, state: Path, yes: bool, as_json: bool, telling: Telling) -> int:
    """Show the plan, do it with `yes`, and return the exit code."""
    store, settings = finding.replica_store(state)

    async def work() -> Plan:
        async with finding.client(state) as client:
            drawn = await _draft(client, store, settings.program, telling)
            if yes and not drawn.plan.empty:
                return _done(await _carry_out(client, store, drawn))
            return drawn.plan

    made = asyncio.run(work())
    if as_json:
        sys.stdout.write(msgspec.json.encode(made).decode() + "\n")
    else:
        tables.console().print(tables.adoption(made))
    return 0


async def plan(client: ConfigClient, store: ReplicaStore, program: str, telling: Telling = UNTOLD) -> Plan:
    """Compare the store with the database. `AdoptionRefusedError` when they do not fit together."""
    return (await _draft(client, store, program, telling)).plan


async def adopt(client: ConfigClient, store: ReplicaStore, program: str, telling: Telling = UNTOLD) -> Plan:
    """Do what there is to do; `AdoptionRefusedError` says why it cannot be done now."""
    drawn = await _draft(client, store, program, telling)
    return drawn.plan if drawn.plan.empty else _done(await _carry_out(client, store, drawn))


async def check_count(store: ReplicaStore, count: int) -> None:
    """Refuse a shard count that is not the store's, before a database is set up with it for ever."""
    _check_count(await store.shards(), count)


async def adopt_when_quiet(client: ConfigClient, store: ReplicaStore, program: str) -> None:
    """Adopt what there is to adopt as soon as nobody else serves from the store; says every few seconds why it waits.

    A store that does not answer is waited for only by a database that has granted nothing yet: what an older one knows is enough to go on.
    """
    while True:
        try:
            drawn = await _draft(client, store, program, UNTOLD)
            if drawn.plan.empty:
                return
            found = await _carry_out(client, store, drawn)
            if found.done:
                _log.warning("store_adopted", shards=len(found.shards), holder=found.holder, cluster=found.cluster)
                return
            _log.warning("adoption_waits", reason=found.waits)
        except StoreError as error:
            if any(shard.epoch > 0 for shard in (await client.adoption()).shards):
                _log.warning("adoption_unknown", error=str(error))
                return
            _log.warning("adoption_waits", reason=str(error))
        except UnavailableError as error:
            _log.warning("adoption_waits", reason=str(error))
        await asyncio.sleep(_AGAIN)


async def _draft(client: ConfigClient, store: ReplicaStore, program: str, telling: Telling) -> _Draft:
    known = await client.adoption()
    holder = await claims.read(store)
    newest = await _newest(store)
    _check_count(list(newest), known.shard_count)
    epochs = {shard.shard_id: shard.epoch for shard in known.shards}
    behind = rules.decide_behind(newest, epochs, ours=holder in {None, known.cluster})
    homes = await _homes(store, program, rules.guilds_of(list(behind)), count=known.shard_count, telling=telling)
    lines, shards, transfers = [], [], []
    for shard_id, epoch in behind.items():
        guild_id = ids.dedicated_guild(shard_id)
        verdict = None if guild_id is None else homes[guild_id]
        before = epochs.get(shard_id, Epoch(0))
        retired = verdict is not None and verdict.home is Home.FORMULA
        shards.append(protocol.AdoptedShard(shard_id=shard_id, known_epoch=before, epoch=epoch, retired=retired))
        becomes = f"restored and served from epoch {epoch + 1} on"
        if retired and guild_id is not None:
            becomes = f"nothing: its guild went back to {ids.shard_of_guild(guild_id, known.shard_count)}"
        lines.append(Line(shard_id=shard_id, store=newest[shard_id], database=before, epoch=epoch, becomes=becomes))
        if verdict is not None and guild_id is not None:
            transfers += _settled(guild_id, verdict, known.shard_count)
    made = Plan(cluster=known.cluster, holder=holder, shards=lines)
    missed: tuple[str, ...] = ()
    if not made.empty:
        sight = await claims.look(store, newest)
        made, missed = msgspec.structs.replace(made, waits=_leased(known) or sight.busy), sight.missed
    request = protocol.AdoptRequest(replica_store=store.name, shards=shards, transfers=transfers)
    return _Draft(made, request, newest, missed)


async def _carry_out(client: ConfigClient, store: ReplicaStore, drawn: _Draft) -> Plan:
    """Do it unless somebody serves; `waits` of what is returned says who."""
    waits = drawn.plan.waits
    if not waits and drawn.missed:
        # Were they killed, or has the store only just come back? Then whoever lives is seen again in a moment.
        _log.warning("adoption_watches", missed=drawn.missed, seconds=claims.COMES_BACK_WITHIN)
        await asyncio.sleep(claims.COMES_BACK_WITHIN)
        waits = (await claims.look(store, drawn.newest)).busy
    if not waits:
        await client.adopt(drawn.request)
        waits = (await claims.look(store, {})).busy
    if waits:
        return msgspec.structs.replace(drawn.plan, waits=waits)
    await claims.take(store, drawn.plan.cluster)
    return msgspec.structs.replace(drawn.plan, done=True)


def _done(found: Plan) -> Plan:
    if found.waits:
        raise AdoptionRefusedError(f"Nothing was taken over: {found.waits}.")
    return found


async def _newest(store: ReplicaStore) -> dict[ShardId, Epoch]:
    """Return the shards of the store that were ever replicated, with their newest epoch.

    An epoch of which nothing but the name is left counts as well: it was granted.
    """
    found = {}
    for shard_id in await store.shards():
        epochs = await store.epochs(shard_id)
        if epochs:
            found[shard_id] = epochs[0]
    return found


def _leased(known: protocol.AdoptionState) -> str:
    if not known.leased:
        return ""
    have = "has" if len(known.leased) == 1 else "have"
    return f"{' and '.join(known.leased)} {have} a valid lease in this database; stop the gateway pods first"


async def _homes(
    store: ReplicaStore,
    program: str,
    guilds: Sequence[GuildId],
    *,
    count: int,
    telling: Telling,
) -> dict[GuildId, Verdict]:
    """Find out where the guilds belong that have or had a shard of their own."""
    found = {}
    with examining.place(None) as folder:
        for guild_id in guilds:
            formula, own = ids.shard_of_guild(guild_id, count), ids.dedicated_shard_id(guild_id)
            rows = [await _row(store, program, shard_id, guild_id, folder) for shard_id in (formula, own)]
            verdict = rules.decide_home(rows[0], rows[1])
            told = _told(guild_id, telling)
            if verdict.home is Home.UNCLEAR and told is not None:
                verdict = rules.decide_told(told, rows[0], rows[1])
            if verdict.home is Home.UNCLEAR:
                raise AdoptionRefusedError(
                    f"The files of {formula} and {own} do not agree where guild {guild_id} is. Say which one has it: "
                    f"--dedicated {guild_id} or --returned {guild_id}."
                )
            found[guild_id] = verdict
    return found


async def _row(store: ReplicaStore, program: str, shard_id: ShardId, guild_id: GuildId, folder: Path) -> Row | None:
    epoch = await examining.newest(store, shard_id)
    if epoch is None:
        raise AdoptionRefusedError(f"The store has no replica of {shard_id}, which says where guild {guild_id} is.")
    async with examining.restored(store, program, shard_id, epoch, folder=folder, check="quick") as restored:
        if restored.facts is None:
            raise AdoptionRefusedError(
                f"Epoch {epoch} of {shard_id}, which says where guild {guild_id} is, cannot be restored: {restored.fault}."
            )
        found = await asyncio.to_thread(inspecting.whereabouts, restored.path, guild_id)
    return None if found is None else Row(*found)


def _told(guild_id: GuildId, telling: Telling) -> Home | None:
    if guild_id in telling.own:
        return Home.OWN
    return Home.FORMULA if guild_id in telling.formula else None


def _settled(guild_id: GuildId, verdict: Verdict, count: int) -> list[protocol.SettledTransfer]:
    formula, own = ids.shard_of_guild(guild_id, count), ids.dedicated_shard_id(guild_id)
    return [
        protocol.SettledTransfer(
            transfer_id=each.transfer_id,
            guild_id=str(guild_id),
            source=formula if each.to_own else own,
            target=own if each.to_own else formula,
            state="finished" if each.done else "cancelled",
        )
        for each in verdict.settlements
    ]


def _check_count(shards: Sequence[ShardId], count: int) -> None:
    others = rules.foreign_counts(shards, count)
    if others:
        raise AdoptionRefusedError(
            f"The store has shards of {' and '.join(map(str, others))}, this system has {count}: MODBOT_SHARD_COUNT must be the store's."
        )
