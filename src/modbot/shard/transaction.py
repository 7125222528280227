"""What a handler sees of the shard: rows to read and write, effects to ask for, timers to set, and the moment.

A handler is a synchronous function over a `Transaction`. It never awaits, never calls Discord and never reads the clock: the event,
the rows and `now` decide, so that the same event replayed over the same rows does the same again. Everything it does becomes visible
together with the seq of its event, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import apsw
import msgspec

from modbot.domain.ids import Epoch, GuildId
from modbot.ops import statements

if TYPE_CHECKING:
    from modbot.shard.feature import EffectKind, TimerKind

_SQL = statements.load("modbot.shard")
_A = TypeVar("_A", bound=msgspec.Struct)
_S = TypeVar("_S", bound=msgspec.Struct)
Value = str | int | float | bytes | None


def to_ms(moment: datetime) -> int:
    """Return milliseconds since 1970, the form in which times are stored."""
    return int(moment.timestamp() * 1000)


def from_ms(milliseconds: int) -> datetime:
    """Read a stored time (UTC)."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


@dataclass(frozen=True, slots=True)
class PendingEffect:
    """An effect row that waits for its execution."""

    effect_id: int
    guild_id: GuildId
    key: str
    name: str
    lane: str
    args: str
    reply_token: str | None
    attempts: int
    due_at: int
    created_at: int
    trace: str | None = None
    """The span in which it was asked for, as a `traceparent`."""


class Transaction:
    """One open write transaction of a shard file.

    `guild_id` and `cause` belong to the event, interaction, timer or step that is being handled. Keys of effects derive from
    `cause`, never from chance (I3, I5). `trace` is the span in which the work was handed to the writer.
    """

    __slots__ = (
        "_connection",
        "attached",
        "cause",
        "effects",
        "epoch",
        "guild_id",
        "next_timer",
        "now",
        "now_ms",
        "trace",
    )

    def __init__(self, connection: apsw.Connection, *, now: datetime, epoch: Epoch) -> None:
        self._connection = connection
        self.now = now
        self.now_ms = to_ms(now)
        self.epoch = epoch
        self.guild_id = GuildId(0)
        self.cause = ""
        self.trace: str | None = None
        self.effects: list[PendingEffect] = []
        self.next_timer: int | None = None
        self.attached: list[str] = []

    def attach(self, path: Path, schema: str) -> None:
        """Make another file readable as `schema` until the end of the transaction."""
        self._connection.execute("ATTACH ? AS " + schema, (str(path),))
        self.attached.append(schema)

    def execute(self, sql: str, bindings: tuple[Value, ...] | dict[str, Value] = ()) -> int:
        """Run a statement that changes rows; returns how many it changed."""
        self._connection.execute(sql, bindings)
        return self._connection.changes()

    def all(self, sql: str, bindings: tuple[Value, ...] | dict[str, Value] = ()) -> list[tuple[Any, ...]]:
        """Return every row of a query as tuples."""
        return self._connection.execute(sql, bindings).fetchall()

    def one(self, sql: str, bindings: tuple[Value, ...] | dict[str, Value] = ()) -> tuple[Any, ...] | None:
        """Return the first row of a query, or None."""
        return self._connection.execute(sql, bindings).fetchone()

    def value(self, sql: str, bindings: tuple[Value, ...] | dict[str, Value] = ()) -> Any:
        """Return the first column of the first row, or None."""
        row = self._connection.execute(sql, bindings).fetchone()
        return None if row is None else row[0]

    def structs(self, kind: type[_S], sql: str, bindings: tuple[Value, ...] | dict[str, Value] = ()) -> list[_S]:
        """Return every row as a Struct whose fields are the query's columns, in order."""
        return [kind(*row) for row in self._connection.execute(sql, bindings)]

    def effect(
        self,
        kind: EffectKind[_A],
        args: _A,
        *,
        key: str | None = None,
        lane: str | None = None,
        reply_token: str | None = None,
    ) -> bool:
        """Ask for an effect after the commit; False when the same key was asked for before.

        `key` defaults to the cause. Effects of one `lane` run one after the other in the order of their rows; the default lane is
        the key, so an effect waits for nobody. `reply_token` belongs to the interaction that the effect completes.
        """
        full_key = f"{kind.name}:{key or self.cause}"
        text = msgspec.json.encode(args).decode()
        chosen = lane or full_key
        effect_id = self.value(
            _SQL["insert_effect"],
            (
                self.guild_id,
                full_key,
                kind.name,
                chosen,
                text,
                reply_token,
                self.epoch,
                self.now_ms,
                self.now_ms,
                self.trace,
            ),
        )
        if effect_id is None:
            return False
        self.effects.append(
            PendingEffect(
                effect_id,
                self.guild_id,
                full_key,
                kind.name,
                chosen,
                text,
                reply_token,
                0,
                self.now_ms,
                self.now_ms,
                self.trace,
            )
        )
        return True

    def timer(
        self, kind: TimerKind[_A], args: _A, *, key: str, after: timedelta | None = None, at: datetime | None = None
    ) -> None:
        """Set a timer, or move the one with the same key; give either `after` or `at`."""
        due_at = to_ms(at if at is not None else self.now + (after or timedelta()))
        text = msgspec.json.encode(args).decode()
        self.execute(_SQL["set_timer"], (self.guild_id, kind.name, key, due_at, text))
        if self.next_timer is None or due_at < self.next_timer:
            self.next_timer = due_at

    def cancel_timer(self, kind: TimerKind[Any], *, key: str) -> bool:
        """Forget a timer; False when there was none."""
        return self.execute(_SQL["cancel_timer"], (self.guild_id, kind.name, key)) > 0

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo everything inside when it raises, and only that."""
        mark, timer = len(self.effects), self.next_timer
        self._connection.execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            if self._connection.in_transaction:  # a full disk undoes the whole transaction, and this savepoint with it
                self._connection.execute("ROLLBACK TO part")
                self._connection.execute("RELEASE part")
            del self.effects[mark:]
            self.next_timer = timer
            raise
        self._connection.execute("RELEASE part")


Work = Callable[[Transaction], Any]
