"""The gateway session against a scripted gateway on a real socket."""

import asyncio
import logging
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import aiohttp
import pytest
from scripted import QUICK, TOKEN, Owner, serve, session

from modbot.discord.closing import IntentsRefusedError, TokenRefusedError
from modbot.discord.frames import Dispatch, Unreadable
from modbot.discord.intake import Hole, Resumed, SessionLost, SessionStarted
from modbot.discord.transports import Compression
from modbot.domain.offsets import Offset


@asynccontextmanager
async def running(gateway, owner, **options):
    async with aiohttp.ClientSession() as http:
        subject = session(http, gateway, owner, **options)
        task = asyncio.create_task(subject.run())
        subject.task = task
        try:
            async with asyncio.timeout(10):
                yield subject
        finally:
            subject.stop()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def saved(gateway, seq=5, session_id="old"):
    return Offset(session_id=session_id, resume_url=gateway.url + "/resume", seq=seq)


async def eventually(condition):
    """Wait until something that no event announces has become true; the test's time limit ends it otherwise."""
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not become true")


async def fresh(peer, *, session_id="sess"):
    await peer.hello()
    identify = await peer.receive()
    assert identify["op"] == 2
    await peer.ready(session_id)
    return identify["d"]


async def resume(peer):
    await peer.hello()
    payload = await peer.receive()
    assert payload["op"] == 6
    return payload["d"]


def seqs(owner):
    return [each.seq for each in owner.items if isinstance(each, Dispatch)]


@pytest.mark.parametrize("compression", list(Compression))
@pytest.mark.parametrize("pieces", [1, 7])
async def test_identify_ready_events_and_a_stop_that_keeps_the_session(compression, pieces):
    async def script(peer):
        said = await fresh(peer)
        assert (said["token"], said["intents"], said["shard"]) == (TOKEN, 513, [3, 16])
        split = pieces if compression is Compression.ZLIB else 1
        await peer.send(0, {"id": "2", "channel_id": "1"}, s=2, t="MESSAGE_DELETE", pieces=split)
        await peer.event(3)
        await peer.until_closed()

    owner = Owner()
    async with serve(script) as gateway, running(gateway, owner, compression=compression) as subject:
        started = await owner.until(SessionStarted)
        assert started.offset == Offset(session_id="sess", resume_url=gateway.url + "/resume", seq=1)
        await owner.until(Dispatch, 2)
        assert subject.connected
        subject.stop()
        assert await subject.task == Offset(session_id="sess", resume_url=gateway.url + "/resume", seq=3)
        peer = gateway.peers[0]
        expected = {"v": "10", "encoding": "json"}
        if compression is not Compression.NONE:
            expected["compress"] = compression.value
        assert peer.query == expected
    assert peer.close_code == 4000
    assert owner.permits == 1
    assert seqs(owner) == [2, 3]


async def test_new_process_resumes_at_the_committed_position_and_drops_what_it_has():
    async def script(peer):
        assert await resume(peer) == {"token": TOKEN, "session_id": "old", "seq": 5}
        for seq in (4, 5, 6, 7):
            await peer.event(seq)
        await peer.resumed(8)
        await peer.until_closed()

    owner = Owner()
    async with serve(script) as gateway, running(gateway, owner, offset=saved(gateway)) as subject:
        await owner.until(Resumed)
        assert seqs(owner) == [6, 7]
        assert owner.offset.seq == 8
        assert subject.stats.duplicates == 2
        assert subject.stats.identifies == owner.permits == 0
        assert gateway.peers[-1].path == "/resume"


async def test_no_resume_is_sent_before_the_owner_may():
    allowed, asked = asyncio.Event(), asyncio.Event()

    async def may_resume():
        asked.set()
        await allowed.wait()

    async def script(peer):
        await peer.hello()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(peer.receive(), 0.1)
        allowed.set()
        assert (await peer.receive())["op"] == 6
        await peer.resumed(6)
        await peer.until_closed()

    owner = Owner()
    async with serve(script) as gateway, running(gateway, owner, offset=saved(gateway), may_resume=may_resume):
        await owner.until(Resumed)
        assert asked.is_set()


async def test_a_session_that_waits_to_resume_can_be_stopped():
    asked = asyncio.Event()

    async def may_resume():
        asked.set()
        await asyncio.Event().wait()

    async def script(peer):
        await peer.hello()
        await peer.until_closed()

    owner = Owner()
    async with (
        serve(script) as gateway,
        running(gateway, owner, offset=saved(gateway), may_resume=may_resume) as subject,
    ):
        await asked.wait()
        subject.stop()
        assert await subject.task == saved(gateway)


