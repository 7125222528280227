"""The `resolved` part of interactions: users, members, roles, channels, messages and files behind the ids in their data.

Refuses to guess: an id that the place does not know is a `MisuseError`, for only a mistaken script can send one.
"""

from discordsim.world import access, errors
from discordsim.world.model.channels import Channel
from discordsim.world.model.messages import Message
from discordsim.world.payloads import Json, text_id
from discordsim.world.world import World


class MisuseError(Exception):
    """The scripted user asks for something that Discord's client would not offer."""


class Resolved:
    """Collects what the data of one interaction refers to."""

    def __init__(self, world: World, channel: Channel, viewer_id: int) -> None:
        self._world, self._channel, self._viewer_id = world, channel, viewer_id
        self.data: Json = {}

    def _put(self, kind: str, number: int, value: Json) -> None:
        self.data.setdefault(kind, {})[str(number)] = value

    def user(self, number: int) -> None:
        """Add a user and, when in the guild, the member."""
        found = self._world.users.get(number)
        if found is None:
            raise MisuseError(f"there is no user {number}")
        self._put("users", number, found.payload())
        if self._channel.guild_id is None:
            return
        guild = self._world.guild(self._channel.guild_id)
        member = guild.members.get(number)
        if member is not None:
            data = member.payload(with_user=False)
            data.pop("deaf")
            data.pop("mute")
            data["permissions"] = str(int(access.permissions_of(self._world, number, self._channel)))
            self._put("members", number, data)

    def role(self, number: int) -> None:
        """Add a role of the guild."""
        guild = self._world.guilds.get(self._channel.guild_id or 0)
        if guild is None or number not in guild.roles:
            raise MisuseError(f"there is no role {number} here")
        self._put("roles", number, guild.roles[number].payload())

    def mentionable(self, number: int) -> None:
        """Add a user or a role."""
        if number in self._world.users:
            self.user(number)
        else:
            self.role(number)

    def channel(self, number: int) -> None:
        """Add a partial channel of the same guild, with the viewer's permissions."""
        found = self._world.channels.get(number)
        if found is None or found.guild_id != self._channel.guild_id:
            raise MisuseError(f"there is no channel {number} here")
        self._put("channels", number, partial_channel(self._world, found, self._viewer_id))

    def message(self, message: Message) -> None:
        """Add the message a context menu was opened on."""
        self._put("messages", message.id, message.payload())

    def attachment(self, attachment: Json) -> None:
        """Add an uploaded file."""
        self._put("attachments", int(attachment["id"]), attachment)


def partial_channel(world: World, channel: Channel, viewer_id: int) -> Json:
    """Return the channel as interactions carry it: without overwrites, with the viewer's permissions as text."""
    if channel.guild_id is None:
        return channel.payload()
    whole = channel.payload()
    whole.pop("permission_overwrites", None)
    return whole | {"permissions": str(int(access.permissions_of(world, viewer_id, channel)))}


def pressed_message(world: World, channel: Channel, message_id: int, viewer_id: int) -> Message:
    """Return a message that the viewer can see in the channel; 10008 otherwise."""
    found = world.message(channel.id, message_id)
    if found.visible_to not in {None, viewer_id}:
        raise errors.unknown_message()
    return found


def integration_owners(guild_id: int | None) -> Json:
    """Return `authorizing_integration_owners` of an application installed to the guild (direct messages: "0")."""
    return {"0": text_id(guild_id or 0)}
