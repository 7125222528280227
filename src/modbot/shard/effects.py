"""Effects: how modbot acts on the outside world so that a crash at any point neither forgets nor repeats an act.

An effect starts as a row, written in the transaction of its cause. After the commit its body runs: an async function over a
`Run`. Whatever the body does to the outside or to the rows goes through a named *step*, and every step is journaled:

    thread = await run.request("thread", calls.create_thread(...))
    await run.commit("remember", lambda tx: remember_thread(tx, thread.id))
    await run.request("log", calls.send_message(...))

When the process dies in the middle, the body runs again from the top, and the steps that finished return what they returned the
first time. The one step whose answer was lost in the crash is repeated according to what its call declares (I5):

* *idempotent* (ban, delete, edit): send it again; what is already so counts as done.
* *nonce* (create a message): the nonce derives from the effect's key and the step, so Discord returns the first message instead
  of making a second one. That holds for a few minutes; later the call is treated as read-back.
* *read-back* (create a thread): the intent was journaled before the call; look whether the first try worked before repeating it.

A refusal by Discord (missing permission, unknown channel) is a result as well: it is journaled and raised again on a second run, so
the body takes the same branch. Everything else that goes wrong (no answer, 5xx, lease too short) leaves the step open, and the
effect is tried again later.

This module never decides *when* an effect runs; that is the runner's.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol, TypeVar

import msgspec

from modbot.discord import routes
from modbot.discord.rest import File, RestClient
from modbot.discord.rest_errors import RestError
from modbot.discord.routes import Route
from modbot.domain.errors import ModbotError
from modbot.domain.ids import GuildId
from modbot.ops import statements
from modbot.ops.settings import Secret
from modbot.shard.registry import Registry
from modbot.shard.transaction import PendingEffect, Transaction, from_ms

_SQL = statements.load("modbot.shard")
_T = TypeVar("_T")
TOKEN_LIFE = timedelta(minutes=15)
_UNKNOWN_WEBHOOK = 10015
_NOBODY_WAITS = frozenset({10008, _UNKNOWN_WEBHOOK, 10062, 50027})  # the message was dismissed or the token has expired
_FIRST_RESPONSE_LIFE = timedelta(seconds=4)  # Discord waits 3 s for it; the rest is its way there
_FIRST_RESPONSE_PAUSES = (0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28)
_NONCE_HOLDS = timedelta(minutes=2)  # Discord says "a few minutes"
_NONCE_LENGTH = 25


class Repeat(StrEnum):
    """What to do when nobody knows whether the first try worked."""

    IDEMPOTENT = "idempotent"
    NONCE = "nonce"
    READ_BACK = "read_back"


@dataclass(frozen=True, slots=True)
class Call:
    """One REST call of a step.

    `keep` names the fields of the answer that the journal stores (never texts). `done_codes` are Discord's error codes that mean the
    wanted state is already there. `needs` names the permission in the words of Discord's settings, for the sentence a moderator
    reads. `read_back` looks for the result of an earlier try that began at the given time and returns it, or None.
    `early_codes` say that the call came too early; they leave the step open.
    """

    route: Route
    json: Any = None
    reason: str | None = None
    repeat: Repeat = Repeat.IDEMPOTENT
    keep: tuple[str, ...] = ("id",)
    done_codes: frozenset[int] = frozenset()
    early_codes: frozenset[int] = frozenset()
    needs: str = ""
    read_back: Callable[[Run, datetime], Awaitable[dict[str, Any] | None]] | None = None
    files: tuple[File, ...] = ()


class Result(msgspec.Struct, frozen=True):
    """What a step kept of Discord's answer."""

    fields: dict[str, Any] = {}
    already: bool = False

    @property
    def id(self) -> int:
        """Return the snowflake of the object that was made."""
        return int(self.fields["id"])


class RefusedError(ModbotError):
    """Discord refused a request of modbot."""

    code = "refused"
    hint = "Give modbot the named permission, or put its role above the member's."

    def __init__(self, message: str, *, discord_code: int, needs: str) -> None:
        super().__init__(message)
        self.discord_code = discord_code
        self.needs = needs


class UserError(ModbotError):
    """Something a person has to know; the message is shown to them as it is."""

    code = "user"


class _TooEarlyError(Exception):
    """Discord cannot know yet what the call is about."""


class Journal(Protocol):
    """How a run reaches its shard file: submit work to the writer."""

    async def commit(self, work: Callable[[Transaction], _T]) -> _T:
        """Run work in a write transaction and return its result once it is committed."""
        ...


@dataclass(slots=True)
class _Step:
    state: str
    started_at: int
    result: str | None


