"""Who owned what when, as PostgreSQL saw it, beside who acted, as Discord saw it (I1, I2).

Triggers write down every change of a shard's row and every renewal, with the clock of the database. Nothing is polled, so nothing is
missed between two looks.
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import asyncpg

_HISTORY = """
CREATE SCHEMA chaos;
CREATE TABLE chaos.grants (
    entry bigserial PRIMARY KEY, at double precision NOT NULL DEFAULT extract(epoch FROM clock_timestamp()),
    shard_id text, owner text, incarnation text, epoch bigint
);
CREATE TABLE chaos.leases (
    entry bigserial PRIMARY KEY, at double precision NOT NULL DEFAULT extract(epoch FROM clock_timestamp()),
    pod_id text, incarnation text, state text, lease_until double precision
);
CREATE FUNCTION chaos.note_grant() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO chaos.grants (shard_id, owner, incarnation, epoch)
    VALUES (NEW.shard_id, NEW.owner, NEW.incarnation::text, NEW.epoch);
    RETURN NULL;
END $$;
CREATE FUNCTION chaos.note_lease() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO chaos.leases (pod_id, incarnation, state, lease_until)
    VALUES (NEW.pod_id, NEW.incarnation::text, NEW.state, extract(epoch FROM NEW.lease_until));
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_grants AFTER UPDATE ON public.shards FOR EACH ROW
    WHEN ((OLD.owner, OLD.incarnation, OLD.epoch) IS DISTINCT FROM (NEW.owner, NEW.incarnation, NEW.epoch))
    EXECUTE FUNCTION chaos.note_grant();
