"""Is every variable that a container reads set, and nothing else? Are the secrets the documented ones?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_type_hints

import msgspec
from deployment import rendering
from deployment.rendering import Object

from modbot.domain.errors import SettingsError
from modbot.ops import settings

SECRETS = {
    "modbot-env": {
        "SESSION_SECRET",
        "DISCORD_HASH",
        "DISCORD_PUBLIC_KEY",
        "DISCORD_APP_ID",
        "DISCORD_SECRET",
        "MODBOT_INTERNAL_TOKEN",
        "LITESTREAM_ACCESS_KEY_ID",
        "LITESTREAM_SECRET_ACCESS_KEY",
        "LITESTREAM_BUCKET",
        "LITESTREAM_ENDPOINT",
        "LITESTREAM_REGION",
    },
    "config-service-secret": {"DATABASE_URL", "POSTGRES_USER", "POSTGRES_PASSWORD"},
}
# Settings that a deployment leaves at their default. Whoever adds a setting decides: here, or in the manifests.
LEFT_AT_DEFAULT = {
    "MODBOT_DISCORD_API_URL": "there is one Discord",
    "MODBOT_DISCORD_GATEWAY_URL": "there is one Discord",
    "MODBOT_GATEWAY_COMPRESSION": "the default is the fastest",
    "MODBOT_MESSAGE_CONTENT": "a choice of the operator, on by default",
    "MODBOT_CONFIG_HOST": "a pod listens on its address",
    "MODBOT_GATEWAY_HOST": "a pod listens on its address",
    "MODBOT_HTTP_HOST": "a pod listens on its address",
    "MODBOT_HTTP_REUSE_PORT": "one process per pod",
    "MODBOT_LEASE_TTL": "a time inside modbot",
    "MODBOT_PLACEMENT_SETTLE": "a time inside modbot",
    "MODBOT_INTERACTION_DEADLINE": "a time inside modbot",
    "MODBOT_IDENTIFY_RESERVE": "Discord's numbers",
    "MODBOT_REST_PER_SECOND": "Discord's numbers",
    "MODBOT_REPLICA_STORE": "the LITESTREAM_ variables name the store",
    "MODBOT_LITESTREAM_BIN": "it is in the image's PATH",
    "MODBOT_REPLICA_KEEP_EPOCHS": "a choice of the operator",
    "MODBOT_REPLICA_KEEP_HOURS": "a choice of the operator",
    "MODBOT_CAPACITY": "64 shards fit into what the pod requests",
    "MODBOT_EGRESS": "all pods leave by one address; two-regions sets it",
    "MODBOT_FAILSAFE": "on",
}
_GROUPS: dict[str, tuple[type[msgspec.Struct], ...]] = {
    "http": (settings.HttpSettings,),
    "config": (settings.ConfigSettings,),
    "gateway": (settings.GatewaySettings,),
    "restore-drill": (settings.ReplicaSettings,),
    "single": (settings.HttpSettings, settings.GatewaySettings, settings.ConfigSettings),
}
_MIGRATE = {"DATABASE_URL", "MODBOT_SHARD_COUNT"}
_OPERATOR = {"MODBOT_CONFIG_URL", "MODBOT_INTERNAL_TOKEN"}
# What `modbot single` gives to its own processes.
_INSIDE_SINGLE = {
    "DATABASE_URL",
    "MODBOT_CONFIG_PORT",
    "MODBOT_CONFIG_URL",
    "MODBOT_GATEWAY_PORT",
    "MODBOT_ADVERTISED_URL",
    "MODBOT_DRAIN_LIMIT",
    "MODBOT_POD_LABELS",
}
_POSTGRES = {"POSTGRES_DB", "POSTGRES_USER", "POSTGRES_PASSWORD", "PGDATA"}
_SIDECAR = {"LITESTREAM_ACCESS_KEY_ID", "LITESTREAM_SECRET_ACCESS_KEY"}
_SAMPLES = {
    "DISCORD_APP_ID": "42",
    "DISCORD_PUBLIC_KEY": "ab" * 32,
    "LITESTREAM_ENDPOINT": "https://s3.example.org",
    "DATABASE_URL": "postgresql://somebody:something-long@config-postgres:5432/mod_bot_config",
}


def mode(container: Object) -> str:
    """Return what a container runs: a verb of modbot, `litestream` or `postgres`."""
    arguments = container.get("args") or container.get("command") or [container["name"]]
    return str(arguments[0])


def service(container: Object) -> str:
    """Return whose variables a container reads: those of its verb, or of the service that the doctor looks at."""
    arguments = container.get("args", [])
    return str(arguments[arguments.index("--for") + 1]) if "--for" in arguments else mode(container)


def filled(container: Object) -> dict[str, str]:
    """Return the variables of a container as it would see them, with made-up secrets."""
    values = _environment({each["name"]: each for each in container["env"]})
    return {name: _SAMPLES.get(name, value) for name, value in values.items()}


def known() -> set[str]:
    """Return every variable that modbot knows."""
    return {each.env.name for group in settings.GROUPS for each in settings.describe(group)}


def problems(objects: list[Object]) -> list[str]:
    """Say what is wrong with the variables of all containers."""
    found = []
    for workload in rendering.workloads(objects):
        for container in workload.containers:
            where = f"{workload.name}/{container['name']}"
            values = {each["name"]: each for each in container.get("env", [])}
            found += [f"{where}: {problem}" for problem in _of_container(container, values)]
    return found


def used_keys(objects: list[Object]) -> dict[str, set[str]]:
    """Return the keys of every secret that some container takes."""
    used: dict[str, set[str]] = {}
    for workload in rendering.workloads(objects):
        for container in workload.containers:
            for each in container.get("env", []):
                reference = each.get("valueFrom", {}).get("secretKeyRef")
                if reference is not None:
                    used.setdefault(reference["name"], set()).add(reference["key"])
    return used


def differences(what: str, given: set[str]) -> Iterator[str]:
    """Say which of the variables that `what` reads are not given, and which are given and not read."""
    needed, readable = _needs(what)
    for name in sorted(needed - given):
        yield f"{name} is not set"
    for name in sorted(given - readable):
        yield f"{name} is set and not read" if name in known() else f"{name} is no setting"


def _of_container(container: Object, values: dict[str, Object]) -> Iterator[str]:
    what = service(container)
    if "envFrom" in container:
        yield "takes a whole secret"
    if len(values) != len(container.get("env", [])):
        yield "sets a variable twice"
    for name, each in values.items():
        reference = each.get("valueFrom", {}).get("secretKeyRef")
        if reference is not None and reference.get("optional"):
            yield f"{name} may be missing in silence"
        if reference is not None and reference["key"] not in SECRETS.get(reference["name"], set()):
            yield f"{reference['name']}/{reference['key']} is no documented key"
    yield from differences(what, set(values))
    for group in _GROUPS.get(what, ()):
        try:
            settings.load(group, {**_environment(values), **_SAMPLES})
        except SettingsError as error:
            yield str(error)


def _needs(what: str) -> tuple[set[str], set[str]]:
    fixed = {"migrate": _MIGRATE, "postgres": _POSTGRES, "litestream": _SIDECAR}
    if what in fixed:
        return fixed[what], fixed[what]
    found = [each for group in _GROUPS[what] for each in _described(group)]
    readable = {each.env.name for each in found}
    if what == "single":
        return readable - set(LEFT_AT_DEFAULT) - _INSIDE_SINGLE, readable
    if what == "restore-drill":
        readable = readable - {"MODBOT_LITESTREAM_SOCKET"} | _OPERATOR
    return readable - set(LEFT_AT_DEFAULT), readable


def _described(group: type[msgspec.Struct]) -> Iterator[settings.Setting]:
    yield from settings.describe(group)
    for hint in get_type_hints(group).values():
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            yield from _described(hint)


def _environment(values: dict[str, Any]) -> dict[str, str]:
    """Return an environment as the container would see it, with made-up secrets."""
    return {
        name: str(each["value"]) if "value" in each else f"a-made-up-value-of-{name}" for name, each in values.items()
    }
