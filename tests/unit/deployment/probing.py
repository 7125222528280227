"""Do probes, ports and Services meet what the real services answer?"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from types import SimpleNamespace
from unittest import mock

from deployment import environment, rendering
from deployment.rendering import Object, Workload
from starlette.applications import Starlette
from starlette.routing import Route

from modbot.services.config import api as config_api
from modbot.services.gateway.api import Api
from modbot.services.http import receiving, web

PROBES = {"startupProbe": "/started", "livenessProbe": "/health", "readinessProbe": "/ready"}
PRIVATE = {*PROBES.values(), "/metrics"}
_PORTS = {
    "http": "MODBOT_HTTP_PORT",
    "config": "MODBOT_CONFIG_PORT",
    "gateway": "MODBOT_GATEWAY_PORT",
    "single": "MODBOT_HTTP_PORT",
}
SERVICES = {
    "http-service": (80, 3000),
    "config-service": (3001, 3001),
    "gateway-internal": (3000, 3000),
    "config-postgres": (5432, 5432),
    "mod-bot-service": (80, 3000),
}


@functools.cache
def served(service: str) -> frozenset[str]:
    """Return the paths that a service answers, taken from the service itself."""
    if service == "config":
        return frozenset(each.path for each in config_api.OPERATIONS)
    if service == "gateway":
        return _paths(Api(mock.MagicMock())._others)
    return _paths(web.Portal(mock.MagicMock()).application()) | receiving.PATHS


def problems(objects: list[Object]) -> list[str]:
    """Say which probe, port or Service points at nothing."""
    return [*_probes(objects), *_services(objects), *_ingress(objects)]


def _probes(objects: list[Object]) -> Iterator[str]:
    for workload in rendering.workloads(objects):
        what = environment.mode(workload.main)
        if what not in _PORTS:
            continue
        for probe, path in PROBES.items():
            get = workload.main.get(probe, {}).get("httpGet")
            if get is None:
                yield f"{workload.name} has no {probe}"
            elif get["path"] != path or get["path"] not in served(what):
                yield f"{workload.name}: {probe} asks {get['path']}"
            elif str(_number(workload, get["port"])) != _variable(workload, _PORTS[what]):
                yield f"{workload.name}: {probe} asks port {get['port']}, which nobody listens on"
        scraped = SimpleNamespace(
            **{key.partition("/")[2]: value for key, value in workload.template["metadata"]["annotations"].items()}
        )
        if (
            scraped.scrape != "true"
            or scraped.path not in served(what)
            or scraped.port != _variable(workload, _PORTS[what])
        ):
            yield f"{workload.name}: Prometheus would ask {scraped}"


def _services(objects: list[Object]) -> Iterator[str]:
    for name, service in rendering.of_kind(objects, "Service").items():
        spec = service["spec"]
        chosen = [each for each in rendering.workloads(objects) if spec["selector"].items() <= each.labels.items()]
        if not chosen:
            yield f"Service {name} selects nothing"
        for each in chosen:
            for port in spec["ports"]:
                if (port["port"], _number(each, port["targetPort"])) != SERVICES[name]:
                    yield f"Service {name} leads to {port['targetPort']} of {each.name}"
            if each.labels["component"] != service["metadata"]["labels"]["component"]:
                yield f"Service {name} selects {each.name} too"


def _ingress(objects: list[Object]) -> Iterator[str]:
    public = served("http") - PRIVATE
    for name, ingress in rendering.of_kind(objects, "Ingress").items():
        listed = {
            (path["path"] if path["pathType"] == "Exact" else f"{path['path']}/{{name}}"): path["backend"]["service"]
            for rule in ingress["spec"]["rules"]
            for path in rule["http"]["paths"]
        }
        for path in sorted(public ^ set(listed)):
            yield f"Ingress {name} and the http pods differ about {path}"
        services = rendering.of_kind(objects, "Service")
        for backend in listed.values():
            service = services.get(backend["name"])
            if service is None or backend["port"]["name"] not in {each["name"] for each in service["spec"]["ports"]}:
                yield f"Ingress {name} leads to {backend}"
        hosts = {rule["host"] for rule in ingress["spec"]["rules"]}
        if hosts != {host for each in ingress["spec"]["tls"] for host in each["hosts"]}:
            yield f"Ingress {name} has a host without a certificate"


def _paths(application: Starlette) -> frozenset[str]:
    return frozenset(each.path for each in application.routes if isinstance(each, Route))


def _number(workload: Workload, port: int | str) -> int | None:
    if isinstance(port, int):
        return port
    ports = {each["name"]: each["containerPort"] for each in workload.main.get("ports", [])}
    return ports.get(port)


def _variable(workload: Workload, name: str) -> str | None:
    return next((each.get("value") for each in workload.main.get("env", []) if each["name"] == name), None)
