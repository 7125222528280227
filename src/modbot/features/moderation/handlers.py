"""The buttons of a user thread, their confirmations, and the audit log's answer."""

from __future__ import annotations

from modbot.discord.events import AuditLogEntryCreated
from modbot.discord.interactions import Interaction
from modbot.domain.actions import DEFAULT_TIMEOUT, LONGEST_TIMEOUT, ActionKind
from modbot.domain.ids import UserId
from modbot.features import user_threads
from modbot.features.moderation import acting, views
from modbot.features.moderation.acting import Order, feature
from modbot.ops import statements
from modbot.shard import snapshot
from modbot.shard.effects import UserError
from modbot.shard.feature import Access, ButtonStyle, Control, Deferral, custom_id_parts
from modbot.shard.responses import Later, Modal, Response
from modbot.shard.transaction import Transaction

_SQL = statements.load("modbot.features.moderation")
# Discord's audit log actions and the kinds of ours that they stand for.
_AUDITED = {20: (ActionKind.KICK, ActionKind.KICK), 22: (ActionKind.BAN, ActionKind.BAN_DELETE)}
_MEMBER_UPDATE = 24


def _ask(kind: ActionKind, interaction: Interaction) -> Modal:
    user_id = custom_id_parts(interaction.data.custom_id if interaction.data else "")[0]
    return views.confirmation(confirm.custom_id(kind, user_id), kind, _name_of(interaction, user_id))


def _nothing(_tx: Transaction, _interaction: Interaction) -> Response:
    return Later()  # the form is the answer


def _button(name: str, kind: ActionKind, control: Control) -> None:
    feature.component(
        name,
        access=Access.MODERATOR,
        defers=Deferral.EPHEMERAL,
        modal=lambda interaction: _ask(kind, interaction),
        control=control,
    )(_nothing)


_button("timeout", ActionKind.TIMEOUT, Control("Timeout", ButtonStyle.GREY, 2))
_button("kick", ActionKind.KICK, Control("Kick", ButtonStyle.GREY, 2))
_button("ban", ActionKind.BAN, Control("Ban", ButtonStyle.RED, 2))
_button("ban-delete", ActionKind.BAN_DELETE, Control("Ban + delete 7 days", ButtonStyle.RED, 2))


@feature.form("confirm", access=Access.MODERATOR, defers=Deferral.EPHEMERAL)
def confirm(tx: Transaction, interaction: Interaction) -> Response:
    """Record the action and have it carried out."""
    order = _read_order(interaction)
    tx.execute(
        _SQL["insert_action"],
        (
            tx.guild_id,
            order.action_id,
            order.target.user_id,
            order.target.username,
            order.actor_id,
            order.kind,
            order.reason,
            order.seconds,
            tx.now_ms,
        ),
    )
    lane = user_threads.lane_of(order.target.user_id)
    tx.effect(acting.carry_out, order, lane=lane, reply_token=interaction.token)
    return Later()


@feature.on("GUILD_AUDIT_LOG_ENTRY_CREATE")
def attach_audit_entry(tx: Transaction, entry: AuditLogEntryCreated) -> None:
    """Note the audit log's id of what we did ourselves."""
    if entry.user_id != snapshot.bot_user(tx) or entry.target_id is None:
        return
    kinds = _AUDITED.get(entry.action_type)
    if entry.action_type == _MEMBER_UPDATE and any(c.key == "communication_disabled_until" for c in entry.changes):
        kinds = (ActionKind.TIMEOUT, ActionKind.TIMEOUT)
    if kinds is not None:
        tx.execute(_SQL["attach_audit_entry"], (entry.id, tx.guild_id, entry.target_id, *kinds))


def _read_order(interaction: Interaction) -> Order:
    data, member, invoker = interaction.data, interaction.member, interaction.invoker
    if data is None or member is None or invoker is None:
        raise UserError("This works in servers only.")
    kind_name, user_id = custom_id_parts(data.custom_id)
    kind = ActionKind(kind_name)
    fields = data.fields()
    reason = fields["reason"].value if "reason" in fields else ""
    seconds = None
    if kind is ActionKind.TIMEOUT:
        chosen = fields["seconds"].values if "seconds" in fields else ()
        seconds = min(int(chosen[0]), LONGEST_TIMEOUT) if chosen else DEFAULT_TIMEOUT
    return Order(
        action_id=interaction.id,
        kind=kind,
        target=user_threads.Person(UserId(int(user_id)), _name_of(interaction, user_id)),
        actor_id=invoker.id,
        actor_name=invoker.username,
        actor_roles=member.roles,
        reason=str(reason or "").strip()[: views.REASON_LIMIT],
        seconds=seconds,
    )


def _name_of(interaction: Interaction, user_id: str) -> str:
    name = interaction.channel.name if interaction.channel is not None else None
    return (name or user_id).removesuffix(" · history")
