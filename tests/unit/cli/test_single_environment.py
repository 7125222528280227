"""What the processes of a single pod are given: the settings of production, the addresses of the pod, and no secret that is not theirs."""

from __future__ import annotations

from modbot.cli import single
from modbot.cli.single import Pod
from modbot.ops import settings
from modbot.ops.settings import ConfigSettings, GatewaySettings, HttpSettings, SingleSettings

GIVEN = {
    "MODBOT_INTERNAL_TOKEN": "an-internal-token-for-tests",
    "SESSION_SECRET": "a-session-secret-for-tests",
    "DISCORD_HASH": "bot-token",
    "DISCORD_SECRET": "client-secret",
    "DISCORD_APP_ID": "42",
    "DISCORD_PUBLIC_KEY": "ab" * 32,
    "MODBOT_CONFIG_URL": "http://config-service:3001",
    "MODBOT_LEASE_TTL": "7",
    "SERVICE_MODE": "single",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector",
}


def _inherited(group: type) -> dict[str, str]:
    environ = single.environment(GIVEN)
    pod = Pod(settings.load(SingleSettings, environ), environ)
    return pod._inherited(settings.names(group))


def test_what_lies_between_them_is_inside_the_pod() -> None:
    loaded = settings.load(SingleSettings, single.environment(GIVEN))
    assert (loaded.config.host, loaded.gateway.host) == ("127.0.0.1", "127.0.0.1")
    assert loaded.gateway.config_url == loaded.http.config_url == "http://127.0.0.1:3001"
    assert loaded.gateway.advertised_url == f"http://127.0.0.1:{loaded.gateway.port}"
    assert len({loaded.http.port, loaded.config.port, loaded.gateway.port}) == 3
    assert (loaded.http.host, loaded.http.port) == ("0.0.0.0", 3000)
    assert loaded.gateway.pod_name == "single-0"


def test_what_is_given_counts() -> None:
    given = {**GIVEN, "POD_NAME": "mod-bot-0", "MODBOT_GATEWAY_PORT": "4002", "DATABASE_URL": "postgresql://u@h/d"}
    loaded = settings.load(SingleSettings, single.environment(given))
    assert (loaded.gateway.pod_name, loaded.gateway.port) == ("mod-bot-0", 4002)
    assert loaded.gateway.advertised_url == "http://127.0.0.1:4002"
    assert loaded.config.database_url.reveal() == "postgresql://u@h/d"
    assert loaded.config.lease_ttl == 7


def test_each_gets_what_it_reads_and_no_secret_of_the_others() -> None:
    config, gateway, http = map(_inherited, (ConfigSettings, GatewaySettings, HttpSettings))
    assert not {"DISCORD_HASH", "DISCORD_SECRET", "SESSION_SECRET"} & set(config)
    assert not {"DATABASE_URL", "DISCORD_SECRET", "SESSION_SECRET"} & set(gateway)
    assert not {"DATABASE_URL", "DISCORD_HASH"} & set(http)
    for environ, group in ((config, ConfigSettings), (gateway, GatewaySettings), (http, HttpSettings)):
        settings.load(group, environ | {"DATABASE_URL": "postgresql://u@h/d"})
        assert "SERVICE_MODE" not in environ
        assert environ["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector", "what is not a setting is everybody's"


def test_the_longest_stop_is_shorter_than_kubernetes_waits() -> None:
    assert sum(grace for _, _, grace in single._STOPS) <= single.LONGEST_STOP < 60
    assert [name for name, _, _ in single._STOPS] == ["http", "gateway", "litestream", "config", "postgres"]
