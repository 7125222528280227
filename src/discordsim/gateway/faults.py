"""Faults on the way from an event to a session: drop, lose, duplicate, reorder.

`drop` numbers an event but does not send it (a RESUME replays it), `lose` never hands it to the session, `duplicate` hands it over twice,
`reorder` holds events back and hands them over in reverse. READY, RESUMED and GUILD_CREATE of the start are never touched.
"""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from discordsim.gateway.events import Event
from discordsim.gateway.sessions import Delivered, Session
from discordsim.world.payloads import Json


class FaultKind(StrEnum):
    """What goes wrong."""

    DROP = "drop"
    LOSE = "lose"
    DUPLICATE = "duplicate"
    REORDER = "reorder"


@dataclass(slots=True)
class DispatchFault:
    """A fault for the next `count` matching events of each matching session; None stands for any, without end."""

    kind: FaultKind
    count: int | None = 1
    session_id: str | None = None
    shard_id: int | None = None
    name: str | None = None
    done: Counter[str] = field(default_factory=Counter)
    held: dict[str, list[Event]] = field(default_factory=dict)

    def takes(self, session: Session, event: Event) -> bool:
        """Tell whether this event of this session is hit, and count it."""
        if self.session_id not in {None, session.id} or self.shard_id not in {None, session.shard[0]}:
            return False
        if self.name not in {None, event.name} or (self.count is not None and self.done[session.id] >= self.count):
            return False
        self.done[session.id] += 1
        return True

    def payload(self) -> Json:
        """Return the fault as the control API shows it."""
        return {
            "kind": str(self.kind),
            "count": self.count,
            "session_id": self.session_id,
            "shard_id": self.shard_id,
            "name": self.name,
            "done": dict(self.done),
            "held": {session_id: len(events) for session_id, events in self.held.items()},
        }


class FaultyPath:
    """All dispatch faults, in the order in which they were set; the first that takes an event decides."""

    def __init__(self) -> None:
        self.faults: list[DispatchFault] = []
        self.withheld: list[tuple[str, Delivered]] = []

    def deliver(self, session: Session, event: Event) -> None:
        """Hand an event to a session, or do to it what a fault demands."""
        fault = next((one for one in self.faults if one.takes(session, event)), None)
        if fault is None:
            session.put(event)
        elif fault.kind is FaultKind.DROP:
            session.put(event, sent=False)
        elif fault.kind is FaultKind.LOSE:
            self.withheld.append((session.id, Delivered(session.seq, event.name, event.guild_id, event.key)))
        elif fault.kind is FaultKind.DUPLICATE:
            session.put(event)
            session.put(event)
        else:
            self._hold(fault, session, event)

    def _hold(self, fault: DispatchFault, session: Session, event: Event) -> None:
        held = fault.held.setdefault(session.id, [])
        held.append(event)
        if fault.count is not None and len(held) >= fault.count:
            for one in reversed(fault.held.pop(session.id)):
                session.put(one)

    def clear(self, sessions: dict[str, Session]) -> None:
        """End all faults; what was held back is handed over."""
        for fault in self.faults:
            for session_id, events in fault.held.items():
                session = sessions.get(session_id)
                for event in reversed(events):
                    if session is not None:
                        session.put(event)
        self.faults.clear()
