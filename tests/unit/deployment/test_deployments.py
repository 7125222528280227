"""What the rendered manifests promise: variables, probes, names, ends, edges. Each promise is broken once, and the break must be seen."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from deployment import environment, living, probing, reaching, rendering, wiring
from deployment.rendering import CANARY, KUSTOMIZATIONS, PRODUCTION, PROPOSED, REGIONS, SINGLE, Object, Rendered

_IMAGES = {
    "": rendering.IMAGE,
    "config": rendering.IMAGE_CONFIG,
    "migrate": rendering.IMAGE_CONFIG,
}
# Who needs whom. Everything else must be impossible.
_WORLD = {("gateway", "internet", 443), ("gateway", "internet by IPv6", 443), ("restore-drill", "internet", 443)}
_WORLD |= {("restore-drill", "internet by IPv6", 443)}
_EDGES = (
    {
        ("ingress controller", "http-service", 3000),
        ("prometheus", "http-service", 3000),
        ("prometheus", "config-service", 3001),
        ("prometheus", "gateway", 3000),
        ("http-service", "config-service", 3001),
        ("http-service", "gateway", 3000),
        ("gateway", "config-service", 3001),
        ("gateway", "gateway", 3000),
        ("config-service", "config-postgres", 5432),
        ("config-migrate", "config-postgres", 5432),
        ("restore-drill", "config-service", 3001),
    }
    | _WORLD
    | {(each, "dns", 53) for each in ("http-service", "config-service", "config-migrate", "gateway", "restore-drill")}
)
_SINGLE_EDGES = {
    ("ingress controller", "mod-bot", 3000),
    ("prometheus", "mod-bot", 3000),
    ("mod-bot", "dns", 53),
    ("mod-bot", "internet", 443),
    ("mod-bot", "internet by IPv6", 443),
}
Render = Callable[[str], Rendered]
Break = Callable[[list[Object]], object]


@pytest.mark.parametrize("name", KUSTOMIZATIONS)
def test_every_variable_is_set_and_read(rendered: Render, name: str) -> None:
    assert environment.problems(rendered(name).objects()) == []


@pytest.mark.parametrize("name", KUSTOMIZATIONS)
def test_probes_services_and_ingress_meet_what_is_served(rendered: Render, name: str) -> None:
    assert probing.problems(rendered(name).objects()) == []


@pytest.mark.parametrize("name", [name for name in KUSTOMIZATIONS if name != CANARY])
def test_names_lead_somewhere_and_images_come_from_the_context(rendered: Render, name: str) -> None:
    assert wiring.problems(rendered(name).objects(), _IMAGES) == []


@pytest.mark.parametrize("name", KUSTOMIZATIONS)
def test_pods_start_stop_and_fit(rendered: Render, name: str) -> None:
    assert living.problems(rendered(name).objects()) == []


def test_exactly_the_documented_secrets_are_used(proposed: list[Object]) -> None:
    assert environment.used_keys(proposed) == environment.SECRETS


def test_settings_left_at_their_default_exist() -> None:
    assert environment.LEFT_AT_DEFAULT.keys() - environment.known() == set()


def test_exactly_the_needed_edges(proposed: list[Object]) -> None:
    assert reaching.edges(proposed) == _EDGES


def test_exactly_the_needed_edges_of_the_single_pod(rendered: Render) -> None:
    assert reaching.edges(rendered(SINGLE).objects()) == _SINGLE_EDGES


def test_with_a_managed_database_the_config_pods_reach_it(rendered: Render) -> None:
    edges = reaching.edges(rendered(PRODUCTION).objects())
    outside = {
        ("config-service", each, 5432) for each in ("internet", "internet by IPv6", "Kubernetes API", "cloud metadata")
    }
    assert outside <= edges
    assert {each for each in edges if each[0] == "gateway"} == {each for each in _EDGES if each[0] == "gateway"}


def test_each_deployment_leaves_the_other_alone(rendered: Render) -> None:
    """Both may be there at once, in the middle of a rollback."""
    single, proposed = rendered(SINGLE).objects(), rendered(PROPOSED).objects()
    both = [*single, *proposed]
    assert reaching.edges(both) == _EDGES | _SINGLE_EDGES
    assert [each for each in probing.problems(both) if "selects" in each] == []
    assert wiring.problems(both) == []
    names = [{(each["kind"], each["metadata"]["name"]) for each in objects} for objects in (single, proposed)]
    assert names[0] & names[1] == {("Ingress", "mod-bot-ingress")}


def test_names_and_sizes_of_the_description(proposed: list[Object]) -> None:
    resources = {
        each.name: (each.main["resources"]["requests"]["memory"], each.main["resources"]["requests"]["cpu"])
        for each in rendering.workloads(proposed)
    }
    assert resources.items() >= {
        ("gateway", ("256Mi", "50m")),
        ("http-service", ("256Mi", "50m")),
        ("config-service", ("128Mi", "20m")),
        ("config-postgres", ("256Mi", "100m")),
    }
    assert {each.name: rendering.replicas(proposed, each) for each in rendering.workloads(proposed)}.items() >= {
        ("gateway", 3),
        ("http-service", 2),
        ("config-service", 2),
        ("config-postgres", 1),
    }
    hpa = rendering.of_kind(proposed, "HorizontalPodAutoscaler")["http-service-hpa"]["spec"]
    assert (hpa["minReplicas"], hpa["maxReplicas"]) == (2, 10)
    gateway = rendering.workload(proposed, "gateway")
    assert gateway.spec["podManagementPolicy"] == "Parallel"
    assert rendering.of_kind(proposed, "Service")["gateway-internal"]["spec"].items() >= {
        ("clusterIP", "None"),
        ("publishNotReadyAddresses", True),
    }
    assert gateway.spec["volumeClaimTemplates"][0]["spec"]["resources"] == {"requests": {"storage": "1Gi"}}


def test_the_base_takes_the_storage_class_of_the_cluster(rendered: Render) -> None:
    classes = {name: _storage_classes(rendered(name).objects()) for name in (SINGLE, PROPOSED, PRODUCTION)}
    assert classes == {SINGLE: {None}, PROPOSED: {None}, PRODUCTION: {"do-block-storage"}}


def test_the_canary_runs_its_own_image_and_the_rest_does_not(rendered: Render) -> None:
    objects = rendered(CANARY).objects()
    images = {each.name: {container["image"] for container in each.containers} for each in rendering.workloads(objects)}
    assert images["gateway-canary"] == {rendering.IMAGE_CANARY}
    assert images["gateway"] == {rendering.IMAGE}
    assert wiring.problems(objects) == []
    assert _labels(objects) == {"gateway": "track=stable", "gateway-canary": "track=canary"}


def test_regions_are_demanded_of_the_nodes_and_told_to_the_pods(rendered: Render) -> None:
    objects = rendered(REGIONS).objects()
    assert _labels(objects) == {"gateway": "track=stable,zone=fra1", "gateway-b": "track=stable,zone=ams3"}
    for name, zone in (("gateway", "fra1"), ("gateway-b", "ams3")):
        pod = rendering.workload(objects, name).pod
        (term,) = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        wanted = {"key": "topology.kubernetes.io/zone", "operator": "In", "values": [zone]}
        assert term["matchExpressions"] == [wanted]


def _labels(objects: list[Object]) -> dict[str, str]:
    return {
        each.name: variable["value"]
        for each in rendering.workloads(objects)
        for variable in each.main.get("env", [])
        if variable["name"] == "MODBOT_POD_LABELS"
    }


def _storage_classes(objects: list[Object]) -> set[str | None]:
    return {
        claim["spec"].get("storageClassName")
        for each in rendering.workloads(objects)
        for claim in each.spec.get("volumeClaimTemplates", [])
    }


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
    "the check forgets a variable": (
        environment.problems,
        lambda objects: rendering.workload(objects, "gateway").pod["initContainers"][0]["env"].pop(),
        "set or checked, not both",
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
        lambda objects: [part for each in rendering.workloads(objects) for part in living._sidecars(_Single(each))],
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


class _Single:
    """A workload with two containers, seen by a check of the first one."""

    def __init__(self, workload: rendering.Workload) -> None:
        self.pod, self.containers, self.main = workload.pod, workload.containers, workload.pod["containers"][0]


@pytest.mark.parametrize("name", _BREAKS)
def test_a_break_is_seen(proposed: list[Object], name: str) -> None:
    problems, change, words = _BREAKS[name]
    assert problems(proposed) == []
    change(proposed)
    assert words in " | ".join(problems(proposed))


@pytest.mark.parametrize(
    "policy", ["http-service", "config-service", "config-postgres", "gateway", "restore-drill", "mod-bot-dns"]
)
def test_without_a_policy_the_edges_are_others(proposed: list[Object], policy: str) -> None:
    _remove("NetworkPolicy", policy)(proposed)
    assert reaching.edges(proposed) != _EDGES
