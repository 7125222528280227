"""What the cluster in miniature answers to `kubectl`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from miniature.cluster import Cluster, NotFoundError
from miniature.pods import SCRIPTS, Pod

KUBECTL = str(SCRIPTS / "kubectl")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command prints, and how it ends."""

    out: str = ""
    told: str = ""
    code: int = 0


@asynccontextmanager
async def answering(cluster: Cluster, socket: Path) -> AsyncIterator[None]:
    """Answer the stand-in for `kubectl` at this socket."""

    async def serve(request: web.Request) -> web.Response:
        asked = await request.json()
        answer = await run(cluster, asked["words"], Path(asked["folder"]))
        return web.json_response({"out": answer.out, "told": answer.told, "code": answer.code})

    application = web.Application()
    application.router.add_post("/", serve)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.UnixSite(runner, str(socket)).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def run(cluster: Cluster, words: list[str], folder: Path) -> Answer:
    """Carry out one command."""
    plain = [word for word in words if not word.startswith("-")]
    options = {word.partition("=")[0]: word.partition("=")[2] for word in words if word.startswith("--")}
    try:
        match words:
            case ["apply", "-k", place]:
                return Answer("\n".join(await cluster.apply(await render(folder / place))) + "\n")
            case ["create", "secret", *_]:
                return await _create_secret(cluster, words, folder)
            case ["create", "job", name, *_]:
                await cluster.run_cron_job(options["--from"].partition("/")[2], name)
                return Answer(f"job.batch/{name} created\n")
            case ["scale", kind, name, *_]:
                await cluster.scale(kind, name, int(options["--replicas"]))
                return Answer(f"{kind}/{name} scaled\n")
            case ["patch", kind, name, "-p", patch]:
                _merge(cluster.thing(kind, name), json.loads(patch))
                return Answer(f"{kind}/{name} patched\n")
            case ["rollout", "status", *_]:
                await cluster.ready()
                return Answer(f"{plain[-1]} successfully rolled out\n")
            case ["logs", *rest]:
                return _logs(cluster, rest, options)
            case ["exec", pod, "--", *command]:
                return await _exec(cluster.pod(pod), command, cluster)
            case ["get" | "describe", *rest]:
                return await _show(cluster, rest)
            case ["delete", kinds, *names] if not names[0].startswith("-"):
                for name in (name for name in names if not name.startswith("-")):
                    if name.startswith(("config-postgres",)) and kinds == "statefulset":
                        del cluster.things[cluster.key(kinds, name)]
                        continue
                    await cluster.delete(kinds, name)
                return Answer("".join(f"{kinds}/{name} deleted\n" for name in names))
            case _:
                return Answer(told=f"no page has needed this command yet: kubectl {' '.join(words)}\n", code=64)
    except NotFoundError as error:
        return Answer(told=f"Error: {error}\n", code=1)


async def render(place: Path) -> list[dict[str, Any]]:
    """Render a kustomization with the real kubectl; it must have nothing to say about it."""
    out, told, code = await _real("kustomize", str(place))
    assert code == 0, told
    assert told == "", told
    return [each for each in yaml.safe_load_all(out) if each]


async def _create_secret(cluster: Cluster, words: list[str], folder: Path) -> Answer:
    out, told, code = await _real(*words, "--dry-run=client", "-o", "json", folder=folder)
    if code == 0:
        secret = json.loads(out)
        cluster.keep_secret(secret)
        out = f"secret/{secret['metadata']['name']} created\n"
    return Answer(out, told, code)


async def _real(*words: str, folder: Path | None = None) -> tuple[str, str, int]:
    process = await asyncio.create_subprocess_exec(
        KUBECTL, *words, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, told = await process.communicate()
    return out.decode(), told.decode(), process.returncode or 0


def _logs(cluster: Cluster, words: list[str], options: dict[str, str]) -> Answer:
    selector = words[words.index("-l") + 1] if "-l" in words else ""
    container = words[words.index("-c") + 1] if "-c" in words else ""
    if selector:
        pods = cluster.selected(selector)
    elif words[0].startswith("config-postgres"):
        return Answer("LOG:  database system is ready to accept connections\n")  # its image is not ours
    else:
        pods = [cluster.pod(words[0])]
    last = int(options.get("--tail", 0))
    lines = [line for pod in pods for line in pod.log(container).read_text("utf-8").splitlines()[-last:]]
    return Answer("\n".join(lines) + "\n")


async def _exec(pod: Pod, command: list[str], cluster: Cluster) -> Answer:
    home = cluster.folder / "curl"
    home.mkdir(exist_ok=True)
    ports = {"config-service": 3001, "http-service": 80}
    lines = [f"resolve = {name}:{ports.get(name, 3000)}:{address}" for name, address in cluster.names().items()]
    (home / ".curlrc").write_text("\n".join(["silent", "show-error", "fail", *lines]) + "\n", "utf-8")
    code, out, told = await pod.execute(command, home=home)
    return Answer(out.decode(), told.decode(), code)


async def _show(cluster: Cluster, words: list[str]) -> Answer:
    kind, names = words[0], [word for word in words[1:] if not word.startswith("-")]
    if kind in {"pods", "pod"}:
        chosen = cluster.selected(words[words.index("-l") + 1]) if "-l" in words else [cluster.pod(names[0])]
        lines = [f"{pod.name:<32}{'1/1' if await pod.ready() else '0/1'}   {pod.restarts}" for pod in chosen]
        return Answer("\n".join([f"{'NAME':<32}READY RESTARTS", *lines]) + "\n")
    if kind == "secret":
        if names[0] not in cluster.secrets:
            raise NotFoundError(f'secrets "{names[0]}" not found')
        return Answer(
            "\n".join(f"{key}:  {len(value)} bytes" for key, value in cluster.secrets[names[0]].items()) + "\n"
        )
    if "-l" in words:
        found = [name for (known, name) in cluster.things if known == cluster_kind(kind)]
        return Answer("\n".join(["NAME", *found]) + "\n")
    return Answer(yaml.safe_dump(cluster.thing(kind, names[0])))


def cluster_kind(kind: str) -> str:
    """Return the full name of a kind that people shorten."""
    return {"svc": "Service", "hpa": "HorizontalPodAutoscaler", "pdb": "PodDisruptionBudget"}[kind]


def _merge(there: dict[str, Any], change: dict[str, Any]) -> None:
    for key, value in change.items():
        if isinstance(value, dict):
            _merge(there.setdefault(key, {}), value)
        else:
            there[key] = value
