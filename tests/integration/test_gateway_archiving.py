"""Export and import over the internal API and by `modbot guild`, with a real shard behind it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
import shardkit
from aiohttp import web
from click.testing import CliRunner, Result

from modbot.cli.main import main
from modbot.domain.ids import ShardId, shard_of_guild
from modbot.features import all_features
from modbot.ops import serving
from modbot.ops.settings import Secret
from modbot.services.gateway.api import Api
from modbot.shard import exporting

TOKEN = "an-internal-token-of-this-test"
GUILD = shardkit.GUILD
LARGE = 40_000


class Pod:
    """As much of a pod as the API looks at, with one real shard open."""

    def __init__(self, world: Any, data_dir: Path) -> None:
        self.pod_id = "gateway-0"
        self.settings = SimpleNamespace(
            common=SimpleNamespace(internal_token=Secret(TOKEN)), data_dir=str(data_dir), port=0
        )
        self.ready = True
        self.surroundings = SimpleNamespace()
        self.served = SimpleNamespace(shard_id="0-of-1", epoch=1, engine=world.engine, inbox=None, problem=None)
        self.shards = {ShardId("0-of-1"): self.served}
        self.routing = SimpleNamespace(shard_of=lambda guild_id: shard_of_guild(guild_id, 1), route=lambda _shard: None)


class Place:
    """A pod with its address, and a config service that names it."""

    def __init__(self, world: Any, pod: Pod, url: str, session: aiohttp.ClientSession) -> None:
        self.world, self.pod, self.url, self.session = world, pod, url, session
        self.config_url = ""

    async def call(self, method: str, guild: object = GUILD, body: bytes | None = None, **headers: str) -> Any:
        sent = {"authorization": f"Bearer {TOKEN}", "x-modbot-epoch": "1"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        path, _, query = str(guild).partition("?")
        url = f"{self.url}/guilds/{path}/archive?{query}"
        async with self.session.request(method, url, data=body, headers=sent) as answer:
            return answer.status, await answer.read()

    async def command(self, *arguments: str) -> Result:
        environment = {"MODBOT_CONFIG_URL": self.config_url, "MODBOT_INTERNAL_TOKEN": TOKEN}
        return await asyncio.to_thread(CliRunner().invoke, main, ["guild", *arguments], env=environment)

    @property
    def left_over(self) -> list[Path]:
        return list(exporting.folder_of(Path(self.pod.settings.data_dir)).iterdir())


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    world = shardkit.World(tmp_path / "0-of-1.sqlite3", all_features())
    await world.open()
    await world.start_session()
    await world.dispatch("GUILD_CREATE", shardkit.guild_body())
    for number in range(3):
        await world.dispatch("MESSAGE_CREATE", shardkit.message_body(100 + number, content="one two"))
    pod = Pod(world, tmp_path)
    async with serving.http(Api(pod), "127.0.0.1", 0) as url, aiohttp.ClientSession() as session:  # type: ignore[arg-type]
        place = Place(world, pod, url, session)

        async def assignment(_request: web.Request) -> web.Response:
            owner = {"pod_id": "gateway-0", "address": url, "epoch": 1}
            return web.json_response({"guild_id": str(GUILD), "shard_id": "0-of-1", **owner})

        config = web.Application()
        config.router.add_get("/guild/{guild_id}/assignment", assignment)
        runner = web.AppRunner(config)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        place.config_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield place
        await runner.cleanup()
    await world.close()


async def messages(place: Place) -> int:
    return int((await place.world.row("SELECT count(*) FROM activity"))[0])


async def forget(place: Place) -> None:
    await place.world.engine.commit(lambda tx: tx.execute("DELETE FROM activity"))


async def test_out_and_in_again(place: Place) -> None:
    status, archive = await place.call("GET", f"{GUILD}?purpose=transfer")
    assert status == 200
    await forget(place)
    status, answer = await place.call("POST", body=archive)
    assert (status, json.loads(answer)["rows"]) == (200, 3)
    assert await messages(place) == 3
    assert place.left_over == []


async def test_a_guild_with_rows_needs_replace(place: Place) -> None:
    _, archive = await place.call("GET")
    status, answer = await place.call("POST", body=archive)
    assert (status, json.loads(answer)["code"]) == (409, "guild_has_rows")
    status, answer = await place.call("POST", f"{GUILD}?replace=true", body=archive)
    assert (status, json.loads(answer)["replaced"]) == (200, 3)
    assert place.left_over == []


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        ({"authorization": "Bearer wrong"}, 401, "unauthorized"),
        ({"x_modbot_epoch": "2"}, 409, "stale_epoch"),
        ({"x_modbot_epoch": ""}, 400, "invalid_input"),
        ({"guild": f"{GUILD}?purpose=fun&replace=maybe"}, 400, "invalid_input"),
    ],
)
async def test_a_wrong_call_changes_nothing(
    place: Place, method: str, arguments: dict[str, str], status: int, code: str
) -> None:
    found, answer = await place.call(method, **arguments)  # type: ignore[arg-type]
    assert (found, json.loads(answer)["code"]) == (status, code)
    assert (await messages(place), place.left_over) == (3, [])


async def test_what_is_not_an_archive_of_this_guild_changes_nothing(place: Place) -> None:
    _, archive = await place.call("GET")
    for guild, body, code in (
        (GUILD, b"nonsense", "archive_damaged"),
        (GUILD, archive[: len(archive) // 2], "archive_damaged"),
        (GUILD + 1, archive, "archive_of_another_guild"),
    ):
        status, answer = await place.call("POST", f"{guild}?replace=true", body=body)
        assert (status, json.loads(answer)["code"]) == (422, code)
    assert (await messages(place), place.left_over) == (3, [])


async def test_a_guild_that_nobody_knows_is_not_found(place: Place) -> None:
    status, answer = await place.call("GET", 5)
    assert (status, json.loads(answer)["code"]) == (404, "not_found")
    assert place.left_over == []


async def test_a_shard_that_is_not_open_is_unavailable(place: Place) -> None:
    place.pod.served.engine = None
    for method in ("GET", "POST"):
        assert (await place.call(method))[0] == 503


async def test_an_upload_that_breaks_off_leaves_nothing(place: Place) -> None:
    _, archive = await place.call("GET")

    async def half() -> AsyncIterator[bytes]:
        yield archive[:100]
        raise RuntimeError("the sender dies")

    headers = {"authorization": f"Bearer {TOKEN}", "x-modbot-epoch": "1"}
    with pytest.raises((aiohttp.ClientError, RuntimeError)):
        async with place.session.post(f"{place.url}/guilds/{GUILD}/archive", data=half(), headers=headers):
            pass
    async with asyncio.timeout(5):
        while place.left_over:  # noqa: ASYNC110 - the file system tells nobody
            await asyncio.sleep(0.01)
    assert await messages(place) == 3


async def test_what_a_dead_process_left_is_removed(place: Place) -> None:
    folder = exporting.folder_of(Path(place.pod.settings.data_dir))
    (folder / "a.sqlite3.partial").write_bytes(b"x")
    exporting.forget_unfinished(Path(place.pod.settings.data_dir))
    assert place.left_over == []


async def test_the_commands(place: Place, tmp_path: Path) -> None:
    path = str(tmp_path / "g.modbot")
    exported = await place.command("export", str(GUILD), "-o", path)
    assert exported.exit_code == 0, exported.output
    assert "shard 0-of-1 at gateway-0" in exported.stderr
    assert "activity" in exported.stdout
    shown = await place.command("show", path, "--json")
    assert json.loads(shown.stdout)["guild_id"] == str(GUILD)
    refused = await place.command("import", path)
    assert refused.exit_code == 2
    assert "[guild_has_rows]" in refused.stderr
    await forget(place)
    done = await place.command("import", path, "--json")
    assert json.loads(done.stdout.splitlines()[-1])["rows"] == 3, done.output
    assert await messages(place) == 3
    again = await place.command("export", str(GUILD), "-o", path)
    assert "exists already" in again.stderr
    assert [name for name in await asyncio.to_thread(os.listdir, tmp_path) if name.startswith("g.")] == ["g.modbot"]


async def test_a_damaged_file_is_not_sent(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "g.modbot"
    path.write_bytes(b"nonsense" * 1000)
    for verb in ("show", "import"):
        refused = await place.command(verb, str(path))
        assert refused.exit_code == 2
        assert "is not a whole archive" in refused.stderr


async def test_a_large_archive_that_is_refused_early_is_still_explained(place: Place, tmp_path: Path) -> None:
    """The pod answers before it has read the body; the sender must get the answer and not a broken connection."""

    def fill(tx: Any) -> None:
        for number in range(LARGE):
            tx.execute("INSERT INTO settings VALUES (?, ?, ?)", (GUILD, f"name{number}", "x" * 100))

    await place.world.engine.commit(fill)
    path = str(tmp_path / "g.modbot")
    assert (await place.command("export", str(GUILD), "-o", path)).exit_code == 0
    place.pod.served.epoch = 9
    refused = await place.command("import", path)
    assert refused.exit_code == 2
    assert "[stale_epoch]" in refused.stderr
