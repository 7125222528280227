import asyncio

from probe import rig

from discordsim.traffic import Plan, Traffic


async def finished(r):
    await asyncio.wait_for(r.simulator.traffic.finished(), 10)
    return await r.control("GET", "/traffic")


async def test_count_makes_exactly_so_many_events_and_all_arrive():
    async with rig(guilds=3) as r:
        probe = await r.ready()
        before = r.hub.counters.world_events
        await r.control("POST", "/traffic", {"count": 700, "rate": None, "seed": 4})
        shown = await finished(r)
        assert (shown["made"], shown["refused"]) == (700, 0)
        assert len(shown["by_kind"]) >= 6
        assert r.hub.counters.world_events - before == 700
        start = probe.seq
        while probe.seq < start + 700:
            await probe.receive()
        await probe.silent()


async def test_stop_and_a_second_start():
    async with rig(guilds=1) as r:
        await r.control("POST", "/traffic", {"rate": 5})
        await r.control("POST", "/traffic", {"rate": 5}, status=400)
        assert (await r.control("POST", "/traffic/stop"))["running"] is False
        await r.control("POST", "/traffic", {"rate": 1000, "seconds": 0.05, "mix": {"chat": 1}})
        shown = await finished(r)
        assert set(shown["by_kind"]) == {"chat"}
        assert 1 <= shown["made"] <= 60


async def test_the_same_seed_makes_the_same_acts():
    made = []
    for _ in range(2):
        async with rig(guilds=2) as r:
            names = []
            r.world.subscribe(lambda one, names=names: names.append((one.name, one.guild_id, one.data.get("content"))))
            traffic = Traffic(r.world, r.hub)
            traffic.prepare(Plan(seed=9))
            for _ in range(300):
                traffic.step()
            made.append(names)
    assert made[0] == made[1]


async def test_acts_by_anybody():
    async with rig(guilds=1) as r:
        probe = await r.ready()
        owner, moderator, member = r.people()
        guild, place = str(r.guild().id), str(r.general().id)

        async def act(status=200, **body):
            return await r.control("POST", "/act", body, status=status)

        sent = await act(do="send", user_id=str(member.id), channel_id=place, content="hi")
        assert (await probe.receive())["d"]["id"] == sent["id"]
        about = {"channel_id": place, "message_id": sent["id"]}
        await act(do="react", user_id=str(owner.id), **about)
        assert (await probe.receive())["t"] == "MESSAGE_REACTION_ADD"
        edited = await act(do="edit", user_id=str(member.id), content="ho", **about)
        assert edited["content"] == "ho"
        thread = await act(do="thread", user_id=str(member.id), name="talk", **about)
        assert thread["id"] == sent["id"]
        refused = await act(do="ban", user_id=str(member.id), guild_id=guild, target_id=str(owner.id), status=403)
        assert refused["code"] == 50013
        await act(do="timeout", user_id=str(moderator.id), guild_id=guild, target_id=str(member.id), seconds=60)
        assert (await probe.until("GUILD_MEMBER_UPDATE"))["d"]["user"]["id"] == str(member.id)
        await act(do="kick", user_id=str(moderator.id), guild_id=guild, target_id=str(member.id), reason="enough")
        entry = await probe.until("GUILD_AUDIT_LOG_ENTRY_CREATE")
        while entry["d"]["action_type"] != 20:
            entry = await probe.until("GUILD_AUDIT_LOG_ENTRY_CREATE")
        assert entry["d"]["reason"] == "enough"
        fresh = await act(do="new_user", name="nelly")
        await act(do="join", user_id=fresh["id"], guild_id=guild)
        assert (await probe.until("GUILD_MEMBER_ADD"))["d"]["user"]["id"] == fresh["id"]
        await act(do="direct", user_id=fresh["id"], target_id=str(r.app.id), content="psst")
        assert (await probe.until("MESSAGE_CREATE"))["d"]["content"] == "psst"
