from aiohttp import ClientSession

from discordsim import server
from discordsim.world.model.messages import MessageFlag


async def test_page_interactions_and_sign_in_are_served_together():
    simulator, application = server.build(server.Size(guilds=1), name="warden")
    guild = next(iter(simulator.world.guilds.values()))
    command = {"id": "5", "type": 1, "name": "ping", "description": "Answers"}
    application.global_commands[5] = command
    channel = next(one for one in guild.channels.values() if one.name == "general")
    runner, url = await server.start(simulator)
    try:
        async with ClientSession() as client:
            async with client.get(url + "/") as answer:
                assert answer.status == 200
                assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
            script = {"user": str(guild.owner_id), "channel": str(channel.id), "kind": "command", "command": "ping"}
            async with client.post(url + "/control/interact", json=script | {"wait": "none"}) as answer:
                number = (await answer.json())["record"]["id"]
            record = simulator.interactions.records[int(number)]
            callback = f"{url}/api/v10/interactions/{number}/{record.token}/callback"
            async with client.post(callback, json={"type": 5, "data": {"flags": 64}}) as answer:
                assert answer.status == 204
            assert record.original.flags & MessageFlag.LOADING
            async with client.get(url + "/control/interactions") as answer:
                assert (await answer.json())["summary"]["unfinished"] == 1
            async with client.get(url + "/control/sessions") as answer:
                assert await answer.json() == []
            async with client.get(url + "/oauth2/authorize", params={"client_id": "1"}) as answer:
                assert answer.status == 400
    finally:
        await runner.cleanup()
