"""Plausible guilds by the thousand, the same ones for the same arguments.

Guild ids step by one in `id >> 22`, so that `(id >> 22) % N` is even for every N. Seeding is silent: no events, no audit entries.
"""

import random
from dataclasses import dataclass

from discordsim.world import guilds as guild_acts
from discordsim.world import snowflakes
from discordsim.world.model.channels import Channel, ChannelType, PermissionOverwrite
from discordsim.world.model.guilds import Guild, Member, Role
from discordsim.world.model.users import Application, User
from discordsim.world.permissions import Permission
from discordsim.world.world import World

_FIRST_GUILD = 1_600_000_000.0
_ADJECTIVES = [
    "Quiet",
    "Brave",
    "Sleepy",
    "Polite",
    "Golden",
    "Wandering",
    "Curious",
    "Velvet",
    "Rusty",
    "Cosmic",
    "Gentle",
    "Grumpy",
    "Lucky",
    "Mossy",
    "Silver",
    "Amber",
]
_NOUNS = [
    "Otters",
    "Teapots",
    "Lanterns",
    "Badgers",
    "Librarians",
    "Comets",
    "Pancakes",
    "Gardeners",
    "Harbours",
    "Walruses",
    "Pixels",
    "Fiddlers",
    "Turnips",
    "Owls",
]
_PEOPLE = [
    "ada",
    "bo",
    "cleo",
    "dmitri",
    "esra",
    "finn",
    "greta",
    "hugo",
    "ines",
    "jun",
    "kofi",
    "lena",
    "milo",
    "nadia",
    "otto",
    "priya",
    "quinn",
    "rosa",
    "sami",
    "tove",
]
_TOPICS = [
    "general",
    "introductions",
    "memes",
    "pets",
    "music",
    "cooking",
    "books",
    "film",
    "science",
    "gardening",
    "help",
    "announcements-talk",
    "travel",
    "games",
    "art",
]
_COLOURS = ["Crimson", "Teal", "Ochre", "Indigo", "Sage", "Coral", "Slate", "Plum", "Olive", "Azure", "Copper", "Lilac"]

MODERATOR = (
    Permission.KICK_MEMBERS
    | Permission.BAN_MEMBERS
    | Permission.MODERATE_MEMBERS
    | Permission.MANAGE_MESSAGES
    | Permission.MANAGE_THREADS
    | Permission.MANAGE_NICKNAMES
    | Permission.VIEW_AUDIT_LOG
    | Permission.PIN_MESSAGES
    | Permission.BYPASS_SLOWMODE
)
BOT = MODERATOR | Permission.MANAGE_ROLES | Permission.MANAGE_CHANNELS | Permission.MANAGE_GUILD | guild_acts.EVERYONE


@dataclass(frozen=True, slots=True)
class SeededGuild:
    """The people and places of a seeded guild that scripts and tests want to name."""

    guild_id: int
    owner_id: int
    moderator_id: int
    member_ids: tuple[int, ...]
    moderator_role_id: int
    member_role_id: int
    general_id: int
    mod_log_id: int
    forum_id: int
    voice_id: int


def seed_world(
    world: World, *, guilds: int, channels: int = 12, roles: int = 6, members: int = 5, bot: Application | None = None
) -> list[SeededGuild]:
    """Add guilds of the given size (at least 7 channels, 4 roles with @everyone, 2 people besides the bot) and return their landmarks."""
    if channels < 7 or roles < 4 or members < 2:
        raise ValueError("a seeded guild needs at least 7 channels, 4 roles and 2 members")
    chance = random.Random(world.seed)  # noqa: S311 - names need no secrecy
    first = snowflakes.at(_FIRST_GUILD) + (len(world.guilds) << 22)
    return [
        _Builder(world, first + (index << 22), chance, bot).build(channels, roles, members, number=len(world.guilds))
        for index in range(guilds)
    ]


