"""The command line of `modbot doctor`."""

from __future__ import annotations

import os
import sys

import click

from modbot.cli import STATE


@click.command()
@click.option(
    "--for",
    "place",
    type=click.Choice(["http", "config", "gateway", "single"]),
    help="Whose environment this is; else it is told from the variables, and without any it is an operator's desk.",
)
@click.option("--before-start", is_flag=True, help="Look only at what can be known before the service starts.")
@click.option("--offline", is_flag=True, help="Do not ask Discord.")
@click.option("--http", default="", metavar="URL", help="Where an http pod is, to look at it from elsewhere.")
@click.option("--public-url", default="", metavar="URL", help="Where Discord should find the http pods.")
@click.option(
    "--timeout",
    default=60.0,
    show_default=True,
    type=click.FloatRange(0),
    help="With --before-start: seconds to wait for the config service and the store.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def doctor(
    *, place: str | None, before_start: bool, offline: bool, http: str, public_url: str, timeout: float, as_json: bool
) -> None:
    """Find what is wrong: cause, effect, fix. Exit code 0 when nothing is, 1 when something is, 2 when it could not look."""
    from modbot.cli.doctor import around, running  # noqa: PLC0415 - keeps the start of the services light
    from modbot.cli.doctor.facts import Place  # noqa: PLC0415
    from modbot.cli.doctor.looking import Order  # noqa: PLC0415

    where = around.place_of(os.environ) if place is None else Place(place)
    if before_start and where is Place.DESK:
        raise click.UsageError("--before-start needs a service: --for says which.")
    order = Order(
        where,
        os.environ,
        STATE,
        before_start=before_start,
        offline=offline,
        http=http,
        public_url=public_url,
    )
    sys.exit(running.run(order, as_json=as_json, timeout=timeout))
