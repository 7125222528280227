"""Discord: reached, our token accepted, and the application set up as our settings say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from modbot.cli.doctor.facts import Application, Expected, Facts
from modbot.cli.doctor.findings import Finding, Kind, Level
from modbot.discord.intents import Intent

_PATHS: Final = ("/interactions", "/webhooks/discord")
# Flags of an application (Discord's documentation, application flags): the full and the limited form of each.
_ALLOWED: Final = (
    (Intent.GUILD_MEMBERS, 1 << 14 | 1 << 15, "Server Members Intent"),
    (Intent.MESSAGE_CONTENT, 1 << 18 | 1 << 19, "Message Content Intent"),
)

UNREACHABLE = Kind(
    "discord_unreachable",
    Level.WRONG,
    "Discord's API does not answer.",
    "Effects wait in their rows and are tried again for ten minutes; sessions come back by themselves.",
    "Look at discordstatus.com; then whether this pod may reach port 443 outside the cluster.",
)
TOKEN_REFUSED = Kind(
    "bot_token_refused",
    Level.WRONG,
    "Discord does not accept the bot token.",
    "No session begins and nothing is done in Discord. Every try counts towards a ban of the address.",
    "Reset the token in the Developer Portal (*Bot*) and put it into DISCORD_HASH; then restart the gateway pods.",
)
INTENT_MISSING = Kind(
    "intent_missing",
    Level.WRONG,
    "The application may not use an intent that modbot asks for.",
    "Discord refuses every session (close code 4014).",
    "Switch the intent on in the Developer Portal (*Bot*), or, for message texts, set MODBOT_MESSAGE_CONTENT=false.",
)
APPLICATION_DIFFERS = Kind(
    "application_differs",
    Level.WRONG,
    "DISCORD_APP_ID is not the application of this bot token.",
    "Commands are not registered and follow-ups are refused.",
    "Take both from the same application in the Developer Portal (*General Information*).",
)
PUBLIC_KEY_DIFFERS = Kind(
    "public_key_differs",
    Level.WRONG,
    "DISCORD_PUBLIC_KEY is not the application's.",
    "Every interaction is refused with 401, and Discord takes the endpoint away.",
    "Copy *Public Key* from the Developer Portal (*General Information*), and set the endpoint there again.",
)
NO_ENDPOINT = Kind(
    "no_interactions_endpoint",
    Level.WARNING,
    "The application has no interactions endpoint.",
    "Interactions come over the gateway. Members who report stay anonymous only from the gateway pod on.",
    "Set *Interactions Endpoint URL* to `https://your.address/interactions`, if there is a public address.",
)
ENDPOINT_ELSEWHERE = Kind(
    "interactions_endpoint_elsewhere",
    Level.WRONG,
    "Discord sends interactions somewhere else.",
    "Commands and buttons are not answered here.",
    "Set *Interactions Endpoint URL* in the Developer Portal to the address of the http pods with `/interactions`.",
)
KINDS = (
    UNREACHABLE,
    TOKEN_REFUSED,
    APPLICATION_DIFFERS,
    INTENT_MISSING,
    PUBLIC_KEY_DIFFERS,
    NO_ENDPOINT,
    ENDPOINT_ELSEWHERE,
)


def decide(facts: Facts) -> Iterator[Finding]:
    """Look at what Discord said."""
    discord = facts.discord
    if discord is None:
        return
    if discord.problem:
        yield UNREACHABLE.found(discord.problem, subject="Discord")
    if discord.token_refused:
        yield TOKEN_REFUSED.found("Discord answers 401.", subject="DISCORD_HASH")
    if discord.application is not None:
        yield from _application(discord.application, discord.expected)


def _application(application: Application, expected: Expected) -> Iterator[Finding]:
    theirs = application.application_id
    if expected.application_id not in {None, theirs}:
        yield APPLICATION_DIFFERS.found(
            f"The token belongs to {theirs}, the setting says {expected.application_id}.", subject="DISCORD_APP_ID"
        )
    for intent, flags, name in _ALLOWED:
        if expected.intents & intent and not application.flags & flags:
            yield INTENT_MISSING.found(f"*{name}* is off.", subject=name)
    if expected.public_key and expected.public_key.lower() != application.verify_key.lower():
        yield PUBLIC_KEY_DIFFERS.found(
            f"The application's begins with {application.verify_key[:8]}, ours with {expected.public_key[:8]}.",
            subject="DISCORD_PUBLIC_KEY",
        )
    yield from _endpoint(application.interactions_url, expected.public_url)


def _endpoint(address: str, ours: str) -> Iterator[Finding]:
    if not address:
        yield NO_ENDPOINT.found("*Interactions Endpoint URL* is empty.", subject="interactions")
        return
    told, wanted = urlsplit(address), urlsplit(ours)
    if told.path not in _PATHS or (ours and told.netloc != wanted.netloc):
        where = f" Ours is {ours}." if ours else ""
        yield ENDPOINT_ELSEWHERE.found(f"It is {address}.{where}", subject="interactions")
