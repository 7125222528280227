"""The world: every guild, channel, user and application of a simulated Discord, in memory, in one thread.

Operations live in sibling modules as functions that take the world first. The world itself only keeps, finds and tells.
Refuses to know HTTP, sockets or the gateway.
"""

import base64
import hashlib
from collections.abc import Callable

from nacl.signing import SigningKey

from discordsim.world import errors
from discordsim.world.events import Dispatch
from discordsim.world.model.channels import Channel
from discordsim.world.model.guilds import Guild, Member, Role
from discordsim.world.model.messages import Message
from discordsim.world.model.users import Application, User
from discordsim.world.payloads import now
from discordsim.world.snowflakes import Snowflakes

Listener = Callable[[Dispatch], None]


class World:
    """All state. `clock` gives unix seconds; `seed` decides everything that would be chance (keys, tokens)."""

    def __init__(
        self, *, clock: Callable[[], float] = now, seed: int = 0, audit_aggregation_pushes: bool = False
    ) -> None:
        self.clock = clock
        self.seed = seed
        self.audit_aggregation_pushes = audit_aggregation_pushes
        self.max_active_threads = 1000
        self.snowflakes = Snowflakes(clock)
        self.users: dict[int, User] = {}
        self.guilds: dict[int, Guild] = {}
        self.channels: dict[int, Channel] = {}
        self.applications: dict[int, Application] = {}
        self.applications_by_token: dict[str, Application] = {}
        self.nonces: dict[tuple[int, int, str], tuple[float, Message]] = {}
        self._direct: dict[frozenset[int], Channel] = {}
        self._listeners: list[Listener] = []

    def now(self) -> float:
        """Return the world's time in unix seconds."""
        return self.clock()

    def new_id(self) -> int:
        """Return a fresh snowflake."""
        return self.snowflakes.next()

    def subscribe(self, callback: Listener) -> Callable[[], None]:
        """Call `callback` with every event from now on; the returned function ends that."""
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback)

    def emit(self, dispatch: Dispatch) -> None:
        """Tell all listeners, in the order in which they came."""
        for listener in tuple(self._listeners):
            listener(dispatch)

    def guild(self, guild_id: int) -> Guild:
        """Return the guild or raise 10004."""
        found = self.guilds.get(guild_id)
        if found is None:
            raise errors.unknown_guild()
        return found

    def channel(self, channel_id: int) -> Channel:
        """Return the channel, thread or direct message channel, or raise 10003."""
        found = self.channels.get(channel_id)
        if found is None:
            raise errors.unknown_channel()
        return found

    def thread(self, channel_id: int) -> Channel:
        """Return the thread or raise 10003."""
        found = self.channel(channel_id)
        if not found.is_thread:
            raise errors.unknown_channel()
        return found

    def guild_of(self, channel: Channel) -> Guild:
        """Return the guild of a channel; 50024 for direct messages."""
        if channel.guild_id is None:
            raise errors.named(50024)
        return self.guild(channel.guild_id)

    def message(self, channel_id: int, message_id: int) -> Message:
        """Return the message or raise 10003 or 10008."""
        found = self.channel(channel_id).messages.get(message_id)
        if found is None:
            raise errors.unknown_message()
        return found

    def user(self, user_id: int) -> User:
        """Return the user or raise 10013."""
        found = self.users.get(user_id)
        if found is None:
            raise errors.unknown_user()
        return found

    def member(self, guild_id: int, user_id: int) -> Member:
        """Return the member or raise 10004 or 10007."""
        found = self.guild(guild_id).members.get(user_id)
        if found is None:
            raise errors.unknown_member()
        return found

    def role(self, guild_id: int, role_id: int) -> Role:
        """Return the role or raise 10004 or 10011."""
        found = self.guild(guild_id).roles.get(role_id)
        if found is None:
            raise errors.unknown_role()
        return found

    def add_user(self, username: str, *, global_name: str | None = None, bot: bool = False) -> User:
        """Create an account."""
        user = User(self.new_id(), username, global_name or username.title(), bot=bot)
        if bot:
            user.global_name, user.discriminator = None, f"{user.id % 9999 + 1:04}"
        self.users[user.id] = user
        return user

    def add_application(
        self, name: str, *, owner_id: int, token: str | None = None, app_id: int | None = None
    ) -> Application:
        """Create an application with its bot user; key, token and secret derive from the seed and the name."""
        bot = self.add_user(name, bot=True)
        if app_id is not None:
            self.users[app_id] = self.users.pop(bot.id)
            bot.id = app_id
        key = SigningKey(hashlib.sha256(f"{self.seed}/key/{name}".encode()).digest())
        application = Application(
            id=bot.id,
            name=name,
            bot=bot,
            token=token or f"{_first_segment(bot.id)}.GSimul.{self._secret('token', name)}",
            private_key=bytes(key),
            public_key=bytes(key.verify_key),
            client_secret=self._secret("client", name),
            owner_id=owner_id,
        )
        self.applications[application.id] = application
        self.applications_by_token[application.token] = application
        return application

    def _secret(self, kind: str, name: str) -> str:
        return hashlib.sha256(f"{self.seed}/{kind}/{name}".encode()).hexdigest()[:38]

    def direct_channel(self, first_id: int, second_id: int) -> Channel | None:
        """Return the direct message channel of two users when there is one."""
        return self._direct.get(frozenset((first_id, second_id)))

    def keep_direct(self, channel: Channel) -> None:
        """Remember a new direct message channel."""
        self.channels[channel.id] = channel
        self._direct[frozenset(user.id for user in channel.recipients)] = channel

    def guilds_of(self, user_id: int) -> list[Guild]:
        """Return the guilds a user is in, oldest first."""
        return [guild for guild in self.guilds.values() if user_id in guild.members]


def _first_segment(user_id: int) -> str:
    """Return the part of a token in which client libraries look for the bot's id."""
    return base64.urlsafe_b64encode(str(user_id).encode()).decode().rstrip("=")