@pytest.mark.parametrize("instead_of_hello", [True, False])
async def test_op_7_resumes_at_once_at_the_received_position(instead_of_hello):
    async def first(peer):
        await fresh(peer)
        await peer.event(2)
        await peer.send(7)
        await peer.until_closed()

    async def in_between(peer):
        await peer.send(7)
        await peer.until_closed()

    async def last(peer):
        assert (await resume(peer))["seq"] == 2
        await peer.event(3)
        await peer.resumed(4)
        await peer.until_closed()

    owner = Owner()
    scripts = [first, in_between, last] if instead_of_hello else [first, last]
    async with serve(*scripts) as gateway, running(gateway, owner):
        await owner.until(Resumed)
        assert seqs(owner) == [2, 3]
        assert all(peer.close_code == 4000 for peer in gateway.peers[:-1])
        assert gateway.peers[1].path == "/resume"
    assert owner.permits == 1


async def test_op_9_true_resumes_on_a_new_connection():
    async def first(peer):
        await resume(peer)
        await peer.send(9, True)
        await peer.until_closed()

    async def second(peer):
        await resume(peer)
        await peer.resumed(6)
        await peer.until_closed()

    owner = Owner()
    async with serve(first, second) as gateway, running(gateway, owner, offset=saved(gateway)):
        await owner.until(Resumed)
    assert not [each for each in owner.items if isinstance(each, SessionLost)]


async def test_op_9_false_loses_the_session_and_identifies_on_the_same_socket_with_a_permit():
    async def script(peer):
        await resume(peer)
        await peer.send(9, False)
        assert (await peer.receive())["op"] == 2
        await peer.send(9, False)  # too many at once: again, with another permit
        assert (await peer.receive())["op"] == 2
        await peer.ready("new")
        await peer.event(2)
        await peer.until_closed()

    owner = Owner()
    async with serve(script) as gateway, running(gateway, owner, offset=saved(gateway, seq=500)):
        await owner.until(Dispatch)
        lost, started, event = owner.items
        assert lost == SessionLost("Discord refused the session (op 9)", saved(gateway, seq=500))
        assert started.offset.session_id == "new"
        assert event.seq == 2
        assert owner.offset == Offset(session_id="new", resume_url=gateway.url + "/resume", seq=2)
        assert len(gateway.peers) == 1
    assert owner.permits == 2


@pytest.mark.parametrize("code", [4007, 4009])
async def test_close_codes_that_end_the_session_lead_to_a_new_one(code):
    async def first(peer):
        await resume(peer)
        await peer.socket.close(code=code)

    owner = Owner()
    async with serve(first, fresh) as gateway, running(gateway, owner, offset=saved(gateway)):
        await owner.until(SessionStarted)
        assert [type(each) for each in owner.items] == [SessionLost, SessionStarted]
        assert gateway.peers[1].path == "/"


@pytest.mark.parametrize("code", [1000, 1001, 1006, 4000, 4008])
async def test_other_closes_resume(code):
    async def first(peer):
        await fresh(peer)
        await peer.event(2)
        if code == 1006:
            peer.socket._req.transport.abort()
        else:
            await peer.socket.close(code=code)
            peer.close_code = peer.socket.close_code

    async def second(peer):
        assert (await resume(peer))["seq"] == 2
        await peer.resumed(3)
        await peer.until_closed()

    owner = Owner()
    async with serve(first, second) as gateway, running(gateway, owner):
        await owner.until(Resumed)
        assert gateway.peers[0].close_code in {None, 4000}
    assert owner.permits == 1


@pytest.mark.parametrize(("code", "error"), [(4004, TokenRefusedError), (4014, IntentsRefusedError)])
async def test_fatal_close_leaves_run_with_the_operators_sentence(code, error):
    async def script(peer):
        await peer.hello()
        await peer.receive()
        await peer.socket.close(code=code)

    async with serve(script) as gateway, running(gateway, Owner()) as subject:
        with pytest.raises(error, match=str(code)) as caught:
            await subject.task
    assert error.__doc__ in str(caught.value)
    assert TOKEN not in str(caught.value)


async def test_heartbeats_carry_the_durable_position_and_answer_requests():
    async def script(peer):
        await peer.hello(interval=0.04)
        assert (await peer.receive())["op"] == 2
        await peer.ready()
        await peer.event(2)
        await peer.event(3)
        for _ in range(3):
            await peer.receive(beats=True)
            await peer.send(11)
        await peer.send(1)
        await peer.until_closed()

    owner = Owner()
    async with serve(script) as gateway, running(gateway, owner) as subject:
        await owner.until(Dispatch, 2)
        owner.durable = 2
        peer = gateway.peers[0]
        await eventually(lambda: 2 in peer.beats)
        assert set(peer.beats) <= {None, 2}
        assert subject.offset.seq == 3
        assert subject.latency is not None


