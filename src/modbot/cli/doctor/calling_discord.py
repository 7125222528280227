"""Asks Discord about our bot: how many IDENTIFYs are left, and how the application is set up. Two reads, nothing else."""

from __future__ import annotations

import aiohttp
import msgspec

from modbot.cli.doctor.facts import Application, Discord, Expected
from modbot.discord import routes
from modbot.discord.budgets import Budget
from modbot.discord.rest import RestClient
from modbot.discord.rest_errors import RestError
from modbot.domain.errors import ModbotError
from modbot.ops.settings import Secret

_PATIENCE = 5.0
_RATE = 5.0
_UNAUTHORIZED = 401


class _Limit(msgspec.Struct, frozen=True):
    remaining: int


class _Gateway(msgspec.Struct, frozen=True):
    session_start_limit: _Limit


class _Application(msgspec.Struct, frozen=True):
    id: int
    verify_key: str
    flags: int = 0
    interactions_endpoint_url: str | None = None


async def ask(session: aiohttp.ClientSession, *, api_url: str, token: Secret, expected: Expected) -> Discord:
    """Ask with the bot token; what does not answer or refuses is a fact."""
    client = RestClient(
        http=session,
        base_url=api_url,
        token=token,
        budget=Budget(per_second=_RATE),
        tries=2,
        patience=_PATIENCE,
        backoff=0.2,
    )
    try:
        gateway = (await client.request(routes.gateway_bot())).decode(_Gateway)
        found = (await client.request(routes.current_application())).decode(_Application)
    except RestError as error:
        if error.http_status == _UNAUTHORIZED:
            return Discord(token_refused=True, expected=expected)
        return Discord(problem=str(error), expected=expected)
    except ModbotError as error:
        return Discord(problem=str(error), expected=expected)
    application = Application(found.id, found.verify_key, found.flags, found.interactions_endpoint_url or "")
    return Discord(remaining=gateway.session_start_limit.remaining, application=application, expected=expected)
