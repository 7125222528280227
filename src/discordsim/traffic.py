"""Synthetic life: people who chat, react, edit, delete, come, go, spam and raid, the same for the same seed.

One step is one act of one user, and in guilds without AutoMod exactly one event. With `count` exactly so many steps are made, as fast
as `rate` allows. Waits for slow gateway readers instead of flooding them. Old messages of its own are forgotten without an event.
"""

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable
from typing import Annotated

import msgspec

from discordsim.gateway.hub import GatewayHub
from discordsim.world import access, deleting, members, posting, reacting
from discordsim.world.errors import DiscordError
from discordsim.world.model.channels import ChannelType
from discordsim.world.model.guilds import Guild
from discordsim.world.model.messages import Draft, Message
from discordsim.world.payloads import Json
from discordsim.world.permissions import Permission
from discordsim.world.world import World

DEFAULT_MIX = {"chat": 70.0, "reaction": 14, "edit": 6, "delete": 4, "join": 3, "leave": 2, "spam": 0.8, "raid": 0.2}
_KEPT_MESSAGES = 500
_BATCH = 20
_TICK = 0.005
_MAX_PENDING = 4 * 1024 * 1024
_EMOJIS = ("\N{THUMBS UP SIGN}", "\N{FACE WITH TEARS OF JOY}", "\N{FIRE}", "\N{EYES}", "\N{PARTY POPPER}")
_WORDS = [
    "morning",
    "soup",
    "tulips",
    "patch",
    "queue",
    "bread",
    "keyboard",
    "river",
    "maybe",
    "tonight",
    "screenshot",
    "puzzle",
    "kettle",
    "weird",
    "lovely",
    "again",
    "banjo",
    "ticket",
    "compost",
    "orbit",
    "spoiler",
    "deadline",
    "sandwich",
    "fog",
    "train",
    "umbrella",
    "because",
    "quietly",
    "remix",
    "tomato",
    "agreed",
]
Step = Callable[[], None]


class Plan(msgspec.Struct, forbid_unknown_fields=True):
    """What to make: `rate` steps per second (None: as fast as possible) for `seconds` or `count` steps or until stopped."""

    rate: Annotated[float, msgspec.Meta(gt=0)] | None = 10.0
    mix: dict[str, Annotated[float, msgspec.Meta(ge=0)]] = {}
    seconds: Annotated[float, msgspec.Meta(gt=0)] | None = None
    count: Annotated[int, msgspec.Meta(ge=1)] | None = None
    seed: int = 0
    guilds: list[int] | None = None


class Crowd:
    """The people of one guild as far as traffic needs them."""

    def __init__(self, world: World, guild: Guild, chance: random.Random) -> None:
        self.world, self.guild, self._chance = world, guild, chance
        self.recent: deque[Message] = deque()
        self.guests: list[int] = []
        self._regulars = [member.user.id for member in guild.members.values() if not member.user.bot]
        writer = self._regulars[-1] if self._regulars else guild.owner_id
        texts = [one for one in guild.channels.values() if one.type is ChannelType.GUILD_TEXT]
        self._places = [one.id for one in texts if access.permissions_of(world, writer, one) & Permission.SEND_MESSAGES]

    @property
    def alive(self) -> bool:
        """Tell whether anybody can say anything here."""
        return bool(self._regulars and self._places)

    def someone(self) -> int:
        """Return a present person."""
        return self._chance.choice(
            [one for one in self._regulars if one in self.guild.members] or [self.guild.owner_id]
        )

    def say(self, user_id: int, text: str) -> None:
        """Post in some channel; the oldest own message is forgotten when there are many."""
        message = posting.create(self.world, self._chance.choice(self._places), user_id, Draft(content=text))
        self.recent.append(message)
        if len(self.recent) > _KEPT_MESSAGES:
            old = self.recent.popleft()
            self.world.channels[old.channel_id].messages.pop(old.id, None)

    def sentence(self) -> str:
        """Return some words."""
        return " ".join(self._chance.choices(_WORDS, k=self._chance.randint(2, 12)))

    def past(self) -> Message | None:
        """Return one of the last messages that still exists."""
        if not self.recent:
            return None
        found = self.recent[-1 - self._chance.randrange(min(len(self.recent), 50))]
        return found if found.id in self.world.channels[found.channel_id].messages else None

    def welcome(self) -> None:
        """Let a new person join."""
        user = self.world.add_user(f"guest{self._chance.randrange(10**9)}")
        members.join(self.world, self.guild.id, user.id)
        self.guests.append(user.id)

    def see_off(self) -> bool:
        """Let a guest leave; False when there is none."""
        self.guests = [one for one in self.guests if one in self.guild.members]
        if not self.guests:
            return False
        members.leave(self.world, self.guild.id, self.guests.pop(self._chance.randrange(len(self.guests))))
        return True


