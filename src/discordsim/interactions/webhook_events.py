"""Webhook events: APPLICATION_AUTHORIZED and the like, signed as interactions are, retried with growing pauses for ten minutes.

An endpoint shows that it is fit by answering a PING (type 0) with 204. Refuses to promise order: a retried event may come late.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from discordsim.interactions.courier import Courier
from discordsim.world.model.users import Application
from discordsim.world.payloads import Json, iso
from discordsim.world.world import World

RETRY_SECONDS = 600.0
FIRST_PAUSE = 1.0
Sleep = Callable[[float], Awaitable[None]]


@dataclass(slots=True)
class Sending:
    """One event on its way; `problems` has one entry per failed attempt."""

    type: str
    delivered: bool = False
    problems: list[str] = field(default_factory=list)

    def payload(self) -> Json:
        """Return what the control route shows."""
        return {"type": self.type, "delivered": self.delivered, "problems": list(self.problems)}


class WebhookEvents:
    """Sends events to `webhook_events_url`; `sleep` is injected, so that tests need not wait."""

    def __init__(self, world: World, courier: Courier, *, sleep: Sleep = asyncio.sleep) -> None:
        self._world, self._courier, self._sleep = world, courier, sleep

    async def check(self, application: Application, url: str) -> str | None:
        """Return why the URL is unfit, None when it answers a PING with an empty 204 and a forged one with 401."""
        body = json.dumps({"version": 1, "application_id": str(application.id), "type": 0}).encode()
        for forged, wanted in ((False, 204), (True, 401)):
            stamp = int(self._world.now())
            answer = await self._courier.post(application, url, body, timestamp=stamp, forged=forged)
            if answer.problem is not None or answer.status != wanted:
                return answer.problem or f"HTTP status {answer.status} instead of {wanted}"
        return None

    async def send(self, application: Application, kind: str, data: Json) -> Sending:
        """Deliver one event, with retries; returns when it is delivered or given up."""
        sending, waited, pause = Sending(kind), 0.0, FIRST_PAUSE
        event = {"type": kind, "timestamp": iso(self._world.now()), "data": data}
        body = json.dumps({"version": 1, "application_id": str(application.id), "type": 1, "event": event}).encode()
        while application.webhook_events_url is not None:
            stamp = int(self._world.now())
            answer = await self._courier.post(application, application.webhook_events_url, body, timestamp=stamp)
            if answer.problem is None and answer.status == 204:
                sending.delivered = True
                break
            sending.problems.append(answer.problem or f"HTTP status {answer.status}")
            if waited + pause > RETRY_SECONDS:
                break
            await self._sleep(pause)
            waited, pause = waited + pause, pause * 2
        return sending

    async def authorized(self, application: Application, user_id: int, guild_id: int | None) -> Sending:
        """Send APPLICATION_AUTHORIZED; with a guild when the application was added to one."""
        data: Json = {"user": self._world.user(user_id).payload(), "scopes": ["applications.commands"]}
        if guild_id is not None:
            data |= {"integration_type": 0, "guild": self._world.guild(guild_id).payload()}
            data["scopes"] = ["bot", "applications.commands"]
        return await self.send(application, "APPLICATION_AUTHORIZED", data)

    async def deauthorized(self, application: Application, user_id: int) -> Sending:
        """Send APPLICATION_DEAUTHORIZED, which only names the user."""
        return await self.send(application, "APPLICATION_DEAUTHORIZED", {"user": self._world.user(user_id).payload()})
