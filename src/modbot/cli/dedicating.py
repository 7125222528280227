"""What `modbot guild dedicate | return | transfers` do: the config service is asked, and followed until the transfer is over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import click
import msgspec
from rich.console import Console
from rich.table import Table

from modbot.cli import STATE, finding
from modbot.cluster import protocol
from modbot.cluster.client import ConfigClient
from modbot.cluster.protocol import TransferState
from modbot.domain.errors import InvalidInputError, UnavailableError
from modbot.domain.ids import GuildId, parse_pod_id

_LOOK_EVERY = 0.5
_OVER = frozenset({TransferState.CLEARED, TransferState.CANCELLED})
_SENTENCES = {
    TransferState.MOVING: "preparing: both shards receive its events",
    TransferState.MOVED: "moved: its rows are on their way",
    TransferState.FINISHED: "arrived: the old rows are being removed",
    TransferState.CLEARED: "done",
    TransferState.CANCELLED: "given up, the guild is where it was",
}
_Ask = Callable[[ConfigClient], Awaitable[protocol.Transfer]]


def dedicate(guild_id: int, *, pod: str | None, label: str | None, wait: bool, as_json: bool) -> int:
    """Give a guild a shard of its own."""
    if (pod is None) == (label is None):
        raise InvalidInputError("Give either --pod or --label.")
    where = None if pod is None else parse_pod_id(pod)
    request = protocol.ReassignRequest(guild_id=str(guild_id), pod=where, label=label)
    return _begin(lambda client: client.reassign_guild(request), wait=wait, as_json=as_json)


def give_back(guild_id: int, *, wait: bool, as_json: bool) -> int:
    """Bring a guild back to the shard of the formula."""
    return _begin(lambda client: client.return_guild(GuildId(guild_id)), wait=wait, as_json=as_json)


def show(*, as_json: bool) -> int:
    """Print the latest transfers."""
    found = asyncio.run(_latest())
    if as_json:
        click.echo(msgspec.json.encode(found))
        return 0
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("TRANSFER", "GUILD", "FROM", "TO", "STATE", "WHY"):
        table.add_column(title)
    for each in found.transfers:
        table.add_row(str(each.transfer_id), each.guild_id, each.source, each.target, str(each.state), each.detail)
    Console().print(table)
    return 0


def _begin(ask: _Ask, *, wait: bool, as_json: bool) -> int:
    found = asyncio.run(_ask_and_follow(ask, wait=wait))
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        click.echo(
            f"Transfer {found.transfer_id} of guild {found.guild_id}, {found.source} to {found.target}: {_say(found)}."
        )
    return 1 if found.state is TransferState.CANCELLED else 0


async def _ask_and_follow(ask: _Ask, *, wait: bool) -> protocol.Transfer:
    url, token = finding.system(STATE)
    async with aiohttp.ClientSession() as session:
        client = ConfigClient(url, token, session)
        found = await ask(client)
        while wait and found.state not in _OVER:
            await asyncio.sleep(_LOOK_EVERY)
            try:
                now = await client.transfer(found.transfer_id)
            except UnavailableError as error:
                click.echo(str(error), err=True)
                continue
            if now.state is not found.state:
                click.echo(_say(now), err=True)
            found = now
    return found


async def _latest() -> protocol.TransferList:
    url, token = finding.system(STATE)
    async with aiohttp.ClientSession() as session:
        return await ConfigClient(url, token, session).transfers()


def _say(transfer: protocol.Transfer) -> str:
    detail = f" ({transfer.detail})" if transfer.detail else ""
    return _SENTENCES[transfer.state] + detail
