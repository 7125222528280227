"""`modbot guild export | import | show`: one guild's rows as a file. The work is in `archive_calls.py`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

_SNOWFLAKE = click.IntRange(min=1)
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group()
def guild() -> None:
    """Export and import one guild's rows as an archive, and look into archives."""


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
