"""The endpoints of Discord that modbot uses, one builder each.

A route knows its method, its template (the name of its rate limit and the only form that may be logged: paths of interactions hold
a token), the top-level resource that splits the limit, and whether repeating the request after an unknown outcome is safe. Routes
with POST are not, save those that are idempotent by nature or made so by a nonce.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

import msgspec

from modbot.domain.ids import ChannelId, GuildId, InteractionId, MessageId, RoleId, UserId
from modbot.ops.settings import Secret

_MAJOR: Final = ("channel_id", "guild_id", "webhook_id", "interaction_id")


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint with its ids filled in. `path` may hold a secret, so `repr` shows the template."""

    method: str
    template: str
    path: str
    major: str = ""
    repeatable: bool = True
    interaction: bool = False
    authenticated: bool = True

    def __repr__(self) -> str:
        return f"{self.method} {self.template}"

    __str__ = __repr__


def _route(
    method: str, template: str, *, repeatable: bool | None = None, interaction: bool = False, **parts: int | str
) -> Route:
    filled = {name: quote(str(value), safe="@") for name, value in parts.items()}
    major = next((filled[name] for name in _MAJOR if name in filled), "")
    return Route(
        method=method,
        template=template,
        path=template.format_map(filled),
        major=f"{major}/{filled['token']}" if "token" in filled else major,
        repeatable=method != "POST" if repeatable is None else repeatable,
        interaction=interaction,
        authenticated=not interaction,
    )


# Messages


def create_message(channel_id: ChannelId, *, nonce: bool = False) -> Route:
    """Send a message; `nonce` says that the body has `nonce` and `enforce_nonce`, which makes repeating safe for some minutes."""
    return _route("POST", "/channels/{channel_id}/messages", repeatable=nonce, channel_id=channel_id)


def get_messages(channel_id: ChannelId) -> Route:
    """Read up to 100 messages (`limit`, `before`, `after`, `around`)."""
    return _route("GET", "/channels/{channel_id}/messages", channel_id=channel_id)


def get_message(channel_id: ChannelId, message_id: MessageId) -> Route:
    """Read one message."""
    return _route("GET", "/channels/{channel_id}/messages/{message_id}", channel_id=channel_id, message_id=message_id)


def edit_message(channel_id: ChannelId, message_id: MessageId) -> Route:
    """Change one of our messages."""
    return _route("PATCH", "/channels/{channel_id}/messages/{message_id}", channel_id=channel_id, message_id=message_id)


def delete_message(channel_id: ChannelId, message_id: MessageId) -> Route:
    """Delete a message."""
    return _route(
        "DELETE", "/channels/{channel_id}/messages/{message_id}", channel_id=channel_id, message_id=message_id
    )


def bulk_delete_messages(channel_id: ChannelId) -> Route:
    """Delete 2 to 100 messages that are at most 14 days old."""
    return _route("POST", "/channels/{channel_id}/messages/bulk-delete", repeatable=True, channel_id=channel_id)


def pin_message(channel_id: ChannelId, message_id: MessageId) -> Route:
    """Pin a message."""
    return _route(
        "PUT", "/channels/{channel_id}/messages/pins/{message_id}", channel_id=channel_id, message_id=message_id
    )


_REACTION: Final = "/channels/{channel_id}/messages/{message_id}/reactions/{emoji}"


def add_reaction(channel_id: ChannelId, message_id: MessageId, emoji: str) -> Route:
    """React as ourselves; `emoji` is a character or `name:id`."""
    return _route("PUT", _REACTION + "/@me", channel_id=channel_id, message_id=message_id, emoji=emoji)


def remove_own_reaction(channel_id: ChannelId, message_id: MessageId, emoji: str) -> Route:
    """Take back our reaction."""
    return _route("DELETE", _REACTION + "/@me", channel_id=channel_id, message_id=message_id, emoji=emoji)


def remove_reaction(channel_id: ChannelId, message_id: MessageId, emoji: str, user_id: UserId) -> Route:
    """Remove somebody's reaction."""
    return _route(
        "DELETE", _REACTION + "/{user_id}", channel_id=channel_id, message_id=message_id, emoji=emoji, user_id=user_id
    )


def get_reactions(channel_id: ChannelId, message_id: MessageId, emoji: str) -> Route:
    """Read who reacted with an emoji."""
    return _route("GET", _REACTION, channel_id=channel_id, message_id=message_id, emoji=emoji)


# Channels and threads


