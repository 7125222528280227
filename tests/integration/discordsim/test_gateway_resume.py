import pytest
from probe import rig

from discordsim.world import posting
from discordsim.world.model.messages import Draft


def say(r, text):
    return posting.create(r.world, r.general().id, r.people()[0].id, Draft(content=text))


async def gone(r, probe):
    """Wait until the server has noticed that the socket is gone."""
    other = await r.connect()
    await other.until(10)
    while r.hub.router.sessions.get(probe.session_id) and r.session(probe).sockets:
        await other.silent()


def texts(payloads):
    return [one["d"]["content"] for one in payloads if one["t"] == "MESSAGE_CREATE"]


async def test_everything_missed_comes_in_order_then_resumed():
    async with rig(guilds=1) as r:
        probe = await r.ready()
        say(r, "seen")
        await probe.until("MESSAGE_CREATE")
        seq = probe.seq
        await probe.drop()
        for number in range(5):
            say(r, str(number))
        again = await r.resume(probe, seq=seq - 1)
        await again.until("RESUMED")
        assert texts(again.seen) == ["seen", "0", "1", "2", "3", "4"]
        assert [one["s"] for one in again.seen[1:]] == list(range(seq, seq + 7))
        say(r, "live")
        assert (await again.receive())["d"]["content"] == "live"


@pytest.mark.parametrize(("code", "alive"), [(1000, False), (1001, False), (4000, True), (3000, True)])
async def test_the_clients_close_code_decides_over_the_session(code, alive):
    async with rig(guilds=1) as r:
        probe = await r.ready()
        await probe.ws.close(code=code)
        again = await r.resume(probe)
        answer = await again.receive()
        assert (answer["t"] == "RESUMED") is alive
        assert (answer["op"] == 9) is not alive
        assert r.hub.counters.client_closes[code] == 1


async def test_a_session_dies_of_age_and_of_a_small_buffer():
    async with rig(guilds=1, buffer_seconds=60.0, buffer_events=3) as r:
        probe = await r.ready()
        await probe.drop()
        await gone(r, probe)
        for number in range(3):
            say(r, str(number))
        again = await r.resume(probe)
        await again.until("RESUMED")
        assert texts(again.seen) == ["0", "1", "2"]
        await again.drop()
        await gone(r, again)
        for number in range(4):
            say(r, str(number))
        late = await r.resume(again)
        assert (await late.receive())["op"] == 9
        fresh = await r.ready()
        await fresh.drop()
        await gone(r, fresh)
        r.simulator.clock.advance(61)
        assert (await (await r.resume(fresh)).receive()) == {"t": None, "s": None, "op": 9, "d": False}


async def test_trim_on_heartbeat_forgets_what_was_acknowledged():
    async with rig(guilds=1, trim_on_heartbeat=True) as r:
        probe = await r.ready()
        say(r, "one")
        await probe.until("MESSAGE_CREATE")
        await probe.silent()
        assert r.session(probe).heartbeats[-1] == probe.seq
        await probe.drop()
        late = await r.resume(probe, seq=probe.seq - 1)
        assert (await late.receive())["op"] == 9


async def test_a_number_from_the_future_is_4007_and_identify_works_after_op_9():
    async with rig(guilds=1) as r:
        probe = await r.ready()
        wrong = await r.resume(probe, seq=probe.seq + 1)
        assert await wrong.closed() == 4007
        lost = await r.resume(probe, session_id="unknown")
        assert (await lost.receive())["op"] == 9
        await lost.identify(r.app.token)
        assert (await lost.receive())["t"] == "READY"


async def test_a_second_resume_pushes_out_or_shares():
    async with rig(guilds=1) as r:
        first = await r.ready()
        second = await r.resume(first)
        await second.until("RESUMED")
        assert await first.closed() == 4000
        r.switches.second_resume = "keep_both"
        third = await r.resume(second)
        await third.until("RESUMED")
        say(r, "both")
        assert texts([await second.until("MESSAGE_CREATE"), await third.until("MESSAGE_CREATE")]) == ["both", "both"]


async def test_a_slow_reader_is_cut_off_and_can_resume():
    async with rig(guilds=1, max_pending_bytes=200_000) as r:
        probe = await r.ready()
        await r.control("POST", "/faults/sockets", {"action": "half_open"})
        sent = [f"{number} {'x' * 1900}" for number in range(99)]
        for text in sent:
            say(r, text)
        assert r.hub.counters.closes[4000] == 1
        r.switches.max_pending_bytes = 10_000_000
        again = await r.resume(probe)
        await again.until("RESUMED")
        assert texts(again.seen) == sent
