"""Messages: post, read, edit, delete one or many, pins, typing."""

from typing import Annotated

import msgspec
from msgspec import Meta

from discordsim.rest import composing, forms, views
from discordsim.rest.calls import Call
from discordsim.rest.forms import Id
from discordsim.rest.limited import require_old_edit
from discordsim.rest.routing import Answer, Route
from discordsim.world import access, deleting, errors, posting
from discordsim.world.payloads import Json
from discordsim.world.permissions import Permission

MAX_LISTED = 100


class BulkDelete(msgspec.Struct):
    """The body of Bulk Delete Messages."""

    messages: Annotated[list[Id], Meta(max_length=1000)]


def create(call: Call) -> Answer:
    """Post a message; a known nonce gives the first message back."""
    channel_id = call.id("channel_id")
    draft = composing.draft(call, channel_id, call.body)
    return views.message(call, posting.create(call.world, channel_id, call.actor_id, draft))


def listed(call: Call) -> Answer:
    """List messages newest first, around, before or after an id."""
    found = posting.history(
        call.world,
        call.id("channel_id"),
        viewer_id=call.actor_id,
        before=call.query_id("before"),
        after=call.query_id("after"),
        around=call.query_id("around"),
        limit=call.query_number("limit", 50, low=1, high=MAX_LISTED),
    )
    return [views.message(call, one) for one in found]


def get(call: Call) -> Answer:
    """Return one message."""
    channel = call.world.channel(call.id("channel_id"))
    access.require(call.world, call.actor_id, channel, Permission.READ_MESSAGE_HISTORY)
    found = call.world.message(channel.id, call.id("message_id"))
    if found.visible_to not in {None, call.actor_id}:
        raise errors.unknown_message()
    return views.message(call, found)


def edit(call: Call) -> Answer:
    """Change a message; those older than an hour only so often."""
    channel_id, message_id = call.id("channel_id"), call.id("message_id")
    message = call.world.message(channel_id, message_id)
    changes = composing.changes(call, message, call.body)
    require_old_edit(call, message)
    return views.message(call, posting.edit(call.world, channel_id, message_id, changes, actor_id=call.actor_id))


def delete(call: Call) -> Answer:
    """Delete one message."""
    where = call.id("channel_id"), call.id("message_id")
    deleting.delete(call.world, *where, actor_id=call.actor_id, reason=call.reason)
    return None


def bulk_delete(call: Call) -> Answer:
    """Delete 2 to 100 messages, none older than two weeks, none named twice."""
    ids = forms.numbers(call.form(BulkDelete).messages)
    if len(set(ids)) != len(ids):
        raise errors.invalid("messages", "SET_TYPE_ALREADY_CONTAINS_VALUE", "The set already contains this value")
    deleting.bulk_delete(call.world, call.id("channel_id"), ids, actor_id=call.actor_id, reason=call.reason)
    return None


def _set_pin(call: Call, *, pinned: bool) -> None:
    where = call.id("channel_id"), call.id("message_id")
    posting.pin(call.world, *where, pinned=pinned, actor_id=call.actor_id, reason=call.reason)


def pin(call: Call) -> Answer:
    """Pin a message."""
    _set_pin(call, pinned=True)
    return None


def unpin(call: Call) -> Answer:
    """Unpin a message."""
    _set_pin(call, pinned=False)
    return None


def _pinned(call: Call) -> list[Json]:
    channel = call.world.channel(call.id("channel_id"))
    access.require(call.world, call.actor_id, channel, Permission.READ_MESSAGE_HISTORY)
    return [
        posting.pin_payload(one) | {"message": views.message(call, one)} for one in posting.pins(call.world, channel.id)
    ]


def pins(call: Call) -> Answer:
    """List pins, last pinned first, with the time of each; `before` is a time."""
    limit = call.query_number("limit", 50, low=1, high=50)
    before = forms.moment(call.request.query.get("before"), "before")
    found = [
        one for one in _pinned(call) if before is None or (forms.moment(one["pinned_at"], "pinned_at") or 0.0) < before
    ]
    return {"items": found[:limit], "has_more": len(found) > limit}


def old_pins(call: Call) -> Answer:
    """List pinned messages in the way of the endpoint that Discord deprecated."""
    return [one["message"] for one in _pinned(call)]


def typing(call: Call) -> Answer:
    """Show that the bot types."""
    posting.start_typing(call.world, call.id("channel_id"), call.actor_id)
    return None


_ALL = "/channels/{channel_id}/messages"
_ONE = f"{_ALL}/{{message_id}}"
ROUTES = (
    Route("POST", _ALL, create),
    Route("GET", _ALL, listed),
    Route("POST", f"{_ALL}/bulk-delete", bulk_delete),
    Route("GET", f"{_ALL}/pins", pins),
    Route("PUT", f"{_ALL}/pins/{{message_id}}", pin),
    Route("DELETE", f"{_ALL}/pins/{{message_id}}", unpin),
    Route("GET", "/channels/{channel_id}/pins", old_pins),
    Route("PUT", "/channels/{channel_id}/pins/{message_id}", pin),
    Route("DELETE", "/channels/{channel_id}/pins/{message_id}", unpin),
    Route("GET", _ONE, get),
    Route("PATCH", _ONE, edit),
    Route("DELETE", _ONE, delete),
    Route("POST", "/channels/{channel_id}/typing", typing),
)
