"""The bot's own application: read it, set its interactions endpoint."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from discordsim.rest.calls import Call
from discordsim.rest.routing import Answer, Route
from discordsim.world import errors
from discordsim.world.model.users import Application
from discordsim.world.payloads import Json


class ApplicationFields(msgspec.Struct):
    """The body of Edit Current Application."""

    description: Annotated[str, Meta(max_length=400)] | UnsetType | None = UNSET
    interactions_endpoint_url: Annotated[str, Meta(max_length=2048)] | UnsetType | None = UNSET
    event_webhooks_url: Annotated[str, Meta(max_length=2048)] | UnsetType | None = UNSET
    event_webhooks_types: list[str] | UnsetType | None = UNSET
    redirect_uris: Annotated[list[Annotated[str, Meta(max_length=2048)]], Meta(max_length=10)] | UnsetType = UNSET


def _drawn(call: Call, application: Application) -> Json:
    count = len(call.world.guilds_of(application.bot.id))
    return application.payload(owner=call.world.users.get(application.owner_id), guild_count=count)


def me(call: Call) -> Answer:
    """Return the bot's application."""
    return _drawn(call, call.application)


def get(call: Call) -> Answer:
    """Return the bot's application by its id; those of others are unknown."""
    if call.id("application_id") != call.application.id:
        raise errors.named(10002)
    return _drawn(call, call.application)


async def edit(call: Call) -> Json:
    """Change the application; an interactions endpoint is first tried out with a PING."""
    wanted, application = call.form(ApplicationFields), call.application
    if wanted.interactions_endpoint_url is not UNSET:
        await call.rest.host.interactions.set_endpoint(application, wanted.interactions_endpoint_url)
    if wanted.description is not UNSET:
        application.description = wanted.description or ""
    if wanted.event_webhooks_url is not UNSET:
        application.webhook_events_url = wanted.event_webhooks_url
    if wanted.event_webhooks_types is not UNSET:
        application.webhook_events_types = list(wanted.event_webhooks_types or [])
    if wanted.redirect_uris is not UNSET:
        application.redirect_uris = list(wanted.redirect_uris)
    return _drawn(call, application)


ROUTES = (
    Route("GET", "/applications/@me", me),
    Route("PATCH", "/applications/@me", edit),
    Route("GET", "/oauth2/applications/@me", me),
    Route("GET", "/applications/{application_id}", get),
)
