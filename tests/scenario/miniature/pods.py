"""One pod: its steps before the start, its sidecars, its containers, its end; as a kubelet treats them."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import socket
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from miniature import objects
from miniature.objects import Manifest, Template
from modbot.cli.processes import Child

SCRIPTS = Path(sysconfig.get_path("scripts"))
_TRY_AGAIN = 1.0
_LOOK_AGAIN = 0.1
_SIDECAR_GRACE = 30.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the cluster gives to a pod."""

    folder: Path
    secrets: Mapping[str, Mapping[str, str]]
    config_maps: Mapping[str, Mapping[str, str]]
    names: Callable[[], Mapping[str, str]]
    """Every name that a name server would know, with its address."""
    outside: Mapping[str, str]
    """Variables that lead to the simulated Discord in the place of the real one."""
    session: aiohttp.ClientSession


@dataclass(slots=True)
class Pod:
    """Start it with `start`, end it with `stop`. `volume` outlives the pod."""

    name: str
    address: str
    template: Template
    around: Surroundings
    volume: Path
    children: list[Child] = field(default_factory=list)
    sidecars: list[Child] = field(default_factory=list)
    started: bool = False
    restarts: int = 0
    ports: tuple[int, ...] = ()
    _task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to start it; a step that fails is tried again for ever, as in a cluster."""
        self._task = asyncio.create_task(self._start())

    async def stop(self) -> None:
        """End its containers within the grace period, and its sidecars after them."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.gather(*(child.stop(grace=self.template.grace) for child in self.children))
        for sidecar in reversed(self.sidecars):
            await sidecar.stop(grace=_SIDECAR_GRACE)

    def failure(self) -> BaseException | None:
        """Return what kept it from starting for good."""
        return self._task.exception() if self._task is not None and self._task.done() else None

    def standing(self) -> str:
        """Return where its start stands."""
        written = io.StringIO()
        if self._task is not None:
            self._task.print_stack(file=written)
        return f"{self.name}: {written.getvalue()}"

    async def ready(self) -> bool:
        """Ask its startup and readiness probes."""
        if not self.started:
            return False
        container = self.template.containers[0]
        probes = [container[name] for name in ("startupProbe", "readinessProbe") if name in container]
        return all([await self._probe(container, probe) for probe in probes])

    def log(self, container: str = "") -> Path:
        """Return where a container's output goes."""
        return self.volume / "log" / f"{container or self.template.containers[0]['name']}.log"

    async def run_to_its_end(self) -> int:
        """Run a job's pod once; returns its exit code."""
        return await self._run(self.template.containers[0])

    async def execute(self, command: list[str], *, home: Path) -> tuple[int, bytes, bytes]:
        """Run a command with the environment of the first container, as `kubectl exec` does."""
        variables = self._environment(self.template.containers[0]) | {"CURL_HOME": str(home), "COLUMNS": "80"}
        process = await asyncio.create_subprocess_exec(
            *command, env=variables, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, told = await process.communicate()
        return process.returncode or 0, out, told

    async def _start(self) -> None:
        for step in self.template.steps:
            if objects.is_sidecar(step):
                self.sidecars.append(await self._keep(step))
                await self._until_up(step)
                continue
            while await self._run(step):
                self.restarts += 1
                await asyncio.sleep(_TRY_AGAIN)
        for container in self.template.containers:
            self.children.append(await self._keep(container))
        self.started = True

    async def _until_up(self, sidecar: Manifest) -> None:
        while "startupProbe" in sidecar:
            if await self._probe(sidecar, sidecar["startupProbe"]):
                return
            await asyncio.sleep(_LOOK_AGAIN)

    async def _keep(self, container: Manifest) -> Child:
        child = Child(
            f"{self.name}/{container['name']}",
            self._command(container),
            self._environment(container),
            self._opened(container),
            lambda _line: None,
        )
        await child.start()
        return child

    async def _run(self, container: Manifest) -> int:
        with self._opened(container).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *self._command(container),
                env=self._environment(container),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            try:
                return await process.wait()
            finally:
                if process.returncode is None:
                    process.send_signal(signal.SIGKILL)
                    await process.wait()

    def _opened(self, container: Manifest) -> Path:
        path = self.log(container["name"])
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _command(self, container: Manifest) -> tuple[str, ...]:
        """Return what the container runs: its command, or the image's entry point with its arguments."""
        words = container.get("command") or ["modbot", *container.get("args", [])]
        program, *arguments = words if "command" not in container else [*words, *container.get("args", [])]
        found = SCRIPTS / program
        return (str(found) if found.exists() else program, *(self._told(container, word) for word in arguments))

    def _environment(self, container: Manifest) -> dict[str, str]:
        variables = objects.environment(
            container, pod=self.name, secrets=self.around.secrets, told=lambda text: self._told(container, text)
        )
        inherited = {key: os.environ[key] for key in ("HOME", "LANG") if key in os.environ}
        temporary = self.volume / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        listening = {
            f"MODBOT_{mode}_HOST": self.address
            for mode in ("HTTP", "CONFIG", "GATEWAY")
            if self.template.labels.get("component") == mode.lower()
            or (mode == "HTTP" and self.template.labels.get("component") == "single")
        }
        if self.template.labels.get("component") == "single":
            listening |= self._loopback()
        path = f"{SCRIPTS}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {
            **inherited,
            **variables,
            **{key: value for key, value in self.around.outside.items() if "DISCORD_HASH" in variables},
            **listening,
            "PATH": path,
            "TMPDIR": str(temporary),
        }

    def _loopback(self) -> dict[str, str]:
        """Give a pod with everything in it ports on the loopback interface, which here it does not have for itself."""
        if not self.ports:
            self.ports = (_free_port(), _free_port())
        config, gateway = self.ports
        return {
            "MODBOT_CONFIG_PORT": str(config),
            "MODBOT_CONFIG_URL": f"http://127.0.0.1:{config}",
            "MODBOT_GATEWAY_PORT": str(gateway),
        }

    def _told(self, container: Manifest, text: str) -> str:
        """Put folders in the place of mounts, and addresses in the place of names."""
        for mount in container.get("volumeMounts", []):
            here = str(self._place(mount["name"]))
            if text == mount["mountPath"] or text.startswith(f"{mount['mountPath']}/"):
                text = here + text.removeprefix(mount["mountPath"])
                break  # where it leads may look like another mount
        for name, address in self.around.names().items():
            text = text.replace(f"//{name}:", f"//{address}:").replace(f"@{name}:", f"@{address}:")
        return text

    def _place(self, volume: str) -> Path:
        """Return the folder of a volume; that of a ConfigMap holds its files."""
        folder = self.volume / volume
        folder.mkdir(parents=True, exist_ok=True)
        for each in self.template.spec.get("volumes", []):
            if each["name"] == volume and "configMap" in each:
                for name, text in self.around.config_maps[each["configMap"]["name"]].items():
                    if not (folder / name).exists():  # somebody may be reading it
                        (folder / name).write_text(self._mounted(text), "utf-8")
        return folder

    def _mounted(self, text: str) -> str:
        """Put folders in the place of mounts inside of a file."""
        every = [*self.template.steps, *self.template.containers]
        mounts = {mount["mountPath"]: mount["name"] for each in every for mount in each.get("volumeMounts", [])}
        inside = re.compile("|".join(f"{re.escape(path)}(?=/)" for path in sorted(mounts, key=len, reverse=True)))
        return inside.sub(lambda found: str(self.volume / mounts[found[0]]), text)

    async def _probe(self, container: Manifest, probe: dict[str, Any]) -> bool:
        if "exec" in probe:
            command = self._command({**container, "command": probe["exec"]["command"], "args": []})
            process = await asyncio.create_subprocess_exec(
                *command,
                env=self._environment(container),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            try:
                return await asyncio.wait_for(process.wait(), probe.get("timeoutSeconds", 1)) == 0
            except TimeoutError:
                process.kill()
                await process.wait()
                return False
        asked = probe["httpGet"]
        port = next(
            (each["containerPort"] for each in container["ports"] if each["name"] == asked["port"]), asked["port"]
        )
        try:
            async with self.around.session.get(f"http://{self.address}:{port}{asked['path']}") as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
