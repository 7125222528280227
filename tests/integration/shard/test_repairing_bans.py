"""Gap repair of ban lists, and what moderators are told about a repair."""

import pytest
from repairkit import with_bans
from shardkit import GUILD, GUILD_ID, MOD_LOG, OWNER, SHARD

from modbot.domain.settings import MOD_LOG as MOD_LOG_SETTING
from modbot.ops import metrics
from modbot.shard import gaps, guild_settings, snapshot


class TestBans:
    @pytest.fixture
    async def scene(self, make_scene):
        scene = await make_scene(snapshot.feature, gaps.feature, with_bans)
        scene.world.discord.bans = {n: {} for n in range(1, 1503)}
        return scene

    async def gap(self, scene, session):
        await scene.lose()
        await scene.begin(session)
        await scene.repaired()

    def ban_body(self, user):
        return {"guild_id": str(GUILD), "user": {"id": str(user)}}

    async def changes(self, scene):
        return await scene.world.rows("SELECT what, id FROM seen ORDER BY number")

    async def test_the_first_gap_makes_the_list_known_and_the_next_one_tells_the_differences(self, scene):
        await self.gap(scene, "s2")
        assert await self.changes(scene) == []
        assert (await scene.losses())["bans"] == ("The list of bans was not known before.", None)
        assert [call["params"]["after"] for call in scene.world.discord.made("GET", "bans")] == ["0", "1000"]
        del scene.world.discord.bans[1200]
        scene.world.discord.bans |= {9000: {}, 9001: {}}
        await self.gap(scene, "s3")
        assert await self.changes(scene) == [("unban", 1200), ("ban", 9000), ("ban", 9001)]
        assert (await scene.world.engine.list_gaps())[-1].bans == 3
        await scene.live(self.ban_body(9000), name="GUILD_BAN_ADD")
        assert len(await self.changes(scene)) == 3, "the late live event tells what the repair has told"
        await scene.live(self.ban_body(9000), name="GUILD_BAN_REMOVE")
        await scene.live(self.ban_body(9000), name="GUILD_BAN_ADD")
        assert len(await self.changes(scene)) == 5

    async def test_what_came_live_while_the_list_was_under_way_is_newer_than_the_list(self, scene):
        await self.gap(scene, "s2")
        scene.world.discord.bans |= {9000: {}}
        await scene.lose()

        async def lift():
            del scene.world.discord.bans[9000]
            await scene.live(self.ban_body(9000), name="GUILD_BAN_REMOVE")

        scene.meanwhile("bans", lift)
        await scene.begin("s3")
        scene.world.discord.bans = {n: {} for n in range(1, 400)} | {9000: {}}
        await scene.repaired()
        told = await self.changes(scene)
        assert [what for what, user in told if user == 9000] == ["unban"]

    async def test_bans_that_nobody_wants_are_not_read(self, make_scene):
        scene = await make_scene()
        scene.world.discord.bans = {1: {}}
        await self.gap(scene, "s2")
        assert scene.world.discord.made("GET", "bans") == []
        assert "bans" not in await scene.losses()


class TestTelling:
    @pytest.fixture
    async def scene(self, scene):
        def choose(tx):
            tx.guild_id = GUILD_ID
            guild_settings.change(tx, MOD_LOG_SETTING, str(MOD_LOG), changed_by=OWNER)

        await scene.world.engine.commit(choose)
        return scene

    async def test_moderators_read_one_line(self, scene):
        await scene.live(scene.write())
        for _ in range(2):
            scene.write()
        scene.act()
        await scene.lose()
        await scene.begin("s2")
        await scene.repaired()
        (line,) = scene.world.discord.contents(MOD_LOG)
        assert line == (
            "⚠️ Discord refused to resume; 2026-03-01 12:00:00–12:00:01 UTC: 2 messages and 1 audit log entry read back; "  # noqa: RUF001
            "edits and deletions of that time are not known."
        )

    async def test_where_nothing_happened_nobody_is_told(self, scene):
        await scene.live(scene.write())
        await scene.lose()
        await scene.begin("s2")
        await scene.repaired()
        assert scene.world.discord.contents(MOD_LOG) == []

    async def test_after_a_rollback_every_guild_is_told_once(self, scene):
        """A restored file that is older than what was replicated: what people asked of modbot since is gone, and not in silence."""
        world = scene.world
        await scene.live(scene.write())
        await world.engine.commit(lambda tx: tx.execute("UPDATE shard SET rolled_back = 'epoch 4 is not sound'"))
        before = metrics.GAPS.of(SHARD, "rollback")._value.get()
        world.clock.advance(60)
        await world.reopen()
        await world.idle()
        line = (
            "⚠️ modbot had to go back to an older copy of its data; 2026-03-01 12:00:00–12:01:00 UTC; "  # noqa: RUF001
            "commands, buttons and forms of that time are not known."
        )
        assert world.discord.contents(MOD_LOG) == [line]
        gap = await scene.summary()
        assert (gap.kind, gap.reason, gap.guilds, gap.repaired) == ("rollback", "epoch 4 is not sound", 1, 1)
        assert await scene.losses() == {"commands, buttons and forms": (None, None)}
        await world.reopen()
        await world.idle()
        assert world.discord.contents(MOD_LOG) == [line]
        assert metrics.GAPS.of(SHARD, "rollback")._value.get() == before + 1
