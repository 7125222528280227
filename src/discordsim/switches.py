"""Everything about Discord that is unknown, private or may fail, as one record that can be changed while it runs.

Defaults play the documented or most likely behaviour. Refuses unknown names and impossible values.
"""

from typing import Annotated, Any, Literal

import msgspec

from discordsim.rest.switches import RestSwitches

Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]


class Switches(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The switches. Times in seconds; None means no limit unless said otherwise."""

    buffer_events: Count | None = None
    """Dispatches kept for replay per session; None: by guilds, 1 -> 100, 10 -> 750, 47 and more -> 3500."""
    buffer_seconds: Seconds = 90.0
    """How long a session without a socket can be resumed."""
    buffer_event_seconds: Seconds | None = None
    """Age after which a dispatch leaves the replay buffer."""
    trim_on_heartbeat: bool = False
    """Drop what a heartbeat's sequence number acknowledges from the replay buffer."""
    second_resume: Literal["close_old", "keep_both"] = "close_old"
    """What happens to the socket of a session that is resumed by another one."""
    second_resume_close_code: Annotated[int, msgspec.Meta(ge=1000, le=4999)] = 4000
    """Close code which the old socket gets."""
    max_num_shards: Positive | None = None
    """Highest accepted number of shards."""
    max_guilds_per_session: Positive = 2500
    """More guilds than this in one session are refused with 4011."""
    shuffle_across_sessions: bool = False
    """Let each session see events that happen close together in an order of its own."""
    shuffle_seconds: Seconds = 0.005
    """What 'close together' means."""
    heartbeat_interval: Annotated[float, msgspec.Meta(gt=0)] = 41.25
    """Seconds between heartbeats, as told in HELLO."""
    heartbeat_patience: Annotated[float, msgspec.Meta(gt=1)] = 1.5
    """Intervals without a heartbeat after which the socket is closed with 4009."""
    timeout_ends_session: bool = False
    """Whether missed heartbeats also end the session."""
    identify_deadline: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    """Seconds a socket may stay without a session before it is closed with 4009."""
    max_concurrency: Positive = 1
    """IDENTIFYs per `identify_interval`; shard ids with the same remainder share one place."""
    identify_interval: Seconds = 5.0
    """See `max_concurrency`."""
    identify_limit: Count = 1000
    """IDENTIFYs per application and day."""
    exhaustion_resets_token: bool = True
    """Whether IDENTIFY number `identify_limit` + 1 ends all sessions and makes the bot token worthless."""
    recommended_shards: Positive | None = None
    """`shards` of Get Gateway Bot; None: one per 1000 guilds."""
    sends_per_minute: Positive = 120
    """Payloads a client may send per minute and socket, else 4008."""
    request_members_interval: Seconds = 30.0
    """Seconds between two requests for all members of one guild."""
    max_pending_bytes: Positive = 64 * 1024 * 1024
    """Bytes waiting for a slow reader before its socket is closed with 4000."""
    delivered_limit: Count = 1_000_000
    """Entries kept per session in the log of dispatches."""
    delivered_data: bool = False
    """Keep the payload of each dispatch in that log as well, for an oracle that folds what it reads."""
    rest: RestSwitches = msgspec.field(default_factory=RestSwitches)
    """Limits of the REST API."""


def changed(switches: Switches, wanted: dict[str, Any]) -> Switches:
    """Apply `wanted` in place and return the switches; msgspec.ValidationError changes nothing."""
    checked = msgspec.convert(msgspec.to_builtins(switches) | wanted, type(switches))
    for name in switches.__struct_fields__:
        setattr(switches, name, getattr(checked, name))
    return switches
