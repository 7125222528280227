"""AutoMod: rules and what they do to a human's message.

Keyword rules (with `*` wildcards, regular expressions and an allow list) and mention limits are executed. Bots, members with
MANAGE_GUILD or Administrator, exempt roles and exempt channels pass.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from discordsim.world import access, auditing, delivering, drafts, errors, members
from discordsim.world.events import Dispatch, Intent
from discordsim.world.model.channels import Channel
from discordsim.world.model.guilds import Guild
from discordsim.world.model.logs import AuditAction
from discordsim.world.model.messages import Draft, Message, MessageType
from discordsim.world.model.rules import ActionType, AutoModRule, TriggerType
from discordsim.world.model.users import User
from discordsim.world.payloads import Json
from discordsim.world.permissions import Permission
from discordsim.world.world import World

_FIELDS = ("name", "event_type", "trigger_metadata", "actions", "enabled")
_AUDITED = {
    ActionType.BLOCK_MESSAGE: AuditAction.AUTO_MODERATION_BLOCK_MESSAGE,
    ActionType.SEND_ALERT_MESSAGE: AuditAction.AUTO_MODERATION_FLAG_TO_CHANNEL,
    ActionType.TIMEOUT: AuditAction.AUTO_MODERATION_USER_COMMUNICATION_DISABLED,
}


@dataclass(frozen=True, slots=True)
class Match:
    """A rule that a message broke, the keyword it broke and the words that did it."""

    rule: AutoModRule
    keyword: str | None
    content: str


def create_rule(
    world: World,
    guild_id: int,
    fields: Mapping[str, Any],
    *,
    actor_id: int,
    enforce: bool = True,
    reason: str | None = None,
) -> AutoModRule:
    """Create a rule from Discord's JSON fields. Errors: 10004, 50001, 50013 (MANAGE_GUILD), 50035."""
    guild = world.guild(guild_id)
    access.require_in_guild(world, actor_id if enforce else None, guild, Permission.MANAGE_GUILD)
    for key in ("name", "event_type", "trigger_type", "actions"):
        if not fields.get(key):
            raise errors.invalid(key, "BASE_TYPE_REQUIRED", "This field is required")
    rule = AutoModRule(world.new_id(), guild_id, fields["name"], actor_id, TriggerType(int(fields["trigger_type"])))
    _assign(rule, fields)
    guild.rules[rule.id] = rule
    _announce(world, rule, "CREATE")
    changes = auditing.differences({}, rule.payload())
    _audit_rule(
        world,
        guild,
        rule,
        action=AuditAction.AUTO_MODERATION_RULE_CREATE,
        changes=changes,
        actor_id=actor_id,
        reason=reason,
    )
    return rule


def edit_rule(
    world: World,
    guild_id: int,
    rule_id: int,
    fields: Mapping[str, Any],
    *,
    actor_id: int | None = None,
    reason: str | None = None,
) -> AutoModRule:
    """Change a rule. Errors: 10004, 10068, 50001, 50013."""
    guild, rule = world.guild(guild_id), rule_of(world, guild_id, rule_id)
    access.require_in_guild(world, actor_id, guild, Permission.MANAGE_GUILD)
    before = rule.payload()
    _assign(rule, fields)
    _announce(world, rule, "UPDATE")
    changes = auditing.differences(before, rule.payload())
    _audit_rule(
        world,
        guild,
        rule,
        action=AuditAction.AUTO_MODERATION_RULE_UPDATE,
        changes=changes,
        actor_id=actor_id,
        reason=reason,
    )
    return rule


def delete_rule(
    world: World, guild_id: int, rule_id: int, *, actor_id: int | None = None, reason: str | None = None
) -> None:
    """Delete a rule. Errors: 10004, 10068, 50001, 50013."""
    guild, rule = world.guild(guild_id), rule_of(world, guild_id, rule_id)
    access.require_in_guild(world, actor_id, guild, Permission.MANAGE_GUILD)
    del guild.rules[rule_id]
    _announce(world, rule, "DELETE")
    changes = auditing.differences(rule.payload(), {})
    _audit_rule(
        world,
        guild,
        rule,
        action=AuditAction.AUTO_MODERATION_RULE_DELETE,
        changes=changes,
        actor_id=actor_id,
        reason=reason,
    )


def rule_of(world: World, guild_id: int, rule_id: int) -> AutoModRule:
    """Return the rule or raise 10004 or 10068."""
    found = world.guild(guild_id).rules.get(rule_id)
    if found is None:
        raise errors.named(10068)
    return found


def _assign(rule: AutoModRule, fields: Mapping[str, Any]) -> None:
    for key in _FIELDS:
        if key in fields:
            setattr(rule, key, fields[key])
    for key in ("exempt_roles", "exempt_channels"):
        if key in fields:
            setattr(rule, key, [int(one) for one in fields[key]])


def _announce(world: World, rule: AutoModRule, verb: str) -> None:
    name, intents = f"AUTO_MODERATION_RULE_{verb}", Intent.AUTO_MODERATION_CONFIGURATION
    world.emit(Dispatch(rule.guild_id, name, rule.payload(), intents=intents, permission=Permission.MANAGE_GUILD))


def _audit_rule(
    world: World,
    guild: Guild,
    rule: AutoModRule,
    *,
    action: AuditAction,
    changes: list[Json],
    actor_id: int | None,
    reason: str | None,
) -> None:
    auditing.record(world, guild, action, actor_id=actor_id, target_id=rule.id, changes=changes, reason=reason)


