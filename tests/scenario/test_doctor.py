"""The doctor against a running system: silent while all is well, and it names what was broken, from a desk and from inside a pod."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modbot.cli import STATE
from modbot.cli.doctor import around, checks, looking
from modbot.cli.doctor.looking import Order
from modbot.cli.stack import Plan, Stack

_MODBOT = (sys.executable, "-m", "modbot.cli", "doctor")
_OTHER = "0123456789abcdef-other"


def _plan(folder: Path) -> Plan:
    ports = {"chat_port": 0, "portal_port": 0, "config_port": 0, "gateway_port": 0}
    return Plan(state=folder / STATE, gateways=2, http=1, guilds=3, shard_count=4, **ports)


class Doctor:
    """Looks at the system of a folder: as the command, or, faster, within this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def run(self, *arguments: str, environ: Mapping[str, str] | None = None) -> tuple[int, str, str]:
        """Run `modbot doctor` in the folder; return exit code, stdout and stderr."""
        process = await asyncio.create_subprocess_exec(
            *_MODBOT,
            *arguments,
            cwd=self.folder,
            env={} if environ is None else dict(environ),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, said = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), said.decode()

    async def finds(self, environ: Mapping[str, str] | None = None, **order: Any) -> list[tuple[str, str]]:
        """Return code and subject of what is found in an environment."""
        variables = {} if environ is None else environ
        made = Order(around.place_of(variables), variables, self.folder / STATE, **order)
        found = checks.decide_findings(await looking.look(made))
        return [(each.kind.code, each.subject) for each in found]


async def test_the_doctor_finds_what_was_broken(state_folder: Path) -> None:
    doctor = Doctor(state_folder)
    async with Stack.prepare(_plan(state_folder)) as stack:
        pod, http = dict(stack.gateway(0).environment), dict(stack.children["http-0"].environment)
        await _all_is_well(doctor, stack, pod, http)
        await _settings_are_wrong(doctor, pod)
        await _a_sidecar_and_the_moves(doctor, stack)
        await _the_config_service_is_away(doctor, stack, pod)
    code, out, said = await doctor.run()
    assert (code, out) == (2, "")
    assert said.startswith("No system runs in this folder.")


async def _all_is_well(doctor: Doctor, stack: Stack, pod: dict[str, str], http: dict[str, str]) -> None:
    assert await doctor.run() == (0, "", "Nothing is wrong.\n")
    assert await doctor.finds(pod, offline=True) == []
    assert await doctor.finds(http, public_url=stack.portal_url) == []
    assert await doctor.finds(stack.children["config-0"].environment) == []


async def _settings_are_wrong(doctor: Doctor, pod: dict[str, str]) -> None:
    free = {**pod, "MODBOT_DATA_DIR": str(doctor.folder)}
    assert await doctor.finds(free, before_start=True) == []
    assert await doctor.finds(pod, before_start=True) == [("volume_locked", pod["MODBOT_DATA_DIR"])]
    assert await doctor.finds({**free, "POD_NAME": "", "MODBOT_INTERNAL_TOKEN": _OTHER}, before_start=True) == [
        ("variable_empty", "POD_NAME"),
        ("internal_token_refused", "MODBOT_INTERNAL_TOKEN"),
    ]
    assert await doctor.finds({**pod, "DISCORD_HASH": "a-token-of-nobody"}) == [("bot_token_refused", "DISCORD_HASH")]


async def _a_sidecar_and_the_moves(doctor: Doctor, stack: Stack) -> None:
    stack.sidecar(1).hold(held=True)
    stack.sidecar(1).kill()
    headers = {"Authorization": f"Bearer {stack.internal_token}"}
    async with stack.session.post(f"{stack.config_url}/moves/pause", headers=headers) as answer:
        assert answer.status == 204

    async def known() -> bool:
        async with stack.session.get(f"http://127.0.0.1:{stack.ports.gateways[1]}/metrics") as answer:
            return 'modbot_litestream_up{store="file"} 0.0' in await answer.text()

    await stack.until(known, "the pod to know that its sidecar is away")
    assert await doctor.finds(offline=True) == [("sidecar_away", "gateway-1"), ("moves_paused", "")]
    code, out, said = await doctor.run("--offline")
    assert (code, said) == (1, "not looked at: Discord: --offline\n1 wrong, 1 warning.\n")
    assert out.startswith("wrong    sidecar_away  gateway-1\n  cause  `modbot_litestream_up` is 0.\n  effect ")
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b" not in out


async def _the_config_service_is_away(doctor: Doctor, stack: Stack, pod: dict[str, str]) -> None:
    stack.children["config-0"].hold(held=True)
    stack.children["config-0"].kill()
    await stack.children["config-0"].gone()
    assert await doctor.finds(offline=True) == [("config_unreachable", "config")]
    free = {**pod, "MODBOT_DATA_DIR": str(doctor.folder)}
    waiting = asyncio.create_task(doctor.run("--for", "gateway", "--before-start", environ=free))
    stack.children["config-0"].hold(held=False)
    code, out, said = await waiting
    assert (code, out, said.splitlines()[-1]) == (0, "", "Nothing is wrong."), said
