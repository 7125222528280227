import pytest
from probe import EVERYTHING, rig

from discordsim.world.events import Intent
from discordsim.world.model import users


async def greeted(r, **more):
    probe = await r.connect(**more)
    await probe.until(10)
    return probe


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"op": 99, "d": None}, 4001),
        ({"op": 3, "d": {"since": None, "activities": [], "status": "online", "afk": False}}, 4003),
        ({"op": 8, "d": {"guild_id": "1", "query": "", "limit": 0}}, 4003),
        ({"op": 2, "d": {"token": 5}}, 4002),
        ({"op": 1, "d": "x"}, 4002),
        ({"op": 6, "d": {"token": "nobody", "session_id": "x", "seq": 1}}, 4004),
        ({"op": 1, "d": None, "pad": "x" * 4097}, 4002),
    ],
)
async def test_what_a_stranger_says_wrong_is_closed(said, code):
    async with rig(guilds=1) as r:
        probe = await greeted(r)
        await probe.ws.send_json(said)
        assert await probe.closed() == code
        assert r.hub.counters.closes[code] == 1


async def test_what_is_not_json_is_4002():
    async with rig(guilds=1) as r:
        probe = await greeted(r)
        await probe.ws.send_str("{")
        assert await probe.closed() == 4002


@pytest.mark.parametrize("query", ["v=8&encoding=json", "encoding=json"])
async def test_wrong_version_is_4012(query):
    async with rig(guilds=1) as r:
        probe = await r.connect(query=query)
        assert await probe.closed() == 4012
        assert probe.seen == []


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"intents": 1 << 30}, 4013),
        ({"intents": -1}, 4013),
        ({"shard": [2, 2]}, 4010),
        ({"shard": [0, 0]}, 4010),
        ({"shard": [0, 9]}, 4010),
        ({"shard": [0, 1]}, 4011),
    ],
)
async def test_identify_is_checked(more, code):
    async with rig(guilds=4, max_num_shards=8, max_guilds_per_session=3) as r:
        probe = await greeted(r)
        await probe.identify(r.app.token, **more)
        assert await probe.closed() == code
        assert r.hub.counters.identifies == 0


async def test_privileged_intents_need_the_flag():
    async with rig(guilds=1) as r:
        r.app.flags &= ~users.FLAG_MEMBERS
        probe = await greeted(r)
        await probe.identify(r.app.token)
        assert await probe.closed() == 4014
        other = await r.ready(intents=EVERYTHING & ~Intent.GUILD_MEMBERS)
        await other.silent()


async def test_wrong_token_is_4004_and_a_second_identify_4005():
    async with rig(guilds=1) as r:
        probe = await greeted(r)
        await probe.identify("Bot nonsense")
        assert await probe.closed() == 4004
        probe = await r.ready()
        await probe.identify(r.app.token)
        assert await probe.closed() == 4005


async def test_too_many_payloads_are_4008():
    async with rig(guilds=1, sends_per_minute=5) as r:
        probe = await greeted(r)
        for _ in range(6):
            await probe.send(1)
        assert await probe.closed() == 4008
        assert sum(one["op"] == 11 for one in probe.seen) == 5


async def test_heartbeats_keep_the_socket_and_silence_closes_it():
    async with rig(guilds=1, heartbeat_interval=0.2) as r:
        probe = await r.ready()
        assert await probe.closed() == 4009
        again = await r.resume(probe)
        assert (await again.until("RESUMED"))["op"] == 0


async def test_concurrency_is_per_key_and_answers_op_9():
    async with rig(guilds=4, identify_interval=5.0, max_concurrency=2) as r:
        await r.ready(shard=[0, 4])
        await r.ready(shard=[1, 4])
        late = await greeted(r)
        await late.identify(r.app.token, shard=[2, 4])
        assert (await late.receive()) == {"t": None, "s": None, "op": 9, "d": False}
        r.simulator.clock.advance(5.1)
        await late.identify(r.app.token, shard=[2, 4])
        assert (await late.receive())["t"] == "READY"
        assert (r.hub.counters.identifies, r.hub.counters.identifies_too_fast) == (3, 1)


async def test_spending_the_daily_limit_ends_all_and_resets_the_token():
    async with rig(guilds=1, identify_limit=1) as r:
        token = r.app.token
        first = await r.ready()
        second = await greeted(r)
        await second.identify(token)
        assert await second.closed() == 4004
        assert await first.closed() == 4004
        assert r.app.token != token
        assert (r.hub.sessions, r.hub.counters.identifies_over_limit) == ({}, 1)
        r.simulator.clock.advance(86_401)
        await (await r.ready()).silent()


async def test_gateway_bot_tells_the_budget():
    async with rig(guilds=2, identify_limit=10) as r:
        await r.ready()
        headers = {"Authorization": f"Bot {r.app.token}"}
        async with r.http.get(f"{r.url}/api/v10/gateway/bot", headers=headers) as answer:
            data = await answer.json()
        assert data["url"] == r.url.replace("http", "ws") + "/gateway"
        limit = data["session_start_limit"]
        assert (data["shards"], limit["total"], limit["remaining"], limit["max_concurrency"]) == (1, 10, 9, 1)
        assert 86_000_000 < limit["reset_after"] <= 86_400_000
        async with r.http.get(f"{r.url}/api/v10/gateway/bot") as answer:
            assert answer.status == 401


async def test_members_are_chunked_once_per_guild_and_30_seconds():
    async with rig(guilds=1, members=4) as r:
        probe = await r.ready()
        guild_id = str(r.guild().id)
        everyone = {"guild_id": guild_id, "query": "", "limit": 0, "nonce": "n1"}
        await probe.send(8, everyone)
        chunk = await probe.receive()
        assert (chunk["t"], chunk["d"]["chunk_count"], chunk["d"]["nonce"]) == ("GUILD_MEMBERS_CHUNK", 1, "n1")
        assert len(chunk["d"]["members"]) == len(r.guild().members)
        await probe.send(8, everyone)
        refusal = await probe.receive()
        assert (refusal["t"], refusal["d"]["meta"]) == ("RATE_LIMITED", {"guild_id": guild_id, "nonce": "n1"})
        assert 29 < refusal["d"]["retry_after"] <= 30
        person = r.people()[0]
        await probe.send(8, {"guild_id": guild_id, "user_ids": [str(person.id), "1"], "limit": 0})
        found = (await probe.receive())["d"]
        assert [one["user"]["id"] for one in found["members"]] == [str(person.id)]
        assert found["not_found"] == ["1"]
        r.simulator.clock.advance(30)
        await probe.send(8, everyone)
        assert (await probe.receive())["t"] == "GUILD_MEMBERS_CHUNK"


async def test_payload_compression_is_per_message():
    async with rig(guilds=1) as r:
        probe = await greeted(r)
        await probe.identify(r.app.token, compress=True)
        kinds = [(await probe.ws.receive()).type.name for _ in range(2)]
        assert "BINARY" in kinds