async def test_requested_heartbeat_comes_at_once():
    async def script(peer):
        await fresh(peer)
        await peer.send(1)
        assert (await peer.receive(beats=True))["d"] == 41
        await peer.event(2)
        await peer.until_closed()

    owner = Owner()
    owner.durable = 41
    async with serve(script) as gateway, running(gateway, owner):
        await owner.until(Dispatch)


async def test_silent_connection_is_a_zombie_and_resumes():
    async def first(peer):
        await peer.hello(interval=0.05)
        assert (await peer.receive())["op"] == 2
        await peer.ready()
        while await peer.receive(beats=True) is not None:
            pass  # never acknowledged

    async def second(peer):
        await resume(peer)
        await peer.resumed(2)
        await peer.until_closed()

    owner = Owner()
    async with serve(first, second) as gateway, running(gateway, owner) as subject:
        await owner.until(Resumed)
        assert subject.stats.zombies == 1
        assert gateway.peers[0].close_code == 4000


async def test_half_open_socket_before_hello_is_given_up():
    async def first(peer):
        await peer.until_closed()

    owner = Owner()
    timing = type(QUICK)(hello=0.05, close=0.1, backoff_base=0.01, backoff_cap=0.02)
    async with serve(first, fresh) as gateway, running(gateway, owner, timing=timing):
        await owner.until(SessionStarted)


async def test_acknowledgement_behind_a_flood_is_no_zombie():
    async def script(peer):
        await peer.hello(interval=0.06)
        assert (await peer.receive())["op"] == 2
        await peer.ready()
        seq = 1
        while len(peer.beats) < 2:  # two beats pass while the flood goes on
            reading = asyncio.create_task(peer.receive(beats=True))
            while not reading.done():
                seq += 1
                await peer.event(seq)
                await asyncio.sleep(0.002)
            await reading
        await peer.send(11)
        await peer.event(seq + 1, name="MESSAGE_DELETE", guild_id="77")
        await peer.until_closed()

    owner = Owner()
    async with serve(script) as gateway, running(gateway, owner) as subject:
        while not any(isinstance(each, Dispatch) and each.data.guild_id == 77 for each in owner.items):
            await owner.read()
        assert subject.stats.zombies == 0
        assert len(gateway.peers) == 1


async def test_full_queue_stops_reading_the_socket_but_not_the_heart():
    total = 30_000
    written = 0

    async def script(peer):
        nonlocal written
        await peer.hello(interval=0.05)
        assert (await peer.receive())["op"] == 2
        await peer.ready()
        beating = asyncio.create_task(peer.until_closed())
        padding = "x" * 1000
        for seq in range(2, total):
            await peer.event(seq, note=padding)
            written = seq
        await beating

    owner = Owner(size=1)
    async with serve(script) as gateway, running(gateway, owner, capacity=64) as subject:
        stalled = -1
        while stalled != written or written < 64:
            stalled = written
            await asyncio.sleep(0.15)
        assert written < total - 1  # the server cannot write on: the bytes stay on its side
        assert subject.offset.seq < written  # and we have not read all of what it wrote
        received, beats = subject.offset.seq, len(gateway.peers[0].beats)
        await asyncio.sleep(0.15)
        assert subject.offset.seq == received
        assert len(gateway.peers[0].beats) > beats
        assert subject.stats.zombies == 0
        await owner.read()
        await owner.read()
        await owner.read()
        await eventually(lambda: subject.offset.seq > received)


async def test_unwanted_events_move_the_position_and_heartbeats_of_an_idle_shard():
    async def script(peer):
        await fresh(peer)
        for seq in range(2, 12):
            await peer.event(seq, name="TYPING_START")
        await peer.until_closed()

    owner = Owner()
    async with serve(script) as gateway, running(gateway, owner) as subject:
        while owner.offset is None or owner.offset.seq < 11:
            await owner.read()
        assert [type(each) for each in owner.items] == [SessionStarted]
        assert subject.stats.dropped == 10


async def test_hole_and_unreadable_event_are_reported_where_they_happened():
    async def script(peer):
        await fresh(peer)
        await peer.event(2)
        await peer.event(6)
        await peer.event(7, channel_id=["not", "an", "id"])
        await peer.event(8)
        await peer.until_closed()

    owner = Owner()
    async with serve(script) as gateway, running(gateway, owner) as subject:
        await owner.until(Dispatch, 3)
        _, two, hole, six, bad, eight = owner.items
        assert (two.seq, hole, six.seq, eight.seq) == (2, Hole(2, 6), 6, 8)
        assert isinstance(bad, Unreadable)
        assert (subject.stats.holes, subject.stats.missing, subject.stats.unreadable) == (1, 3, 1)


