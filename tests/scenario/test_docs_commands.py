"""The commands of the pages that need a running system, run as a reader would: one terminal per page, from top to bottom.

The system is that of `modbot dev`. Where a page names an address, a guild or a folder, the one of this system is put in its place
(`_Places`). `kubectl exec` and `kubectl logs` look into the processes that are pods elsewhere: with the environment of the process, and in its
log. What changes files works on copies.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import commandkit
import preloading
from commandkit import Command, Kind

from modbot.cli import STATE, guilds
from modbot.cli.stack import Plan, Stack

_ROOT = Path(__file__).parents[2]
_SHARDS = 16
_MARK = "\x01done "
_PATIENCE = 90.0
_MOVE = "modbot move 3-of-16"
# Stands for `kubectl exec` and `kubectl logs`: `pods.json` beside it names the environment and the log of each process.
_KUBECTL = """\
#!{python} -S
import json, os, pathlib, sys
pods = json.loads(pathlib.Path(__file__).with_name("pods.json").read_text())
words = [word for word in sys.argv[1:] if word != "-it"]
name = words[2] if words[1] == "-l" else words[1]
if words[0] == "exec":
    pod, command = pods[name], words[words.index("--") + 1:]
    os.execvpe(command[0], command, dict(os.environ) | pod["environment"])
for each in pods[name.removeprefix("component=")]["sidecar" if "-c" in words else "logs"]:
    sys.stdout.write(pathlib.Path(each).read_text("utf-8", "replace"))
