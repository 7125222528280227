"""Which application commands a member is offered in a channel, and finding one by its name.

A command shows when its application's bot is in the guild, the member may use commands there, the command's contexts include the
place, and the member has the default permissions ("0" means administrators only).
"""

from dataclasses import dataclass
from enum import IntEnum

from discordsim.world import access
from discordsim.world.model.channels import Channel
from discordsim.world.model.users import Application
from discordsim.world.payloads import Json
from discordsim.world.permissions import Permission
from discordsim.world.world import World


class CommandType(IntEnum):
    """Application command types."""

    CHAT_INPUT = 1
    USER = 2
    MESSAGE = 3


@dataclass(frozen=True, slots=True)
class Offer:
    """One command as offered to a member; `guild_id` is set for guild commands."""

    application: Application
    command: Json
    guild_id: int | None

    @property
    def type(self) -> CommandType:
        """Return the command's type."""
        return CommandType(self.command.get("type") or 1)


def offered(world: World, user_id: int, channel: Channel) -> list[Offer]:
    """Return the commands the user may use in the channel, by name; a guild command hides the global one of its name."""
    found: dict[tuple[int, int, str], Offer] = {}
    for application in world.applications.values():
        if not _present(world, application, user_id, channel):
            continue
        for offer in _registered(application, channel.guild_id):
            if _allowed(world, offer, user_id, channel):
                found[application.id, offer.type, offer.command["name"]] = offer
    return sorted(found.values(), key=lambda one: (one.type, one.command["name"], one.application.id))


def find(world: World, user_id: int, channel: Channel, name: str, kind: CommandType) -> Offer | None:
    """Return the offered command of a name and type."""
    matching = (one for one in offered(world, user_id, channel) if one.type is kind and one.command["name"] == name)
    return next(matching, None)


def _present(world: World, application: Application, user_id: int, channel: Channel) -> bool:
    if channel.guild_id is None:
        return any(user.id == application.id for user in channel.recipients)
    in_guild = application.id in world.guild(channel.guild_id).members
    needed = Permission.VIEW_CHANNEL | Permission.USE_APPLICATION_COMMANDS
    return in_guild and access.permissions_of(world, user_id, channel) & needed == needed


def _registered(application: Application, guild_id: int | None) -> list[Offer]:
    everywhere = [Offer(application, one, None) for one in application.global_commands.values()]
    if guild_id is None:
        return everywhere
    here = application.guild_commands.get(guild_id, {})
    return everywhere + [Offer(application, one, guild_id) for one in here.values()]


def _allowed(world: World, offer: Offer, user_id: int, channel: Channel) -> bool:
    context = 1 if channel.guild_id is None else 0
    contexts = offer.command.get("contexts")
    if contexts is not None and context not in contexts and offer.guild_id is None:
        return False
    needed = offer.command.get("default_member_permissions")
    if channel.guild_id is None or needed is None:
        return True
    bits = access.permissions_of(world, user_id, channel)
    return bool(bits & Permission.ADMINISTRATOR) or (int(needed) != 0 and bits & int(needed) == int(needed))
