"""The internal API of a gateway pod, over a real socket, with a scripted shard behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import msgspec
import pytest

from modbot.cluster import protocol
from modbot.cluster.confirming import PeerClient
from modbot.cluster.failsafe import Failsafe
from modbot.cluster.routing import Route
from modbot.domain.errors import StaleEpochError
from modbot.domain.ids import Epoch, Incarnation, PodId, ShardId
from modbot.ops import serving
from modbot.ops.settings import Secret
from modbot.services.gateway.api import Api
from modbot.shard.gaps import Summary
from modbot.shard.registry import Registry

TOKEN = "an-internal-token-of-this-test"
INTERACTION = {
    "id": "5",
    "application_id": "1",
    "type": 2,
    "token": "t",
    "guild_id": "9",
    "data": {"name": "setup", "type": 1},
}
OTHER = Route(ShardId("1-of-2"), Epoch(7), PodId("gateway-1"), "http://gateway-1.gateway-internal:3000")
GAP = Summary(
    gap_id=1,
    kind="session",
    reason="op 9",
    session_id="a",
    last_seq=7,
    next_session_id="b",
    next_seq=1,
    missing=None,
    began_at=1,
    ended_at=2,
    guilds=3,
    repaired=2,
    messages=37,
    entries=0,
    bans=0,
    unreadable=1,
)


class Engine:
    """Remembers what it was asked."""

    offset = None

    def __init__(self) -> None:
        self.asked: list[tuple[int, bool, bool]] = []
        self.error: Exception | None = None

    async def list_gaps(self) -> list[Summary]:
        return [GAP]

    def effects_waiting(self) -> tuple[int, float]:
        return 0, 0.0

    async def interact(self, interaction: Any, *, deferred: bool, durable: bool) -> bytes:
        if self.error is not None:
            raise self.error
        self.asked.append((interaction.id, deferred, durable))
        return b'{"type":4}'


class Pod:
    """As much of a pod as the API looks at."""

    def __init__(self) -> None:
        self.pod_id = PodId("gateway-0")
        self.settings = SimpleNamespace(common=SimpleNamespace(internal_token=Secret(TOKEN)))
        self.started = True
        self.ready = True
        self.acting = "lease"
        here = Path(__file__).parent
        self.surroundings = SimpleNamespace(data_dir=here, tools=SimpleNamespace(registry=Registry(())))
        self.time = 0.0
        keeper = Failsafe(self.pod_id, Incarnation("me"), now=lambda: self.time)
        self.lease = SimpleNamespace(
            failsafe=keeper, valid_for=lambda _seconds: self.acting != "no", seconds_left=lambda: 5.0, grant=None
        )
        self.engine = Engine()
        self.applied: list[int] = []
        inbox = SimpleNamespace(applied=self.applied.append)
        self.served = SimpleNamespace(
            shard_id="0-of-2",
            epoch=3,
            engine=self.engine,
            inbox=inbox,
            problem=None,
            connected=True,
            guilds=1,
            path=here,
        )
        self.shards = {"0-of-2": self.served}
        self.routing = SimpleNamespace(route=lambda shard_id: OTHER if shard_id == OTHER.shard_id else None)


@pytest.fixture
async def pod() -> Pod:
    return Pod()


@pytest.fixture
async def call(pod: Pod) -> AsyncIterator[Any]:
    async with serving.http(Api(pod), "127.0.0.1", 0) as url, aiohttp.ClientSession() as session:  # type: ignore[arg-type]

        async def ask(shard: str = "0-of-2", body: bytes | None = None, **headers: str) -> tuple[int, Any]:
            sent = {"authorization": f"Bearer {TOKEN}", "x-modbot-epoch": "3", "x-modbot-journaled": "1"}
            sent |= {name.replace("_", "-"): value for name, value in headers.items()}
            data = msgspec.json.encode(INTERACTION) if body is None else body
            async with session.post(f"{url}/shards/{shard}/interactions", data=data, headers=sent) as answer:
                return answer.status, await answer.json(content_type=None)

        ask.url, ask.session = url, session  # type: ignore[attr-defined]
        yield ask


async def test_what_the_inbox_does_not_hold_is_made_durable(pod: Pod, call: Any) -> None:
    assert await call(x_modbot_journaled="1") == (200, {"type": 4})
    assert pod.applied == [5]
    assert await call(x_modbot_journaled="0") == (200, {"type": 4})
    assert pod.engine.asked == [(5, False, False), (5, False, True)]
    assert pod.applied == [5], "only what is in the inbox is acknowledged"


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        ({"authorization": "Bearer wrong"}, 401, "unauthorized"),
        ({"authorization": ""}, 401, "unauthorized"),
        ({"x_modbot_epoch": "2"}, 409, "stale_epoch"),
        ({"x_modbot_epoch": "x"}, 400, "invalid_input"),
        ({"body": b"{"}, 400, "invalid_input"),
        ({"body": b"{}"}, 400, "invalid_input"),
        ({"body": b'{"id": "1", "pad": "' + b"x" * 1_020_000 + b'"}'}, 400, "invalid_input"),
        ({"shard": "5-of-9"}, 421, "not_owner"),
    ],
)
async def test_a_wrong_call_changes_nothing(
    pod: Pod, call: Any, arguments: dict[str, Any], status: int, code: str
) -> None:
    found, problem = await call(**arguments)
    assert (found, problem["code"]) == (status, code)
    assert problem["hint"]
    assert "owner" not in problem
    assert pod.engine.asked == []


async def test_a_caller_at_the_wrong_pod_is_told_the_owner(call: Any) -> None:
    status, problem = await call(shard="1-of-2")
    assert status == 421
    assert problem["owner"] == {"pod_id": "gateway-1", "epoch": 7, "address": OTHER.address}


async def test_a_shard_that_is_not_open_yet_is_unavailable(pod: Pod, call: Any) -> None:
    pod.served.engine = None
    status, problem = await call()
    assert (status, problem["retry"]) == (503, True)


async def test_an_owner_that_was_replaced_meanwhile_says_so(pod: Pod, call: Any) -> None:
    pod.engine.error = StaleEpochError("Shard 0-of-2 is at epoch 4, this owner has 3.")
    assert (await call())[0] == 409


async def test_a_defect_is_a_problem_and_not_a_broken_connection(pod: Pod, call: Any) -> None:
    pod.engine.error = RuntimeError("with a secret in it")
    status, problem = await call()
    assert status == 500
    assert "secret" not in str(problem)


async def test_probes_and_shards(pod: Pod, call: Any) -> None:
    async with call.session.get(f"{call.url}/health") as answer:
        assert answer.status == 200
    async with call.session.get(f"{call.url}/ready") as answer:
        assert answer.status == 200
    pod.ready = False
    async with call.session.get(f"{call.url}/ready") as answer:
        assert answer.status == 503
    async with call.session.get(f"{call.url}/started") as answer:
        assert answer.status == 200
    pod.started = False
    async with call.session.get(f"{call.url}/started") as answer:
        assert answer.status == 503
    async with call.session.get(f"{call.url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    assert 'modbot_gateway_connected{shard="0-of-2"} 1.0' in lines, "the gauges are set at every look"
    assert "modbot_lease_seconds 5.0" in lines
    async with call.session.get(f"{call.url}/shards") as answer:
        assert answer.status == 401
    async with call.session.get(f"{call.url}/shards", headers={"authorization": f"Bearer {TOKEN}"}) as answer:
        (row,) = await answer.json()
    assert (row["shard_id"], row["epoch"], row["open"], row["seq"], row["problem"]) == ("0-of-2", 3, True, None, None)
    assert (row["acting"], row["label"]) == ("lease", "0-of-2")
    (gap,) = row["gaps"]
    assert (gap["last_seq"], gap["next_seq"], gap["messages"], gap["unreadable"]) == (7, 1, 37, 1)


async def test_what_discord_has_the_deferral_of_is_completed_and_made_durable(pod: Pod, call: Any) -> None:
    assert await call(x_modbot_deferred="1", x_modbot_journaled="0") == (200, {"type": 4})
    assert pod.engine.asked == [(5, True, True)]


async def test_who_may_not_be_the_owner_any_more_answers_only_what_the_inbox_has(pod: Pod, call: Any) -> None:
    pod.acting = "no"
    assert await call(x_modbot_journaled="1") == (200, {"type": 4})
    status, problem = await call(x_modbot_journaled="0")
    assert (status, problem["code"], problem["retry"]) == (503, "unavailable", True)
    pod.acting = "failsafe"
    assert (await call(x_modbot_journaled="0"))[0] == 200


async def test_a_peer_is_answered(pod: Pod, call: Any) -> None:
    grant = protocol.Grant(
        lease_seconds=6.0, shards=[], shard_count=2, rest_per_second=1, rest_open=True, number=1, members=[]
    )
    pod.lease.failsafe.renewed(0.0, grant)
    pod.time = 5.0
    client = PeerClient(Secret(TOKEN), call.session)
    question = protocol.FailsafeRequest(
        pod_id=PodId("gateway-1"), incarnation=Incarnation("other"), peer=Incarnation("me"), silent_for=4.0, seconds=6.0
    )
    answer = await client.ask(call.url, question, limit=5)
    assert answer is not None
    assert (answer.confirmed, answer.silence) == (True, 5.0)
    contested = protocol.Shard(shard_id=ShardId("0-of-2"), epoch=Epoch(4), contested=True)
    assert pod.lease.failsafe.opens_in(contested) == 6.0
    stranger = PeerClient(Secret("another-token-of-this-test"), call.session)
    assert await stranger.ask(call.url, question, limit=5) is None
    assert await client.ask("http://127.0.0.1:1", question, limit=5) is None
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with call.session.post(f"{call.url}/failsafe", data=b"{}", headers=headers) as wrong:
        assert wrong.status == 400
        assert (await wrong.json(content_type=None))["code"] == "invalid_input"
