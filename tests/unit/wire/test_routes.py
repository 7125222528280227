"""Routes against Discord's own description, and their secrets."""

import inspect
import json
import os
import re
from pathlib import Path

import pytest

from modbot.discord import routes
from modbot.discord.routes import Route
from modbot.ops.settings import Secret

ROOT = Path(__file__).resolve().parents[3]
OPENAPI = Path(os.environ.get("SHARED_DIR", ROOT.parent / "shared")) / "reference" / "discord-openapi.json"


def every_route():
    for name, build in inspect.getmembers(routes, inspect.isfunction):
        if name.startswith("_") or build.__module__ != routes.__name__ or name == "quote":
            continue
        values = {}
        for number, parameter in enumerate(inspect.signature(build).parameters.values(), start=11):
            if parameter.default is inspect.Parameter.empty:
                values[parameter.name] = {"token": Secret("se/cret"), "emoji": "👍"}.get(parameter.name, number)
        yield name, build(**values)


ROUTES = dict(every_route())


def test_there_is_something_to_test():
    assert len(ROUTES) > 40
    assert all(isinstance(each, Route) for each in ROUTES.values())


@pytest.mark.skipif(not OPENAPI.exists(), reason=f"Discord's OpenAPI is not at {OPENAPI}")
@pytest.mark.parametrize("name", sorted(ROUTES))
def test_route_exists_in_discords_openapi(name):
    known = {re.sub(r"\{[^}]*\}", "{}", path): item for path, item in _paths().items()}
    route = ROUTES[name]
    assert route.method.lower() in known[re.sub(r"\{[^}]*\}", "{}", route.template)]


def _paths():
    if not hasattr(_paths, "cache"):
        _paths.cache = json.loads(OPENAPI.read_text())["paths"]
    return _paths.cache


@pytest.mark.parametrize("name", sorted(ROUTES))
def test_path_is_filled_in_and_safe(name):
    route = ROUTES[name]
    assert "{" not in route.path
    assert route.path.isascii()
    assert route.path.count("/") == route.template.count("/")


def test_token_of_an_interaction_splits_the_bucket_and_stays_unseen():
    route = routes.edit_original(5, Secret("tok-secret"))
    assert "tok-secret" in route.path
    assert "tok-secret" not in f"{route} {route!r}"
    assert route.major == "5/tok-secret"
    assert route.interaction
    assert not route.authenticated


def test_only_idempotent_or_protected_requests_are_repeatable():
    unsafe = {name for name, route in ROUTES.items() if not route.repeatable}
    assert unsafe == {"create_message", "create_channel", "create_thread", "interaction_callback", "follow_up"}
    assert routes.create_message(1, nonce=True).repeatable
