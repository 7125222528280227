"""The whole load-balanced system on one machine: what `modbot dev`, `modbot demo` and the scenario tests start.

Embedded PostgreSQL, a simulated Discord, one config pod, gateway pods with a volume and a Litestream sidecar each, http pods behind one
port. Every one is a process of its own with the environment that it would have in production; there is no short cut between them. State lives in one
folder and is found again at the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp

from modbot.cli import embedded, sidecars
from modbot.cli.processes import Child, python
from modbot.domain.errors import ModbotError

ENVIRONMENT = "environment.json"
"""What `modbot status` needs to find a running system, in its state folder."""
_READY_WITHIN = 60.0
_ASK_EVERY = 0.05
_PATIENCE = 60.0


class StartError(ModbotError):
    """The system on this machine could not be started."""

    code = "start"
    hint = "The logs in the state folder say more."


class PortTakenError(StartError):
    """A port that the system on this machine needs is in use."""

    code = "port_taken"
    hint = "Stop what uses it (`modbot dev` may be running already), or choose others with --ports."


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start. Port 0 takes a free one."""

    state: Path
    gateways: int = 3
    spare_gateways: int = 0
    """Gateway pods for which ports are kept, so that `grow` can start them later."""
    http: int = 2
    config: int = 1
    guilds: int = 12
    members: int = 8
    channels: int = 12
    roles: int = 6
    chat_port: int = 8000
    portal_port: int = 3000
    config_port: int = 3001
    gateway_port: int = 3010
    shard_count: int = 16
    lease_ttl: float = 6.0
    log_level: str = "info"
    gateway_module: str = "modbot.services.gateway"
    http_module: str = "modbot.services.http"
    replica_store: str = ""
    """Where the shard files are replicated to; empty: a folder in the state folder."""
    replica_keys: tuple[str, str] = ("", "")
    python_path: str = ""
    tell: Callable[[str], None] = lambda _line: None


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports that were taken."""

    chat: int
    portal: int
    config: tuple[int, ...]
    gateways: tuple[int, ...]


@dataclass(slots=True)
class Stack:
    """A running system. Use it as an async context manager."""

    plan: Plan
    ports: Ports
    children: dict[str, Child] = field(default_factory=dict)
    discord: dict[str, str] = field(default_factory=dict)
    database_url: str = ""
    detours: dict[int, str] = field(default_factory=dict)
    """Through which address a gateway pod reaches the config service, if not directly; to be set before the start."""
    _postgres_pid: int | None = None
    _http: aiohttp.ClientSession | None = None
    _internal_token: str = ""

    @classmethod
    def prepare(cls, plan: Plan) -> Stack:
        """Look for free ports; `StartError` names the first one that is taken."""
        taken = _Ports()
        ports = Ports(
            chat=taken.take(plan.chat_port, "chat page"),
            portal=taken.take(plan.portal_port, "portal"),
            config=tuple(taken.take(_next(plan.config_port, n), "config service") for n in range(plan.config)),
            gateways=tuple(
                taken.take(_next(plan.gateway_port, n), "gateway pod")
                for n in range(plan.gateways + plan.spare_gateways)
            ),
        )
        taken.release()
        return cls(plan, ports)

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.stop()

    @property
    def chat_url(self) -> str:
        """Return the address of the chat page and of the simulator's control API."""
        return f"http://127.0.0.1:{self.ports.chat}"

    @property
    def portal_url(self) -> str:
        """Return the address that all http pods share."""
        return f"http://127.0.0.1:{self.ports.portal}"

    @property
    def config_url(self) -> str:
        """Return the address of the first config pod."""
        return f"http://127.0.0.1:{self.ports.config[0]}"

    @property
    def internal_token(self) -> str:
        """Return the secret of the internal calls."""
        return self._internal_token

    @property
    def session(self) -> aiohttp.ClientSession:
        """Return an HTTP client that lives as long as the system."""
        if self._http is None:
            raise StartError("The system is not running.")
        return self._http

    def gateway(self, number: int) -> Child:
        """Return a gateway pod's process."""
        return self.children[f"gateway-{number}"]

    def sidecar(self, number: int) -> Child:
        """Return the Litestream process of a gateway pod."""
        return self.children[f"litestream-{number}"]

    @property
    def replica_store(self) -> str:
        """Return the address of the store that all gateway pods share."""
        return self.plan.replica_store or (self.plan.state.resolve() / "replicas").as_uri()

    def volume(self, number: int) -> Path:
        """Return a gateway pod's volume."""
        return self.plan.state / f"gateway-{number}"

    async def grow(self) -> int:
        """Start one more gateway pod, as a StatefulSet does; return its number."""
        number = sum(name.startswith("gateway-") for name in self.children)
        await self._start_gateway(number)
        return number

    async def shrink(self, *, grace: float = _PATIENCE) -> int:
        """Stop the last gateway pod in order, which hands its shards over, and its sidecar after it; return its number."""
        number = sum(name.startswith("gateway-") for name in self.children) - 1
        await self.children.pop(f"gateway-{number}").stop(asking=signal.SIGTERM, grace=grace)
        await self.children.pop(f"litestream-{number}").stop()
        return number

    async def lose(self, number: int) -> None:
        """Let a machine burn: a gateway pod, its sidecar and their volume are gone at once and do not come back."""
        lost = (self.gateway(number), self.sidecar(number))
        for child in lost:
            child.hold(held=True)
            child.kill()
        await asyncio.gather(*(child.gone() for child in lost))
        await asyncio.to_thread(shutil.rmtree, self.volume(number))

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        """Call the simulator's control API; an interaction may take as long as its completion does."""
        url, patience = f"{self.chat_url}/control/{path}", aiohttp.ClientTimeout(total=_PATIENCE)
        async with self.session.request(method, url, json=body, timeout=patience) as answer:
            text = await answer.text()
            if answer.status >= 400:
                raise StartError(f"The simulator refused {method} /control/{path}: {answer.status} {text[:300]}")
            return json.loads(text) if text else None

    async def internal(self, path: str) -> Any:
        """Read from the config service."""
        headers = {"Authorization": f"Bearer {self._internal_token}"}
        async with self.session.get(f"{self.config_url}{path}", headers=headers) as answer:
            answer.raise_for_status()
            return await answer.json(content_type=None)

    async def gateway_shards(self, number: int) -> list[dict[str, Any]]:
        """Read from a gateway pod what it serves."""
        headers = {"Authorization": f"Bearer {self._internal_token}"}
        url = f"http://127.0.0.1:{self.ports.gateways[number]}/shards"
        async with self.session.get(url, headers=headers) as answer:
            answer.raise_for_status()
            rows: list[dict[str, Any]] = await answer.json(content_type=None)
            return rows

    async def stop_postgres(self) -> None:
        """Take PostgreSQL away."""
        if self._postgres_pid is not None:
            await asyncio.to_thread(embedded.stop, self._postgres_pid)

    async def start_postgres(self) -> None:
        """Bring PostgreSQL back, at the same address."""
        await asyncio.to_thread(self._start_postgres)

    async def stop(self) -> None:
        """Stop everything: what asks first, what is asked last."""
        for names in (("http",), ("gateway",), ("litestream",), ("config",), ("discord",)):
            stopping = [child for name, child in self.children.items() if name.startswith(names)]
            # All gateway pods stop now, so none must look for a peer to hand its shards to.
            asking = signal.SIGINT if "gateway" in names else signal.SIGTERM
            await asyncio.gather(*(child.stop(asking=asking) for child in stopping))
        self.children.clear()
        (self.plan.state / ENVIRONMENT).unlink(missing_ok=True)
        if self._postgres_pid is not None:
            await asyncio.to_thread(embedded.stop, self._postgres_pid)
            self._postgres_pid = None
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def _start(self) -> None:
        state = self.plan.state
        for folder in ("logs", "replicas"):
            (state / folder).mkdir(parents=True, exist_ok=True)
        remembered = _remembered(state)
        self._internal_token = remembered["internal_token"]
        starting = asyncio.to_thread(self._start_postgres), self._start_discord(remembered)
        self.database_url, _ = await asyncio.gather(*starting)
        await self._start_config()
        gateways = [self._start_gateway(number) for number in range(self.plan.gateways)]
        https = [self._start_http(number, remembered) for number in range(self.plan.http)]
        await asyncio.gather(*gateways, *https)
        await self.until(self._all_served, "every shard to be served")
        await self._point_discord_here()
        self._write_environment()

    def _start_postgres(self) -> str:
        address, self._postgres_pid = embedded.start(self.plan.state / "postgres")
        return address

    async def _start_discord(self, remembered: dict[str, str]) -> None:
        state = self.plan.state
        await self._run(
            "discord",
            python(
                "discordsim",
                *("--port", str(self.ports.chat)),
                *("--guilds", str(self.plan.guilds)),
                *("--members", str(self.plan.members)),
                *("--channels", str(self.plan.channels)),
                *("--roles", str(self.plan.roles)),
                *("--max-concurrency", str(self.plan.shard_count)),
                *("--seed", remembered["seed"]),
                *("--config-file", str(state / "discord.json")),
                *("--state-file", str(state / "discord.state")),
            ),
            {},
        )
        await self._until_answers(f"{self.chat_url}/control/sessions", "the simulated Discord")
        self.discord = json.loads((state / "discord.json").read_text("utf-8"))

    async def _start_config(self) -> None:
        for number, port in enumerate(self.ports.config):
            environment = {
                **self._common(),
                "DATABASE_URL": self.database_url,
                "MODBOT_CONFIG_HOST": "127.0.0.1",
                "MODBOT_CONFIG_PORT": str(port),
                "MODBOT_SHARD_COUNT": str(self.plan.shard_count),
                "MODBOT_LEASE_TTL": str(self.plan.lease_ttl),
                "MODBOT_PLACEMENT_SETTLE": "1.5",
            }
            await self._run(f"config-{number}", python("modbot.services.config"), environment)
        for port in self.ports.config:
            await self._until_answers(f"http://127.0.0.1:{port}/ready", "the config service")

    async def _start_sidecar(self, number: int) -> None:
        volume = self.volume(number)
        volume.mkdir(exist_ok=True)
        config = self.plan.state / f"litestream-{number}.yml"
        command = sidecars.command(str(sidecars.PROGRAM), config, volume.resolve() / "litestream.sock")
        await self._run(f"litestream-{number}", command, sidecars.keys(self.plan.replica_keys))

    async def _start_gateway(self, number: int) -> None:
        await self._start_sidecar(number)
        port = self.ports.gateways[number]
        environment = {
            **self._common(),
            **self._replicas(),
            "DISCORD_HASH": self.discord["bot_token"],
            "DISCORD_APP_ID": self.discord["application_id"],
            "MODBOT_DISCORD_API_URL": self.discord["api_url"],
            "MODBOT_DISCORD_GATEWAY_URL": self.discord["gateway_url"],
            "MODBOT_CONFIG_URL": self.detours.get(number, self.config_url),
            "POD_NAME": f"gateway-{number}",
            "MODBOT_DATA_DIR": str(self.volume(number)),
            "MODBOT_GATEWAY_HOST": "127.0.0.1",
            "MODBOT_GATEWAY_PORT": str(port),
            "MODBOT_ADVERTISED_URL": f"http://127.0.0.1:{port}",
        }
        await self._run(f"gateway-{number}", python(self.plan.gateway_module), environment)
        await self._until_answers(f"http://127.0.0.1:{port}/ready", f"gateway-{number}")

    async def _start_http(self, number: int, remembered: dict[str, str]) -> None:
        environment = {
            **self._common(),
            "DISCORD_APP_ID": self.discord["application_id"],
            "DISCORD_PUBLIC_KEY": self.discord["public_key"],
            "DISCORD_SECRET": self.discord["client_secret"],
            "SESSION_SECRET": remembered["session_secret"],
            "MODBOT_CONFIG_URL": self.config_url,
            "MODBOT_HTTP_HOST": "127.0.0.1",
            "MODBOT_HTTP_PORT": str(self.ports.portal),
            "MODBOT_HTTP_REUSE_PORT": "yes",
        }
        await self._run(f"http-{number}", python(self.plan.http_module), environment)
        await self._until_answers(f"{self.portal_url}/ready", f"http-{number}")

    async def _run(self, name: str, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
        inherited = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TMPDIR") if key in os.environ}
        inherited |= {key: value for key, value in os.environ.items() if key.startswith("OTEL_")}  # where traces go
        if self.plan.python_path:
            inherited["PYTHONPATH"] = self.plan.python_path
        log = self.plan.state / "logs" / f"{name}.log"
        child = Child(name, arguments, {**inherited, **environment}, log, self.plan.tell)
        self.children[name] = child
        await child.start()

    def _common(self) -> dict[str, str]:
        return {
            "MODBOT_INTERNAL_TOKEN": self._internal_token,
            "MODBOT_LOG_FORMAT": "json",
            "MODBOT_LOG_LEVEL": self.plan.log_level,
        }

    def _replicas(self) -> dict[str, str]:
        return {
            **sidecars.keys(self.plan.replica_keys),
            "MODBOT_REPLICA_STORE": self.replica_store,
            "MODBOT_LITESTREAM_BIN": str(sidecars.PROGRAM),
        }

    async def _all_served(self) -> bool:
        pods = await self.internal("/pods/health")
        loads = [load for pod in pods["pods"] for load in pod["shards"]]
        return len({load["shard_id"] for load in loads if load["connected"]}) == self.plan.shard_count

    async def _point_discord_here(self) -> None:
        """Tell Discord where interactions go, as an operator does; Discord checks the endpoint before it accepts."""
        headers = {"Authorization": f"Bot {self.discord['bot_token']}"}
        body = {"interactions_endpoint_url": f"{self.portal_url}/interactions"}
        url = f"{self.discord['api_url']}/applications/@me"
        async with self.session.patch(url, json=body, headers=headers) as answer:
            if answer.status != 200:
                raise StartError(
                    f"The simulated Discord did not accept the interactions endpoint: {await answer.text()}"
                )

    def _write_environment(self) -> None:
        """Leave what `modbot status` and friends need to find this system."""
        environment = {
            "MODBOT_CONFIG_URL": self.config_url,
            "MODBOT_INTERNAL_TOKEN": self._internal_token,
            "portal_url": self.portal_url,
            **self._replicas(),
        }
        path = self.plan.state / ENVIRONMENT
        path.write_text(json.dumps(environment), "utf-8")
        path.chmod(0o600)

    async def _until_answers(self, url: str, what: str) -> None:
        async def answers() -> bool:
            async with self.session.get(url) as answer:
                return answer.status == 200

        await self.until(answers, what)

    async def until(self, condition: Callable[[], Awaitable[bool]], what: str) -> None:
        """Wait until something is so; `StartError` after a minute, or when a process does not stay up."""
        deadline = time.monotonic() + _READY_WITHIN
        while time.monotonic() < deadline:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                if await condition():
                    return
            stuck = next((child for child in self.children.values() if child.failed_starts >= 3), None)
            if stuck is not None:
                raise StartError(f"{stuck.name} does not stay up. Its last words:\n{stuck.last_words()}")
            await asyncio.sleep(_ASK_EVERY)
        raise StartError(f"Waited {_READY_WITHIN:.0f} s for {what}.")


class _Ports:
    """Takes ports for a moment, so that the one that is in use is named before anything is started."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    def take(self, port: int, what: str) -> int:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            listener.close()
            raise PortTakenError(f"Port {port} for the {what} is in use.") from None
        self._sockets.append(listener)
        return int(listener.getsockname()[1])

    def release(self) -> None:
        for listener in self._sockets:
            listener.close()


def forget(state: Path) -> None:
    """Delete the state folder, if it is one of ours."""
    if state.exists() and not (state / "secrets.json").exists() and any(state.iterdir()):
        raise StartError(f"{state} does not look like a state folder of modbot; nothing was deleted.")
    shutil.rmtree(state, ignore_errors=True)


def _remembered(state: Path) -> dict[str, str]:
    """Return the secrets of this state folder, made at the first start."""
    path = state / "secrets.json"
    if not path.exists():
        made = {
            "internal_token": secrets.token_urlsafe(32),
            "session_secret": secrets.token_urlsafe(32),
            "seed": str(secrets.randbelow(10**6)),
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(made), "utf-8")
    remembered: dict[str, str] = json.loads(path.read_text("utf-8"))
    return remembered


def _next(port: int, number: int) -> int:
    return port + number if port else 0
