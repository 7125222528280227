"""The command `discordsim`: seed a world and serve it until interrupted.

Refuses to listen anywhere but on a loopback address: nothing here is authenticated.
"""

import asyncio
import contextlib
import ipaddress
import json
import signal
from dataclasses import dataclass
from pathlib import Path

import click
import uvloop
from aiohttp import web

from discordsim import keeping, remembering
from discordsim.clock import SimulatorClock
from discordsim.simulator import Simulator
from discordsim.world import seeding
from discordsim.world.model.users import Application
from discordsim.world.payloads import Json
from discordsim.world.world import World


@dataclass(frozen=True, slots=True)
class Size:
    """How much to seed: guilds, and what each of them has."""

    guilds: int = 3
    channels: int = 12
    roles: int = 6
    members: int = 5


@dataclass(frozen=True, slots=True)
class Told:
    """Where addresses and secrets are written."""

    print_config: bool
    config_file: Path | None


def build(
    size: Size, *, seed: int = 0, name: str = "modbot", token: str | None = None, application_id: int | None = None
) -> tuple[Simulator, Application]:
    """Return a simulator over a seeded world, and the application whose bot is in all its guilds."""
    clock = SimulatorClock()
    world = World(clock=clock.unix, seed=seed)
    owner = world.add_user("owner")
    application = world.add_application(name, owner_id=owner.id, token=token, app_id=application_id)
    seeding.seed_world(
        world, guilds=size.guilds, channels=size.channels, roles=size.roles, members=size.members, bot=application
    )
    return Simulator(world, clock=clock), application


def config(application: Application, url: str) -> Json:
    """Return what a bot and its operator need to know to use the simulator at `url`."""
    return {
        "url": url,
        "api_url": f"{url}/api/v10",
        "gateway_url": f"{url.replace('http', 'ws', 1)}/gateway",
        "control_url": f"{url}/control",
        "application_id": str(application.id),
        "bot_token": application.token,
        "public_key": application.public_key.hex(),
        "signing_key": application.private_key.hex(),
        "client_secret": application.client_secret,
    }


async def start(simulator: Simulator, *, host: str = "127.0.0.1", port: int = 0) -> tuple[web.AppRunner, str]:
    """Serve in the background; return the runner (call `cleanup()` to stop) and the base URL."""
    runner = web.AppRunner(simulator.app(), access_log=None, shutdown_timeout=3.0)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    real_port = runner.addresses[0][1]
    shown = f"[{host}]" if ":" in host else host
    simulator.files.base_url = f"http://{shown}:{real_port}"
    return runner, simulator.files.base_url


def restore(state_file: Path) -> tuple[Simulator, Application]:
    """Return a simulator over the world of an earlier run, and its application."""
    clock = SimulatorClock()
    world = keeping.load(state_file, clock)
    return Simulator(world, clock=clock), next(iter(world.applications.values()))


async def _serve(simulator: Simulator, application: Application, *, host: str, port: int, told: Told) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    runner, url = await start(simulator, host=host, port=port)
    remembered = asyncio.create_task(remembering.keep_out_of_sight())
    if told.config_file is not None:
        told.config_file.write_text(json.dumps(config(application, url)) + "\n")
    if told.print_config:
        click.echo(json.dumps(config(application, url)))
    else:
        click.echo(f"discordsim  {url}  ({len(simulator.world.guilds)} guilds)")
    try:
        await stopped.wait()
    finally:
        remembered.cancel()
        await runner.cleanup()


def _loopback(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    with contextlib.suppress(ValueError):
        if value == "localhost" or ipaddress.ip_address(value).is_loopback:
            return value
    raise click.BadParameter("only loopback addresses are served: the simulator has no authentication")


@click.command()
@click.option("--host", default="127.0.0.1", callback=_loopback, help="Loopback address to listen on.")
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="Port; 0 picks a free one.")
@click.option("--guilds", default=3, type=click.IntRange(0), help="Guilds to seed.")
@click.option("--channels", default=12, type=click.IntRange(7), help="Channels per guild.")
@click.option("--roles", default=6, type=click.IntRange(4), help="Roles per guild.")
@click.option("--members", default=5, type=click.IntRange(2), help="Members per guild, without the bot.")
@click.option("--seed", default=0, type=int, help="The same seed gives the same world.")
@click.option("--bot-token", default=None, help="Token of the bot; by default derived from the seed.")
@click.option("--application-id", default=None, type=int, help="Id of the application; by default a fresh one.")
@click.option(
    "--public-key-file", default=None, type=click.Path(path_type=Path), help="Write the public key (hex) here."
)
@click.option("--print-config", is_flag=True, help="Print addresses and secrets as one line of JSON.")
@click.option("--config-file", default=None, type=click.Path(path_type=Path), help="Write the same JSON here.")
@click.option("--state-file", default=None, type=click.Path(path_type=Path), help="Keep the world here between runs.")
@click.option("--max-concurrency", default=1, type=click.IntRange(1), help="IDENTIFYs per five seconds.")
def main(
    *,
    host: str,
    port: int,
    guilds: int,
    channels: int,
    roles: int,
    members: int,
    seed: int,
    bot_token: str | None,
    application_id: int | None,
    public_key_file: Path | None,
    print_config: bool,
    config_file: Path | None,
    state_file: Path | None,
    max_concurrency: int,
) -> None:
    """Serve a simulated Discord on a loopback address."""
    if state_file is not None and state_file.exists():
        simulator, application = restore(state_file)
    else:
        size = Size(guilds, channels, roles, members)
        simulator, application = build(size, seed=seed, token=bot_token, application_id=application_id)
    simulator.switches.max_concurrency = max_concurrency
    if public_key_file is not None:
        public_key_file.write_text(application.public_key.hex() + "\n")
    told = Told(print_config=print_config, config_file=config_file)
    uvloop.run(_serve(simulator, application, host=host, port=port, told=told))
    if state_file is not None:
        keeping.save(simulator.world, state_file)
