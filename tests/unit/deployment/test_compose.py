"""compose.yaml runs what the manifests run: the same variables, the same order, nothing that is not asked for."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from deployment import environment, living, probing
from deployment.rendering import ROOT, Object
from yamllint import linter
from yamllint.config import YamlLintConfig

from modbot.ops import settings

_TEXT = (ROOT / "compose.yaml").read_text("utf-8")
_EXAMPLE = (ROOT / "compose.env.example").read_text("utf-8")
_FROM_THE_STORE = {name for name in environment.SECRETS["modbot-env"] if name.startswith("LITESTREAM_")}
_GROUPS = {"http": settings.HttpSettings, "config": settings.ConfigSettings, "gateway": settings.GatewaySettings}


def _compose() -> Any:
    return yaml.safe_load(_TEXT)


def _mode(service: Object) -> str:
    return (service.get("command") or [service.get("entrypoint", ["postgres"])[0]])[0]


def _problems(services: dict[str, Object]) -> list[str]:
    found = []
    for name, service in services.items():
        mode, given = _mode(service), set(service.get("environment", {}))
        if mode == "litestream":
            continue
        if mode == "gateway":  # a folder is the store, so no bucket is named
            given = given - {"MODBOT_REPLICA_STORE"} | _FROM_THE_STORE
        found += [f"{name}: {problem}" for problem in environment.differences(mode, given)]
    return found


@pytest.mark.parametrize("name", ["compose.yaml", "compose.litestream.yaml"])
def test_yamllint_has_nothing_to_say(name: str) -> None:
    config = YamlLintConfig(file=str(ROOT / ".yamllint.yaml"))
    assert [str(each) for each in linter.run((ROOT / name).read_text("utf-8"), config)] == []


def test_every_variable_is_set_and_read() -> None:
    assert _problems(_compose()["services"]) == []


@pytest.mark.parametrize("name", ["MODBOT_CONFIG_URL", "POD_NAME", "DISCORD_HASH"])
def test_a_variable_that_is_dropped_is_missed(name: str) -> None:
    services = _compose()["services"]
    del services["gateway-1"]["environment"][name]
    assert _problems(services) == [f"gateway-1: {name} is not set"]


def test_the_values_are_taken_by_modbot() -> None:
    for service in _compose()["services"].values():
        group = _GROUPS.get(_mode(service))
        if group is not None:
            environ = {name: _filled(name, value) for name, value in service["environment"].items()}
            settings.load(group, environ)


def test_what_env_must_hold_stands_in_the_example() -> None:
    asked = set(re.findall(r"\$\{(\w+):\?", _TEXT))
    assert asked == set(re.findall(r"^(\w+)=", _EXAMPLE, re.MULTILINE))
    assert set(re.findall(r"\$\{(\w+)\}", _TEXT)) <= asked
    assert set(re.findall(r"\$\{(\w+):-", _TEXT)) == {"IMAGE", "IMAGE_CONFIG"}


def test_the_whole_system_is_there() -> None:
    modes = [_mode(each) for each in _compose()["services"].values()]
    assert {mode: modes.count(mode) for mode in modes} == {
        "postgres": 1,
        "migrate": 1,
        "config": 1,
        "gateway": 3,
        "litestream": 3,
        "http": 2,
    }


def test_each_gateway_has_a_sidecar_with_its_volume_that_outlives_it() -> None:
    services = _compose()["services"]
    for name, pod in services.items():
        if _mode(pod) == "gateway":
            sidecar = services[name.replace("gateway", "litestream")]
            assert pod["volumes"] == sidecar["volumes"]
            assert pod["volumes"][0] == f"{name}:/data"
            assert pod["environment"]["POD_NAME"] == name
            assert pod["environment"]["MODBOT_ADVERTISED_URL"] == f"http://{name}:3000"
            # Compose stops what depends on another first.
            assert pod["depends_on"][name.replace("gateway", "litestream")] == {"condition": "service_healthy"}
            assert pod["environment"]["MODBOT_LITESTREAM_SOCKET"] in sidecar["healthcheck"]["test"]
            assert _seconds(pod["stop_grace_period"]) > float(pod["environment"]["MODBOT_DRAIN_LIMIT"])
            assert _seconds(sidecar["stop_grace_period"]) > living.LAST_SYNC
    # A file and no `content`: Compose would copy that into the container, which a read-only one refuses.
    config = yaml.safe_load((ROOT / _compose()["configs"]["litestream"]["file"]).read_text("utf-8"))
    assert config["socket"] == {
        "enabled": True,
        "path": services["gateway-0"]["environment"]["MODBOT_LITESTREAM_SOCKET"],
    }


def test_health_checks_ask_what_is_served() -> None:
    ports = {"http": 3000, "config": 3001, "gateway": 3000}
    for service in _compose()["services"].values():
        mode = _mode(service)
        if mode in ports:
            assert service["healthcheck"]["test"][-1] == f"http://127.0.0.1:{ports[mode]}/ready"
            assert "/ready" in probing.served(mode)
        assert "healthcheck" in service or mode == "migrate"


def test_nothing_waits_for_what_is_not_there_and_nothing_runs_as_root() -> None:
    compose = _compose()
    for service in compose["services"].values():
        assert set(service.get("depends_on", {})) <= set(compose["services"])
        assert {each.partition(":")[0] for each in service.get("volumes", [])} <= set(compose["volumes"])
        if _mode(service) != "postgres":
            assert (service["user"], service["read_only"], service["cap_drop"]) == ("10001:10001", True, ["ALL"])
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert len(published) == 2


def _filled(name: str, value: str) -> str:
    samples = {"DISCORD_APP_ID": "42", "DISCORD_PUBLIC_KEY": "ab" * 32}
    return samples.get(name, "a-made-up-value-0123") if "${" in value else value


def _seconds(text: str) -> float:
    return float(text.removesuffix("s"))
