"""Carrying out a moderator's decision: look at both members, act, record, announce, answer."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from modbot.discord import routes
from modbot.discord.objects import Member
from modbot.domain import actions, permissions
from modbot.domain.actions import ActionKind
from modbot.domain.ids import InteractionId, RoleId, UserId
from modbot.domain.permissions import Standing
from modbot.features import user_threads
from modbot.features.moderation import views
from modbot.ops import statements
from modbot.shard import calls, failing, responses, snapshot
from modbot.shard.effects import Call, RefusedError, Run, UserError
from modbot.shard.feature import Feature
from modbot.shard.responses import Reply
from modbot.shard.transaction import Transaction

feature = Feature("moderation", package="modbot.features.moderation")
_SQL = statements.load("modbot.features.moderation")
_NEEDS_MEMBER = frozenset({ActionKind.KICK, ActionKind.TIMEOUT})
_AUDIT_REASON = 512


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a moderator decided."""

    action_id: InteractionId
    kind: ActionKind
    target: user_threads.Person
    actor_id: UserId
    actor_name: str
    actor_roles: tuple[RoleId, ...]
    reason: str
    seconds: int | None


@feature.effect
async def carry_out(run: Run, order: Order) -> None:
    """Do what was decided, unless the hierarchy or Discord forbids it; the record says which."""
    refusal = await _act(run, order)
    if refusal is not None:
        await run.commit("failed", lambda tx: _settle(tx, order, "failed", refusal))
        await _answer(run, refusal)
        return
    await run.commit("done", lambda tx: _settle(tx, order, "done", None))
    done = actions.past(order.kind, order.seconds)
    problem = await _announce(run, order, done)
    answer = views.answer(target_name=order.target.username, done=done)
    await _answer(run, f"{answer} {problem}".strip())


async def _announce(run: Run, order: Order, done: str) -> str:
    """Write it into the thread and the mod log; returns what kept it from being written, which undoes nothing."""
    body = views.entry(
        target_id=order.target.user_id,
        target_name=order.target.username,
        actor_id=order.actor_id,
        done=done,
        reason=order.reason,
    )
    try:
        posted = await user_threads.post(run, "entry", order.target, body)
        line = views.log_line(
            target_name=order.target.username,
            actor_id=order.actor_id,
            done=done,
            reason=order.reason,
            thread_id=posted.thread_id,
        )
        await user_threads.announce(run, "line", line)
    except (RefusedError, UserError) as error:
        return f"I could not write it into the history. {failing.sentence(error, reference=run.effect.key)}"
    return ""


async def _act(run: Run, order: Order) -> str | None:
    """Act and return None, or say why not."""
    try:
        objection = await _objection(run, order)
        if objection is not None:
            return objection
        await run.commit("running", lambda tx: tx.execute(_SQL["start_action"], (tx.guild_id, order.action_id)))
        await run.request("act", _call(run, order))
    except RefusedError as error:
        return failing.refusal(error)
    return None


async def _objection(run: Run, order: Order) -> str | None:
    if run.did("running"):
        return None  # a second run: nothing spoke against it, and the member may be gone because of the first
    member = await _member(run, order.target.user_id)
    if member is None and order.kind in _NEEDS_MEMBER:
        return views.not_here(order.target.username)
    target = Standing(order.target.user_id, member.roles if member else ())
    actor = Standing(order.actor_id, order.actor_roles)
    return await run.read(
        lambda tx: permissions.objection(
            actor=actor,
            target=target,
            bot=snapshot.own_standing(tx),
            owner_id=snapshot.owner_of(tx),
            roles=snapshot.roles_of(tx),
        )
    )


async def _member(run: Run, user_id: UserId) -> Member | None:
    try:
        body = await run.fetch(routes.get_member(run.guild_id, user_id))
    except RefusedError as error:
        if error.discord_code == calls.UNKNOWN_MEMBER:
            return None
        raise
    return msgspec.json.decode(body, type=Member, strict=False)


def _call(run: Run, order: Order) -> Call:
    user_id = order.target.user_id
    reason = f"{order.actor_name} ({order.actor_id}): {order.reason or 'no reason given'}"[:_AUDIT_REASON]
    match order.kind:
        case ActionKind.KICK:
            return calls.kick(run.guild_id, user_id, reason=reason)
        case ActionKind.BAN:
            return calls.ban(run.guild_id, user_id, reason=reason)
        case ActionKind.BAN_DELETE:
            return calls.ban(run.guild_id, user_id, reason=reason, delete_seconds=actions.WEEK)
        case ActionKind.TIMEOUT:
            until = run.asked_at + timedelta(seconds=order.seconds or actions.DEFAULT_TIMEOUT)
            return calls.time_out(run.guild_id, user_id, until=until, reason=reason)


def _settle(tx: Transaction, order: Order, state: str, error: str | None) -> None:
    tx.execute(_SQL["set_state"], (tx.guild_id, order.action_id, state, error, tx.now_ms))


async def _answer(run: Run, text: str) -> None:
    await run.reply("answer", responses.message_data(Reply(text)))
