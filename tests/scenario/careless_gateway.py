"""A gateway pod that is broken on purpose: as a target it leaves out the last of the log and believes the source's seq all the same."""

import sys

import witnessed_gateway

from modbot.services.gateway import main
from modbot.services.gateway.handoff_target import Arrival
from modbot.shard.copying import Copy

_read_log = Arrival._read_log
_call = Arrival._call


async def read_log(self: Arrival, copy: Copy) -> int:
    return 0 if self.progress > 1.0 else await _read_log(self, copy)


async def call(self: Arrival, method: str, path: str, *, limit: float) -> bytes:
    if path == "/finish":
        self.progress = 2.0
    return await _call(self, method, path, limit=limit)


def compare(self: Copy, connection, expected) -> None:
    connection.execute("UPDATE shard SET seq = ?", (expected.offset.seq,))


Arrival._read_log = read_log
Arrival._call = call
Copy._compare = compare

if __name__ == "__main__":
    assert witnessed_gateway
    sys.exit(main.main())