"""


class _Places:
    """What stands in the pages, and what stands for it here."""

    def __init__(self, stack: Stack, folder: Path, guild_ids: tuple[str, str]) -> None:
        self.stack = stack
        self._folder = folder
        self._guild_ids = guild_ids

    def put_in(self, text: str) -> str:
        """Return a command with the addresses, guilds and folders of this system."""
        for pattern, place in (
            (r"\b1100000000000000000\b", self._guild_ids[0]),
            (r"\bGUILD\b", self._guild_ids[1]),
            (r"gateway-canary-0", "gateway-2"),
            (r"(127\.0\.0\.1|localhost):3001", self.stack.config_url.removeprefix("http://")),
            (r"(127\.0\.0\.1|localhost):3000", self.stack.portal_url.removeprefix("http://")),
            (r"127\.0\.0\.1:3010", f"127.0.0.1:{self.stack.ports.gateways[0]}"),
            (r"127\.0\.0\.1:8000", self.stack.chat_url.removeprefix("http://")),
            (r"file:///mnt/replicas/3-of-16/e\d+", self._newest("3-of-16")),
            (r"/var/tmp/", f"{self._folder}/tmp/"),
            (r"/data/", f"{self._folder}/data/"),
        ):
            text = re.sub(pattern, place, text)
        return text

    def _newest(self, shard: str) -> str:
        epochs = [int(path.name[1:]) for path in (self.stack.plan.state / "replicas" / shard).glob("e*")]
        return f"{self.stack.replica_store}/{shard}/e{max(epochs)}"


class _Terminal:
    """A shell that stays open for a page, so that what it exports lasts."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def open(cls, folder: Path, environ: Mapping[str, str]) -> _Terminal:
        process = await asyncio.create_subprocess_exec(
            "bash",
            "--norc",
            cwd=folder,
            env=dict(environ),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=2**22,
        )
        terminal = cls(process)
        assert await terminal.run("set -uo pipefail") == (0, "")
        return terminal

    async def run(self, text: str) -> tuple[int, str]:
        """Run one command; return its exit code and all it has said."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{text}\nprintf '\\n{_MARK}%s\\n' $?\n".encode())
        said = []
        async with asyncio.timeout(_PATIENCE):
            while not (line := (await self._process.stdout.readline()).decode(errors="replace")).startswith(_MARK):
                assert line, "the shell has ended"
                said.append(line)
        return int(line.removeprefix(_MARK)), "".join(said).strip()

    async def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


def _runnable() -> dict[str, list[Command]]:
    """Return what can be run, by page: a command for a system, and with it what its page exports before.

    What was run once is not run again, whether it stands there for a desk or for a pod. The doctor is: what it sees depends on where it is.
    """
    pages: dict[str, list[Command]] = {}
    seen: set[str] = set()
    for command in commandkit.everything():
        exports = command.kind is Kind.ALONE and command.text.startswith("export ")
        if command.kind is not Kind.SYSTEM and not exports and not command.runs_in_pods:
            continue
        inside = command.text.removeprefix("kubectl exec gateway-0 -- ").removeprefix(".venv/bin/").partition("  #")[0]
        known = command.text if "doctor" in inside else inside
        if known not in seen or exports:
            pages.setdefault(command.page, []).append(command)
        seen.add(known)
    return {page: found for page, found in pages.items() if any(each.kind is not Kind.ALONE for each in found)}


async def test_the_commands_of_the_pages_work(state_folder: Path) -> None:
    pages = _runnable()
    assert len(pages) > 5
    plan = Plan(
        state=state_folder / STATE,
        http=1,
        guilds=4,
        shard_count=_SHARDS,
        chat_port=0,
        portal_port=0,
        config_port=0,
        gateway_port=0,
    )
    failed = []
    programs = state_folder / "programs"
    programs.mkdir()
    async with Stack.prepare(plan) as stack:
        first, second, *_ = [guild.guild_id for guild in await guilds.discover(stack)]
        environ = _environment(programs, stack)
        with preloading.program(programs / "modbot"):
            for number, commands in enumerate(pages.values()):
                folder = _folder(state_folder / str(number), state_folder)
                failed += await _read(
                    commands, await _Terminal.open(folder, environ), _Places(stack, folder, (first, second))
                )
    table = commandkit.table([command for commands in pages.values() for command in commands])
    assert failed == [], "\n".join([*failed, table])


async def _read(commands: list[Command], terminal: _Terminal, places: _Places) -> list[str]:
    """Run the commands of a page; return what went wrong."""
    failed = []
    for command in commands:
        asks = "doctor" in command.text
        await places.stack.until(
            lambda asks=asks: _settled(places.stack, connected=asks), f"the system to settle before {command.place}"
        )
        if command.text.startswith(_MOVE):  # the page is about a shard that is elsewhere
            await terminal.run(f"{_MOVE} gateway-0 --wait")
        code, said = await terminal.run(places.put_in(command.text))
        if code and not _finds_nothing(command, code, said):
            failed.append(f"{command.place}: {command.text}\n  exit code {code}: {said}")
    await terminal.close()
    return failed


def _finds_nothing(command: Command, code: int, said: str) -> bool:
    """Whether it looks for signs of a fault that there is none of here; what it looks for must be in the sources."""
    words = command.parts[-1]
    if (words[0], code, said) != ("grep", 1, "") or "assigned guilds" in words:
        return False
    sought = re.compile(words[-1] if "-E" in words else re.escape(words[-1]))
    return any(sought.search(path.read_text("utf-8")) for path in (_ROOT / "src/modbot").rglob("*.py"))


def _folder(folder: Path, home: Path) -> Path:
    """Make the folder of a reader, in which `modbot dev` runs."""
    for name in ("tmp", "data"):
        (folder / name).mkdir(parents=True)
    (folder / STATE.parts[0]).symlink_to(home / STATE.parts[0])
    for name in (".venv", "scripts", "docs", "src"):
        (folder / name).symlink_to(_ROOT / name)
    return folder


def _environment(programs: Path, stack: Stack) -> dict[str, str]:
    """Write what stands for kubectl and tell curl where the names of the cluster lead; return the variables of the terminals."""
    (programs / "kubectl").write_text(_KUBECTL.format(python=sys.executable))
    (programs / "kubectl").chmod(0o755)
    names = {"config-service:3001": stack.ports.config[0], "http-service:80": stack.ports.portal}
    names |= {f"gateway-{n}.gateway-internal:3000": port for n, port in enumerate(stack.ports.gateways)}
    (programs / ".curlrc").write_text(
        "fail\nsilent\nshow-error\n"
        + "".join(f'connect-to = "{name}:127.0.0.1:{port}"\n' for name, port in names.items())
    )
    (programs / "pods.json").write_text(json.dumps(_pods(stack)))
    return {
        "PATH": f"{programs}:{sysconfig.get_path('scripts')}:{os.environ['PATH']}",
        "HOME": str(programs),
        "CURL_HOME": str(programs),
        "MODBOT_INTERNAL_TOKEN": stack.internal_token,
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _pods(stack: Stack) -> dict[str, dict[str, object]]:
    """Return environment and logs of each process by the name that its pod has in a cluster, and of the components."""
    pods: dict[str, dict[str, object]] = {}
    for child in stack.children.values():
        component, _, number = child.name.rpartition("-")
        own = {key: value for key, value in child.environment.items() if key not in {"PATH", "HOME"}}
        pod = {
            "environment": own,
            "logs": [str(child.log)],
            "sidecar": [str(stack.plan.state / "logs" / f"litestream-{number}.log")],
        }
        if component == "gateway":
            pods[child.name] = pod
        elif component in {"http", "config"} and number == "0":
            pods[f"deploy/{component}-service"] = pod
        pods.setdefault(component, pod)
    return pods


async def _settled(stack: Stack, *, connected: bool) -> bool:
    """Whether every shard has an owner, and none moves or is about to; and, for the doctor, every session is known to be connected."""
    shards, pods, plan = await asyncio.gather(*map(stack.internal, ("/shards", "/pods/health", "/rebalance")))
    if plan["moves"] and not plan["paused"]:
        return False
    live = {load["shard_id"] for pod in pods["pods"] for load in pod["shards"] if load["connected"]}
    return all(
        each["owner"] and not each["target"] and (each["shard_id"] in live or not connected)
        for each in shards["shards"]
    )
