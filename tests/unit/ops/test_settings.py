"""Settings from the environment: one sentence for what is wrong, and never a secret in it."""

import pytest

from modbot.domain.errors import SettingsError
from modbot.ops import settings
from modbot.ops.settings import ConfigSettings, GatewaySettings, HttpSettings, Secret

TOKEN = "0123456789abcdef-internal"
GATEWAY = {
    "MODBOT_INTERNAL_TOKEN": TOKEN,
    "DISCORD_HASH": "bot-token-value",
    "DISCORD_APP_ID": "42",
    "POD_NAME": "gateway-0",
}
CONFIG = {"MODBOT_INTERNAL_TOKEN": TOKEN, "DATABASE_URL": "postgresql://u:hidden-word@h/d"}


def test_what_is_given_and_what_is_default():
    loaded = settings.load(
        GatewaySettings, {**GATEWAY, "MODBOT_CAPACITY": "7", "MODBOT_MESSAGE_CONTENT": "off", "PATH": "/"}
    )
    assert loaded.common.internal_token.reveal() == TOKEN
    assert (loaded.discord.application_id, loaded.capacity, loaded.discord.message_content) == (42, 7, False)
    assert loaded.port == 3000


@pytest.mark.parametrize("name", sorted(GATEWAY))
def test_a_missing_variable_is_named(name):
    environ = {key: value for key, value in GATEWAY.items() if key != name}
    with pytest.raises(SettingsError, match=name):
        settings.load(GatewaySettings, environ)


@pytest.mark.parametrize(
    ("name", "value"), [("MODBOT_CAPACITY", "many"), ("DISCORD_APP_ID", "x"), ("MODBOT_MESSAGE_CONTENT", "maybe")]
)
def test_a_malformed_value_is_named(name, value):
    with pytest.raises(SettingsError, match=name):
        settings.load(GatewaySettings, {**GATEWAY, name: value})


def test_an_unknown_name_is_refused_and_one_of_another_process_is_not():
    with pytest.raises(SettingsError, match="MODBOT_CAPACTIY is not"):
        settings.load(GatewaySettings, {**GATEWAY, "MODBOT_CAPACTIY": "7"})
    settings.load(GatewaySettings, {**GATEWAY, "MODBOT_SHARD_COUNT": "7"})


@pytest.mark.parametrize("weak", ["", " ", "changeme", "Secret", "short-but-own"])
def test_a_weak_secret_is_refused_without_showing_it(weak):
    with pytest.raises(SettingsError, match="MODBOT_INTERNAL_TOKEN") as caught:
        settings.load(GatewaySettings, {**GATEWAY, "MODBOT_INTERNAL_TOKEN": weak})
    assert "short-but-own" not in str(caught.value)


def test_secrets_show_nowhere():
    loaded = settings.load(ConfigSettings, CONFIG)
    for text in (repr(loaded), str(loaded), f"{loaded.database_url}", f"{loaded.database_url!r:>40}", repr([loaded])):
        assert "hidden-word" not in text
        assert TOKEN not in text
    assert loaded.database_url == Secret("postgresql://u:hidden-word@h/d")


def test_every_setting_is_described():
    for group in settings.GROUPS:
        for setting in settings.describe(group):
            assert len(setting.env.doc) > 10
    assert any(setting.secret for setting in settings.describe(HttpSettings))
