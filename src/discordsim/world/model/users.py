"""Accounts and the applications behind bots."""

from dataclasses import dataclass, field

from discordsim.world.payloads import Json

# Application flags that say which privileged intents are allowed, each as full grant and as grant of unverified bots.
FLAG_PRESENCES = 1 << 12 | 1 << 13
FLAG_MEMBERS = 1 << 14 | 1 << 15
FLAG_MESSAGE_CONTENT = 1 << 18 | 1 << 19


@dataclass(slots=True)
class User:
    """One account, human or bot."""

    id: int
    username: str
    global_name: str | None = None
    discriminator: str = "0"
    avatar: str | None = None
    bot: bool = False
    system: bool = False
    public_flags: int = 0

    def payload(self) -> Json:
        """Return the user object."""
        data: Json = {
            "id": str(self.id),
            "username": self.username,
            "discriminator": self.discriminator,
            "global_name": self.global_name,
            "avatar": self.avatar,
            "avatar_decoration_data": None,
            "banner": None,
            "accent_color": None,
            "collectibles": None,
            "primary_guild": None,
            "public_flags": self.public_flags,
            "flags": self.public_flags,
        }
        if self.bot:
            data["bot"] = True
        if self.system:
            data["system"] = True
        return data


@dataclass(slots=True)
class Application:
    """A bot's application. `id` is also the id of its bot user. Commands are kept as the JSON objects Discord returns."""

    id: int
    name: str
    bot: User
    token: str
    private_key: bytes
    public_key: bytes
    client_secret: str
    owner_id: int
    description: str = ""
    interactions_endpoint_url: str | None = None
    webhook_events_url: str | None = None
    webhook_events_types: list[str] = field(default_factory=list)
    flags: int = 1 << 13 | 1 << 15 | 1 << 19
    redirect_uris: list[str] = field(default_factory=list)
    global_commands: dict[int, Json] = field(default_factory=dict)
    guild_commands: dict[int, dict[int, Json]] = field(default_factory=dict)

    def payload(self, *, owner: User | None = None, guild_count: int = 0) -> Json:
        """Return the application object; `owner` is drawn in when given."""
        data: Json = {
            "id": str(self.id),
            "name": self.name,
            "icon": None,
            "description": self.description,
            "type": None,
            "summary": "",
            "bot": self.bot.payload(),
            "bot_public": True,
            "bot_require_code_grant": False,
            "verify_key": self.public_key.hex(),
            "flags": self.flags,
            "hook": True,
            "redirect_uris": list(self.redirect_uris),
            "interactions_endpoint_url": self.interactions_endpoint_url,
            "role_connections_verification_url": None,
            "event_webhooks_url": self.webhook_events_url,
            "event_webhooks_status": 2 if self.webhook_events_url else 1,
            "event_webhooks_types": list(self.webhook_events_types),
            "approximate_guild_count": guild_count,
            "approximate_user_install_count": 0,
            "approximate_user_authorization_count": 0,
            "integration_types_config": {"0": {}},
            "team": None,
            "tags": [],
            "explicit_content_filter": 0,
            "flags_new": str(self.flags),
            "eligible_oauth2_scopes": ["bot", "applications.commands"],
        }
        if owner is not None:
            data["owner"] = owner.payload()
        return data