class _Builder:
    """Builds one guild; its parts get ids from the guild's own range, far below those of the present."""

    def __init__(self, world: World, guild_id: int, chance: random.Random, bot: Application | None) -> None:
        self._world, self._guild_id, self._chance, self._bot = world, guild_id, chance, bot
        self._next = guild_id

    def _id(self) -> int:
        self._next += 1
        return self._next

    def build(self, channels: int, roles: int, members: int, *, number: int) -> SeededGuild:
        people = [self._person(number, index) for index in range(members)]
        name = f"The {self._chance.choice(_ADJECTIVES)} {self._chance.choice(_NOUNS)}"
        guild = guild_acts.create(self._world, name, people[0].id, guild_id=self._guild_id)
        member_role, moderator, bot_role = self._roles(guild, roles)
        joined = snowflakes.created_at(self._guild_id)
        for index, person in enumerate(people):
            held = [member_role.id, moderator.id] if index == 1 else [member_role.id]
            guild.members[person.id] = Member(person, joined + index, held)
        if self._bot is not None:
            guild.members[self._bot.id] = Member(self._bot.bot, joined + members, [bot_role.id])
        places = self._channels(guild, channels, moderator, bot_role)
        guild.system_channel_id = places["general"].id
        return SeededGuild(
            guild.id,
            people[0].id,
            people[1].id,
            tuple(person.id for person in people[2:]),
            moderator.id,
            member_role.id,
            places["general"].id,
            places["mod-log"].id,
            places["questions"].id,
            places["Lounge"].id,
        )

    def _person(self, number: int, index: int) -> User:
        first = self._chance.choice(_PEOPLE)
        user = User(self._id(), f"{first}.{number}.{index}", first.title())
        self._world.users[user.id] = user
        return user

    def _roles(self, guild: Guild, count: int) -> tuple[Role, Role, Role]:
        """Make Member, colour roles, Moderator and, on top, the bot's role."""
        bot_id = self._bot.id if self._bot else None
        extra = [f"{self._chance.choice(_COLOURS)} {index}" for index in range(count - 4)]
        names = ["Member", *extra, "Moderator", self._bot.name if self._bot else "Bot"]
        made = [Role(self._id(), name, 0, position) for position, name in enumerate(names, start=1)]
        made[-2].permissions, made[-2].hoist, made[-2].color = int(MODERATOR), True, 0x2ECC71
        made[-1].permissions, made[-1].managed, made[-1].bot_id = int(BOT), bot_id is not None, bot_id
        guild.roles |= {role.id: role for role in made}
        return made[0], made[-2], made[-1]

    def _channels(self, guild: Guild, count: int, moderator: Role, bot_role: Role) -> dict[str, Channel]:
        seen = int(Permission.VIEW_CHANNEL)
        hidden = {
            guild.id: PermissionOverwrite(guild.id, 0, 0, seen),
            moderator.id: PermissionOverwrite(moderator.id, 0, seen),
            bot_role.id: PermissionOverwrite(bot_role.id, 0, seen),
        }
        staff = self._channel(guild, "moderation", ChannelType.GUILD_CATEGORY, None, hidden)
        town = self._channel(guild, "community", ChannelType.GUILD_CATEGORY, None)
        places = [
            self._channel(guild, "mod-log", ChannelType.GUILD_TEXT, staff, hidden),
            self._channel(guild, "news", ChannelType.GUILD_ANNOUNCEMENT, town),
            self._channel(guild, "questions", ChannelType.GUILD_FORUM, town),
            self._channel(guild, "Lounge", ChannelType.GUILD_VOICE, town),
        ]
        for index in range(count - 6):
            suffix = "" if index < len(_TOPICS) else f"-{index // len(_TOPICS) + 1}"
            places.append(self._channel(guild, _TOPICS[index % len(_TOPICS)] + suffix, ChannelType.GUILD_TEXT, town))
        return {place.name: place for place in places}

    def _channel(
        self,
        guild: Guild,
        name: str,
        kind: ChannelType,
        parent: Channel | None,
        overwrites: dict[int, PermissionOverwrite] | None = None,
    ) -> Channel:
        parent_id = parent.id if parent else None
        channel = Channel(self._id(), kind, guild.id, name=name, position=len(guild.channels), parent_id=parent_id)
        channel.overwrites = dict(overwrites or {})
        guild.channels[channel.id] = self._world.channels[channel.id] = channel
        return channel
