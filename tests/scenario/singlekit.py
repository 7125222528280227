"""`modbot single` beside a system that a `Stack` runs: against the same simulated Discord and the same replica store."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from modbot.cli import sidecars
from modbot.cli.stack import Stack

_HERE = Path(__file__).parent
_PATIENCE = 60.0


def free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [each.getsockname()[1] for each in sockets]


@dataclass
class Single:
    """The pod: its process, its log, and how to ask its config service."""

    process: asyncio.subprocess.Process
    log: Path
    ports: list[int] = field(default_factory=list)
    token: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    @property
    def config_url(self) -> str:
        return f"http://127.0.0.1:{self.ports[1]}"

    def said(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of an event, from whichever process of the pod."""
        lines = self.log.read_text("utf-8", "replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and f'"event": "{event}"' in line]

    async def ask(self, path: str) -> Any:
        headers = {"authorization": f"Bearer {self.token}"}
        async with aiohttp.ClientSession() as session, session.get(self.config_url + path, headers=headers) as answer:
            return await answer.json(content_type=None)

    async def served(self) -> set[str]:
        """Return the shards that are open and connected."""
        with contextlib.suppress(aiohttp.ClientError):
            pods = (await self.ask("/pods/health"))["pods"]
            return {load["shard_id"] for pod in pods for load in pod["shards"] if load["connected"]}
        return set()

    async def stop(self) -> float:
        """Stop it in order; returns the seconds that it took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(self.process.wait(), _PATIENCE)
        return time.monotonic() - started


def environment(data_dir: Path, ports: list[int], **more: str) -> dict[str, str]:
    """Settings of a pod with no secrets of its own but those that every service demands."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {
        **kept,
        "PYTHONPATH": str(_HERE),
        "MODBOT_DATA_DIR": str(data_dir),
        "MODBOT_HTTP_HOST": "127.0.0.1",
        "MODBOT_HTTP_PORT": str(ports[0]),
        "MODBOT_CONFIG_PORT": str(ports[1]),
        "MODBOT_GATEWAY_PORT": str(ports[2]),
        "MODBOT_LITESTREAM_BIN": str(sidecars.PROGRAM),
        **more,
    }


def of_stack(stack: Stack, data_dir: Path, ports: list[int], **more: str) -> dict[str, str]:
    """Settings of a pod that is the same bot as a stack, and uses its replica store."""
    return environment(
        data_dir,
        ports,
        MODBOT_INTERNAL_TOKEN=stack.internal_token,
        MODBOT_SHARD_COUNT=str(stack.plan.shard_count),
        MODBOT_REPLICA_STORE=stack.replica_store,
        MODBOT_DISCORD_API_URL=stack.discord["api_url"],
        MODBOT_DISCORD_GATEWAY_URL=stack.discord["gateway_url"],
        DISCORD_HASH=stack.discord["bot_token"],
        DISCORD_APP_ID=stack.discord["application_id"],
        DISCORD_PUBLIC_KEY=stack.discord["public_key"],
        DISCORD_SECRET=stack.discord["client_secret"],
        SESSION_SECRET="a-session-secret-of-the-tests",
        **more,
    )


@contextlib.asynccontextmanager
async def running(environ: dict[str, str], log: Path, module: str = "witnessed_single") -> AsyncIterator[Single]:
    """Run a pod; whatever is left of it at the end is killed together with its process group."""
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module), env=environ, stdout=output, stderr=output, start_new_session=True
        )
    ports = [int(environ[f"MODBOT_{name}_PORT"]) for name in ("HTTP", "CONFIG", "GATEWAY")]
    try:
        yield Single(process, log, ports, environ["MODBOT_INTERNAL_TOKEN"])
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _PATIENCE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