@dataclass(slots=True)
class Run:
    """One execution of an effect."""

    effect: PendingEffect
    registry: Registry
    journal: Journal
    rest: RestClient
    application_id: int
    now: Callable[[], datetime]
    _steps: dict[str, _Step] = field(default_factory=dict)

    @property
    def guild_id(self) -> GuildId:
        """Return the guild the effect belongs to."""
        return self.effect.guild_id

    @property
    def asked_at(self) -> datetime:
        """Return when the effect was asked for."""
        return from_ms(self.effect.created_at)

    async def load(self) -> None:
        """Read what earlier runs did."""
        key = (self.effect.guild_id, self.effect.key)
        rows = await self.journal.commit(lambda tx: tx.all(_SQL["read_steps"], key))
        self._steps = {step: _Step(state, started_at, result) for step, state, started_at, result in rows}

    async def request(self, step: str, call: Call) -> Result:
        """Make one journaled REST call.

        Raises:
            RefusedError: Discord said no; a later run raises it again without asking.
            ModbotError: with `retry` set when the outcome is unknown; the effect will run again.
        """
        known = self._steps.get(step)
        if known is not None and known.state != "started":
            return _replay(known)
        if known is None and call.repeat is not Repeat.IDEMPOTENT:
            await self._start(step)
        elif known is not None:
            found = await self._look_back(call, from_ms(known.started_at))
            if found is not None:
                return await self._finish(step, "done", Result(_kept(call, found), already=True))
        return await self._send(step, call)

    def did(self, step: str) -> bool:
        """Tell whether an earlier run finished this step."""
        known = self._steps.get(step)
        return known is not None and known.state == "done"

    async def reply(self, step: str, data: dict[str, Any]) -> None:
        """Complete the interaction behind this effect, while its token lives; without one there is nobody to tell.

        An effect can be faster than the first response on its way through the http pod. Until that has arrived Discord does not
        know the token, and says so with the code that it has for forgotten tokens as well; so this is asked again for a moment.
        """
        token = self.effect.reply_token
        if token is None or self.now() - self.asked_at > TOKEN_LIFE:
            return
        route = routes.edit_original(self.application_id, Secret(token))
        early = Call(
            route,
            json=data,
            done_codes=_NOBODY_WAITS - {_UNKNOWN_WEBHOOK},
            early_codes=frozenset({_UNKNOWN_WEBHOOK}),
        )
        for pause in _FIRST_RESPONSE_PAUSES if self.now() - self.asked_at < _FIRST_RESPONSE_LIFE else ():
            try:
                await self.request(step, early)
            except _TooEarlyError:
                await asyncio.sleep(pause)
            else:
                return
        await self.request(step, Call(route, json=data, done_codes=_NOBODY_WAITS))

    async def fetch(self, route: Route, *, params: dict[str, str] | None = None) -> bytes:
        """Read something from Discord now; reading is not journaled. Raises `RefusedError` when Discord says no."""
        try:
            return (await self.rest.request(route, params=params)).body
        except RestError as error:
            if error.retry:
                raise
            raise RefusedError(str(error), discord_code=error.discord_code, needs="View Channel") from error

    async def commit(self, step: str, work: Callable[[Transaction], _T]) -> _T | None:
        """Change rows exactly once, together with the journal entry; None when an earlier run did it."""
        if step in self._steps:
            return None

        def once(tx: Transaction) -> _T:
            tx.guild_id = self.effect.guild_id
            tx.cause = f"{self.effect.key}/{step}"
            result = work(tx)
            tx.execute(_SQL["finish_step"], (tx.guild_id, self.effect.key, step, "done", tx.now_ms, None))
            return result

        result = await self.journal.commit(once)
        self._steps[step] = _Step("done", 0, None)
        return result

    async def read(self, query: Callable[[Transaction], _T]) -> _T:
        """Read rows of the shard as they are now."""

        def scoped(tx: Transaction) -> _T:
            tx.guild_id = self.effect.guild_id
            return query(tx)

        return await self.journal.commit(scoped)

    def nonce(self, step: str) -> str:
        """Return the nonce of a step: the same for every run of this effect, 25 characters at most."""
        text = f"{self.effect.guild_id}/{self.effect.key}/{step}"
        return hashlib.sha256(text.encode()).hexdigest()[:_NONCE_LENGTH]

    async def _send(self, step: str, call: Call) -> Result:
        body = call.json
        if call.repeat is Repeat.NONCE:
            body = {**body, "nonce": self.nonce(step), "enforce_nonce": True}
        try:
            answer = await self.rest.request(call.route, json=body, reason=call.reason, files=call.files)
        except RestError as error:
            if error.retry:
                raise
            if error.discord_code in call.early_codes:
                raise _TooEarlyError from error
            if error.discord_code in call.done_codes:
                return await self._finish(step, "done", Result(already=True))
            refusal = {"message": str(error), "discord_code": error.discord_code, "needs": call.needs}
            await self._finish(step, "rejected", Result(refusal))
            raise RefusedError(str(error), discord_code=error.discord_code, needs=call.needs) from error
        decoded = msgspec.json.decode(answer.body) if answer.body else {}
        return await self._finish(step, "done", Result(_kept(call, decoded)))

    async def _look_back(self, call: Call, started_at: datetime) -> dict[str, Any] | None:
        nonce_holds = call.repeat is Repeat.NONCE and self.now() - started_at < _NONCE_HOLDS
        if call.read_back is None or nonce_holds:
            return None
        return await call.read_back(self, started_at)

    async def _start(self, step: str) -> None:
        at = await self.journal.commit(lambda tx: self._insert_start(tx, step))
        self._steps[step] = _Step("started", at, None)

    def _insert_start(self, tx: Transaction, step: str) -> int:
        tx.execute(_SQL["start_step"], (self.effect.guild_id, self.effect.key, step, tx.now_ms))
        return tx.now_ms

    async def _finish(self, step: str, state: str, result: Result) -> Result:
        text = msgspec.json.encode(result).decode()
        key = (self.effect.guild_id, self.effect.key, step, state)
        await self.journal.commit(lambda tx: tx.execute(_SQL["finish_step"], (*key, tx.now_ms, text)))
        self._steps[step] = _Step(state, 0, text)
        return result


def _replay(step: _Step) -> Result:
    result = msgspec.json.decode(step.result or "{}", type=Result)
    if step.state == "rejected":
        kept = result.fields
        raise RefusedError(kept["message"], discord_code=kept["discord_code"], needs=kept["needs"])
    return result


def _kept(call: Call, answer: Any) -> dict[str, Any]:
    return {name: answer[name] for name in call.keep if name in answer} if isinstance(answer, dict) else {}