def get_channel(channel_id: ChannelId) -> Route:
    """Read a channel or thread."""
    return _route("GET", "/channels/{channel_id}", channel_id=channel_id)


def modify_channel(channel_id: ChannelId) -> Route:
    """Change a channel or thread (also archive, lock, rename)."""
    return _route("PATCH", "/channels/{channel_id}", channel_id=channel_id)


def delete_channel(channel_id: ChannelId) -> Route:
    """Delete a channel or thread."""
    return _route("DELETE", "/channels/{channel_id}", channel_id=channel_id)


def create_channel(guild_id: GuildId) -> Route:
    """Make a channel."""
    return _route("POST", "/guilds/{guild_id}/channels", guild_id=guild_id)


def set_overwrite(channel_id: ChannelId, overwrite_id: int) -> Route:
    """Set a channel's permissions for a role or member."""
    return _route(
        "PUT", "/channels/{channel_id}/permissions/{overwrite_id}", channel_id=channel_id, overwrite_id=overwrite_id
    )


def delete_overwrite(channel_id: ChannelId, overwrite_id: int) -> Route:
    """Remove a channel's permissions for a role or member."""
    return _route(
        "DELETE", "/channels/{channel_id}/permissions/{overwrite_id}", channel_id=channel_id, overwrite_id=overwrite_id
    )


def create_thread(channel_id: ChannelId) -> Route:
    """Make a thread without a message. To repeat, look first whether it is there."""
    return _route("POST", "/channels/{channel_id}/threads", channel_id=channel_id)


def create_thread_from_message(channel_id: ChannelId, message_id: MessageId) -> Route:
    """Make the thread of a message. A second try fails with code 160004, so it is safe to repeat."""
    return _route(
        "POST",
        "/channels/{channel_id}/messages/{message_id}/threads",
        repeatable=True,
        channel_id=channel_id,
        message_id=message_id,
    )


def add_thread_member(channel_id: ChannelId, user_id: UserId) -> Route:
    """Let somebody into a thread."""
    return _route("PUT", "/channels/{channel_id}/thread-members/{user_id}", channel_id=channel_id, user_id=user_id)


def remove_thread_member(channel_id: ChannelId, user_id: UserId) -> Route:
    """Take somebody out of a thread."""
    return _route("DELETE", "/channels/{channel_id}/thread-members/{user_id}", channel_id=channel_id, user_id=user_id)


def active_threads(guild_id: GuildId) -> Route:
    """Read the active threads of a guild."""
    return _route("GET", "/guilds/{guild_id}/threads/active", guild_id=guild_id)


# Guilds, members, bans, roles


def get_guild(guild_id: GuildId) -> Route:
    """Read a guild."""
    return _route("GET", "/guilds/{guild_id}", guild_id=guild_id)


def get_guild_channels(guild_id: GuildId) -> Route:
    """Read the channels of a guild, without threads."""
    return _route("GET", "/guilds/{guild_id}/channels", guild_id=guild_id)


def get_roles(guild_id: GuildId) -> Route:
    """Read the roles of a guild."""
    return _route("GET", "/guilds/{guild_id}/roles", guild_id=guild_id)


def audit_log(guild_id: GuildId) -> Route:
    """Read the audit log (`after`, `before`, `user_id`, `action_type`, `limit`)."""
    return _route("GET", "/guilds/{guild_id}/audit-logs", guild_id=guild_id)


def get_auto_moderation_rules(guild_id: GuildId) -> Route:
    """Read the rules of Discord's AutoMod."""
    return _route("GET", "/guilds/{guild_id}/auto-moderation/rules", guild_id=guild_id)


def get_member(guild_id: GuildId, user_id: UserId) -> Route:
    """Read a member."""
    return _route("GET", "/guilds/{guild_id}/members/{user_id}", guild_id=guild_id, user_id=user_id)


def modify_member(guild_id: GuildId, user_id: UserId) -> Route:
    """Change a member; a timeout is `communication_disabled_until`."""
    return _route("PATCH", "/guilds/{guild_id}/members/{user_id}", guild_id=guild_id, user_id=user_id)


def kick(guild_id: GuildId, user_id: UserId) -> Route:
    """Remove a member."""
    return _route("DELETE", "/guilds/{guild_id}/members/{user_id}", guild_id=guild_id, user_id=user_id)


_MEMBER_ROLE: Final = "/guilds/{guild_id}/members/{user_id}/roles/{role_id}"


