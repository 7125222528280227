"""Writing, changing and pinning messages, typing, and reading a channel's history.

A human's message first passes AutoMod; a message in an archived, unlocked thread opens the thread again; SEND_MESSAGES has no
meaning in threads. A repeated `nonce` with `enforce_nonce` gives the first message back, without events, for five minutes.
"""

import copy
from collections.abc import Mapping
from typing import Any

from discordsim.world import access, auditing, automod, delivering, drafts, errors, threading_rules
from discordsim.world.events import Dispatch, Intent
from discordsim.world.model.channels import WITH_MESSAGES, Channel
from discordsim.world.model.logs import AuditAction
from discordsim.world.model.messages import Draft, Message, MessageFlag, MessageType
from discordsim.world.model.users import User
from discordsim.world.payloads import Json, iso, iso_or_none
from discordsim.world.permissions import Permission
from discordsim.world.world import World

NONCE_SECONDS = 300.0
MAX_PINS = 250
_EDITABLE = frozenset({"content", "embeds", "attachments", "components", "flags", "allowed_mentions"})


def create(
    world: World, channel_id: int, author_id: int, draft: Draft, *, enforce: bool = True, message_id: int | None = None
) -> Message:
    """Post a message as a user; `enforce=False` skips permissions (interaction responses, the world itself).

    `message_id` is given by forum posts only, whose first message has the id of the thread.

    Errors: 10003, 10013, 50001, 50013, 50006, 50035, 50083, 160005, 20016, 200000.
    """
    channel, author = world.channel(channel_id), world.user(author_id)
    if channel.type not in WITH_MESSAGES:
        raise errors.named(50024)
    if enforce:
        _require_may_post(world, channel, author_id, draft)
    drafts.check(draft)
    known = _first_with_nonce(world, channel_id, author_id, draft)
    if known is not None:
        return known
    if enforce:
        _slow_down(world, channel, author)
    hits = automod.matches(world, channel, author, draft)
    automod.stop_blocked(world, channel, author, draft, hits)
    threading_rules.wake(world, channel, author_id if enforce else None)
    message = _build(world, channel, author, draft, message_id or world.new_id())
    delivering.store(world, channel, message)
    if draft.nonce is not None and draft.enforce_nonce:
        world.nonces[author_id, channel_id, str(draft.nonce)] = (world.now(), message)
    automod.act_on_posted(world, channel, message, hits)
    return message


def _require_may_post(world: World, channel: Channel, author_id: int, draft: Draft) -> None:
    needed = Permission.SEND_MESSAGES_IN_THREADS if channel.is_thread else Permission.SEND_MESSAGES
    if draft.message_reference is not None and not drafts.is_forward(draft):
        needed |= Permission.READ_MESSAGE_HISTORY
    if draft.attachments:
        needed |= Permission.ATTACH_FILES
    if draft.poll is not None:
        needed |= Permission.SEND_POLLS
    access.require(world, author_id, channel, needed)
    threading_rules.require_open(world, channel, author_id)


def _first_with_nonce(world: World, channel_id: int, author_id: int, draft: Draft) -> Message | None:
    if draft.nonce is None or not draft.enforce_nonce:
        return None
    moment, message = world.nonces.get((author_id, channel_id, str(draft.nonce)), (0.0, None))
    return message if message is not None and world.now() - moment < NONCE_SECONDS else None


def _slow_down(world: World, channel: Channel, author: User) -> None:
    """Refuse humans who write again too soon; bots and holders of BYPASS_SLOWMODE are free."""
    wait = channel.rate_limit_per_user
    if not wait or author.bot or access.permissions_of(world, author.id, channel) & Permission.BYPASS_SLOWMODE:
        return
    if world.now() - channel.last_posts.get(author.id, float("-inf")) < wait:
        raise errors.named(20016)
    channel.last_posts[author.id] = world.now()


def _build(world: World, channel: Channel, author: User, draft: Draft, message_id: int) -> Message:
    message = Message(
        id=message_id,
        channel_id=channel.id,
        guild_id=channel.guild_id,
        author=author,
        timestamp=world.now(),
        content=draft.content,
        type=draft.type,
        embeds=drafts.finished_embeds(draft.embeds),
        attachments=copy.deepcopy(draft.attachments),
        components=drafts.number(copy.deepcopy(draft.components)),
        flags=draft.flags,
        nonce=draft.nonce,
        tts=draft.tts,
        sticker_items=list(draft.sticker_items),
        poll=copy.deepcopy(draft.poll),
        webhook_id=draft.webhook_id,
        application_id=draft.application_id,
        interaction_metadata=draft.interaction_metadata,
        visible_to=draft.visible_to,
    )
    _mention(world, channel, message, draft)
    _refer(world, channel, message, draft)
    return message