CREATE TRIGGER chaos_leases AFTER INSERT OR UPDATE ON public.pods FOR EACH ROW EXECUTE FUNCTION chaos.note_lease();
INSERT INTO chaos.grants (shard_id, owner, incarnation, epoch) SELECT shard_id, owner, incarnation::text, epoch FROM public.shards;
INSERT INTO chaos.leases (pod_id, incarnation, state, lease_until)
SELECT pod_id, incarnation::text, state, extract(epoch FROM lease_until) FROM public.pods;
"""
_ACTOR = re.compile(r" (gateway-\d+)/([0-9a-f-]{36})$")
_IN_FLIGHT = 0.5
"""Seconds that a request may be on its way on this machine when its sender loses the lease; the gate is asked before it is sent."""

_REMEMBERED = 3.0
"""Seconds for which a stall of the simulator can have held up what it logs."""
_EVEN = 0.1


@dataclass(frozen=True, slots=True)
class Grant:
    at: float
    shard_id: str
    owner: str | None
    incarnation: str | None
    epoch: int


@dataclass(frozen=True, slots=True)
class Lease:
    at: float
    pod_id: str
    incarnation: str
    state: str
    until: float


@dataclass(slots=True)
class History:
    """The record of grants and leases of one stack."""

    database_url: str
    grants: dict[str, list[Grant]] = field(default_factory=dict)
    leases: dict[str, list[Lease]] = field(default_factory=dict)
    """By incarnation."""
    ends: dict[str, float] = field(default_factory=dict)
    """When another incarnation of the same pod was introduced."""
    moves: set[tuple[str, int]] = field(default_factory=set)
    """Shards with the epochs that handoffs have given them."""
    unfenced: list[tuple[float, float]] = field(default_factory=list)
    """Times in which nobody could renew: pods may go on past their lease, because nobody can be granted anything."""

    async def begin(self) -> None:
        """Put the triggers in place."""
        connection = await asyncpg.connect(self.database_url)
        try:
            await connection.execute(_HISTORY)
        finally:
            await connection.close()

    async def read(self) -> None:
        """Read everything anew."""
        connection = await asyncpg.connect(self.database_url)
        try:
            grants = await connection.fetch(
                "SELECT at, shard_id, owner, incarnation, epoch FROM chaos.grants ORDER BY entry"
            )
            leases = await connection.fetch(
                "SELECT at, pod_id, incarnation, state, lease_until FROM chaos.leases ORDER BY entry"
            )
            self.moves = {
                (row["shard_id"], row["epoch"] + 1)
                for row in await connection.fetch("SELECT shard_id, epoch FROM public.moves WHERE state = 'done'")
            }
        finally:
            await connection.close()
        self.grants, self.leases, self.ends = {}, {}, {}
        for row in grants:
            self.grants.setdefault(row["shard_id"], []).append(Grant(*row))
        current: dict[str, str] = {}
        for row in leases:
            lease = Lease(*row)
            self.leases.setdefault(lease.incarnation, []).append(lease)
            if current.get(lease.pod_id, lease.incarnation) != lease.incarnation:
                self.ends[current[lease.pod_id]] = lease.at
            current[lease.pod_id] = lease.incarnation

    def owner(self, shard_id: str, at: float) -> Grant:
        """Return the grant that was in force at a moment."""
        grants = self.grants[shard_id]
        return grants[max(0, bisect.bisect_right([grant.at for grant in grants], at) - 1)]

    def lease_at(self, incarnation: str, at: float) -> Lease | None:
        """Return what a pod's row said of an incarnation at a moment."""
        leases = self.leases.get(incarnation, [])
        found = bisect.bisect_right([lease.at for lease in leases], at)
        return leases[found - 1] if found else None

    def two_owners(self) -> set[str]:
        """Check I1: epochs grow with each new owner, and nobody is made the owner while another's lease counts."""
        wrong: set[str] = set()
        for shard_id, grants in self.grants.items():
            for before, after in itertools.pairwise(grants):
                if after.epoch < before.epoch:
                    wrong.add(f"I1 {shard_id}: epoch {after.epoch} after {before.epoch}")
                if after.incarnation not in {None, before.incarnation}:
                    if after.epoch <= before.epoch:
                        wrong.add(f"I1 {shard_id}: a new owner under the same epoch {after.epoch}")
                    if before.incarnation is not None and not self._parted(before, after):
                        wrong.add(
                            f"I1 {shard_id}: epoch {after.epoch} was granted while epoch {before.epoch} was valid"
                        )
        return wrong

    def _parted(self, before: Grant, after: Grant) -> bool:
        """Whether the owner before had no claim any more: handed over, replaced by its own pod, gone, or run out."""
        if (before.shard_id, after.epoch) in self.moves or before.owner == after.owner:
            return True
        lease = self.lease_at(before.incarnation or "", after.at)
        return lease is None or lease.state != "live" or lease.until <= after.at

    def strangers(
        self, acts: Iterable[dict[str, Any]], shard_of_channel: dict[str, str], stalls: Sequence[dict[str, float]] = ()
    ) -> set[str]:
        """Check I2: every request for a channel came from who owned the shard of that channel, with a valid lease.

        `stalls` of the simulator: it logs a request when it gets to it, so a request may be older by as much.
        """
        wrong: set[str] = set()
        for act in acts:
            actor = _ACTOR.search(act["user_agent"] or "")
            shard_id = shard_of_channel.get(act["path"].split("/")[2] if act["path"].startswith("/channels/") else "")
            if actor is None or shard_id is None:
                continue
            allowed = _IN_FLIGHT + sum(
                each["seconds"] for each in stalls if act["time"] - _REMEMBERED <= each["until"] <= act["time"] + _EVEN
            )
            if (why := self._why_not(shard_id, actor[2], act["time"], allowed)) is not None:
                when = datetime.fromtimestamp(act["time"], UTC).strftime("%H:%M:%S.%f")[:-3]
                wrong.add(f"I2 {shard_id}: {act['method']} {act['path']} by {actor[1]} at {when}, {why}")
        return wrong

    def _why_not(self, shard_id: str, incarnation: str, at: float, allowed: float) -> str | None:
        owners = {self.owner(shard_id, at).incarnation, self.owner(shard_id, at - allowed).incarnation}
        if incarnation not in owners:
            return f"which was not its owner (epoch {self.owner(shard_id, at).epoch} was)"
        lease = self.lease_at(incarnation, at)
        late = None if lease is None else at - lease.until
        if late is not None and late > allowed and not any(start <= at <= end for start, end in self.unfenced):
            return f"{late:.1f} s after its lease"
        return None


def last_renewal(history: History, incarnation: str, before: float) -> float:
    """Return when an incarnation was renewed for the last time before a moment."""
    lease = history.lease_at(incarnation, before)
    assert lease is not None
    return lease.at
