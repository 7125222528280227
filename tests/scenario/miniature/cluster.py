"""The cluster: what was applied to it, which pods run, and where its Services lead."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from miniature import objects
from miniature.objects import Manifest
from miniature.pods import Pod, Surroundings

_DATABASE = "config-db"
_READY_WITHIN = 120.0


class NotFoundError(Exception):
    """The cluster does not have it."""


@dataclass(slots=True)
class Cluster:
    """Apply manifests to it; close it at the end. PostgreSQL's pod is not started: its image is not modbot's."""

    folder: Path
    session: aiohttp.ClientSession
    outside: Mapping[str, str]
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    things: dict[tuple[str, str], Manifest] = field(default_factory=dict)
    pods: dict[str, Pod] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    _addresses: dict[str, str] = field(default_factory=dict)
    _working: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def apply(self, manifests: list[Manifest]) -> list[str]:
        """Take manifests over; returns what was done, a line each."""
        lines = []
        for each in manifests:
            key = (each["kind"], each["metadata"]["name"])
            lines.append(f"{key[0].lower()}/{key[1]} {'configured' if key in self.things else 'created'}")
            self.things[key] = each
        for each in manifests:
            if each["kind"] == "Job":
                await self._run_job(each)
        await self._reconcile()
        return lines

    def keep_secret(self, secret: Manifest) -> None:
        """Keep a secret as `kubectl create --dry-run` writes it."""
        data = {key: base64.b64decode(value).decode() for key, value in secret.get("data", {}).items()}
        self.secrets[secret["metadata"]["name"]] = data

    async def scale(self, kind: str, name: str, replicas: int) -> None:
        """Change the number of pods."""
        self.thing(kind, name)["spec"]["replicas"] = replicas
        await self._reconcile()

    async def delete(self, kind: str, name: str) -> None:
        """Take something away, with its pods."""
        del self.things[self.key(kind, name)]
        await self._reconcile()

    async def run_cron_job(self, cron_job: str, name: str) -> None:
        """Begin what a cron job would begin at its hour."""
        job = self.thing("cronjob", cron_job)["spec"]["jobTemplate"]
        await self._run_job({"kind": "Job", "metadata": {"name": name}, "spec": job["spec"]})

    def key(self, kind: str, name: str) -> tuple[str, str]:
        """Find something by the kind as people write it; `NotFoundError` when it is not there."""
        short = {
            "svc": "service",
            "deploy": "deployment",
            "hpa": "horizontalpodautoscaler",
            "pdb": "poddisruptionbudget",
        }
        wanted = short.get(kind.lower(), kind.lower())
        for found, known in self.things:
            if found.lower() == wanted and known == name:
                return found, known
        raise NotFoundError(f'{kind} "{name}" not found')

    def thing(self, kind: str, name: str) -> Manifest:
        """Return what was applied."""
        return self.things[self.key(kind, name)]

    def pod(self, name: str) -> Pod:
        """Return a pod by its name, or one of a workload (`deploy/http-service`, `job/config-migrate`)."""
        _, slash, owner = name.partition("/")
        for pod in self.pods.values():
            if pod.name == name or (slash and pod.template.owner == owner):
                return pod
        raise NotFoundError(f'pods "{name}" not found')

    def selected(self, selector: str) -> list[Pod]:
        """Return the pods whose labels fit."""
        return [pod for pod in self.pods.values() if objects.matches(pod.template.labels, selector)]

    async def ready(self, *, within: float = _READY_WITHIN) -> None:
        """Wait until every pod is ready."""
        deadline = time.monotonic() + within
        waiting: list[str] = []
        while time.monotonic() < deadline:
            for pod in self.pods.values():
                failed = pod.failure()
                if failed is not None:
                    raise failed
            lasting = [pod for pod in self.pods.values() if pod.name not in self.ended]
            waiting = [pod.name for pod in lasting if not await pod.ready()]
            if not waiting:
                return
            await asyncio.sleep(0.2)
        standing = "\n".join(self.pods[name].standing() for name in waiting)
        raise AssertionError(f"{waiting} are not ready after {within:.0f} s: {self._last_words(waiting)}\n{standing}")

    def backend(self) -> tuple[str, int]:
        """Return where the ingress leads: a pod of its Service, and that pod's port."""
        ingress = next(each for (kind, _), each in self.things.items() if kind == "Ingress")
        rule = ingress["spec"]["rules"][0]["http"]["paths"][-1]
        service = self.thing("service", rule["backend"]["service"]["name"])
        selector = ",".join(f"{key}={value}" for key, value in service["spec"]["selector"].items())
        pod = min(self.selected(selector), key=lambda each: each.name)
        port = service["spec"]["ports"][0]["targetPort"]
        ports = {each["name"]: each["containerPort"] for each in pod.template.containers[0]["ports"]}
        return pod.address, ports.get(port, port)

    async def close(self) -> None:
        """End everything at once, but for pods whose containers have processes of their own to end."""
        for pod in self.pods.values():
            if pod.template.labels.get("component") != "single":
                for child in (*pod.children, *pod.sidecars):
                    child.kill()
        await asyncio.gather(*(pod.stop() for pod in self.pods.values()))

    def names(self) -> dict[str, str]:
        """Return what a name server would answer: each Service with a pod of its own choice, each pod of a headless one."""
        found: dict[str, str] = {}
        for (kind, name), service in self.things.items():
            if kind != "Service" or "selector" not in service["spec"]:
                continue
            selector = ",".join(f"{key}={value}" for key, value in service["spec"]["selector"].items())
            chosen = self.selected(selector)
            for pod in chosen:
                found[f"{pod.name}.{name}"] = pod.address
            if chosen:
                found[name] = chosen[len(found) % len(chosen)].address
        return found

    async def _reconcile(self) -> None:
        async with self._working:
            wanted = dict(self._wanted())
            surplus = [pod for pod in self.pods.values() if pod.name not in wanted and pod.name not in self.ended]
            owners = {name for _, name in self.things}
            await asyncio.gather(*(pod.stop() for pod in surplus if pod.template.owner not in owners))
            for pod in sorted(surplus, key=lambda each: each.name, reverse=True):
                if pod.template.owner in owners:
                    await pod.stop()  # a StatefulSet that shrinks ends its pods one after the other
                del self.pods[pod.name]
            new = [self._make(name, template) for name, template in wanted.items() if name not in self.pods]
            self.pods |= {pod.name: pod for pod in new}
            for pod in new:
                await pod.start()

    def _wanted(self) -> list[tuple[str, objects.Template]]:
        found = []
        for (kind, name), each in self.things.items():
            if kind not in {"Deployment", "StatefulSet"}:
                continue
            template = objects.template(each)
            if template.labels.get("component") == _DATABASE:
                continue
            middle = "-" if kind == "StatefulSet" else "-7d9f-"
            found += [(f"{name}{middle}{number}", template) for number in range(each["spec"].get("replicas", 1))]
        return found

    def _make(self, name: str, template: objects.Template) -> Pod:
        around = Surroundings(
            folder=self.folder,
            secrets=self.secrets,
            config_maps={key: each["data"] for (kind, key), each in self.things.items() if kind == "ConfigMap"},
            names=self.names,
            outside=self.outside,
            session=self.session,
        )
        volume = self.folder / "pods" / name
        volume.mkdir(parents=True, exist_ok=True)
        volume.chmod(0o755)
        return Pod(name, self._address(name), template, around, volume)

    async def _run_job(self, job: Manifest) -> None:
        name = f"{job['metadata']['name']}-x2kqp"
        pod = self.pods[name] = self._make(name, objects.template(job))
        for _ in range(job["spec"].get("backoffLimit", 6) + 1):
            self.ended[name] = await pod.run_to_its_end()
            if self.ended[name] == 0:
                break

    def _address(self, name: str) -> str:
        """Give every pod a loopback address of its own; another test run in parallel has another range."""
        if name not in self._addresses:
            process = os.getpid()
            self._addresses[name] = f"127.{64 + process % 128}.{process // 128 % 256}.{len(self._addresses) + 1}"
        return self._addresses[name]

    def _last_words(self, names: list[str]) -> str:
        logs = [log for name in names for log in sorted((self.pods[name].volume / "log").glob("*.log"))]
        return "\n".join(f"{log.parent.parent.name}/{log.stem}: {log.read_text('utf-8')[-800:]}" for log in logs)


class Ingress:
    """Where people and Discord come in: one address that leads to wherever the cluster's Ingress leads now."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._server: asyncio.Server | None = None
        self.url = ""

    async def open(self) -> None:
        """Begin to listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(*self._cluster.backend())
        except (OSError, ValueError, StopIteration):
            writer.close()
            return
        await asyncio.gather(_pump(reader, back), _pump(there, writer))


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.close()


def copy_manifests(root: Path, folder: Path) -> Path:
    """Copy what the pages' commands read, without a `k8s-context` that somebody left."""
    ignore = shutil.ignore_patterns("k8s-context")
    shutil.copytree(root / "cluster", folder / "cluster", ignore=ignore)
    return folder
