"""`modbot migrate`: brings PostgreSQL to the schema of this version, says what it did, and ends.

Config pods do the same at their start, under the same lock, so this is never needed; it makes an update's longest step visible, and lets a
Job fail before the first new pod starts. It reads `DATABASE_URL` and `MODBOT_SHARD_COUNT` and nothing else.
"""

from __future__ import annotations

import asyncio
import os
import sys

import msgspec

from modbot.ops import logs, settings, statements
from modbot.ops.settings import DatabaseSettings
from modbot.services.config import migrating
from modbot.services.config.migrating import Prepared


def main(*, as_json: bool) -> int:
    """Migrate the database of the environment and return the exit code."""
    wanted = settings.load(DatabaseSettings, os.environ)
    logs.configure(log_format="console", level="info", service="migrate", secrets=[wanted.database_url])
    done = asyncio.run(_run(wanted))
    sys.stdout.write((msgspec.json.encode(done).decode() if as_json else told(done)) + "\n")
    return 0


def told(done: Prepared) -> str:
    """Say what was done."""
    shards = f"{done.shard_count} shards"
    if not done.applied:
        return f"The database has schema {done.after} already, and {shards}."
    steps = "\n".join(f"  {name}" for name in done.applied)
    return f"The database went from schema {done.before} to {done.after}, and has {shards}:\n{steps}"


async def _run(wanted: DatabaseSettings) -> Prepared:
    queries = statements.load("modbot.services.config")

    async def once() -> Prepared:
        return await migrating.prepare(wanted.database_url, shard_count=wanted.shard_count, queries=queries)

    return await migrating.patiently(once)
