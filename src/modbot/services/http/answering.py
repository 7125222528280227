"""An interaction from its verified body to its first answer, inside the deadline, whatever the others do (I7).

The owner is asked and the inbox is written side by side, and the answer waits for both: if the inbox cannot be written or is slow, the owner
is asked once more, to make durable what it has done (the id makes that the same answer). When the deadline comes first, Discord gets what the command declares and
the inbox is told, so that the owner completes it by follow-up; what the owner answers after that is not used here. Nothing leaves
this module as an exception: what nobody foresaw is logged with the interaction's id, and the person gets a sentence with that id.
An anonymous person is replaced before anything else looks at the interaction (product rule 5).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from modbot.discord import interactions
from modbot.discord.interactions import Interaction, InteractionType
from modbot.domain import anonymity
from modbot.domain.errors import ModbotError
from modbot.ops import tracing
from modbot.ops.tracing import Fact
from modbot.services.http import deciding
from modbot.services.http.deciding import Forward, Immediate
from modbot.services.http.forwarding import Forwarder
from modbot.services.http.journal import Journal, Note
from modbot.services.http.metrics import Metrics
from modbot.shard.feature import Command
from modbot.shard.registry import Registry

_log = structlog.get_logger(__name__)


class _Head(msgspec.Struct):
    """What an apology needs to know."""

    type: int
    id: str


_PATIENCE: Final = 0.2
"""Seconds to wait for the inbox once the owner has answered; making it durable at the owner costs less."""
_HEAD: Final = msgspec.json.Decoder(_Head)


class Answerer:
    """Answers interactions; `deadline` in seconds after their arrival."""

    def __init__(
        self,
        registry: Registry,
        forwarder: Forwarder,
        journal: Journal,
        metrics: Metrics,
        *,
        anonymity_key: Callable[[], bytes],
        deadline: float,
    ) -> None:
        self._registry = registry
        self._forwarder = forwarder
        self._journal = journal
        self._metrics = metrics
        self._anonymity_key = anonymity_key
        self._deadline = deadline

    async def answer(self, body: bytes, *, received: float) -> bytes:
        """Return the JSON of the first response to a verified interaction; `received` is on the event loop's clock."""
        with tracing.below(None), tracing.span("interaction received", {}, server=True):
            try:
                done = await self._answer(body, received)
            except Exception as error:  # noqa: BLE001 - I7: a valid answer in every case; what happened is logged with the id
                done = _failed(body, error)
            tracing.note(Fact.OUTCOME, done.outcome)
        self._metrics.interactions.labels(done.outcome).inc()
        self._metrics.interaction_seconds.observe(asyncio.get_running_loop().time() - received)
        return done.body

    async def _answer(self, body: bytes, received: float) -> Immediate:
        interaction = interactions.decode(body)
        plan = deciding.decide_plan(interaction, self._registry)
        if isinstance(plan, Immediate):
            return plan
        tracing.note(Fact.COMMAND, plan.declared.name if isinstance(plan.declared, Command) else plan.declared.prefix)
        if plan.declared.anonymous:
            body = self._without_identity(body)
            interaction = interactions.decode(body)
        note = Note(interaction.id, plan.guild_id, body.decode(), received)
        return await self._ask(note, body, interaction, plan)

    async def _ask(self, note: Note, body: bytes, interaction: Interaction, plan: Forward) -> Immediate:
        try:
            async with asyncio.timeout_at(note.received + self._deadline):
                return Immediate(await self._forward(note, body), "answered")
        except TimeoutError:
            late = deciding.decide_late_answer(interaction, plan.declared)
            self._journal.defer(note)
            _log.info("interaction_deferred", interaction=str(note.interaction_id), answer=late.outcome)
            return late

    async def _forward(self, note: Note, body: bytes) -> bytes:
        """Return the owner's answer once the interaction is safe: in the inbox, or durable in the shard file."""
        arriving = self._journal.append(note)
        hoped = not arriving.done()
        answer = await self._forwarder.forward(note.guild_id, body, journaled=hoped)
        if hoped and not await _arrived(arriving):
            answer = await self._forwarder.forward(note.guild_id, body, journaled=False)
        return answer

    def _without_identity(self, body: bytes) -> bytes:
        return msgspec.json.encode(anonymity.anonymous(msgspec.json.decode(body), self._anonymity_key()))


async def _arrived(arriving: asyncio.Future[bool]) -> bool:
    """Say whether the inbox has it; one that takes long counts as not yet."""
    done, _ = await asyncio.wait([arriving], timeout=_PATIENCE)
    return bool(done) and arriving.result()


def _failed(body: bytes, error: Exception) -> Immediate:
    """Log a failure without anything of what was sent but its id, and apologise in a form that the kind of interaction accepts."""
    try:
        head = _HEAD.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        head = _Head(InteractionType.COMMAND, "unknown")
    code = error.code if isinstance(error, ModbotError) else type(error).__name__
    _log.error("interaction_failed", interaction=head.id, code=code, at=_place(error))
    if head.type == InteractionType.AUTOCOMPLETE:
        return Immediate(deciding.NO_CHOICES, "failed")
    return Immediate(deciding.apology(head.id), "failed")


def _place(error: Exception) -> str:
    """Return where an exception came from; its text could quote what was sent."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