def matches(world: World, channel: Channel, author: User, draft: Draft) -> list[Match]:
    """Return the enabled rules that a draft breaks, oldest rule first; none for those who are exempt."""
    if channel.guild_id is None or author.bot:
        return []
    guild = world.guild(channel.guild_id)
    member = guild.members.get(author.id)
    if (
        not guild.rules
        or member is None
        or access.guild_permissions_of(world, author.id, guild) & Permission.MANAGE_GUILD
    ):
        return []
    places = {channel.id, channel.parent_id}
    found = []
    for rule in guild.rules.values():
        exempt = places.intersection(rule.exempt_channels) or set(member.roles).intersection(rule.exempt_roles)
        if rule.enabled and not exempt:
            found += _match(rule, draft)
    return found


def _match(rule: AutoModRule, draft: Draft) -> list[Match]:
    meta = rule.trigger_metadata
    if rule.trigger_type is TriggerType.MENTION_SPAM:
        users, roles, _ = drafts.mentioned(draft)
        return (
            [Match(rule, None, draft.content)] if len(users) + len(roles) > meta.get("mention_total_limit", 20) else []
        )
    if rule.trigger_type is not TriggerType.KEYWORD:
        return []
    allowed = [_keyword_pattern(word) for word in meta.get("allow_list", [])]
    patterns = [(word, _keyword_pattern(word)) for word in meta.get("keyword_filter", [])]
    patterns += [(text, re.compile(text, re.IGNORECASE)) for text in meta.get("regex_patterns", [])]
    for word, pattern in patterns:
        hit = pattern.search(draft.content)
        if hit and not any(one.search(hit.group()) for one in allowed):
            return [Match(rule, word, hit.group())]
    return []


def _keyword_pattern(word: str) -> re.Pattern[str]:
    start = "" if word.startswith("*") else r"(?<!\w)"
    end = "" if word.endswith("*") else r"(?!\w)"
    return re.compile(start + re.escape(word.strip("*")) + end, re.IGNORECASE)


def stop_blocked(world: World, channel: Channel, author: User, draft: Draft, hits: list[Match]) -> None:
    """Run the actions of the hits and raise 200000 when one of them blocks the message."""
    if any(action["type"] == ActionType.BLOCK_MESSAGE for hit in hits for action in hit.rule.actions):
        _run(world, channel, author, draft.content, hits, message_id=None)
        raise errors.named(200000)


def act_on_posted(world: World, channel: Channel, message: Message, hits: list[Match]) -> None:
    """Run the actions of rules that alert or time out without blocking."""
    _run(world, channel, message.author, message.content, hits, message_id=message.id)


def _run(
    world: World, channel: Channel, author: User, content: str, hits: list[Match], *, message_id: int | None
) -> None:
    guild = world.guild_of(channel) if hits else None
    for hit in hits:
        for action in hit.rule.actions:
            assert guild is not None
            _execute(
                world, guild, channel, author=author, content=content, hit=hit, action=action, message_id=message_id
            )


def _execute(
    world: World,
    guild: Guild,
    channel: Channel,
    *,
    author: User,
    content: str,
    hit: Match,
    action: Json,
    message_id: int | None,
) -> None:
    kind = ActionType(action["type"])
    data: Json = {
        "guild_id": str(guild.id),
        "action": action,
        "rule_id": str(hit.rule.id),
        "rule_trigger_type": int(hit.rule.trigger_type),
        "user_id": str(author.id),
        "channel_id": str(channel.id),
        "content": content,
        "matched_keyword": hit.keyword,
        "matched_content": hit.content,
    }
    if message_id is not None:
        data["message_id"] = str(message_id)
    if kind is ActionType.SEND_ALERT_MESSAGE:
        data["alert_system_message_id"] = str(
            _alert(world, channel, author=author, content=content, hit=hit, action=action).id
        )
    if kind is ActionType.TIMEOUT:
        _time_out(world, guild, author, float(action["metadata"]["duration_seconds"]))
    world.emit(
        Dispatch(
            guild.id,
            "AUTO_MODERATION_ACTION_EXECUTION",
            data,
            intents=Intent.AUTO_MODERATION_EXECUTION,
            permission=Permission.MANAGE_GUILD,
        )
    )
    if kind in _AUDITED:
        options = {
            "auto_moderation_rule_name": hit.rule.name,
            "auto_moderation_rule_trigger_type": str(int(hit.rule.trigger_type)),
            "channel_id": str(channel.id),
        }
        auditing.record(world, guild, _AUDITED[kind], actor_id=author.id, target_id=author.id, options=options)


def _alert(world: World, origin: Channel, *, author: User, content: str, hit: Match, action: Json) -> Message:
    fields = {
        "rule_name": hit.rule.name,
        "channel_id": str(origin.id),
        "keyword": hit.keyword,
        "keyword_matched_content": hit.content,
    }
    drawn = [{"name": name, "value": value or "", "inline": False} for name, value in fields.items()]
    target = world.channel(int(action["metadata"]["channel_id"]))
    message = Message(
        id=world.new_id(),
        channel_id=target.id,
        guild_id=target.guild_id,
        author=author,
        timestamp=world.now(),
        type=MessageType.AUTO_MODERATION_ACTION,
        embeds=[{"type": "auto_moderation_message", "description": content, "fields": drawn}],
    )
    delivering.store(world, target, message)
    return message


def _time_out(world: World, guild: Guild, author: User, seconds: float) -> None:
    member = guild.members[author.id]
    member.communication_disabled_until = world.now() + seconds
    members.announce_update(world, guild, member)
