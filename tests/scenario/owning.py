"""Which pod serves a guild."""

from __future__ import annotations

from modbot.cli.guilds import SimulatedGuild
from modbot.cli.stack import Stack
from modbot.domain import ids
from modbot.domain.ids import GuildId


async def owner_of(stack: Stack, guild: SimulatedGuild) -> str:
    """Return the name of the pod that serves a guild."""
    shard_id = ids.shard_of_guild(GuildId(int(guild.guild_id)), stack.plan.shard_count)
    pods = (await stack.internal("/pods/health"))["pods"]
    owners = [pod["pod_id"] for pod in pods if shard_id in {load["shard_id"] for load in pod["shards"]}]
    assert len(owners) == 1, f"{shard_id} is served by {owners}"
    return str(owners[0])
