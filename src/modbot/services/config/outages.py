"""Outages, as the config service sees them afterwards: whom silence may be held against, and who may be given a lost pod's shards.

**Nobody is punished.** `resting` looks around at every sweep (`domain/outages.py` decides). A sweep that may conclude something notes the
time. While no pod is heard, or PostgreSQL is away, nothing is noted. So the first sweep afterwards finds a gap, and gives every living
pod one whole lease from now; none is ended and nothing is placed before that is over. The pods still own what they owned, and renew.

*The clock.* At a failover, and when somebody sets it, the database's clock may jump. What an old clock wrote is then never compared with a
new one: another server (another start of PostgreSQL), a step back, or a step forward of more than `bound` counts as an outage, and all
leases are dated anew. All beliefs from before are over within one lease, because members count on their own clocks. What remains is a
running server whose clock is set forward by less than `bound`: leases end that much too early, and a pod could be taken over while it
still believes. Let the database's clock be slewed, never stepped (chrony's default after the start). A failover must not lose commits
either (synchronous replication): a grant that is forgotten could be given twice. The pause after a failover covers a lost grant's lease;
it cannot bring back a handoff that was forgotten.

**Nobody is second.** A lost pod may be acting in failsafe mode (`cluster/failsafe.py` has the protocol and its proof). A pod that it
must ask can be given its shards at once: the protocol makes that one refuse or wait. Any other pod is *barred* from them until

- one that must be asked has *received* an answer given after the lease ended, for the time of one lease: since then it has refused; or
- `FAILSAFE_LIMIT` is over, by when every pod has stopped by itself.

Who must be asked is who had joined before the last answer that the lost pod is known to have received. Both are compared by numbers that
the database gave in order, never by a clock.
"""

from __future__ import annotations

from typing import Any

from modbot.cluster.protocol import PodState
from modbot.domain import outages
from modbot.domain.ids import PodId, ShardId
from modbot.services.config.database import Connection


async def resting(connection: Connection) -> str:
    """Return why this sweep must end nobody and place nothing; empty when it may. The caller is the only one that sweeps."""
    row = await connection.one("look_around")
    sight = outages.Sight(
        since_last=row["since_last"],
        same_server=row["since_last"] is None or row["same_server"],
        ttl=row["ttl"],
        silent_for=row["silent_for"],
        resumed_for=row["resumed_for"],
    )
    found = outages.decide_finding(sight)
    if found.resumes:
        await connection.one("forgive", outages.SLACK)
        await connection.one("restart_losses")
    if found.counts:
        await connection.one("note_sweep", found.resumes)
    await connection.one("witness_losses")
    if not found.resting:
        await connection.one("forget_losses", outages.FAILSAFE_LIMIT, outages.SLACK)
    return found.resting


async def barred(connection: Connection) -> dict[ShardId, frozenset[PodId]]:
    """Return which pods must not be given which free shards yet."""
    found: dict[ShardId, set[PodId]] = {}
    for row in await connection.all("barred"):
        found.setdefault(ShardId(row["shard_id"]), set()).add(PodId(row["pod_id"]))
    return {shard_id: frozenset(pods) for shard_id, pods in found.items()}


def may_act(row: Any) -> bool:
    """Say whether the process behind a pod's row (`lock_pod`) may be acting although its lease is over."""
    ended_itself = row["state"] == PodState.LEFT
    return bool(row["failsafe"]) and not ended_itself and row["expired_for"] <= outages.FAILSAFE_LIMIT