class Traffic:
    """The generator; one plan at a time."""

    def __init__(self, world: World, hub: GatewayHub) -> None:
        self.made: Counter[str] = Counter()
        self.refused = 0
        self._world, self._hub = world, hub
        self._plan: Plan | None = None
        self._task: asyncio.Task[None] | None = None
        self._chance = random.Random()  # noqa: S311 - plausible life needs no secrecy
        self._crowds: list[Crowd] = []
        self._waves: deque[tuple[str, Step]] = deque()

    @property
    def running(self) -> bool:
        """Tell whether a plan is being carried out."""
        return self._task is not None and not self._task.done()

    def payload(self) -> Json:
        """Return progress as JSON."""
        made = sum(self.made.values())
        return {"running": self.running, "made": made, "by_kind": dict(self.made), "refused": self.refused}

    def start(self, plan: Plan) -> None:
        """Begin a plan; ValueError when one runs, a kind or guild is unknown or nobody is there."""
        if self.running:
            raise ValueError("traffic is running: stop it first")
        unknown = plan.mix.keys() - DEFAULT_MIX.keys()
        if unknown or (plan.mix and not any(plan.mix.values())):
            raise ValueError(f"mix must give some of {sorted(DEFAULT_MIX)} a weight, not {sorted(unknown)}")
        self.prepare(plan)
        self._task = asyncio.create_task(self._run(plan))

    def prepare(self, plan: Plan) -> None:
        """Gather the people of a plan and forget earlier numbers. ValueError as in `start`."""
        chosen = list(self._world.guilds) if plan.guilds is None else plan.guilds
        strangers = [one for one in chosen if one not in self._world.guilds]
        if strangers:
            raise ValueError(f"unknown guilds: {strangers}")
        self._chance = random.Random(plan.seed)  # noqa: S311 - as above
        crowds = [Crowd(self._world, self._world.guilds[one], self._chance) for one in chosen]
        self._crowds = [one for one in crowds if one.alive]
        if not self._crowds:
            raise ValueError("nobody is there who could write")
        self._plan, self.made, self.refused = plan, Counter(), 0
        self._waves.clear()

    async def stop(self) -> None:
        """End the running plan; errors of the generator surface here."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()

    async def finished(self) -> None:
        """Wait until the running plan is carried out; errors of the generator surface here."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def _run(self, plan: Plan) -> None:
        loop = asyncio.get_running_loop()
        start, made = loop.time(), 0
        while not _over(plan, made, loop.time() - start):
            due = _BATCH if plan.rate is None else int((loop.time() - start) * plan.rate) - made
            left = due if plan.count is None else plan.count - made
            batch = 0 if self._congested() else max(min(due, left, _BATCH), 0)
            for _ in range(batch):
                self.step()
            made += batch
            await asyncio.sleep(0 if batch == _BATCH else _TICK)

    def _congested(self) -> bool:
        return any(one.pending_bytes > _MAX_PENDING and not one.frozen for one in self._hub.connections)

    def step(self) -> None:
        """Make one act; those that Discord refuses (AutoMod) count as made and as refused."""
        if self._waves and self._chance.random() < 0.8:
            kind, act = self._waves.popleft()
        else:
            kind, act = self._drawn()
        self.made[kind] += 1
        try:
            act()
        except DiscordError:
            self.refused += 1

    def _drawn(self) -> tuple[str, Step]:
        assert self._plan is not None
        mix = self._plan.mix or DEFAULT_MIX
        kind = self._chance.choices(list(mix), list(mix.values()))[0]
        crowd = self._chance.choice(self._crowds)
        if kind in {"spam", "raid"}:
            return kind, self._wave(crowd, kind)
        if kind in {"join", "leave"}:
            leaving = kind == "leave" and any(one in crowd.guild.members for one in crowd.guests)
            return ("leave", lambda: _discard(crowd.see_off())) if leaving else ("join", crowd.welcome)
        message = None if kind == "chat" else crowd.past()
        if message is None:
            return "chat", lambda: crowd.say(crowd.someone(), crowd.sentence())
        return self._about(crowd, kind, message)

    def _about(self, crowd: Crowd, kind: str, message: Message) -> tuple[str, Step]:
        world, place = self._world, message.channel_id
        if kind == "edit":
            changes = {"content": f"{message.content[:1000]} {crowd.sentence()}"}
            return kind, lambda: _discard(posting.edit(world, place, message.id, changes, actor_id=message.author.id))
        if kind == "delete":
            return kind, lambda: deleting.delete(world, place, message.id, actor_id=message.author.id)
        user_id, emoji = crowd.someone(), self._chance.choice(_EMOJIS)
        known = message.reactions.get(emoji)
        if known is not None and user_id in known.users:
            return "chat", lambda: crowd.say(user_id, crowd.sentence())
        return kind, lambda: reacting.add(world, place, message.id, emoji, user_id=user_id)

    def _wave(self, crowd: Crowd, kind: str) -> Step:
        """Queue a burst and return its first act."""
        size = self._chance.randint(6, 15)
        if kind == "raid":
            acts: list[Step] = [crowd.welcome] * size
        else:
            user_id, text = (
                crowd.someone(),
                f"{crowd.sentence()} https://free-gifts.example/{self._chance.randrange(999)}",
            )
            acts = [lambda: crowd.say(user_id, text)] * size
        self._waves.extend((kind, act) for act in acts[1:])
        return acts[0]


def _over(plan: Plan, made: int, elapsed: float) -> bool:
    if plan.count is not None and made >= plan.count:
        return True
    return plan.seconds is not None and elapsed >= plan.seconds


def _discard(_result: object) -> None:
    """Make a statement of an expression."""
