"""The door to PostgreSQL: a small pool, short transactions, and PostgreSQL's errors in the words of our tree.

Every session carries timeouts, so that a statement, a wait for a lock and a transaction whose client froze end by themselves; a
replica that is stopped in the middle of a decision holds up the others for `IDLE_LIMIT` at most. This module decides nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import asyncpg

from modbot.domain.errors import InvalidInputError, UnavailableError
from modbot.ops.settings import Secret

IDLE_LIMIT = "1000"
_POOL_SIZE = 5
_CALL_LIMIT = 4.0
_SESSION = {
    "application_name": "modbot-config",
    "statement_timeout": "3000",
    "lock_timeout": "2000",
    "idle_in_transaction_session_timeout": IDLE_LIMIT,
}
_REFUSED = (asyncpg.DataError, asyncpg.exceptions.CharacterNotInRepertoireError)
# The driver calls it an internal error when a connection breaks between two of its steps.
_DOWN = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)


class Connection:
    """A connection that knows the named statements."""

    def __init__(self, raw: Any, queries: Mapping[str, str]) -> None:
        self._raw = raw
        self._queries = queries

    async def all(self, name: str, *values: object) -> list[Any]:
        """Run a named statement and return its rows."""
        rows: list[Any] = await self._raw.fetch(self._queries[name], *values)
        return rows

    async def one(self, name: str, *values: object) -> Any:
        """Run a named statement and return its first row, or None."""
        return await self._raw.fetchrow(self._queries[name], *values)

    async def value(self, name: str, *values: object) -> Any:
        """Run a named statement and return the first column of its first row, or None."""
        return await self._raw.fetchval(self._queries[name], *values)


class Database:
    """The pool. `queries` can be replaced by a test that wants to see a guard missing."""

    def __init__(self, pool: Any, queries: Mapping[str, str]) -> None:
        self._pool = pool
        self._queries = queries

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Open a short READ COMMITTED transaction; `UnavailableError` when PostgreSQL does not answer."""
        with translated():
            async with self._pool.acquire(timeout=_CALL_LIMIT) as raw, raw.transaction():
                yield Connection(raw, self._queries)

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        """Open a read-only transaction in which all statements see the same moment."""
        with translated():
            async with (
                self._pool.acquire(timeout=_CALL_LIMIT) as raw,
                raw.transaction(isolation="repeatable_read", readonly=True),
            ):
                yield Connection(raw, self._queries)

    def limit(self) -> int:
        """Return how many connections the pool opens at most."""
        return _POOL_SIZE

    def sizes(self) -> tuple[int, int]:
        """Return how many connections are open and how many of them are idle."""
        return self._pool.get_size(), self._pool.get_idle_size()

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()


@contextlib.contextmanager
def translated() -> Any:
    """Turn PostgreSQL's errors into ours: values that it cannot store are the caller's fault, everything else is an outage.

    A violated constraint is neither: it means that a decision of ours is wrong, so it passes through and ends what it happened in.
    """
    try:
        yield
    except asyncpg.IntegrityConstraintViolationError:
        raise
    except _REFUSED as error:
        raise InvalidInputError(f"A value cannot be stored: {type(error).__name__}.") from error
    except _DOWN as error:
        raise UnavailableError(f"PostgreSQL does not answer ({type(error).__name__}).") from error


async def open_pool(url: Secret, queries: Mapping[str, str]) -> Database:
    """Open the pool; the first connection is made at once."""
    with translated():
        pool = await asyncpg.create_pool(
            url.reveal(), min_size=1, max_size=_POOL_SIZE, command_timeout=_CALL_LIMIT, server_settings=_SESSION
        )
    return Database(pool, queries)


async def connect(url: Secret) -> Any:
    """Open one connection outside the pool, for listening and for migrations."""
    with translated():
        return await asyncpg.connect(url.reveal(), command_timeout=_CALL_LIMIT, server_settings=_SESSION)
