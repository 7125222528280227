import openapi
import pytest

pytestmark = pytest.mark.skipif(
    not openapi.path().exists(), reason="needs shared/reference/discord-openapi.json (or SHARED_DIR)"
)


def test_the_checker_names_the_place_of_a_deviation():
    checker = openapi.Checker()
    checker.check("POST", "/channels/1/messages", request={"embeds": [{"title": 5}]}, status=200, response={"id": 7})
    assert any("request $.embeds[0].title" in one for one in checker.deviations)
    assert any("response" in one for one in checker.deviations)
    with pytest.raises(AssertionError):
        checker.verify()


def test_the_checker_knows_the_routes():
    checker = openapi.Checker()
    assert checker.operation("DELETE", "/channels/1/messages/2/reactions/x/@me").endswith("/@me")
    checker.check("GET", "/no/such", request=None, status=200, response=None)
    assert checker.deviations == ["GET /no/such: not in the OpenAPI description"]


async def test_calls_of_this_suite_are_checked(api):
    await api.post("checked")
    assert api.simulator.rest_log.total == 1
