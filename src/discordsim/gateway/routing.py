"""Which sessions get an event: by shard, membership, intents, permission, visibility.

`(guild_id >> 22) % num_shards` chooses the shard; what has no guild goes to shard 0. Sessions with different `num_shards` live side by
side, and each set gets everything.
"""

from collections.abc import Iterator

from discordsim.gateway.sessions import Session
from discordsim.world import access
from discordsim.world.events import Dispatch
from discordsim.world.world import World


def shard_of(guild_id: int | None, num_shards: int) -> int:
    """Return the shard that serves a guild."""
    return 0 if guild_id is None else (guild_id >> 22) % num_shards


def may_receive(world: World, application_id: int, dispatch: Dispatch) -> bool:
    """Tell whether an application's bot is among those who may know of the event."""
    if dispatch.user_id is not None and dispatch.user_id != application_id:
        return False
    if dispatch.guild_id is None:
        return dispatch.user_id is not None
    guild = world.guilds.get(dispatch.guild_id)
    if guild is None or application_id not in guild.members:
        return False
    if guild.unavailable and dispatch.name != "GUILD_DELETE":
        return False
    if dispatch.permission is not None:
        held = access.guild_permissions_of(world, application_id, guild)
        if held & dispatch.permission != dispatch.permission:
            return False
    return dispatch.channel_id is None or access.can_see(world, application_id, dispatch.channel_id)


class Router:
    """An index of all sessions by application, number of shards and shard."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self._groups: dict[tuple[int, int], dict[int, list[Session]]] = {}

    def add(self, session: Session) -> None:
        """Let a session take part."""
        self.sessions[session.id] = session
        shard_id, num_shards = session.shard
        group = self._groups.setdefault((session.application.id, num_shards), {})
        group.setdefault(shard_id, []).append(session)

    def remove(self, session: Session) -> None:
        """Take a session out; repeating changes nothing."""
        if self.sessions.pop(session.id, None) is None:
            return
        shard_id, num_shards = session.shard
        key = session.application.id, num_shards
        self._groups[key][shard_id].remove(session)
        if not any(self._groups[key].values()):
            del self._groups[key]

    def by_application(self, guild_id: int | None) -> Iterator[tuple[int, list[Session]]]:
        """Yield, per application and number of shards, the sessions that serve a guild."""
        for (application_id, num_shards), shards in self._groups.items():
            found = shards.get(shard_of(guild_id, num_shards))
            if found:
                yield application_id, found

    def serving(self, application_id: int, guild_id: int | None) -> list[Session]:
        """Return an application's sessions that serve a guild."""
        groups = self.by_application(guild_id)
        return [session for owner, sessions in groups if owner == application_id for session in sessions]
