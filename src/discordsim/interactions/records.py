"""What is remembered of every interaction: the oracle for "each gets one valid first answer in three seconds".

Times: `created` and `completed` in the world's unix seconds, `first_response_ms` on the monotonic clock.
Refuses to deliver or answer; it only keeps and draws itself.
"""

import asyncio
import time
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from discordsim.world.model.messages import Message
from discordsim.world.payloads import Json, text_id


class InteractionType(IntEnum):
    """Interaction types."""

    PING = 1
    COMMAND = 2
    COMPONENT = 3
    AUTOCOMPLETE = 4
    MODAL_SUBMIT = 5


class Source(StrEnum):
    """The way on which the first answer came."""

    NONE = "none"
    HTTP = "http"
    CALLBACK = "callback"


@dataclass(slots=True, eq=False)
class Record:
    """One interaction from press to completion. `answered` and `finished` are set when that has happened (or failed)."""

    id: int
    token: str
    application_id: int
    type: InteractionType
    kind: str
    name: str
    user_id: int
    channel_id: int
    guild_id: int | None
    created: float
    payload: Json = field(default_factory=dict)
    metadata: Json = field(default_factory=dict)
    pressed: Message | None = None
    started: float = field(default_factory=time.perf_counter)
    source: Source = Source.NONE
    first_response_ms: float | None = None
    first_type: int | None = None
    problem: str | None = None
    answers: int = 0
    completed: float | None = None
    ephemeral: bool = False
    filling: bool = False
    original: Message | None = None
    modal: Json | None = None
    choices: list[Json] | None = None
    followups: dict[int, Message] = field(default_factory=dict)
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    finished: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def acknowledged(self) -> bool:
        """Tell whether a valid first answer is there."""
        return self.first_type is not None

    def acknowledge(self, kind: int, source: Source) -> None:
        """Note the first valid answer."""
        self.first_type, self.source = kind, source
        self.first_response_ms = round((time.perf_counter() - self.started) * 1000, 3)

    def complete(self, moment: float) -> None:
        """Note that nothing is owed to the user any more."""
        self.completed = moment if self.completed is None else self.completed
        self.finished.set()

    def fail(self, problem: str) -> None:
        """Note why there is no valid answer; the first reason stays."""
        self.problem = self.problem or problem
        self.answered.set()
        self.finished.set()

    def payload_for_control(self) -> Json:
        """Return the record without its token."""
        return {
            "id": str(self.id),
            "application_id": str(self.application_id),
            "type": int(self.type),
            "kind": self.kind,
            "name": self.name,
            "user_id": str(self.user_id),
            "guild_id": text_id(self.guild_id),
            "channel_id": str(self.channel_id),
            "created": self.created,
            "source": str(self.source),
            "first_response_ms": self.first_response_ms,
            "first_type": self.first_type,
            "problem": self.problem,
            "answered_twice": self.answers > 1,
            "completed": self.completed,
            "ephemeral": self.ephemeral,
        }
