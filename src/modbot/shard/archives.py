"""Export and import of a guild at an open shard: the file work in threads, the rows through the one writer.

While an import runs, the guild's effects are held: rows that are replaced must not be carried out any more, and those that come must
not begin before they are committed. Events and interactions go on, before or behind the import, never in the middle of it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from modbot.domain.ids import GuildId
from modbot.shard import archive, exporting, importing, transfers
from modbot.shard.archive import Manifest, Purpose
from modbot.shard.engine import Engine
from modbot.shard.importing import Imported
from modbot.shard.transaction import Transaction

_log = structlog.get_logger()


async def export_guild(engine: Engine, guild_id: GuildId, target: Path, *, purpose: Purpose) -> Manifest:
    """Write an archive of a guild to `target`; raises what `exporting.export` raises."""
    order = exporting.Order(
        source=engine.path,
        epoch=engine.epoch,
        guild_id=guild_id,
        purpose=purpose,
        withheld=engine.tools.registry.withheld,
        now=engine.tools.now(),
    )
    manifest = await asyncio.to_thread(exporting.export, order, target)
    _log.info("guild_exported", shard=engine.shard_id, guild_id=guild_id, rows=manifest.rows, purpose=str(purpose))
    return manifest


async def import_guild(engine: Engine, guild_id: GuildId, path: Path, *, replace: bool) -> Imported:
    """Check the archive at `path` and bring it in, or change nothing; the file is used up by it (it may be migrated).

    Raises what `archive.check` and `importing.bring_in` raise, and `GuildMovingError` while the guild changes shards.
    """
    registry = engine.tools.registry
    manifest = await asyncio.to_thread(archive.check, path, guild_id=guild_id, versions=registry.versions)
    await asyncio.to_thread(importing.migrate, path, registry.series)

    def bring_in(tx: Transaction) -> Imported:
        transfers.require_served(tx, guild_id)
        return importing.bring_in(tx, path, manifest, replace=replace)

    async with engine.without_effects(guild_id):
        done = await engine.commit(bring_in, durable=True)
    _log.warning(
        "guild_imported",
        shard=engine.shard_id,
        guild_id=guild_id,
        rows=done.rows,
        replaced=done.replaced,
        dropped_effects=done.dropped_effects,
        ended_effects=done.ended_effects,
    )
    return done
