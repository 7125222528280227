"""`Interactions`: makes interactions, delivers them, takes answers, and keeps the record of each.

Rules: an application has three seconds for the first valid answer, by HTTP or by the callback route; then its token works for fifteen
minutes of the world's clock. The first answer counts; a second one is refused and noted. An invalid HTTP answer ends the interaction.
Refuses to know routes: `routes` and `control` speak HTTP.
"""

import asyncio
import base64
import hashlib
import json
from typing import Any, Protocol

from discordsim.interactions import building, replies
from discordsim.interactions.answering import Answering
from discordsim.interactions.building import Press
from discordsim.interactions.courier import ANSWER_SECONDS, Courier, Delivered
from discordsim.interactions.records import InteractionType, Record, Source
from discordsim.interactions.uploads import FileStore, Upload
from discordsim.interactions.webhook_events import WebhookEvents
from discordsim.world import errors
from discordsim.world.model.messages import Message
from discordsim.world.model.users import Application
from discordsim.world.payloads import Json
from discordsim.world.world import World

TOKEN_SECONDS = 900.0
_WAITING = frozenset({replies.ReplyType.DEFERRED_MESSAGE, replies.ReplyType.DEFERRED_UPDATE})


class BotGateway(Protocol):
    """The part of the gateway that interactions need."""

    def send_to_bot(self, application_id: int, guild_id: int | None, name: str, data: Json) -> object:
        """Send one event to the session of the application that serves the guild."""
        ...


class Host(Protocol):
    """The part of the simulator that routes of interactions need."""

    world: World
    interactions: "Interactions"


