"""Looks everywhere that can be looked at from one place, side by side, and returns the facts."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from modbot.cli import finding
from modbot.cli.doctor import around, calling_discord
from modbot.cli.doctor.asking import Asker
from modbot.cli.doctor.facts import Discord, Expected, Facts, GatewayPod, Place, Service, Store, Volume
from modbot.discord.intents import intents_for
from modbot.domain.errors import SettingsError
from modbot.features import all_features
from modbot.ops import settings
from modbot.ops.settings import DiscordSettings, GatewaySettings, ReplicaSettings, Secret
from modbot.shard.registry import Registry

_WITH_VOLUME: Final = (Place.GATEWAY, Place.SINGLE)
_PORTS: Final[Mapping[Place, tuple[str, str]]] = {
    Place.HTTP: ("MODBOT_HTTP_PORT", "3000"),
    Place.CONFIG: ("MODBOT_CONFIG_PORT", "3001"),
    Place.GATEWAY: ("MODBOT_GATEWAY_PORT", "3000"),
}


@dataclass(frozen=True, slots=True)
class Order:
    """What to look at. `state`: the folder of a `modbot dev`, for a desk; `http`, `public_url`: addresses, where they are known."""

    place: Place
    environ: Mapping[str, str]
    state: Path
    before_start: bool = False
    offline: bool = False
    http: str = ""
    public_url: str = ""


async def look(order: Order) -> Facts:
    """Collect the facts; `SettingsError` at a desk from which no system is known."""
    url, token = _config(order)
    async with aiohttp.ClientSession() as session:
        asker = Asker(session, token)
        if order.before_start:
            return await _before_start(order, asker, url)
        return await _running(order, asker, url, session)


async def _before_start(order: Order, asker: Asker, url: str) -> Facts:
    facts = await _around(order)
    if order.place is Place.SINGLE:  # it brings its config service along
        return facts
    return dataclasses.replace(facts, config=await asker.config(url))


async def _running(order: Order, asker: Asker, url: str, session: aiohttp.ClientSession) -> Facts:
    facts, config, cluster, itself, http, discord = await asyncio.gather(
        _around(order),
        asker.config(url),
        asker.cluster(url),
        _itself(order, asker),
        _http(order, asker),
        _discord(order, session),
    )
    unseen = []
    pods: tuple[GatewayPod, ...] = ()
    if isinstance(cluster, str):
        unseen.append(f"pods and shards: {cluster}")
    else:
        addresses = [(pod.pod_id, pod.address) for pod in cluster.live()]
        pods = tuple(await asyncio.gather(*(asker.pod(*each) for each in addresses)))
    if order.place is Place.DESK and pods and all(pod.service.problem for pod in pods):
        pods = ()
        unseen.append("the gateway pods themselves: from here they do not answer; look from inside one of them")
    if http is None:
        unseen.append("the http pods: --http says where one is")
    if discord is None:
        unseen.append("Discord: " + ("--offline" if order.offline else "DISCORD_HASH is not set here"))
    return dataclasses.replace(
        facts,
        volumes=facts.volumes or _volumes_of(pods),
        itself=itself,
        config=config,
        cluster=None if isinstance(cluster, str) else cluster,
        pods=pods,
        http=http,
        discord=discord,
        unseen=tuple(unseen),
    )


async def _around(order: Order) -> Facts:
    """Look at what surrounds the process, where there is one."""
    facts = Facts(order.place, order.before_start, environment=around.environment(order.place, order.environ))
    if order.place not in _WITH_VOLUME:
        return facts
    folder = Path(order.environ.get("MODBOT_DATA_DIR") or "/data")
    program = order.environ.get("MODBOT_LITESTREAM_BIN") or "litestream"
    programs, store = await asyncio.gather(around.programs(program), _store(order))
    return dataclasses.replace(facts, volumes=(around.volume(folder),), programs=programs, store=store)


async def _store(order: Order) -> Store | None:
    try:
        group = settings.load(ReplicaSettings, order.environ)
    except SettingsError:  # the environment's own findings say which
        return None
    return await around.store(group)


def _config(order: Order) -> tuple[str, Secret | None]:
    """Say where the config service is and with which token it is asked."""
    if order.place is Place.DESK:
        return finding.system(order.state)
    token = order.environ.get("MODBOT_INTERNAL_TOKEN")
    if order.place in {Place.CONFIG, Place.SINGLE}:
        url = _url(order, Place.CONFIG)
    else:
        url = order.environ.get("MODBOT_CONFIG_URL") or str(_default(GatewaySettings, "MODBOT_CONFIG_URL"))
    return url, Secret(token) if token else None


def _url(order: Order, service: Place) -> str:
    """Return the address of a service of this pod."""
    name, port = _PORTS[service]
    return f"http://127.0.0.1:{order.environ.get(name) or port}"


async def _itself(order: Order, asker: Asker) -> Service | None:
    """Ask the process that the doctor stands beside; the config service is asked as such, http pods as such."""
    return await asker.service(_url(order, Place.GATEWAY), ready_only=True) if order.place is Place.GATEWAY else None


async def _http(order: Order, asker: Asker) -> Service | None:
    own = order.place in {Place.HTTP, Place.SINGLE}
    url = order.http or (_url(order, Place.HTTP) if own else "")
    if not url and order.place is Place.DESK:
        url = finding.portal(order.state)
    return await asker.service(url) if url else None


async def _discord(order: Order, session: aiohttp.ClientSession) -> Discord | None:
    environ = dict(order.environ)
    public_url = order.public_url
    if order.place is Place.DESK and (simulated := finding.discord(order.state)):
        environ |= simulated
        public_url = public_url or finding.portal(order.state)
    token = environ.get("DISCORD_HASH")
    if order.offline or not token:
        return None
    application_id = environ.get("DISCORD_APP_ID", "")
    content = environ.get("MODBOT_MESSAGE_CONTENT", "yes").lower() in {"yes", "on", "true", "1"}
    expected = Expected(
        application_id=int(application_id) if application_id.isdecimal() else None,
        public_key=environ.get("DISCORD_PUBLIC_KEY", ""),
        intents=intents_for(Registry(all_features()).handlers, message_content=content),
        public_url=public_url,
    )
    api_url = environ.get("MODBOT_DISCORD_API_URL") or str(_default(DiscordSettings, "MODBOT_DISCORD_API_URL"))
    return await calling_discord.ask(session, api_url=api_url, token=Secret(token), expected=expected)


def _volumes_of(pods: tuple[GatewayPod, ...]) -> tuple[Volume, ...]:
    """Read the volumes of pods from their metrics."""
    found = []
    for pod in pods:
        metrics = pod.service.metrics
        sizes = [] if metrics is None else list(metrics.of("modbot_volume_bytes"))
        if metrics is not None and sizes:
            largest = max((each.value for each in metrics.of("modbot_shard_bytes")), default=0)
            free = int(metrics.total("modbot_volume_free_bytes"))
            found.append(
                Volume(f"the volume of {pod.pod_id}", size=int(sizes[0].value), free=free, largest=int(largest))
            )
    return tuple(found)


def _default(group: type[msgspec.Struct], name: str) -> object:
    return next(each.default for each in settings.describe(group) if each.env.name == name)
