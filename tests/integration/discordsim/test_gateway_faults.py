import asyncio
import time

import aiohttp
import pytest
from probe import ClosedError, rig

from discordsim.world import posting
from discordsim.world.model.messages import Draft


def say(r, *words):
    for word in words:
        posting.create(r.world, r.general().id, r.people()[0].id, Draft(content=word))


async def heard(probe, count):
    return [one["d"]["content"] for one in await probe.named("MESSAGE_CREATE", count)]


@pytest.mark.parametrize(
    ("fault", "expected", "logged"),
    [
        ({"kind": "drop", "count": 2}, ["c", "d"], 4),
        ({"kind": "lose", "count": 1, "name": "MESSAGE_CREATE"}, ["b", "c", "d"], 3),
        ({"kind": "lose", "count": 1, "name": "TYPING_START"}, ["a", "b", "c", "d"], 4),
        ({"kind": "duplicate", "count": 1}, ["a", "a", "b", "c", "d"], 5),
        ({"kind": "reorder", "count": 3}, ["c", "b", "a", "d"], 4),
    ],
)
async def test_dispatch_faults(fault, expected, logged):
    async with rig(guilds=1) as r:
        probe = await r.ready()
        await r.control("POST", "/faults/dispatch", fault)
        say(r, "a", "b", "c", "d")
        assert await heard(probe, len(expected)) == expected
        await probe.silent()
        log = (await r.control("GET", f"/delivered?session_id={probe.session_id}"))["log"]
        assert [one["seq"] for one in log] == list(range(1, len(log) + 1))
        assert sum(one["name"] == "MESSAGE_CREATE" for one in log) == logged
        assert all(one["key"][0].isdecimal() for one in log if one["name"] == "MESSAGE_CREATE")
        assert len(await r.control("GET", "/withheld")) == (fault["kind"] == "lose" and logged == 3)


async def test_one_event_name_can_stop_silently_until_cleared():
    async with rig(guilds=1) as r:
        probe = await r.ready()
        await r.control("POST", "/faults/dispatch", {"kind": "lose", "count": None, "name": "MESSAGE_CREATE"})
        say(r, "a", "b")
        await probe.silent()
        await r.control("POST", "/faults/clear")
        say(r, "c")
        assert await heard(probe, 1) == ["c"]


async def test_sockets_can_be_cut_closed_and_told_things():
    async with rig(guilds=2) as r:
        first, second = await r.ready(shard=[0, 2]), await r.ready(shard=[1, 2])
        done = await r.control("POST", "/faults/sockets", {"action": "heartbeat", "shard_id": 1})
        assert done == {"sockets": 1}
        assert (await second.receive())["op"] == 1
        await r.control("POST", "/faults/sockets", {"action": "reconnect", "session_id": first.session_id})
        assert (await first.receive())["op"] == 7
        await r.control("POST", "/faults/sockets", {"action": "close", "code": 4008, "shard_id": 0})
        assert await first.closed() == 4008
        await r.control("POST", "/faults/sockets", {"action": "cut"})
        assert await second.closed() == 1006
        assert (await (await r.resume(second)).receive())["t"] == "RESUMED"


@pytest.mark.parametrize("resumable", [True, False])
async def test_op_9_on_demand(resumable):
    async with rig(guilds=1) as r:
        probe = await r.ready()
        await r.control("POST", "/faults/sockets", {"action": "invalidate", "resumable": resumable})
        assert (await probe.receive())["d"] is resumable
        answer = await (await r.resume(probe)).receive()
        assert answer["op"] == (0 if resumable else 9)
        await probe.identify(r.app.token)
        assert (await probe.until("READY"))["s"] == 1


async def test_half_open_says_nothing_until_thawed():
    async with rig(guilds=1) as r:
        probe = await r.ready()
        await r.control("POST", "/faults/sockets", {"action": "half_open"})
        say(r, "late")
        await probe.send(1, probe.seq)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(probe.ws.receive(), 0.1)
        await r.control("POST", "/faults/sockets", {"action": "thaw"})
        assert await heard(probe, 1) == ["late"]
        assert (await probe.receive())["op"] == 11


