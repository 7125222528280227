"""What the rendered manifests promise: variables, probes, names, ends, edges. `test_breaks.py` breaks each promise once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from deployment import environment, living, probing, reaching, rendering, wiring
from deployment.rendering import CANARY, KUSTOMIZATIONS, PRODUCTION, PROPOSED, REGIONS, SINGLE, Object, Rendered

from modbot.domain import ids, pins

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


@pytest.mark.parametrize("name", KUSTOMIZATIONS)
def test_names_and_labels_of_gateway_pods_are_taken(rendered: Render, name: str) -> None:
    objects = rendered(name).objects()
    for each in rendering.workloads(objects):
        if environment.mode(each.main) in {"gateway", "single"}:
            assert ids.parse_pod_id(f"{each.name}-{rendering.replicas(objects, each)}")
    assert all(pins.parse_labels(text) for text in _labels(objects).values())


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
