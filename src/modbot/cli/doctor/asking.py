"""Asks the services of modbot over HTTP, and reads what they say into facts. A service that does not answer is a fact, not an error."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from modbot.cli.doctor.facts import Cluster, ConfigService, GatewayPod, Metrics, PodShard, Sample, Service
from modbot.cluster.client import ConfigClient
from modbot.domain.errors import ModbotError
from modbot.ops.settings import Secret

LIMIT: Final = 5.0
_LONGEST: Final = 300


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer over HTTP, or (status 0) why there was none."""

    status: int
    text: str
    date: str = ""

    @property
    def problem(self) -> str:
        """Why it is not the answer that was wanted; nothing when it is."""
        if self.status == 0:
            return self.text
        return "" if self.status == 200 else f"answers {self.status}"


class Asker:
    """Asks with one HTTP session and, where it is wanted, the internal token."""

    def __init__(self, session: aiohttp.ClientSession, token: Secret | None) -> None:
        self._session = session
        self._token = token

    async def get(self, url: str, *, secret: bool = False) -> Answer:
        """Return the answer of one address."""
        headers = {"authorization": f"Bearer {self._token.reveal()}"} if secret and self._token is not None else {}
        try:
            async with asyncio.timeout(LIMIT), self._session.get(url, headers=headers) as answer:
                return Answer(answer.status, await answer.text(errors="replace"), answer.headers.get("date", ""))
        except TimeoutError:
            return Answer(0, f"no answer within {LIMIT:.0f} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(0, _first_line(str(error)) or type(error).__name__)

    async def service(self, url: str, *, ready_only: bool = False) -> Service:
        """Ask a service whether it is ready, and for its metrics."""
        base = url.rstrip("/")
        ready = await self.get(f"{base}/ready")
        if ready.status == 0:
            return Service(base, problem=ready.problem)
        metrics = None if ready_only else await self.get(f"{base}/metrics", secret=True)
        return Service(
            base,
            unready="" if ready.status == 200 else _told(ready),
            metrics=None if metrics is None or metrics.status != 200 else _metrics(metrics.text),
            clock_ahead=_ahead(ready.date),
        )

    async def config(self, url: str) -> ConfigService:
        """Ask the config service; whether it believes us shows at a path that needs the token and not the database."""
        service = await self.service(url)
        if service.problem:
            return ConfigService(service)
        known = await self.get(f"{service.url}/openapi.json", secret=True)
        return ConfigService(service, token_refused=known.status == 401)

    async def cluster(self, url: str) -> Cluster | str:
        """Return what the config service knows, or why it does not say."""
        if self._token is None:
            return "there is no internal token"
        client = ConfigClient(url, self._token, self._session)
        try:
            pods, shards, plan = await asyncio.gather(client.pods_health(), client.shards(), client.rebalance_plan())
        except ModbotError as error:
            return str(error)
        return Cluster(tuple(pods.pods), tuple(shards.shards), plan)

    async def pod(self, pod_id: str, url: str) -> GatewayPod:
        """Ask a gateway pod."""
        service = await self.service(url)
        if service.problem:
            return GatewayPod(pod_id, service)
        rows = await self.get(f"{service.url}/shards", secret=True)
        return GatewayPod(pod_id, service, _shards(rows.text) if rows.status == 200 else ())


def _metrics(text: str) -> Metrics:
    return Metrics(
        tuple(
            Sample(sample.name, tuple(sorted(sample.labels.items())), sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        )
    )


def _shards(text: str) -> tuple[PodShard, ...]:
    return tuple(
        PodShard(row["shard_id"], bool(row["open"]), row.get("problem") or "", row.get("acting", ""))
        for row in json.loads(text)
    )


def _told(answer: Answer) -> str:
    """Return the sentence of a problem (RFC 9457), or else the text as it is."""
    try:
        detail = json.loads(answer.text)["detail"]
    except (ValueError, KeyError, TypeError):
        detail = answer.text
    return f"answers {answer.status}: {_first_line(str(detail))}"


def _ahead(date: str) -> float | None:
    """Return by how many seconds our clock is ahead of a `Date` header."""
    try:
        return (datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds()
    except (TypeError, ValueError):
        return None


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0][:_LONGEST]
