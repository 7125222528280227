"""What a shard weighs is read beside the writer."""

from __future__ import annotations

from pathlib import Path

import shardkit

from modbot.features import all_features
from modbot.shard import inspecting


async def test_rows_of_guilds_are_counted_while_the_file_is_in_use(tmp_path: Path) -> None:
    world = shardkit.World(tmp_path / "0-of-1.sqlite3", all_features())
    await world.open()
    await world.start_session()
    await world.dispatch("GUILD_CREATE", shardkit.guild_body())
    before = inspecting.count_rows(world.path)
    for number in range(3):
        await world.dispatch("MESSAGE_CREATE", shardkit.message_body(100 + number, content="one two"))
    assert before > 0
    assert inspecting.count_rows(world.path) == before + 3, "three rows of activity"
    await world.close()
