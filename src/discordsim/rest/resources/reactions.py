"""Reactions: add, take back, clear, and who chose one."""

from discordsim.rest.calls import Call
from discordsim.rest.routing import Answer, Route
from discordsim.world import access, reacting
from discordsim.world.permissions import Permission


def _where(call: Call) -> tuple[int, int]:
    return call.id("channel_id"), call.id("message_id")


def _emoji(call: Call) -> str:
    """Return the emoji of the path; clients may put `a:` before an animated one."""
    text = call.request.match_info["emoji_name"]
    return text.removeprefix("a:") if text.count(":") > 1 else text


def add(call: Call) -> Answer:
    """React as the bot."""
    reacting.add(call.world, *_where(call), _emoji(call), call.actor_id)
    return None


def remove_own(call: Call) -> Answer:
    """Take the bot's own reaction back."""
    reacting.remove(call.world, *_where(call), _emoji(call), call.actor_id, actor_id=call.actor_id)
    return None


def remove(call: Call) -> Answer:
    """Take somebody's reaction away."""
    reacting.remove(call.world, *_where(call), _emoji(call), call.id("user_id"), actor_id=call.actor_id)
    return None


def remove_all(call: Call) -> Answer:
    """Clear all reactions."""
    reacting.remove_all(call.world, *_where(call), actor_id=call.actor_id)
    return None


def remove_emoji(call: Call) -> Answer:
    """Clear one emoji."""
    reacting.remove_emoji(call.world, *_where(call), _emoji(call), actor_id=call.actor_id)
    return None


def users(call: Call) -> Answer:
    """List who reacted with an emoji, by id."""
    world, (channel_id, message_id) = call.world, _where(call)
    message = world.message(channel_id, message_id)
    access.require(world, call.actor_id, world.channel(channel_id), Permission.READ_MESSAGE_HISTORY)
    reaction = message.reactions.get(reacting.key_of(reacting.emoji_of(world, _emoji(call))))
    after, limit = call.query_id("after") or 0, call.query_number("limit", 25, low=1, high=100)
    ids = sorted(one for one in (reaction.users if reaction else ()) if one > after)
    return [world.user(one).payload() for one in ids[:limit]]


_ALL = "/channels/{channel_id}/messages/{message_id}/reactions"
_EMOJI = f"{_ALL}/{{emoji_name}}"
ROUTES = (
    Route("PUT", f"{_EMOJI}/@me", add),
    Route("DELETE", f"{_EMOJI}/@me", remove_own),
    Route("DELETE", f"{_EMOJI}/{{user_id}}", remove),
    Route("GET", _EMOJI, users),
    Route("DELETE", _EMOJI, remove_emoji),
    Route("DELETE", _ALL, remove_all),
)