def _mention(world: World, channel: Channel, message: Message, draft: Draft) -> None:
    users, roles, everyone = drafts.mentioned(draft)
    message.mentions = [world.users[one] for one in users if one in world.users]
    if channel.guild_id is not None:
        known = world.guild(channel.guild_id).roles
        message.mention_roles = [one for one in roles if one in known]
        allowed = access.permissions_of(world, message.author.id, channel) & Permission.MENTION_EVERYONE
        message.mention_everyone = everyone and bool(allowed)


def _refer(world: World, channel: Channel, message: Message, draft: Draft) -> None:
    """Fill in a reply or a forward; a reply to a lost message is 50035 unless `fail_if_not_exists` is false."""
    wanted = draft.message_reference
    if wanted is None:
        return
    source_id = int(wanted.get("channel_id") or channel.id)
    source = world.channels.get(source_id)
    found = source.messages.get(int(wanted["message_id"])) if source else None
    message.message_reference = {
        "type": int(wanted.get("type", 0)),
        "channel_id": str(source_id),
        "message_id": str(wanted["message_id"]),
    }
    if source is not None and source.guild_id is not None:
        message.message_reference["guild_id"] = str(source.guild_id)
    if found is None and wanted.get("fail_if_not_exists", True):
        raise errors.invalid("message_reference", "REPLIES_UNKNOWN_MESSAGE", "Unknown message")
    if drafts.is_forward(draft):
        message.flags |= MessageFlag.HAS_SNAPSHOT
        message.snapshots = [found.snapshot()] if found else []
    elif message.type is MessageType.DEFAULT:
        message.type, message.referenced = MessageType.REPLY, found
        _ping_replied(message, found, draft.allowed_mentions)


def _ping_replied(message: Message, replied: Message | None, allowed: Json | None) -> None:
    wanted = allowed is None or allowed.get("replied_user", False)
    if replied is not None and wanted and replied.author not in message.mentions:
        message.mentions.append(replied.author)


def edit(
    world: World, channel_id: int, message_id: int, changes: Mapping[str, Any], *, actor_id: int | None = None
) -> Message:
    """Change content, embeds, attachments, components or flags of a message (None empties).

    Others than the author may only suppress embeds, with MANAGE_MESSAGES. Errors: 10008, 50001, 50005, 50013, 50035, 50083.
    """
    channel, message = world.channel(channel_id), world.message(channel_id, message_id)
    if actor_id is not None:
        _require_may_edit(world, channel, message, changes, actor_id)
    if channel.thread is not None and channel.thread.archived:
        raise errors.named(50083)
    wanted = {key: value for key, value in changes.items() if key in _EDITABLE}
    draft = _edited_draft(message, wanted)
    drafts.check(draft)
    message.content, message.flags = draft.content, draft.flags
    message.embeds = drafts.finished_embeds(draft.embeds)
    message.attachments, message.components = draft.attachments, drafts.number(draft.components)
    _mention(world, channel, message, draft)
    if wanted.keys() - {"flags"}:
        message.edited_timestamp = world.now()
    delivering.announce(world, channel, message, "MESSAGE_UPDATE")
    return message


def _require_may_edit(
    world: World, channel: Channel, message: Message, changes: Mapping[str, Any], actor_id: int
) -> None:
    access.require(world, actor_id, channel, Permission.VIEW_CHANNEL)
    if message.author.id == actor_id:
        return
    if set(changes) - {"flags"}:
        raise errors.named(50005)
    access.require(world, actor_id, channel, Permission.MANAGE_MESSAGES)


def _edited_draft(message: Message, wanted: Mapping[str, Any]) -> Draft:
    kept = {
        "content": message.content,
        "embeds": message.embeds,
        "attachments": message.attachments,
        "components": message.components,
    }
    fields: dict[str, Any] = {
        key: copy.deepcopy(wanted.get(key, value)) or type(value)() for key, value in kept.items()
    }
    flags = message.flags | int(wanted.get("flags") or 0)
    if "flags" in wanted and not int(wanted["flags"] or 0) & MessageFlag.SUPPRESS_EMBEDS:
        flags &= ~MessageFlag.SUPPRESS_EMBEDS
    return Draft(
        **fields,
        flags=int(flags),
        allowed_mentions=wanted.get("allowed_mentions"),
        sticker_items=message.sticker_items,
        poll=message.poll,
        message_reference=message.message_reference,
    )


