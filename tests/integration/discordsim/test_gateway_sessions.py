import pytest
from probe import EVERYTHING, rig

from discordsim.world import posting
from discordsim.world.events import Intent
from discordsim.world.model.messages import Draft


def say(rig, text="hello", index=0, user=None):
    author = user or rig.people(index)[0]
    return posting.create(rig.world, rig.general(index).id, author.id, Draft(content=text))


async def test_a_session_from_hello_to_messages():
    async with rig(guilds=3) as r:
        probe = await r.connect()
        hello = await probe.receive()
        assert (hello["op"], hello["d"]["heartbeat_interval"]) == (10, 41250)
        await probe.identify(r.app.token)
        ready = await probe.receive()
        assert (ready["t"], ready["s"]) == ("READY", 1)
        assert ready["d"]["v"] == 10
        assert ready["d"]["user"]["id"] == ready["d"]["application"]["id"] == str(r.app.id)
        assert ready["d"]["resume_gateway_url"] == r.url.replace("http", "ws") + "/gateway/resume"
        assert "shard" not in ready["d"]
        wanted = [{"id": str(one), "unavailable": True} for one in r.world.guilds]
        assert ready["d"]["guilds"] == wanted
        created = await probe.named("GUILD_CREATE", 3)
        assert [one["d"]["id"] for one in created] == [one["id"] for one in wanted]
        message = say(r)
        got = await probe.receive()
        assert (got["t"], got["s"], got["d"]["id"]) == ("MESSAGE_CREATE", 5, str(message.id))
        assert got["d"]["content"] == "hello"
        await probe.silent()


@pytest.mark.parametrize("compress", ["zlib-stream", "zstd-stream"])
async def test_transport_compression_is_one_stream_per_connection(compress):
    async with rig(guilds=2) as r:
        probe = await r.ready(compress=compress)
        for number in range(3):
            say(r, f"text {number}")
        got = await probe.named("MESSAGE_CREATE", 3)
        assert [one["d"]["content"] for one in got] == ["text 0", "text 1", "text 2"]
        await probe.drop()
        say(r, "missed")
        again = await r.resume(probe, compress=compress)
        assert (await again.receive())["d"]["content"] == "missed"
        assert (await again.receive())["t"] == "RESUMED"
        wrong = await r.resume(again, compress="")
        assert (await wrong.receive())["op"] == 9


async def test_guilds_are_split_over_shards_and_direct_messages_go_to_the_first():
    async with rig(guilds=4) as r:
        first, second = await r.ready(shard=[0, 2]), await r.ready(shard=[1, 2])
        assert first.seen[1]["d"]["shard"] == [0, 2]
        ids = [{one["d"]["id"] for one in probe.seen if one["t"] == "GUILD_CREATE"} for probe in (first, second)]
        assert ids[0] | ids[1] == {str(one) for one in r.world.guilds}
        assert all((int(one) >> 22) % 2 == number for number in (0, 1) for one in ids[number])
        r.hub.send_to_bot(r.app.id, None, "INTERACTION_CREATE", {"id": "1"})
        assert (await first.receive())["t"] == "INTERACTION_CREATE"
        await second.silent()


async def test_intents_decide_what_arrives():
    async with rig(guilds=1) as r:
        probe = await r.ready(intents=int(Intent.GUILDS))
        say(r)
        await probe.silent()
        bare = await r.ready(intents=EVERYTHING & ~Intent.MESSAGE_CONTENT)
        say(r, "secret")
        got = await bare.until("MESSAGE_CREATE")
        assert got["d"]["content"] == ""
        say(r, f"<@{r.app.id}> open")
        assert (await bare.receive())["d"]["content"] == f"<@{r.app.id}> open"
