"""Each promise of the manifests is broken once, and the check that guards it must say so."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from deployment import environment, living, probing, reaching, rendering, wiring
from deployment.rendering import Object

_IMAGES = {"": rendering.IMAGE, "config": rendering.IMAGE_CONFIG, "migrate": rendering.IMAGE_CONFIG}
Break = Callable[[list[Object]], object]


def _main(objects: list[Object], name: str) -> Object:
    return rendering.workload(objects, name).main


def _drop(name: str, variable: str) -> Break:
    def change(objects: list[Object]) -> None:
        main = _main(objects, name)
        main["env"] = rendering.without(main["env"], variable)

    return change


def _add(name: str, variable: Object) -> Break:
    return lambda objects: _main(objects, name)["env"].append(variable)


def _secret(key: str, **more: object) -> Object:
    return {"name": key, "valueFrom": {"secretKeyRef": {"name": "modbot-env", "key": key, **more}}}


def _set(name: str, probe: str, **get: object) -> Break:
    return lambda objects: _main(objects, name)[probe]["httpGet"].update(get)


def _spec(kind: str, name: str, **changes: object) -> Break:
    return lambda objects: rendering.of_kind(objects, kind)[name]["spec"].update(changes)


def _pod(name: str, **changes: object) -> Break:
    return lambda objects: rendering.workload(objects, name).pod.update(changes)


def _remove(kind: str, name: str) -> Break:
    return lambda objects: objects.remove(rendering.of_kind(objects, kind)[name])


def _plain_sidecar(objects: list[Object]) -> None:
    pod = rendering.workload(objects, "gateway").pod
    sidecar = pod["initContainers"].pop()
    del sidecar["restartPolicy"]
    pod["containers"].append(sidecar)


def _sidecar_restarts_never(objects: list[Object]) -> None:
    del rendering.workload(objects, "gateway").pod["initContainers"][1]["restartPolicy"]


def _other_socket(objects: list[Object]) -> None:
    next(each for each in _main(objects, "gateway")["env"] if each["name"] == "MODBOT_LITESTREAM_SOCKET")["value"] = (
        "/data/s"
    )


def _memory(name: str, limit: str) -> Break:
    return lambda objects: _main(objects, name)["resources"]["limits"].update(memory=limit)


def _public_metrics(objects: list[Object]) -> None:
    paths = rendering.of_kind(objects, "Ingress")["mod-bot-ingress"]["spec"]["rules"][0]["http"]["paths"]
    paths.append({**paths[0], "path": "/metrics"})


_BREAKS: dict[str, tuple[Callable[[list[Object]], list[str]], Break, str]] = {
    "a variable is dropped": (
        environment.problems,
        _drop("gateway", "LITESTREAM_REGION"),
        "LITESTREAM_REGION is not set",
    ),
    "a plain variable is dropped": (
        environment.problems,
        _drop("http-service", "MODBOT_CONFIG_URL"),
        "MODBOT_CONFIG_URL",
    ),
    "a variable is misspelt": (
        environment.problems,
        _add("config-service", {"name": "MODBOT_SHARDS", "value": "16"}),
        "MODBOT_SHARDS is no setting",
    ),
    "a value is malformed": (
        environment.problems,
        lambda objects: _main(objects, "config-service")["env"][1].update(value="many"),
        "MODBOT_SHARD_COUNT is not valid",
    ),
    "a secret goes where nobody needs it": (
        environment.problems,
        _add("http-service", _secret("DISCORD_HASH")),
        "DISCORD_HASH is set and not read",
    ),
    "a secret may be missing": (
        environment.problems,
        lambda objects: _main(objects, "http-service")["env"][-1]["valueFrom"]["secretKeyRef"].update(optional=True),
        "missing in silence",
    ),
    "a key that nobody documents": (
        environment.problems,
        lambda objects: _main(objects, "http-service")["env"][-1]["valueFrom"]["secretKeyRef"].update(key="SECRET"),
        "no documented key",
    ),
    "a whole secret": (
        environment.problems,
        lambda objects: _main(objects, "gateway").update(envFrom=[{"secretRef": {"name": "modbot-env"}}]),
        "whole secret",
    ),
    "the check does not see a variable": (
        environment.problems,
        lambda objects: rendering.workload(objects, "gateway").pod["initContainers"][0]["env"].pop(),
        "gateway/check: LITESTREAM_SECRET_ACCESS_KEY is not set",
    ),
    "a probe asks a wrong path": (
        probing.problems,
        _set("gateway", "readinessProbe", path="/healthcheck"),
        "/healthcheck",
    ),
    "liveness asks what readiness asks": (
        probing.problems,
        _set("gateway", "livenessProbe", path="/ready"),
        "livenessProbe",
    ),
    "a probe asks a wrong port": (probing.problems, _set("config-service", "startupProbe", port=3000), "port 3000"),
    "a probe is missing": (
        probing.problems,
        lambda objects: _main(objects, "http-service").pop("startupProbe"),
        "no startupProbe",
    ),
    "a process listens elsewhere": (
        probing.problems,
        lambda objects: _main(objects, "http-service")["env"][0].update(value="8080"),
        "nobody listens on",
    ),
    "a Service selects too much": (
        probing.problems,
        _spec("Service", "http-service", selector={"app": "mod-bot"}),
        "Service http-service selects",
    ),
    "a Service selects nothing": (
        probing.problems,
        _spec("Service", "gateway-internal", selector={"app": "mod-bot", "component": "gateways"}),
        "selects nothing",
    ),
    "metrics become public": (probing.problems, _public_metrics, "/metrics"),
    "a selector changes": (
        wiring.problems,
        lambda objects: rendering.workload(objects, "gateway").spec["selector"]["matchLabels"].update(component="http"),
        "does not match its own pods",
    ),
    "a version in a selector": (
        wiring.problems,
        lambda objects: [
            labels.update(version="v2")
            for labels in (
                rendering.workload(objects, "gateway").labels,
                rendering.workload(objects, "gateway").spec["selector"]["matchLabels"],
            )
        ],
        "by a version",
    ),
    "a ConfigMap is gone": (wiring.problems, _remove("ConfigMap", "litestream-config"), "does not exist"),
    "an account is gone": (wiring.problems, _remove("ServiceAccount", "gateway"), "account does not exist"),
    "an image does not come from the context": (
        lambda objects: wiring.problems(objects, _IMAGES),
        lambda objects: _main(objects, "gateway").update(image="bot:latest"),
        "has the image bot:latest",
    ),
    "two StatefulSets select each other's pods": (
        wiring.problems,
        lambda objects: (
            rendering.workload(objects, "config-service").spec["selector"].update(matchLabels={"app": "mod-bot"})
        ),
        "selects the pods of gateway",
    ),
    "the sidecar is an ordinary container": (
        living.problems,
        _plain_sidecar,
        "no native sidecar",
    ),
    "the sidecar is an ordinary init container": (living.problems, _sidecar_restarts_never, "no native sidecar"),
    "the sidecar listens elsewhere": (living.problems, _other_socket, "another socket"),
    "no time for the handoff": (living.problems, _pod("gateway", terminationGracePeriodSeconds=60), "60 s of grace"),
    "a budget blocks drains": (
        living.problems,
        lambda objects: rendering.of_kind(objects, "PodDisruptionBudget")["gateway-pdb"]["spec"].update(
            maxUnavailable=0
        ),
        "blocks every drain",
    ),
    "a budget wants a number of pods": (
        living.problems,
        lambda objects: rendering.of_kind(objects, "PodDisruptionBudget")["gateway-pdb"].update(
            spec={"minAvailable": 2, "selector": {"matchLabels": {"app": "mod-bot", "component": "gateway"}}}
        ),
        "would block a drain",
    ),
    "a budget promises nothing": (
        living.problems,
        lambda objects: rendering.of_kind(objects, "PodDisruptionBudget")["gateway-pdb"]["spec"].update(
            maxUnavailable=3
        ),
        "all pods go at once",
    ),
    "a budget is missing": (living.problems, _remove("PodDisruptionBudget", "config-service-pdb"), "has 0 budgets"),
    "too little memory": (living.problems, _memory("gateway", "128Mi"), "less than twice"),
    "no limit": (living.problems, lambda objects: _main(objects, "gateway")["resources"].pop("limits"), "does not say"),
    "the HPA looks at memory": (
        living.problems,
        lambda objects: rendering.of_kind(objects, "HorizontalPodAutoscaler")["http-service-hpa"]["spec"][
            "metrics"
        ].append({"type": "Resource", "resource": {"name": "memory"}}),
        "never scale down",
    ),
    "replicas fight with the HPA": (
        living.problems,
        lambda objects: rendering.workload(objects, "http-service").spec.update(replicas=2),
        "states replicas",
    ),
    "root": (living.problems, _pod("http-service", securityContext={}), "as root"),
    "a writable root file system": (
        living.problems,
        lambda objects: _main(objects, "http-service")["securityContext"].update(readOnlyRootFilesystem=False),
        "more rights",
    ),
}


@pytest.mark.parametrize("name", _BREAKS)
def test_a_break_is_seen(proposed: list[Object], name: str) -> None:
    problems, change, words = _BREAKS[name]
    change(proposed)
    assert words in " | ".join(problems(proposed))


@pytest.mark.parametrize(
    "policy", ["http-service", "config-service", "config-postgres", "gateway", "restore-drill", "mod-bot-dns"]
)
def test_without_a_policy_the_edges_are_others(proposed: list[Object], policy: str) -> None:
    whole = reaching.edges(proposed)
    _remove("NetworkPolicy", policy)(proposed)
    assert reaching.edges(proposed) != whole