def pin(
    world: World,
    channel_id: int,
    message_id: int,
    *,
    pinned: bool = True,
    actor_id: int | None = None,
    reason: str | None = None,
) -> None:
    """Pin or unpin a message; repeating changes nothing. Errors: 10008, 50001, 50013 (PIN_MESSAGES), 30003."""
    channel, message = world.channel(channel_id), world.message(channel_id, message_id)
    access.require(world, actor_id, channel, Permission.PIN_MESSAGES)
    if message.pinned == pinned:
        return
    if pinned and len(pins(world, channel_id)) >= MAX_PINS:
        raise errors.named(30003)
    message.pinned, message.pinned_at = pinned, world.now() if pinned else None
    channel.last_pin_timestamp = world.now() if pinned else channel.last_pin_timestamp
    delivering.announce(world, channel, message, "MESSAGE_UPDATE")
    data: Json = {"channel_id": str(channel_id), "last_pin_timestamp": iso_or_none(channel.last_pin_timestamp)}
    if channel.guild_id is None:
        for user in channel.recipients:
            world.emit(Dispatch(None, "CHANNEL_PINS_UPDATE", data, intents=Intent.DIRECT_MESSAGES, user_id=user.id))
        return
    data["guild_id"] = str(channel.guild_id)
    world.emit(Dispatch(channel.guild_id, "CHANNEL_PINS_UPDATE", data, intents=Intent.GUILDS, channel_id=channel_id))
    action = AuditAction.MESSAGE_PIN if pinned else AuditAction.MESSAGE_UNPIN
    options = {"channel_id": str(channel_id), "message_id": str(message_id)}
    auditing.record(
        world,
        world.guild_of(channel),
        action,
        actor_id=actor_id,
        target_id=message.author.id,
        options=options,
        reason=reason,
    )


def pins(world: World, channel_id: int) -> list[Message]:
    """Return the pinned messages, last pinned first."""
    found = [message for message in world.channel(channel_id).messages.values() if message.pinned]
    return sorted(found, key=lambda message: message.pinned_at or 0.0, reverse=True)


def history(
    world: World,
    channel_id: int,
    *,
    viewer_id: int | None = None,
    before: int | None = None,
    after: int | None = None,
    around: int | None = None,
    limit: int = 50,
) -> list[Message]:
    """Return messages newest first, as Get Channel Messages does; without READ_MESSAGE_HISTORY the viewer gets none.

    Errors: 10003, 50001. Ephemeral messages are only shown to their reader.
    """
    channel = world.channel(channel_id)
    access.require(world, viewer_id, channel, Permission.VIEW_CHANNEL)
    if viewer_id is not None and not access.permissions_of(world, viewer_id, channel) & Permission.READ_MESSAGE_HISTORY:
        return []
    ids = sorted(one.id for one in channel.messages.values() if one.visible_to in {None, viewer_id})
    if around is not None:
        older, newer = [i for i in ids if i < around], [i for i in ids if i >= around]
        half = limit // 2
        ids = older[-half:] * bool(half) + newer[: limit - half]
    elif after is not None:
        ids = [i for i in ids if i > after][:limit]
    else:
        ids = [i for i in ids if before is None or i < before][-limit:]
    return [channel.messages[i] for i in reversed(ids)]


def start_typing(world: World, channel_id: int, user_id: int) -> None:
    """Announce that a user types. Errors: 10003, 50001, 50013."""
    channel = world.channel(channel_id)
    access.require(
        world, user_id, channel, Permission.SEND_MESSAGES_IN_THREADS if channel.is_thread else Permission.SEND_MESSAGES
    )
    data: Json = {"channel_id": str(channel_id), "user_id": str(user_id), "timestamp": int(world.now())}
    if channel.guild_id is None:
        for user in channel.recipients:
            world.emit(Dispatch(None, "TYPING_START", data, intents=Intent.DIRECT_MESSAGE_TYPING, user_id=user.id))
        return
    data |= {"guild_id": str(channel.guild_id), "member": world.member(channel.guild_id, user_id).payload()}
    world.emit(
        Dispatch(channel.guild_id, "TYPING_START", data, intents=Intent.GUILD_MESSAGE_TYPING, channel_id=channel_id)
    )


def pin_payload(message: Message) -> Json:
    """Return one item of Get Channel Pins."""
    return {"pinned_at": iso(message.pinned_at or message.timestamp), "message": message.payload()}
