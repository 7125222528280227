"""The command line of the operator's verbs: options and help; what they do is in `operating.py`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from modbot.cli import STATE
from modbot.domain.ids import GuildId

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
_WAIT = click.option("--wait", is_flag=True, help="Stay until it is done; exit code 1 when it was given up.")
_TIMEOUT = click.option(
    "--timeout", default=600.0, show_default=True, type=click.FloatRange(0), help="Seconds to wait at most."
)


def _waiting(function: Callable[..., None]) -> Callable[..., None]:
    return _JSON(_WAIT(_TIMEOUT(function)))


@click.command()
@_JSON
def shards(*, as_json: bool) -> None:
    """List every shard: owner, epoch, weight, pin, where it is moving, or why nobody serves it."""
    operating = _operating()
    sys.exit(operating.run(operating.shards(operating.Manner(as_json=as_json)), STATE))


@click.command()
@_JSON
def pods(*, as_json: bool) -> None:
    """List every pod: state, shards of its capacity, load, what comes and goes, labels."""
    operating = _operating()
    sys.exit(operating.run(operating.pods(operating.Manner(as_json=as_json)), STATE))


@click.command()
@click.argument("shard")
@click.argument("pod")
@_waiting
def move(shard: str, pod: str, **manner: Any) -> None:
    """Hand SHARD (such as 3-of-16) to POD while both go on."""
    operating = _operating()
    sys.exit(operating.run(operating.move(shard, pod, operating.Manner(**manner)), STATE))


@click.command()
@click.argument("pod")
@click.option("--undo", is_flag=True, help="Let the pod receive shards again.")
@_waiting
def drain(pod: str, *, undo: bool, **manner: Any) -> None:
    """Hand all shards of POD to others and give it none, across its restarts, until --undo."""
    operating = _operating()
    sys.exit(operating.run(operating.drain(pod, operating.Manner(**manner), undo=undo), STATE))


@click.command()
@click.option("--dry-run", is_flag=True, help="Only show the plan.")
@_waiting
def rebalance(*, dry_run: bool, **manner: Any) -> None:
    """Make the load as even as it can be, below the thresholds that the rebalancer uses by itself."""
    operating = _operating()
    sys.exit(operating.run(operating.rebalance(operating.Manner(**manner), dry_run=dry_run), STATE))


@click.command()
@_JSON
def pause(*, as_json: bool) -> None:
    """Begin no more moves but those of pods that stop, and those made with `modbot move`."""
    operating = _operating()
    sys.exit(operating.run(operating.pause(operating.Manner(as_json=as_json), paused=True), STATE))


@click.command()
@_JSON
def resume(*, as_json: bool) -> None:
    """Allow moves again."""
    operating = _operating()
    sys.exit(operating.run(operating.pause(operating.Manner(as_json=as_json), paused=False), STATE))


@click.command()
@click.argument("shard")
@click.argument("place", required=False)
@_waiting
def pin(shard: str, place: str | None, **manner: Any) -> None:
    """Keep SHARD on a pod (gateway-2) or where a label is (zone=a); without PLACE it may be anywhere."""
    operating = _operating()
    sys.exit(operating.run(operating.pin(shard, place, operating.Manner(**manner)), STATE))


@click.command("restore-drill")
@click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to restore to, with room for the largest shard.",
)
@click.option("--keep", is_flag=True, help="Leave the restored files in that folder.")
@_JSON
def restore_drill(*, to: Path | None, keep: bool, as_json: bool) -> None:
    """Restore the newest replica of every shard somewhere else and prove it; exit code 1 when one is not sound."""
    from modbot.cli import drilling  # noqa: PLC0415 - keeps the start of the services light

    sys.exit(drilling.run(state=STATE, to=to, keep=keep, as_json=as_json))


@click.command()
@click.option("--yes", is_flag=True, help="Do it; without this only the plan is shown.")
@click.option(
    "--dedicated",
    type=int,
    multiple=True,
    metavar="GUILD",
    help="Where its files contradict each other: this guild has a shard of its own.",
)
@click.option(
    "--returned",
    type=int,
    multiple=True,
    metavar="GUILD",
    help="Where its files contradict each other: this guild has none any more.",
)
@_JSON
def adopt(*, yes: bool, dedicated: tuple[int, ...], returned: tuple[int, ...], as_json: bool) -> None:
    """Make a database that was lost or is new take over what the replica store knows. Stop the gateway pods first."""
    from modbot.cli import adopting  # noqa: PLC0415 - keeps the start of the services light

    telling = adopting.Telling(frozenset(map(GuildId, dedicated)), frozenset(map(GuildId, returned)))
    sys.exit(adopting.run(state=STATE, yes=yes, as_json=as_json, telling=telling))


def _operating() -> Any:
    from modbot.cli import operating  # noqa: PLC0415 - keeps the start of the services light

    return operating


COMMANDS: tuple[click.Command, ...] = (shards, pods, move, drain, rebalance, pause, resume, pin, adopt, restore_drill)
