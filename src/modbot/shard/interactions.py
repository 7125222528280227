"""Applying an interaction: once, with the permission checked here, and always with a valid answer.

The interaction's id is its idempotency key. The first time, the handler runs and its answer is stored with everything it wrote;
every later time (a retry of the http pod, the inbox after a takeover) the stored answer is returned and nothing happens. When
Discord has already been given the deferral, the answer becomes an effect that completes it by follow-up (I7).

Who pressed is used for the permission check and by handlers, and is not kept here.
"""

from __future__ import annotations

from datetime import timedelta

import msgspec

from modbot.discord.interactions import Interaction, InteractionType
from modbot.domain.errors import InvalidInputError
from modbot.domain.ids import GuildId, InteractionId
from modbot.domain.permissions import Permission
from modbot.ops import metrics, statements
from modbot.shard import calls, dead_letters, guild_settings, responses, transfers
from modbot.shard.effects import Run, UserError
from modbot.shard.feature import Access, Command, CommandKind, Component, Feature, custom_id_prefix
from modbot.shard.registry import Registry
from modbot.shard.responses import Later, Modal, Reply, Response
from modbot.shard.transaction import PendingEffect, Transaction
from modbot.shard.writer import FILE_ERRORS

_SQL = statements.load("modbot.shard")
_KINDS = frozenset(CommandKind)
_FIRST_RESPONSE_LIFE = timedelta(seconds=3)
feature = Feature("interactions")


class Completion(msgspec.Struct, frozen=True):
    """An answer that has to reach Discord by follow-up, as message data in JSON."""

    data: str


class FirstResponse(msgspec.Struct, frozen=True):
    """The first response of an interaction, as JSON."""

    interaction_id: InteractionId
    response: str


@feature.effect
async def complete(run: Run, args: Completion) -> None:
    """Send the answer of an interaction whose deferral Discord has already."""
    await run.reply("complete", msgspec.json.decode(args.data))


@feature.effect
async def respond(run: Run, args: FirstResponse) -> None:
    """Give the first response of an interaction that came over the gateway; after three seconds nobody waits for it."""
    token = run.effect.reply_token
    if token is None or run.now() - run.asked_at > _FIRST_RESPONSE_LIFE:
        return
    await run.request("respond", calls.respond(args.interaction_id, token, msgspec.json.decode(args.response)))


def find(registry: Registry, interaction: Interaction) -> Command | Component | None:
    """Return the declaration that answers an interaction, or None when nobody does."""
    data = interaction.data
    if data is None:
        return None
    if interaction.type == InteractionType.COMMAND:
        kind = data.type or CommandKind.SLASH
        return registry.commands.get((CommandKind(kind), data.name)) if kind in _KINDS else None
    if interaction.type in {InteractionType.COMPONENT, InteractionType.MODAL}:
        return registry.components.get(custom_id_prefix(data.custom_id))
    return None


def apply(tx: Transaction, interaction: Interaction, registry: Registry, *, deferred: bool) -> bytes:
    """Apply an interaction in the transaction that the caller commits; returns the JSON of the first response.

    `deferred`: Discord has the deferral already, so what the handler answers is sent by follow-up.
    """
    tx.guild_id = interaction.guild_id or GuildId(0)
    tx.cause = f"interaction/{interaction.id}"
    transfers.require_served(tx, tx.guild_id)
    stored: str | None = tx.value(_SQL["read_interaction"], (tx.guild_id, interaction.id))
    if stored is not None:
        if deferred:
            _complete_stored(tx, interaction, stored)
        return stored.encode()
    declared = find(registry, interaction)
    if declared is None:
        raise InvalidInputError("Nothing here answers this interaction.")
    response = _handle(tx, interaction, declared)
    encoded = responses.encode(response, declared.defers)
    tx.execute(_SQL["insert_interaction"], (tx.guild_id, interaction.id, tx.now_ms, encoded.decode()))
    metrics.INTERACTIONS.labels(type(response).__name__.lower()).inc()
    if deferred:
        _complete_by_effect(tx, interaction, response)
    return encoded


def apply_from_gateway(tx: Transaction, interaction: Interaction, registry: Registry) -> None:
    """Apply an interaction that came as a dispatch; its first response is given by an effect through Discord's callback."""
    if find(registry, interaction) is None:
        return
    response = apply(tx, interaction, registry, deferred=False)
    args = FirstResponse(interaction.id, response.decode())
    tx.effect(respond, args, key=f"interaction/{interaction.id}", reply_token=interaction.token)


def is_moderator(tx: Transaction, interaction: Interaction) -> bool:
    """Tell whether the invoker holds the moderator role or Administrator in this guild."""
    member = interaction.member
    if member is None:
        return False
    role = guild_settings.moderator_role(tx)
    return _is_administrator(interaction) or (role is not None and role in member.roles)


def _handle(tx: Transaction, interaction: Interaction, declared: Command | Component) -> Response:
    refusal = _refusal(tx, interaction, declared.access)
    if refusal is not None:
        return Reply(refusal)
    try:
        with tx.savepoint():
            response = declared.handler(tx, interaction)
            return response if declared.modal is None or isinstance(response, Reply) else declared.modal(interaction)
    except FILE_ERRORS:
        raise
    except UserError as error:
        return Reply(str(error))
    except Exception as error:  # noqa: BLE001 - recorded as a dead letter; the person gets a sentence with its id
        name = declared.name if isinstance(declared, Command) else declared.prefix
        dead_letters.bury(tx, handler=name, error=error, payload=None)
        return Reply(
            f"Something went wrong on my side, and it is recorded as `{interaction.id}`. Please try again later."
        )


def _refusal(tx: Transaction, interaction: Interaction, access: Access) -> str | None:
    if access is Access.EVERYONE:
        return None
    if access is Access.ADMINISTRATOR:
        return None if _manages_guild(interaction) else "This is for people who may manage the server."
    if is_moderator(tx, interaction):
        return None
    if guild_settings.moderator_role(tx) is None:
        return "This is for moderators, and no moderator role is set yet. Somebody who manages the server can use `/setup`."
    return "This is for moderators."


def _is_administrator(interaction: Interaction) -> bool:
    bits = interaction.member.permissions if interaction.member is not None else None
    return bool((bits or 0) & Permission.ADMINISTRATOR)


def _manages_guild(interaction: Interaction) -> bool:
    bits = interaction.member.permissions if interaction.member is not None else None
    return bool((bits or 0) & (Permission.ADMINISTRATOR | Permission.MANAGE_GUILD))


def _complete_by_effect(tx: Transaction, interaction: Interaction, response: Response) -> None:
    if isinstance(response, Later | Modal):
        return  # an effect completes it anyway; a form was sent by the http pod
    _ask_completion(tx, interaction, responses.message_data(response))


def _complete_stored(tx: Transaction, interaction: Interaction, stored: str) -> None:
    response = msgspec.json.decode(stored)
    if response["type"] in {4, 7}:
        _ask_completion(tx, interaction, response["data"])


def ask_text(tx: Transaction, effect: PendingEffect, text: str) -> None:
    """Tell the person behind a failed effect what happened."""
    tx.guild_id, tx.cause = effect.guild_id, f"{effect.key}/failed"
    data = responses.message_data(Reply(text))
    tx.effect(complete, Completion(msgspec.json.encode(data).decode()), reply_token=effect.reply_token)


def _ask_completion(tx: Transaction, interaction: Interaction, data: dict[str, object]) -> None:
    text = msgspec.json.encode(data).decode()
    tx.effect(complete, Completion(text), reply_token=interaction.token)
