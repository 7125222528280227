import asyncio

import aiohttp
import pytest


@pytest.fixture
def limited(api):
    api.simulator.switches.rest.limits = True
    return api


def messages(api):
    return f"/channels/{api.place.general_id}/messages"


async def test_a_bucket_tells_what_is_left_and_refuses_the_sixth_message(limited):
    answers = [await limited.call("POST", messages(limited), {"content": "x"}) for _ in range(6)]
    assert [one.headers["X-RateLimit-Remaining"] for one in answers] == ["4", "3", "2", "1", "0", "0"]
    last = answers[-1]
    assert (last.status, last.body["global"], last.body["retry_after"]) == (429, False, 5.0)
    assert (last.headers["X-RateLimit-Scope"], last.headers["Via"]) == ("user", "1.1 google")
    assert float(last.headers["X-RateLimit-Reset"]) == limited.clock.now + 5
    other = await limited.call("POST", f"/channels/{limited.place.mod_log_id}/messages", {"content": "x"})
    assert other.status == 200
    assert other.headers["X-RateLimit-Bucket"] == last.headers["X-RateLimit-Bucket"]
    limited.clock.now += 5
    assert (await limited.call("POST", messages(limited), {"content": "x"})).status == 200


async def test_the_global_limit_counts_all_routes(limited):
    limited.simulator.switches.rest.global_per_second = 3
    answers = [await limited.call("GET", f"/users/{limited.place.owner_id}") for _ in range(4)]
    assert [one.status for one in answers] == [200, 200, 200, 429]
    assert (answers[-1].headers["X-RateLimit-Global"], answers[-1].body["global"]) == ("true", True)
    assert answers[-1].headers["X-RateLimit-Scope"] == "global"


async def test_interaction_routes_do_not_count_globally(limited):
    limited.simulator.switches.rest.global_per_second = 1
    await limited.ok("GET", "/users/@me")
    path = "/interactions/1/token/callback"
    assert [(await limited.call("POST", path, {"type": 1})).status for _ in range(3)] == [404] * 3


async def test_too_many_invalid_requests_are_kept_out_without_json(limited):
    limited.simulator.switches.rest.invalid_requests = 3
    for _ in range(3):
        assert (await limited.call("GET", "/users/@me", token="Bot wrong")).status == 401
    kept_out = await limited.call("GET", "/users/@me")
    assert (kept_out.status, isinstance(kept_out.body, bytes)) == (403, True)
    limited.clock.now += 601
    assert (await limited.call("GET", "/users/@me")).status == 200


async def test_shared_refusals_are_not_held_against_the_client(limited):
    limited.simulator.switches.rest.invalid_requests = 1
    await _fault(limited, kind="rate_limit", scope="shared", count=2, seconds=3)
    for _ in range(2):
        answer = await limited.call("GET", "/users/@me")
        assert (answer.status, answer.body["retry_after"], answer.headers["X-RateLimit-Scope"]) == (429, 3, "shared")
    assert (await limited.call("GET", "/users/@me")).status == 200


async def test_limits_can_be_scaled(limited):
    async with limited.client.patch(f"{limited.url}/control/rest/switches", json={"limits_scale": 2.0}) as answer:
        assert (await answer.json())["limits_scale"] == 2.0
    assert (await limited.call("POST", messages(limited), {"content": "x"})).headers["X-RateLimit-Limit"] == "10"
    async with limited.client.patch(f"{limited.url}/control/rest/switches", json={"limits_scale": 0}) as answer:
        assert answer.status == 400


async def _fault(api, **wanted):
    async with api.client.post(f"{api.url}/control/rest/faults", json=wanted) as answer:
        assert answer.status == 201
        return await answer.json()


async def test_the_next_requests_fail_and_nothing_is_applied(api):
    await _fault(api, kind="server_error", status=502, count=2, method="POST", route="/messages$")
    answers = [await api.call("POST", messages(api), {"content": "x"}) for _ in range(3)]
    assert [one.status for one in answers] == [502, 502, 200]
    assert len([one for one in api.events if one.name == "MESSAGE_CREATE"]) == 1


async def test_a_dropped_response_was_applied(api):
    await _fault(api, kind="drop_response", count=1, method="POST")
    with pytest.raises(aiohttp.ClientError):
        await api.call("POST", messages(api), {"content": "lost?", "nonce": "n-1", "enforce_nonce": True})
    entry = api.simulator.rest_log.requests[-1]
    assert (entry.outcome, entry.status, entry.nonce) == ("dropped", 200, "n-1")
    again = await api.ok("POST", messages(api), {"content": "lost?", "nonce": "n-1", "enforce_nonce": True})
    assert again["content"] == "lost?"
    assert len([one for one in api.events if one.name == "MESSAGE_CREATE"]) == 1


async def test_a_reset_connection_was_not_applied(api):
    await _fault(api, kind="reset", count=1)
    with pytest.raises(aiohttp.ClientError):
        await api.call("POST", messages(api), {"content": "never"})
    assert not api.world.channels[api.place.general_id].messages


async def test_slow_answers(api):
    await _fault(api, kind="slow", seconds=30, count=1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await api.call("GET", "/users/@me")
    assert (await api.call("GET", "/users/@me")).status == 200


async def test_faults_and_log_over_control(api):
    fault = await _fault(api, kind="server_error", probability=0.0)
    async with api.client.get(f"{api.url}/control/rest/faults") as answer:
        assert await answer.json() == [fault]
    async with api.client.delete(f"{api.url}/control/rest/faults/{fault['id']}") as answer:
        assert answer.status == 204
    async with api.client.post(f"{api.url}/control/rest/faults", json={"kind": "slow", "route": "("}) as answer:
        assert answer.status == 400
    await api.post("logged")
    async with api.client.get(f"{api.url}/control/rest/log?limit=1") as answer:
        log = await answer.json()
    assert log["requests"][0]["route"] == "/channels/{channel_id}/messages"
    assert log["requests"][0]["user_agent"].startswith("Python/")
    assert log["counters"]["by_status"] == {"200": 1}