async def test_broken_stream_is_closed_with_4000_and_resumed():
    async def first(peer):
        await fresh(peer)
        await peer.socket.send_str("{broken")
        await peer.until_closed()

    async def second(peer):
        await resume(peer)
        await peer.resumed(2)

    owner = Owner()
    async with serve(first, second) as gateway, running(gateway, owner):
        await owner.until(Resumed)
        assert gateway.peers[0].close_code == 4000


async def test_ready_that_cannot_be_read_is_tried_again_on_a_new_connection():
    async def first(peer):
        await peer.hello()
        await peer.receive()
        await peer.send(0, {"session_id": "x"}, s=1, t="READY")
        await peer.until_closed()

    owner = Owner()
    async with serve(first, fresh) as gateway, running(gateway, owner):
        await owner.until(SessionStarted)
        assert gateway.peers[0].close_code == 4000
    assert owner.permits == 2


async def test_unreachable_resume_address_falls_back_to_the_base_address():
    async def script(peer):
        assert (await resume(peer))["session_id"] == "old"
        await peer.resumed(6)
        await peer.until_closed()

    owner = Owner()
    offset = Offset(session_id="old", resume_url="ws://127.0.0.1:1/", seq=5)
    async with serve(script) as gateway, running(gateway, owner, offset=offset):
        await owner.until(Resumed)
        assert gateway.peers[0].path == "/"
    assert owner.permits == 0


async def test_no_identify_before_the_permit_and_a_stop_while_waiting():
    waiting = asyncio.Event()

    async def never():
        waiting.set()
        await asyncio.Event().wait()

    async def script(peer):
        await peer.hello()
        assert await peer.receive() is None

    async with serve(script) as gateway, running(gateway, Owner(), permit=never) as subject:
        await waiting.wait()
        subject.stop()
        assert await subject.task is None
        assert subject.stats.identifies == 0
    assert gateway.peers[0].close_code == 4000


async def test_stop_hands_over_everything_received_before_it_returns():
    async def script(peer):
        await fresh(peer)
        for seq in range(2, 50):
            await peer.event(seq)
        await peer.until_closed()

    owner = Owner(size=1)
    async with serve(script) as gateway, running(gateway, owner) as subject:
        await eventually(lambda: subject.offset is not None and subject.offset.seq == 49)
        subject.stop()
        while not subject.task.done():
            owner.drain()
            await asyncio.sleep(0.005)
        owner.drain()
        assert seqs(owner) == list(range(2, 50))
        assert subject.task.result().seq == owner.offset.seq == 49


async def test_a_session_that_is_given_up_is_lost_and_a_new_one_begins_with_a_permit():
    async def first(peer):
        await fresh(peer, session_id="first")
        await peer.event(2)
        await peer.until_closed()

    async def second(peer):
        await fresh(peer, session_id="second")
        await peer.until_closed()

    owner = Owner()
    since = datetime(2026, 3, 1, tzinfo=UTC)
    async with serve(first, second) as gateway, running(gateway, owner) as subject:
        await owner.until(Dispatch)
        subject.renew("too quiet", silent_since=since)
        await owner.until(SessionStarted, 2)
        (lost,) = [each for each in owner.items if isinstance(each, SessionLost)]
        assert (lost.reason, lost.last.session_id, lost.last.seq, lost.silent_since) == ("too quiet", "first", 2, since)
        assert gateway.peers[0].close_code == 4000
    assert owner.permits == 2


async def test_error_of_the_owner_ends_the_session_and_is_raised():
    class Broken(Owner):
        async def put(self, batch):
            raise RuntimeError("disk full")

    async def script(peer):
        await fresh(peer)
        await peer.until_closed()

    async with serve(script) as gateway, running(gateway, Broken()) as subject:
        with pytest.raises(RuntimeError, match="disk full"):
            await subject.task
    assert gateway.peers[0].close_code == 4000


async def test_token_never_reaches_the_logs(capsys, caplog):
    caplog.set_level(logging.DEBUG)

    async def script(peer):
        await fresh(peer)
        await peer.socket.send_str("{" + TOKEN)
        await peer.until_closed()

    owner = Owner()
    async with serve(script, resume) as gateway, running(gateway, owner) as subject:
        await eventually(lambda: len(gateway.peers) == 2)
        assert TOKEN not in repr(subject._env)
    printed = capsys.readouterr()
    assert TOKEN not in printed.out + printed.err + caplog.text
