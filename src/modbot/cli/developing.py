"""`modbot dev`: the whole load-balanced system on one machine, against a simulated Discord."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rich.console import Console

from modbot.cli import guilds as simulated
from modbot.cli import stack
from modbot.cli.stack import Plan, Stack
from modbot.domain.errors import ModbotError
from modbot.ops import serving

_console = Console(stderr=True, highlight=False)


def run(*, fresh: bool, gateways: int, guilds: int, state: Path, ports: tuple[int, int, int, int]) -> int:
    """Start everything, print where it is, and wait for Ctrl-C."""
    if fresh:
        stack.forget(state)
    chat, portal, config, gateway = ports
    plan = Plan(
        state=state,
        gateways=gateways,
        guilds=guilds,
        chat_port=chat,
        portal_port=portal,
        config_port=config,
        gateway_port=gateway,
        tell=_tell,
    )
    try:
        asyncio.run(_run(plan))
    except ModbotError as error:
        _console.print(f"[red]{error}[/]\n{error.hint}", markup=True)
        return 1
    return 0


async def _run(plan: Plan) -> None:
    prepared = Stack.prepare(plan)
    with serving.stop_signal() as stop:
        _console.print("[dim]starting PostgreSQL, a simulated Discord and the pods …[/]")
        starting = asyncio.create_task(prepared.__aenter__())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                found = await simulated.discover(prepared)
                await simulated.set_up(prepared, found)
                _welcome(prepared, len(found))
                await stopping
        finally:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            stopping.cancel()
            _console.print("\n[dim]stopping …[/]")
            await prepared.stop()
    _console.print(f"stopped; the next start finds its state in {plan.state}")


def _welcome(running: Stack, guilds: int) -> None:
    plan = running.plan
    pods = f"{plan.gateways} gateway, {plan.http} http and {plan.config} config pods"
    lines = [
        "",
        f"[bold]modbot dev[/]  {pods}, {plan.shard_count} shards, {guilds} guilds",
        "[dim]            a simulated Discord; not for production[/]",
        "",
        f"  Chat page   {running.chat_url}",
        f"  Portal      {running.portal_url}",
        f"  Config      {running.config_url}",
        f"  Replicas    {plan.replica_store or plan.state / 'replicas'}",
        "  Status      .venv/bin/modbot status --watch",
        f"  State       {plan.state}",
        "",
        "[bold]Try this[/]",
        "  1. Open the chat page, write a message as one member,",
        "     then choose another and report it: message menu, Apps, Report.",
        "  2. Become the moderator and open the thread under #mod-log.",
        f"  3. kill -9 $(cat {plan.state}/gateway-1/pod.lock) and go on chatting.",
        "",
        "[dim]Ctrl-C stops everything; --fresh forgets it.[/]",
    ]
    for line in lines:
        _console.print(line, soft_wrap=True)


def _tell(line: str) -> None:
    _console.print(f"[yellow]{line}[/]", soft_wrap=True)
