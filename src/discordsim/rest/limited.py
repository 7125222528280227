"""Limits that belong to an act, not to a route: edits of old messages, new commands per day. They answer 429 with a code of their own."""

from discordsim.rest.calls import Call
from discordsim.world import errors
from discordsim.world.model.messages import Message
from discordsim.world.payloads import Json

OLD_SECONDS = 3600.0
DAY_SECONDS = 86_400.0


class TooOften(errors.DiscordError):
    """A refusal that tells how many seconds to wait."""

    def __init__(self, code: int, message: str, retry_after: float) -> None:
        super().__init__(429, code, message)
        self.retry_after = retry_after

    def payload(self) -> Json:
        """Return the body with `retry_after`."""
        return super().payload() | {"retry_after": round(self.retry_after, 3), "global": False}


def require_old_edit(call: Call, message: Message) -> None:
    """Count the edit of a message that is older than an hour; raise 30046 when there were too many in its channel."""
    if call.world.now() - message.timestamp <= OLD_SECONDS:
        return
    wait = call.rest.limiter.take_old_edit(message.channel_id)
    if wait is not None:
        raise TooOften(30046, errors.named(30046).message, wait)


def require_command_creates(call: Call, guild_id: int | None, count: int) -> None:
    """Count new commands of the application in a guild (None: globally); raise 30034 above the limit of a day."""
    now, allowed = call.world.now(), call.rest.switches.daily_command_creates
    key = (call.application.id, guild_id)
    recent = [one for one in call.rest.command_creates.get(key, []) if now - one < DAY_SECONDS]
    if len(recent) + count > allowed:
        text = f"Max number of daily application command creates has been reached ({allowed})"
        raise TooOften(30034, text, recent[0] + DAY_SECONDS - now if recent else DAY_SECONDS)
    call.rest.command_creates[key] = [*recent, *([now] * count)]
