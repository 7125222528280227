"""What `modbot guild export | import | show` do.

The archive is made and taken in by the pod that serves the guild; the config service says which. What came over the wire is checked
here once more before the file gets its name, and what is to be sent is checked before a byte is sent. The plan and the progress go to
stderr, the result to stdout.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import aiohttp
import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from modbot.cli import STATE, finding
from modbot.cluster.client import ConfigClient
from modbot.domain.errors import InvalidInputError, ModbotError, UnavailableError
from modbot.domain.ids import GuildId
from modbot.features import all_features
from modbot.shard import archive, exporting
from modbot.shard.archive import Manifest, Purpose
from modbot.shard.importing import Imported
from modbot.shard.registry import Registry

_CHUNK = 256 * 1024
_CONNECT_WITHIN = 5.0
_SILENCE_LIMIT = 600.0  # a pod that cuts or checks a very large archive says nothing meanwhile


class PodRefusedError(ModbotError):
    """The pod that serves the guild has refused the call; nothing was changed."""

    code = "pod_refused"
    hint = "docs/reference/errors.md explains the code in brackets; the pod's log has the rest."


@dataclass(frozen=True, slots=True)
class _Owner:
    """The pod that serves a guild, and what a call to it needs."""

    shard_id: str
    pod_id: str
    url: str
    headers: dict[str, str]


def export(guild_id: int, output: Path, *, transfer: bool, as_json: bool) -> int:
    """Write an archive of a guild and print its manifest."""
    if output.exists():
        raise InvalidInputError(f"{output} exists already.")
    purpose = Purpose.TRANSFER if transfer else Purpose.PEOPLE
    _print(asyncio.run(_export(GuildId(guild_id), output, purpose)), as_json=as_json)
    return 0


def bring_in(path: Path, *, replace: bool, as_json: bool) -> int:
    """Import an archive and print what was done."""
    done = asyncio.run(_import(path, replace=replace))
    if as_json:
        click.echo(msgspec.json.encode(done))
        return 0
    click.echo(f"{done.rows} rows imported, {done.replaced} replaced.")
    for count, what in ((done.dropped_effects, "dropped with the old rows"), (done.ended_effects, "not carried out")):
        if count:
            click.echo(f"Pending effects that were {what}: {count}.")
    return 0


def show(path: Path, *, as_json: bool) -> int:
    """Check an archive and print its manifest."""
    _print(_checked(path), as_json=as_json)
    return 0


async def _export(guild_id: GuildId, output: Path, purpose: Purpose) -> Manifest:
    partial = output.with_name(output.name + exporting.PARTIAL)
    async with _session() as session:
        owner = await _find_owner(session, guild_id)
        click.echo(f"Guild {guild_id} is on shard {owner.shard_id} at {owner.pod_id}. Writing {output}.", err=True)
        try:
            with _progress() as progress:
                bar = progress.add_task("receiving", total=None)
                async with _asked(session, "GET", owner, {"purpose": str(purpose)}) as answer:
                    progress.update(bar, total=answer.content_length)
                    with partial.open("wb") as file:
                        async for chunk in answer.content.iter_chunked(_CHUNK):
                            file.write(chunk)
                            progress.advance(bar, len(chunk))
            manifest = archive.check(partial, guild_id=guild_id)
            exporting.name_when_complete(partial, output)
        finally:
            partial.unlink(missing_ok=True)
    return manifest


async def _import(path: Path, *, replace: bool) -> Imported:
    manifest = _checked(path)
    async with _session() as session:
        owner = await _find_owner(session, manifest.guild)
        doing = "and replace the rows of the guild there" if replace else "where the guild must have no rows yet"
        click.echo(
            f"{path} holds {manifest.rows} rows of guild {manifest.guild_id}, cut {manifest.cut_at:%Y-%m-%d %H:%M} UTC.\n"
            f"They go to shard {owner.shard_id} at {owner.pod_id}, {doing}.",
            err=True,
        )
        with path.open("rb") as file, _progress() as progress:
            bar = progress.add_task("sending", total=os.fstat(file.fileno()).st_size)
            body = _chunks(file, lambda count: progress.advance(bar, count))
            query = {"replace": "true" if replace else "false"}
            async with _asked(session, "POST", owner, query, body=body) as answer:
                return msgspec.json.decode(await answer.read(), type=Imported)


def _checked(path: Path) -> Manifest:
    return archive.check(path, versions=Registry(all_features()).versions)


async def _find_owner(session: aiohttp.ClientSession, guild_id: GuildId) -> _Owner:
    url, token = finding.system(STATE)
    found = await ConfigClient(url, token, session).guild_assignment(guild_id)
    if found.pod_id is None or found.address is None:
        raise UnavailableError(f"Nobody serves shard {found.shard_id} of guild {guild_id} at the moment.")
    headers = {"authorization": f"Bearer {token.reveal()}", "x-modbot-epoch": str(found.epoch)}
    return _Owner(found.shard_id, found.pod_id, f"{found.address}/guilds/{guild_id}/archive", headers)


@asynccontextmanager
async def _asked(
    session: aiohttp.ClientSession,
    method: str,
    owner: _Owner,
    query: dict[str, str],
    *,
    body: AsyncIterator[bytes] | None = None,
) -> AsyncIterator[aiohttp.ClientResponse]:
    try:
        async with session.request(method, owner.url, params=query, headers=owner.headers, data=body) as answer:
            if answer.status != 200:
                raise _refusal(answer.status, await answer.read())
            yield answer
    except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
        raise UnavailableError(f"{owner.pod_id} broke off ({type(error).__name__}).") from error


def _refusal(status: int, raw: bytes) -> ModbotError:
    try:
        told = msgspec.json.decode(raw, type=_Told)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return UnavailableError(f"The pod answered {status} without saying why.")
    return PodRefusedError(f"{told.detail} {told.hint} [{told.code}]")


class _Told(msgspec.Struct):
    """As much of a problem as people read."""

    detail: str
    hint: str
    code: str


def _session() -> aiohttp.ClientSession:
    limits = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_WITHIN, sock_read=_SILENCE_LIMIT)
    return aiohttp.ClientSession(timeout=limits)


async def _chunks(file: IO[bytes], sent: Callable[[int], None]) -> AsyncIterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk
        sent(len(chunk))


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _print(manifest: Manifest, *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(manifest))
        return
    place = "" if manifest.seq is None else f", behind event {manifest.seq} of session {manifest.session_id}"
    click.echo(f"guild    {manifest.guild_id}")
    click.echo(f"cut      {manifest.cut_at:%Y-%m-%d %H:%M:%S} UTC by modbot {manifest.modbot_version}")
    click.echo(f"from     shard {manifest.shard_id}, epoch {manifest.epoch}{place}")
    click.echo(f"purpose  {manifest.purpose}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("TABLE")
    table.add_column("ROWS", justify="right")
    table.add_column("SHA-256")
    for each in manifest.tables:
        table.add_row(each.name, str(each.rows), each.checksum[:16])
    Console().print(table)
    click.echo("Every count and checksum is right.")
