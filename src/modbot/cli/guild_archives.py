"""`modbot guild …`: one guild's rows as a file (`archive_calls.py`), and a shard of its own for a guild (`dedicating.py`)."""

from __future__ import annotations

import sys
from pathlib import Path

import click

_SNOWFLAKE = click.IntRange(min=1)
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group()
def guild() -> None:
    """Export and import one guild's rows, and give a guild a shard of its own."""


@guild.command("export")
@click.argument("guild_id", type=_SNOWFLAKE)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write; it must not exist.",
)
@click.option("--transfer", is_flag=True, help="Keep secrets and short-lived texts, so that another modbot can go on.")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
def export(*, guild_id: int, output: Path, transfer: bool, as_json: bool) -> None:
    """Write an archive of a guild while modbot goes on."""
    from modbot.cli import archive_calls  # noqa: PLC0415 - keeps the start of the services light

    sys.exit(archive_calls.export(guild_id, output, transfer=transfer, as_json=as_json))


@guild.command("import")
@click.argument("archive", type=_FILE)
@click.option("--replace", is_flag=True, help="Remove the rows that the guild has now.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def import_(*, archive: Path, replace: bool, as_json: bool) -> None:
    """Bring an archive into the shard that its guild belongs to: all of it or nothing."""
    from modbot.cli import archive_calls  # noqa: PLC0415 - keeps the start of the services light

    sys.exit(archive_calls.bring_in(archive, replace=replace, as_json=as_json))


@guild.command("show")
@click.argument("archive", type=_FILE)
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
def show(*, archive: Path, as_json: bool) -> None:
    """Check an archive from end to end and print its manifest."""
    from modbot.cli import archive_calls  # noqa: PLC0415 - keeps the start of the services light

    sys.exit(archive_calls.show(archive, as_json=as_json))


@guild.command("dedicate")
@click.argument("guild_id", type=_SNOWFLAKE)
@click.option("--pod", help="The pod that is to serve it, such as gateway-1.")
@click.option("--label", help="Or: a pod with this label, such as zone=a.")
@click.option("--wait", is_flag=True, help="Wait until it is done; exit with 1 when it was given up.")
@click.option("--json", "as_json", is_flag=True, help="Print the transfer as JSON.")
def dedicate(*, guild_id: int, pod: str | None, label: str | None, wait: bool, as_json: bool) -> None:
    """Give a guild a shard of its own. It costs one IDENTIFY."""
    from modbot.cli import dedicating  # noqa: PLC0415 - keeps the start of the services light

    sys.exit(dedicating.dedicate(guild_id, pod=pod, label=label, wait=wait, as_json=as_json))


@guild.command("return")
@click.argument("guild_id", type=_SNOWFLAKE)
@click.option("--wait", is_flag=True, help="Wait until it is done; exit with 1 when it was given up.")
@click.option("--json", "as_json", is_flag=True, help="Print the transfer as JSON.")
def return_(*, guild_id: int, wait: bool, as_json: bool) -> None:
    """Bring a guild back from its own shard to the one of the formula."""
    from modbot.cli import dedicating  # noqa: PLC0415 - keeps the start of the services light

    sys.exit(dedicating.give_back(guild_id, wait=wait, as_json=as_json))


@guild.command("transfers")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def transfers(*, as_json: bool) -> None:
    """Show the latest transfers of guilds between shards."""
    from modbot.cli import dedicating  # noqa: PLC0415 - keeps the start of the services light

    sys.exit(dedicating.show(as_json=as_json))
