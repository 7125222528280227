"""`modbot <verb>`: data goes to stdout, talk to stderr."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import click

from modbot.cli import STATE, guild_archives, verbs
from modbot.cli.doctor import verb
from modbot.domain.errors import ModbotError
from modbot.ops import settings
from modbot.ops.settings import EntrySettings

SERVICES = ("http", "config", "gateway", "single")
"""What SERVICE_MODE can name."""


class _Group(click.Group):
    """Shows our errors as one sentence and a hint, without a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except ModbotError as error:
            click.echo(f"{error}\n{error.hint}", err=True)
            ctx.exit(2)


@click.group(cls=_Group, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="modbot")
@click.pass_context
def main(ctx: click.Context) -> None:
    """modbot: a Discord moderation bot for large communities that scales sideways and keeps SQLite as its database.

    Without a command it runs the service that SERVICE_MODE names: http, config, gateway or single.
    """
    if ctx.invoked_subcommand is not None:
        return
    mode = settings.load(EntrySettings, os.environ).service_mode
    if mode in SERVICES:
        ctx.invoke(main.commands[mode])
        return
    if mode:
        click.echo(f"SERVICE_MODE is {mode!r}; it can be {', '.join(SERVICES)}.\n", err=True)
    click.echo(ctx.get_help(), err=True)
    ctx.exit(2)


def _service(module: str) -> Callable[[], None]:
    def run() -> None:
        sys.exit(importlib.import_module(module).main())

    return run


for _name, _help in (
    ("http", "Run an http pod: portal, interactions, routing. Reads its settings from the environment."),
    ("config", "Run a config pod: leases, ownership, permits. Reads its settings from the environment."),
    ("gateway", "Run a gateway pod: sessions and shard files. Reads its settings from the environment."),
):
    main.command(_name, help=_help)(_service(f"modbot.services.{_name}.main"))


@main.command()
def single() -> None:
    """Run all three services in one pod, with PostgreSQL if there is none: the small deployment. Reads the same settings."""
    from modbot.cli import single as running  # noqa: PLC0415 - keeps the start of the services light

    sys.exit(running.main())


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def migrate(*, as_json: bool) -> None:
    """Bring the config service's PostgreSQL to the schema of this version and end. Reads DATABASE_URL and MODBOT_SHARD_COUNT."""
    sys.exit(importlib.import_module("modbot.services.config.migrate").main(as_json=as_json))


@main.command()
@click.option("--fresh", is_flag=True, help="Forget the state of earlier starts.")
@click.option("--gateways", default=3, show_default=True, type=click.IntRange(1, 20), help="Number of gateway pods.")
@click.option(
    "--guilds", default=12, show_default=True, type=click.IntRange(1, 5000), help="Guilds of the simulated Discord."
)
@click.option("--state", default=STATE, show_default=True, type=click.Path(path_type=Path), help="Folder of the state.")
@click.option(
    "--ports",
    nargs=4,
    default=(8000, 3000, 3001, 3010),
    show_default=True,
    type=click.IntRange(0, 65000),
    help="Ports of chat page, portal, config service and first gateway pod; 0 takes a free one.",
)
def dev(*, fresh: bool, gateways: int, guilds: int, state: Path, ports: tuple[int, int, int, int]) -> None:
    """Start the whole system on this machine against a simulated Discord. Not for production."""
    from modbot.cli import developing  # noqa: PLC0415 - needs the extra `dev`, which production images do not have

    sys.exit(developing.run(fresh=fresh, gateways=gateways, guilds=guilds, state=state, ports=ports))


@main.command()
@click.option("--keep", is_flag=True, help="Keep the state folder and print where it is.")
@click.option(
    "--guilds", default=60, show_default=True, type=click.IntRange(21, 1000), help="Guilds of the scripted day."
)
def demo(*, keep: bool, guilds: int) -> None:
    """Play a scripted day against a simulated Discord, kill a pod in the middle, and compare expected with found."""
    from modbot.cli import demonstrating  # noqa: PLC0415 - needs the extra `dev`

    sys.exit(demonstrating.run(keep=keep, guilds=guilds))


@main.command()
@click.option("--watch", is_flag=True, help="Show it again every second.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def status(*, watch: bool, as_json: bool) -> None:
    """Show every pod in one table: state, shards, guilds, events per second, lag, lease, epochs."""
    from modbot.cli import showing  # noqa: PLC0415 - keeps the start of the services light

    sys.exit(showing.run(watch=watch, as_json=as_json, state=STATE))


main.add_command(guild_archives.guild)
main.add_command(verb.doctor)
for _command in verbs.COMMANDS:
    main.add_command(_command)