class Interactions:
    """All interactions of a world. `answer_seconds` may be shortened by tests that play a silent application."""

    def __init__(
        self, world: World, gateway: BotGateway, *, files: FileStore, answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        self.world = world
        self.gateway = gateway
        self.files = files
        self.answer_seconds = answer_seconds
        self.courier = Courier()
        self.webhook_events = WebhookEvents(world, self.courier)
        self.records: dict[int, Record] = {}
        self._by_token: dict[str, Record] = {}
        self._answering = Answering(world, files)
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """End deliveries in flight and close the HTTP client."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.courier.close()

    def begin(self, press: Press) -> Record:
        """Make the interaction and send it on its way; wait for `record.answered` or `record.finished`."""
        number = self.world.new_id()
        record = Record(
            id=number,
            token=self._token(number),
            application_id=press.application.id,
            type=press.type,
            kind=press.kind,
            name=press.name,
            user_id=press.user_id,
            channel_id=press.channel.id,
            guild_id=press.channel.guild_id,
            created=self.world.now(),
            metadata=building.metadata(self.world, press, number),
            pressed=press.message,
        )
        record.payload = building.interaction(self.world, press, interaction_id=number, token=record.token)
        self.records[number] = self._by_token[record.token] = record
        task = asyncio.create_task(self._deliver(press.application, record), name=f"interaction-{number}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return record

    def _token(self, number: int) -> str:
        digest = hashlib.sha512(f"{self.world.seed}/interaction/{number}".encode()).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    async def _deliver(self, application: Application, record: Record) -> None:
        """Send, then wait until the limit for a first answer."""
        try:
            async with asyncio.timeout(self.answer_seconds):
                if application.interactions_endpoint_url:
                    await self._deliver_http(application, application.interactions_endpoint_url, record)
                else:
                    self.gateway.send_to_bot(
                        application.id, record.guild_id, "INTERACTION_CREATE", dict(record.payload)
                    )
                await record.answered.wait()
        except TimeoutError:
            record.fail(f"timeout: no valid answer within {self.answer_seconds:g} s")

    async def _deliver_http(self, application: Application, url: str, record: Record) -> None:
        body = json.dumps(record.payload).encode()
        delivered = await self.courier.post(
            application, url, body, timestamp=int(self.world.now()), seconds=self.answer_seconds
        )
        if delivered.problem is None and delivered.status == 202 and not delivered.body:
            return
        try:
            self.answer(record, _decoded(delivered), Source.HTTP, [])
        except _RefusedError as refused:
            self._fail_unanswered(record, str(refused))
        except errors.DiscordError as error:
            self._fail_unanswered(record, f"invalid body: {error.message} {json.dumps(error.errors or {})}")

    @staticmethod
    def _fail_unanswered(record: Record, problem: str) -> None:
        if not record.acknowledged:
            record.fail(problem)

    def answer(self, record: Record, body: Any, source: Source, uploads: list[Upload]) -> None:
        """Take a first answer. Errors: 10062 (too late), 40060 (already answered), 50035 and those of posting."""
        if record.acknowledged:
            record.answers += 1
            raise errors.already_acknowledged()
        if record.problem is not None or self.world.now() - record.created > self.answer_seconds:
            raise errors.unknown_interaction()
        reply = replies.parse(body, asked=record.type, from_message=record.pressed is not None)
        self._answering.apply(record, reply, uploads)
        record.answers += 1
        record.acknowledge(int(reply.type), source)
        if reply.type not in _WAITING:
            record.complete(self.world.now())
        record.answered.set()

    def by_callback(self, interaction_id: int, token: str) -> Record:
        """Return the interaction of a callback; 10062 when id and token do not belong together."""
        record = self.records.get(interaction_id)
        if record is None or record.token != token:
            raise errors.unknown_interaction()
        return record

    def by_webhook(self, application_id: int, token: str) -> Record:
        """Return the interaction of a follow-up. Errors: 10015 (unknown or not yet answered), 50027 (older than 15 minutes)."""
        record = self._by_token.get(token)
        if record is None or record.application_id != application_id or not record.acknowledged:
            raise errors.named(10015)
        if self.world.now() - record.created > TOKEN_SECONDS:
            raise errors.named(50027)
        return record

    def follow_up(self, record: Record, body: Any, uploads: list[Upload]) -> Message:
        """Post a follow-up message; after a deferral the first one fills the waiting message."""
        message = self._answering.follow_up(record, body, uploads)
        record.complete(self.world.now())
        return message

    def find(self, record: Record, which: str) -> Message:
        """Return `@original` or a follow-up; 10008 for others."""
        return self._answering.message(record, which)

    def edit(self, record: Record, which: str, body: Any, uploads: list[Upload]) -> Message:
        """Change the original or a follow-up."""
        message = self._answering.edit(record, self.find(record, which), body, uploads)
        record.complete(self.world.now())
        return message

    def delete(self, record: Record, which: str) -> None:
        """Delete the original or a follow-up."""
        self._answering.delete(record, self.find(record, which))
        record.complete(self.world.now())

    async def check_endpoint(self, application: Application, url: str | None = None) -> str | None:
        """Return why an endpoint is unfit, None when it is fit: it must answer a PING and refuse a forged one with 401."""
        address = url or application.interactions_endpoint_url
        if not address:
            return "there is no interactions endpoint"
        body = json.dumps(self._ping(application)).encode()
        honest = await self._probe(application, address, body, forged=False)
        if honest.problem is not None or honest.status != 200:
            return honest.problem or f"PING was answered with HTTP status {honest.status}"
        if honest.content_type != "application/json" or _json_or_none(honest.body) != {
            "type": int(InteractionType.PING)
        }:
            return 'PING was not answered with {"type": 1}'
        return await self._forged(application, address, body)

    async def recheck(self, application: Application) -> str | None:
        """Send a forged PING as Discord does from time to time; an endpoint that takes it is removed. Returns the problem."""
        if not application.interactions_endpoint_url:
            return "there is no interactions endpoint"
        body = json.dumps(self._ping(application)).encode()
        problem = await self._forged(application, application.interactions_endpoint_url, body)
        if problem is not None:
            application.interactions_endpoint_url = None
        return problem

    async def set_endpoint(self, application: Application, url: str | None) -> None:
        """Set or clear the endpoint; an unfit one is refused with 50035 and nothing changes."""
        problem = await self.check_endpoint(application, url) if url else None
        if problem is not None:
            text = f"The specified interactions endpoint url could not be verified: {problem}"
            raise errors.invalid("interactions_endpoint_url", "APPLICATION_INTERACTIONS_ENDPOINT_INVALID", text)
        application.interactions_endpoint_url = url or None

    async def _forged(self, application: Application, url: str, body: bytes) -> str | None:
        forged = await self._probe(application, url, body, forged=True)
        if forged.problem is not None:
            return forged.problem
        return None if forged.status == 401 else f"a forged signature was answered with HTTP status {forged.status}"

    async def _probe(self, application: Application, url: str, body: bytes, *, forged: bool) -> Delivered:
        stamp = int(self.world.now())
        return await self.courier.post(
            application, url, body, timestamp=stamp, seconds=self.answer_seconds, forged=forged
        )

    def _ping(self, application: Application) -> Json:
        number = self.world.new_id()
        ids = {"id": str(number), "application_id": str(application.id), "token": self._token(number)}
        return ids | {"type": int(InteractionType.PING), "version": 1, "entitlements": []}


class _RefusedError(Exception):
    """An HTTP answer that is none."""


def _decoded(delivered: Delivered) -> Any:
    if delivered.problem is not None or delivered.status != 200:
        raise _RefusedError(delivered.problem or f"HTTP status {delivered.status}")
    if delivered.content_type != "application/json":
        raise _RefusedError(f"invalid body: content type {delivered.content_type!r} is not application/json")
    try:
        return json.loads(delivered.body)
    except ValueError as error:
        raise _RefusedError("invalid body: not JSON") from error


def _json_or_none(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None