async def test_a_cut_socket_leaves_no_task_behind():
    async with rig(guilds=1) as r:
        idle = len(asyncio.all_tasks())
        for action in ("cut", "half_open"):
            probe = await r.ready()
            await r.control("POST", "/faults/sockets", {"action": action})
            await r.control("POST", "/faults/sockets", {"action": "cut"})
            assert await probe.closed() == 1006
        async with asyncio.timeout(2):
            while len(asyncio.all_tasks()) > idle + 1:  # the connection for control calls is kept alive
                await r.control("GET", "/time")


async def test_bricked_sessions_refused_sockets_and_storms():
    async with rig(guilds=1) as r:
        probe = await r.ready()
        await r.control("POST", "/faults/brick", {"session_id": probe.session_id})
        assert (await (await r.resume(probe)).receive())["op"] == 9
        await r.control("POST", "/faults/clear")
        await r.control("POST", "/faults/storm", {"count": 1})
        assert (await probe.receive())["op"] == 7
        again = await r.connect()
        assert (await again.receive())["op"] == 7
        with pytest.raises(ClosedError):
            await again.receive()
        await r.control("POST", "/faults/refuse", {"seconds": 60})
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await r.connect()
        await r.control("POST", "/time", {"advance": 61})
        assert (await (await r.connect()).receive())["op"] == 10


async def test_shuffling_gives_each_session_an_order_of_its_own_and_loses_nothing():
    async with rig(guilds=1, shuffle_across_sessions=True) as r:
        words = [str(number) for number in range(30)]
        first, second = await r.ready(), await r.ready()
        say(r, *words)
        orders = [await heard(probe, 30) for probe in (first, second)]
        assert orders[0] != orders[1]
        assert sorted(orders[0]) == sorted(orders[1]) == sorted(words)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/faults/dispatch", {"kind": "drop", "cuont": 1}),
        ("/faults/dispatch", {"kind": "reorder", "count": None}),
        ("/switches", {"buffer_seconds": -1}),
        ("/switches", {"bufer_seconds": 1}),
        ("/traffic", {"mix": {"chta": 1}}),
        ("/traffic", {"guilds": [1]}),
        ("/act", {"do": "dance"}),
    ],
)
async def test_misspelt_orders_are_refused(path, body):
    async with rig(guilds=1) as r:
        before = await r.control("GET", "/switches")
        assert (await r.control("POST", path, body, status=400))["code"] == 50035
        assert await r.control("GET", "/switches") == before


async def test_counters_and_sessions_tell_what_happened():
    async with rig(guilds=1) as r:
        probe = await r.ready(shard=[0, 1])
        await probe.silent()
        counters = await r.control("GET", "/counters")
        assert counters["identifies_by_shard"] == {"0/1": 1}
        assert (counters["heartbeats"], counters["identify_log"][0]["shard_id"]) == (1, 0)
        (session,) = await r.control("GET", "/sessions")
        assert (session["seq"], session["connected"], session["last_heartbeat"]) == (2, True, 2)
        await r.control("POST", "/reset-counters")
        assert (await r.control("GET", "/counters"))["identifies"] == 0


async def test_the_log_keeps_payloads_when_it_is_told_to():
    async with rig(guilds=1) as r:
        probe = await r.ready()
        say(r, "before")
        await r.control("POST", "/switches", {"delivered_data": True})
        say(r, "after")
        await heard(probe, 2)
        log = (await r.control("GET", f"/delivered?session_id={probe.session_id}"))["log"]
        before, after = (one for one in log if one["name"] == "MESSAGE_CREATE")
        assert "data" not in before
        assert after["data"]["content"] == "after"


async def test_ended_sessions_can_be_listed_too():
    async with rig(guilds=1) as r:
        probe = await r.ready()
        await r.control("POST", "/faults/sockets", {"action": "invalidate", "resumable": False})
        assert await r.control("GET", "/sessions") == []
        (ended,) = await r.control("GET", "/sessions?ended=yes")
        assert ended["session_id"] == probe.session_id


async def test_it_says_when_it_stood_still_itself():
    async with rig(guilds=1) as r:
        await asyncio.sleep(0.05)
        time.sleep(0.3)  # noqa: ASYNC251 - this is the stall
        await asyncio.sleep(0.05)
        stalls = (await r.control("GET", "/stalls"))["stalls"]
        assert max(one["seconds"] for one in stalls) >= 0.2