def add_role(guild_id: GuildId, user_id: UserId, role_id: RoleId) -> Route:
    """Give a member a role."""
    return _route("PUT", _MEMBER_ROLE, guild_id=guild_id, user_id=user_id, role_id=role_id)


def remove_role(guild_id: GuildId, user_id: UserId, role_id: RoleId) -> Route:
    """Take a role from a member."""
    return _route("DELETE", _MEMBER_ROLE, guild_id=guild_id, user_id=user_id, role_id=role_id)


def ban(guild_id: GuildId, user_id: UserId) -> Route:
    """Ban an account; `delete_message_seconds` up to 7 days."""
    return _route("PUT", "/guilds/{guild_id}/bans/{user_id}", guild_id=guild_id, user_id=user_id)


def unban(guild_id: GuildId, user_id: UserId) -> Route:
    """Lift a ban."""
    return _route("DELETE", "/guilds/{guild_id}/bans/{user_id}", guild_id=guild_id, user_id=user_id)


def get_ban(guild_id: GuildId, user_id: UserId) -> Route:
    """Read a ban."""
    return _route("GET", "/guilds/{guild_id}/bans/{user_id}", guild_id=guild_id, user_id=user_id)


def get_bans(guild_id: GuildId) -> Route:
    """Read up to 1000 bans (`after`, `before`, `limit`)."""
    return _route("GET", "/guilds/{guild_id}/bans", guild_id=guild_id)


# Users, application, gateway


def get_user(user_id: UserId) -> Route:
    """Read an account."""
    return _route("GET", "/users/{user_id}", user_id=user_id)


def create_dm() -> Route:
    """Open the direct-message channel with somebody; the same one every time."""
    return _route("POST", "/users/@me/channels", repeatable=True)


def leave_guild(guild_id: GuildId) -> Route:
    """Leave a guild."""
    return _route("DELETE", "/users/@me/guilds/{guild_id}", guild_id=guild_id)


def current_application() -> Route:
    """Read our application."""
    return _route("GET", "/applications/@me")


def gateway_bot() -> Route:
    """Read the gateway's address and how many IDENTIFYs are left."""
    return _route("GET", "/gateway/bot")


def get_global_commands(application_id: int) -> Route:
    """Read all global commands."""
    return _route("GET", "/applications/{application_id}/commands", application_id=application_id)


def set_global_commands(application_id: int) -> Route:
    """Replace all global commands."""
    return _route("PUT", "/applications/{application_id}/commands", application_id=application_id)


def set_guild_commands(application_id: int, guild_id: GuildId) -> Route:
    """Replace all commands of one guild."""
    return _route(
        "PUT",
        "/applications/{application_id}/guilds/{guild_id}/commands",
        application_id=application_id,
        guild_id=guild_id,
    )


# Interactions: authorised by their own token and outside the global limit

_WEBHOOK: Final = "/webhooks/{webhook_id}/{token}"


def interaction_callback(interaction_id: InteractionId, token: Secret) -> Route:
    """Give the first answer to an interaction."""
    return _route(
        "POST",
        "/interactions/{interaction_id}/{token}/callback",
        interaction=True,
        interaction_id=interaction_id,
        token=token.reveal(),
    )


def get_original(application_id: int, token: Secret) -> Route:
    """Read the first answer."""
    return _route(
        "GET", _WEBHOOK + "/messages/@original", interaction=True, webhook_id=application_id, token=token.reveal()
    )


def edit_original(application_id: int, token: Secret) -> Route:
    """Change the first answer, or complete a deferral."""
    return _route(
        "PATCH", _WEBHOOK + "/messages/@original", interaction=True, webhook_id=application_id, token=token.reveal()
    )


def delete_original(application_id: int, token: Secret) -> Route:
    """Delete the first answer."""
    return _route(
        "DELETE", _WEBHOOK + "/messages/@original", interaction=True, webhook_id=application_id, token=token.reveal()
    )


def follow_up(application_id: int, token: Secret) -> Route:
    """Send another message to an interaction."""
    return _route("POST", _WEBHOOK, interaction=True, webhook_id=application_id, token=token.reveal())


def edit_follow_up(application_id: int, token: Secret, message_id: MessageId) -> Route:
    """Change a follow-up message."""
    return _route(
        "PATCH",
        _WEBHOOK + "/messages/{message_id}",
        interaction=True,
        webhook_id=application_id,
        token=token.reveal(),
        message_id=message_id,
    )
