"""What heartbeats tell Discord about one open shard.

An acknowledgement is an effect: what Discord was told to forget it may forget. So it is told only what the replica holds, and only by an
owner. A pod that was stopped until its lease ran out goes on with a file, and a replica path, that its successor has restored at an
earlier point; were it to acknowledge what came to them since, the successor would never be sent it. The order matters: first what
the replica has confirmed, then the lease. What was confirmed before the lease ended is in every later restore.

Without a valid lease the last acknowledgement is repeated. Nothing is lost by that; Discord only keeps more.
"""

from __future__ import annotations

from modbot.cluster.leases import LeaseKeeper
from modbot.domain.offsets import Offset
from modbot.services.gateway.replicating import Replication
from modbot.shard.engine import Engine

_LIMIT = 3.0


class Acknowledgement:
    """The number in the heartbeats of one shard's sessions."""

    def __init__(self, replication: Replication, lease: LeaseKeeper, engine: Engine) -> None:
        self._replication = replication
        self._lease = lease
        self._engine = engine
        self._last: Offset | None = None

    def seq(self) -> int | None:
        """Return the number to acknowledge; None while nothing of the present session may be forgotten."""
        confirmed = self._replication.durable(self._engine)
        if confirmed is None:
            return None
        if self._lease.valid_for(_LIMIT):
            self._last = confirmed
        if self._last is None or self._last.session_id != confirmed.session_id:
            return None
        return self._last.seq
