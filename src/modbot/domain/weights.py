"""What a shard weighs: one number that placement and rebalancing share, in events per second.

A shard costs its pod something even when nobody writes: a gateway session, a file, a replica that is watched (`BASE`). The rest is
measured: the usual events per second, the guilds (a snapshot and timers each) and the rows (disk, replica, the length of a
handoff). "Usual" is a slow mean, so that a restart, a silent minute or a burst moves nothing; PostgreSQL keeps it
(`report_load` in `services/config/queries.sql`), and it outlives owners. This module knows neither pods nor clocks.
"""

from __future__ import annotations

from typing import Final

BASE: Final = 10.0
GUILDS_PER_UNIT: Final = 50.0
ROWS_PER_UNIT: Final = 100_000.0
MEAN_SECONDS: Final = 600.0
"""Time constant of the slow mean: after this long a lasting change has counted for 63 %."""
LONGEST_REPORT: Final = 10.0
"""A report speaks for the seconds since the last one, but never for more than these."""


def weight(*, events_per_second: float = 0.0, guilds: int = 0, rows: int = 0) -> float:
    """Return the weight of a shard. 2,500 guilds weigh as much as 50 events per second, as do five million rows."""
    return BASE + events_per_second + guilds / GUILDS_PER_UNIT + rows / ROWS_PER_UNIT
